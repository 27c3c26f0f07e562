//! Commands that change a pipeline file or what it tracks.

pub mod add;
pub mod draft;
pub mod import;
pub mod merge;
pub mod remove;
