//! lockstep: a Git-native pipeline runner for people who build models.

pub mod config;
pub mod error;
pub mod event;
pub mod git;
pub mod path;
pub mod pipeline;
pub mod replace;
pub mod store;
pub mod value;
