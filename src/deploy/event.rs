//! One event of a deployment target: a line of the target's journal, and the content of a commit of its record in Git.

use serde::{Deserialize, Serialize};

use crate::store::ObjectId;

/// The version of the format that this program reads and writes.
pub const EVENT_VERSION: u64 = 1;

/// A finished event. What is read from a journal or a record is untrusted text: it is never a path or a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the format.
    pub lockstep: u64,
    /// What was asked for, or happened.
    pub event: EventKind,
    /// The name of the target in `pipeline.yaml`, or of the place for `--to`.
    pub target: String,
    /// The name of the model.
    pub name: String,
    /// The version that the event is about; `None` for a path without one.
    pub version: Option<String>,
    /// The commit that pins its bytes.
    pub commit: Option<String>,
    /// The hash of the file, or of the tree of a folder.
    pub blake3: ObjectId,
    /// The tag that gave the version its label, as `digits#prod#7`; `None` if it was not found by a label.
    pub promotion: Option<String>,
    /// The version that was current before, on this host.
    pub previous: Option<String>,
    /// The folder or registry.
    pub to: String,
    /// The digest of the manifest in a registry.
    pub digest: Option<String>,
    /// How it ended.
    pub result: EventResult,
    /// Why it failed, or what the user gave as `-m`.
    pub why: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// When it ended, in UTC: `2026-01-02T03:04:05Z`.
    pub time: String,
    /// `Name <address>` of the user of Git, or the name of the system's user.
    pub actor: String,
    /// The name of the host.
    pub host: String,
}

#[cfg(test)]
impl Event {
    /// A deployment of `digits` to `prod` on `web1`, for tests.
    pub fn example(version: &str) -> Event {
        Event {
            lockstep: EVENT_VERSION,
            event: EventKind::Deploy,
            target: "prod".into(),
            name: "digits".into(),
            version: Some(version.into()),
            commit: None,
            blake3: ObjectId::of(version.as_bytes()),
            promotion: None,
            previous: None,
            to: "/srv".into(),
            digest: None,
            result: EventResult::Ok,
            why: None,
            seconds: 0.5,
            time: "2026-01-01T00:00:00Z".into(),
            actor: "a <a@b>".into(),
            host: "web1".into(),
        }
    }
}

/// What an [`Event`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A version became current.
    Deploy,
    /// The user went back to an earlier version.
    Rollback,
    /// The switch was undone, since `after` or `healthy` failed.
    Return,
    /// Nothing was switched, since `check` failed.
    Refuse,
    /// The target follows its label no more.
    Hold,
    /// The target follows its label again.
    Resume,
}

impl EventKind {
    /// The word in JSON and tables.
    pub fn word(self) -> &'static str {
        match self {
            EventKind::Deploy => "deploy",
            EventKind::Rollback => "rollback",
            EventKind::Return => "return",
            EventKind::Refuse => "refuse",
            EventKind::Hold => "hold",
            EventKind::Resume => "resume",
        }
    }
}

/// How an [`Event`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventResult {
    /// As asked.
    Ok,
    /// Not as asked; the target is as it was before.
    Failed,
}

impl EventResult {
    /// The word in JSON and tables.
    pub fn word(self) -> &'static str {
        match self {
            EventResult::Ok => "ok",
            EventResult::Failed => "failed",
        }
    }
}
