//! What the user asks a deployment for, and what came of it.

use std::path::PathBuf;
use std::time::Duration;

use super::Event;
use crate::error::Error;
use crate::pipeline::deploy::{ReleaseLink, Requirement};

/// A deployment as the user asks for it. What is `None` or empty comes from the target in `pipeline.yaml`.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A target, `NAME[@V|#L]`, or with [`Request::to`] the path of pinned data.
    pub what: String,
    /// The folder that the user typed, relative to the current one.
    pub to: Option<String>,
    /// Go back: `Some(None)` to the release before, else to this version.
    pub rollback: Option<Option<String>>,
    /// Deploy although the version is current, the target is held, or the version was withdrawn.
    pub force: bool,
    /// Decide and report, and change nothing.
    pub dry: bool,
    /// The command before the switch.
    pub check: Option<String>,
    /// The command after the switch.
    pub after: Option<String>,
    /// The URL or command that is asked until it holds.
    pub healthy: Option<String>,
    /// The limit of each of the three.
    pub timeout: Option<Duration>,
    /// How many releases stay besides the current one and the one before.
    pub keep: Option<u64>,
    /// What the version needs, besides what the target requires.
    pub require: Vec<Requirement>,
    /// How files get into a release.
    pub link: Option<ReleaseLink>,
    /// Words of the user for the record.
    pub why: Option<String>,
    /// Deploy only for a promotion that is newer than all that this target has tried: for a loop that follows a label.
    pub is_following: bool,
}

/// The result of a deployment.
#[derive(Debug)]
pub struct Outcome {
    /// The name of the target, or of the place for `--to`.
    pub target: String,
    /// The name of the model.
    pub name: String,
    /// The version that was asked for; `None` for a path without one.
    pub version: Option<String>,
    /// The folder with the journal.
    pub to: PathBuf,
    /// The folder or the registry, as shown.
    pub place: String,
    /// The path of the version's release below the folder; `None` if there is none.
    pub release: Option<String>,
    /// What was done.
    pub action: DeployAction,
    /// What the journal of the target has now in addition, the oldest first: for the record. The first may finish an
    /// earlier, killed call.
    pub events: Vec<Event>,
    /// Why the version that was asked for is not current.
    pub failure: Option<Error>,
}

/// What a deployment did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployAction {
    /// The version is current now.
    Deployed,
    /// It was current already.
    UpToDate,
    /// The target is held; the text is the end of a sentence that begins with its name.
    Held(String),
    /// A loop that follows the label leaves this promotion alone: it was tried, or an older one counts again.
    Skipped(String),
    /// `check` failed: nothing changed.
    Refused,
    /// The switch was undone.
    Returned,
    /// With [`Request::dry`]: what a call would do.
    Planned(String),
}
