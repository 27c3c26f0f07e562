//! `pipeline.lock`: the pinned inputs and outputs of every stage and data path.
//!
//! The file is beside its `pipeline.yaml` and is committed. It has no times, hosts or users, so that two machines write
//! the same bytes after the same run.

mod by_name;
pub mod conflict;
mod format;
mod key;
pub mod markers;
pub mod merge;
mod metrics;
mod quick;
mod read;
mod write;

pub use by_name::ByName;
pub use format::{Command, EnvironmentLock, Lock, OutLock, SCHEMA, StageLock};
pub use key::{Manifest, key, manifest};
pub use metrics::scalars;
pub use read::{is_ours, read};
pub use write::write;
