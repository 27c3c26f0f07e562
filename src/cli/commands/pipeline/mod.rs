//! Commands that run a pipeline and show its state.

pub mod dag;
pub mod env;
pub mod init;
pub mod logs;
pub mod repro;
pub mod stage;
pub mod status;
