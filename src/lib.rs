//! lockstep: a Git-native pipeline runner for people who build models.

pub mod error;
pub mod event;
pub mod path;
pub mod pipeline;
pub mod store;
pub mod value;
