//! Decides what is stale, and which stage may start next: facts of the workspace in, reasons out.

pub mod bashisms;
pub mod content_source;
pub mod data_version;
pub mod facts;
pub(super) mod hidden_edges;
pub mod locked_secrets;
pub mod missing_input;
pub(super) mod program_versions;
pub mod programs;
pub mod reasons;
pub mod schedule;
pub mod select;
pub(super) mod stale_upstream;
