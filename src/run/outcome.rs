//! The outcome of a `repro`: a value that commands print and turn into an exit code.

use crate::error::{Error, Kind};
use crate::event::StageResult;
use crate::path::RepoPath;
use crate::pipeline::stage::StageId;
use crate::plan::reasons::Reason;
use crate::workspace::orphans::Orphan;

/// Where a restored result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultSource {
    Local,
    Remote,
}

/// The outcome of one stage.
#[derive(Debug)]
pub struct StageOutcome {
    pub id: StageId,
    pub result: StageResult,
    pub reasons: Vec<Reason>,
    /// How long running or restoring took.
    pub seconds: f64,
    /// How long a restored result took when it was made.
    pub saved: f64,
    /// Where a restored result came from.
    pub from: Option<ResultSource>,
    pub error: Option<Error>,
    /// The exit code of the command that failed.
    pub exit: Option<i32>,
    /// The stage failed because the user stopped the run.
    pub stopped: bool,
    /// The last lines that a failed stage wrote.
    pub tail: Vec<String>,
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which the stages were decided.
    pub stages: Vec<StageOutcome>,
    /// Stale stages, for `--locked`.
    pub stale: Vec<StageId>,
    /// Data paths that differ from the lock, for `--locked`.
    pub stale_data: Vec<RepoPath>,
    /// Failures that do not belong to a stage.
    pub errors: Vec<Error>,
    /// Locks and ignore files that were written and that Git should see.
    pub written: Vec<RepoPath>,
    /// Outputs and data that no pipeline file names and that Git still ignores.
    pub orphans: Vec<Orphan>,
    /// How many stages outside of the selection are stale.
    pub stale_unselected: usize,
    /// The signal that ended the run.
    pub interrupted: Option<i32>,
    pub dry: bool,
}

impl Outcome {
    /// The number of stages with this result.
    pub fn count(&self, result: StageResult) -> usize {
        self.stages.iter().filter(|s| s.result == result).count()
    }

    /// All failures.
    pub fn failures(&self) -> impl Iterator<Item = &Error> {
        self.stages.iter().filter_map(|s| s.error.as_ref()).chain(&self.errors)
    }

    /// The lowest exit code of all failures, as for every command.
    pub fn exit_code(&self) -> u8 {
        if let Some(signal) = self.interrupted {
            return Kind::Signal(signal).exit_code();
        }
        let failed = self.failures().map(|e| e.kind.exit_code()).min();
        let stale = if self.stale.is_empty() && self.stale_data.is_empty() { None } else { Some(1) };
        failed.into_iter().chain(stale).min().unwrap_or(0)
    }
}
