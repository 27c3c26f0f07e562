//! lockstep: a Git-native pipeline runner for people who build models.

pub mod cli;
pub mod config;
pub mod error;
pub mod event;
pub mod git;
pub mod lock;
pub mod path;
pub mod pipeline;
pub mod project;
pub mod replace;
pub mod run;
pub mod store;
pub mod value;
