//! The outcome of the last `repro`, as a file: `state/…/last-run.json` in the worktree's folder.
//!
//! ```text
//! version    1; a file of another version is ignored
//! start      RFC 3339, UTC
//! seconds    of the whole run
//! exit       its exit code
//! counts     result → how many stages
//! stages     all but the ones that were up to date
//! errors     failures that belong to no stage
//! stale_data data that differs from the lock (`--locked`)
//! ```
//!
//! It is used for reports only: it is not synced, and a failure to write it is ignored. Addresses and paths are
//! relative to the root of the repository.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::StageResult;
use crate::path::RepoPath;
use crate::project::{Definitions, Project};
use crate::run::outcome::{Outcome, StageOutcome};
use crate::workspace::status::sentence;

const VERSION: u32 = 1;
/// Further lines of a failed stage are in its log.
const TAIL: usize = 20;

/// The outcome of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// The version of the file.
    pub version: u32,
    /// When the run began: RFC 3339, UTC.
    pub start: String,
    /// How long the whole run took, to the millisecond.
    pub seconds: f64,
    /// The exit code of the run.
    pub exit: u8,
    /// The number of stages with each result, up-to-date ones included.
    pub counts: BTreeMap<StageStatus, usize>,
    /// All stages but those that were up to date.
    pub stages: Vec<StageRun>,
    /// Failures that belong to no stage.
    pub errors: Vec<String>,
    /// Paths of data that differs from the lock (`--locked`).
    pub stale_data: Vec<String>,
}

/// The result of a stage, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// The commands failed, or the result was refused.
    Failed,
    /// Differs from the lock, in a run without execution.
    Stale,
    /// A stage that it needs failed.
    Blocked,
    /// The commands succeeded.
    Ran,
    /// The outputs are from the run cache.
    Restored,
    /// Nothing differed from the lock.
    UpToDate,
    /// Not reached, or not selected.
    #[default]
    Skipped,
}

/// The outcome of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRun {
    /// The address from the root.
    pub address: String,
    /// What happened to it.
    pub result: StageStatus,
    /// Sentences, as `status` has them.
    pub reasons: Vec<String>,
    /// How long it took, to the millisecond.
    pub seconds: f64,
    /// The time that a restored result took when it was made.
    pub saved: f64,
    /// The whole message of a failed stage.
    pub error: Option<String>,
    /// The exit code of the command that failed.
    pub code: Option<i32>,
    /// The last lines that a failed stage wrote.
    pub tail: Vec<String>,
    /// The file that defines the stage.
    pub file: String,
    /// The line in that file, from 1.
    pub line: u32,
}

impl LastRun {
    /// `seconds` is the duration of the run, which ends now.
    pub fn of(project: &Project, definitions: &Definitions, outcome: &Outcome, seconds: f64) -> LastRun {
        let start = (project.around.now)() - Duration::from_secs_f64(seconds.max(0.0));
        let mut counts = BTreeMap::new();
        for stage in &outcome.stages {
            *counts.entry(status_of(stage, outcome)).or_default() += 1;
        }
        let told = outcome.stages.iter().filter(|stage| !matches!(status_of(stage, outcome), StageStatus::UpToDate));
        LastRun {
            version: VERSION,
            start: humantime::format_rfc3339_seconds(start).to_string(),
            seconds: rounded(seconds),
            exit: outcome.exit_code(),
            counts,
            stages: told.map(|stage| stage_run(stage, definitions, outcome)).collect(),
            errors: outcome.errors.iter().map(|error| error.full_message()).collect(),
            stale_data: outcome.stale_data.iter().map(RepoPath::to_string).collect(),
        }
    }

    /// Writes it to the file that [`LastRun::read`] reads.
    pub fn leave(&self, project: &Project) {
        let file = file_path(project);
        let temp = file.with_extension("json-new");
        let Ok(bytes) = serde_json::to_vec_pretty(self) else { return };
        if std::fs::write(&temp, bytes).is_ok() {
            let _ = std::fs::rename(&temp, file);
        }
    }

    /// Deletes the outcome of the previous run when a run begins.
    pub fn delete(project: &Project) {
        let _ = std::fs::remove_file(file_path(project));
    }

    /// `None` if there is no file of a known version.
    pub fn read(project: &Project) -> Option<LastRun> {
        let bytes = std::fs::read(file_path(project)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|run: &LastRun| run.version == VERSION)
    }

    /// The number of stages with this result.
    pub(super) fn count(&self, word: StageStatus) -> usize {
        self.counts.get(&word).copied().unwrap_or(0)
    }

    /// The time that the run cache saved, in seconds.
    pub fn saved(&self) -> f64 {
        self.stages.iter().map(|stage| stage.saved).sum()
    }
}

fn file_path(project: &Project) -> PathBuf {
    project.state_dir().join("last-run.json")
}

fn status_of(stage: &StageOutcome, outcome: &Outcome) -> StageStatus {
    match stage.result {
        _ if outcome.stale.contains(&stage.id) => StageStatus::Stale,
        StageResult::Ran => StageStatus::Ran,
        StageResult::Restored => StageStatus::Restored,
        StageResult::UpToDate => StageStatus::UpToDate,
        StageResult::Failed => StageStatus::Failed,
        StageResult::Blocked => StageStatus::Blocked,
        StageResult::Skipped => StageStatus::Skipped,
    }
}

fn stage_run(outcome: &StageOutcome, definitions: &Definitions, run: &Outcome) -> StageRun {
    let stage = definitions.pipelines.stage(outcome.id);
    StageRun {
        address: definitions.pipelines.address(outcome.id, &RepoPath::root()),
        result: status_of(outcome, run),
        reasons: outcome.reasons.iter().map(sentence).collect(),
        seconds: rounded(outcome.seconds),
        saved: rounded(outcome.saved),
        error: outcome.error.as_ref().map(|error| error.full_message()),
        code: outcome.exit,
        tail: outcome.tail[outcome.tail.len().saturating_sub(TAIL)..].to_vec(),
        file: definitions.pipelines.file(stage.file).path.to_string(),
        line: stage.mark.line,
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
