//! Types of a lock file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::by_name::ByName;
use crate::store::{ObjectId, Pin};
use crate::value::Value;

/// The version of the format that this program reads and writes.
pub const SCHEMA: u64 = 1;

/// A repository may have half as many stages (`pipeline/budget.rs`).
pub(super) const MOST_STAGES: usize = 200_000;
pub(super) const MOST_DATA: usize = 1_000_000;

/// The content of one `pipeline.lock`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// By path, relative to the lock's folder.
    pub data: BTreeMap<String, Pin>,
    /// By stage name.
    pub stages: BTreeMap<String, StageLock>,
}

/// The inputs and outputs of one successful run of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageLock {
    /// The key of the result in the run cache; computed from the other fields (see `lock/key.rs`).
    pub key: ObjectId,
    /// The command that ran.
    pub cmd: Command,
    /// Relative to the lock's folder; `None` if it is that folder.
    pub wdir: Option<String>,
    /// `None` for `sh`.
    pub shell: Option<String>,
    /// The environment in which the commands ran, if the stage names one.
    pub environment: Option<EnvironmentLock>,
    /// Declared environment variables; `None` for one that was not set.
    pub env: ByName<Option<String>>,
    /// By path relative to the working folder.
    pub deps: ByName<Pin>,
    /// File, key, value.
    pub params: ByName<ByName<Value>>,
    /// By path relative to the working folder.
    pub outs: ByName<OutLock>,
}

/// The environment of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentLock {
    /// `uv`, `pip` or `files`.
    pub kind: String,
    /// As `linux-x86_64`.
    pub platform: String,
    /// As `3.11`; `None` if it is not one of Python.
    pub python: Option<String>,
    /// What it resolved to on that platform.
    pub hash: ObjectId,
}

/// The command in the form that the user wrote: one script, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A single string.
    One(String),
    /// A list of strings, also with one item.
    List(Vec<String>),
}

/// One output of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutLock {
    /// The content after the run.
    pub pin: Pin,
    /// Whether lockstep stored it; otherwise it is left to Git.
    pub cache: bool,
    /// Whether it was kept before the run (`persist: true`).
    pub persist: bool,
    /// Scalars of a small metrics file, so that a review shows `accuracy: 0.951 → 0.957`.
    pub metrics: ByName<Value>,
}

impl Command {
    /// The items of the command.
    pub fn items(&self) -> &[String] {
        match self {
            Command::One(item) => std::slice::from_ref(item),
            Command::List(items) => items,
        }
    }
}
