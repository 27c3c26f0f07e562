//! What a `repro` came to: a value that commands print and turn into an exit code.

use crate::error::{Error, Kind};
use crate::event::StageResult;
use crate::path::RepoPath;
use crate::pipeline::stage::StageId;
use crate::plan::reasons::Reason;
use crate::workspace::orphans::Orphan;

/// Where a restored result was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Remote,
}

#[derive(Debug)]
pub struct StageOutcome {
    pub id: StageId,
    pub result: StageResult,
    pub reasons: Vec<Reason>,
    /// Running or restoring took so long.
    pub seconds: f64,
    /// What a restored result took when it was made.
    pub saved: f64,
    /// Where a restored result came from.
    pub from: Option<Source>,
    pub error: Option<Error>,
    /// The exit code of the command that failed.
    pub exit: Option<i32>,
    /// It failed because the user wanted an end.
    pub stopped: bool,
    /// The last lines that a failed stage wrote.
    pub tail: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which the stages were decided.
    pub stages: Vec<StageOutcome>,
    /// Stale stages, for `--locked`.
    pub stale: Vec<StageId>,
    /// Data paths that differ from the lock, for `--locked`.
    pub stale_data: Vec<RepoPath>,
    /// Failures that belong to no stage.
    pub errors: Vec<Error>,
    /// Files that Git should see: locks and ignore files that were written.
    pub written: Vec<RepoPath>,
    /// What no pipeline file names any more and Git still ignores.
    pub orphans: Vec<Orphan>,
    /// How many stages outside of the selection are stale.
    pub stale_elsewhere: usize,
    /// The signal that ended the run.
    pub interrupted: Option<i32>,
    pub dry: bool,
}

impl Outcome {
    pub fn count(&self, result: StageResult) -> usize {
        self.stages.iter().filter(|s| s.result == result).count()
    }

    /// Everything that went wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Error> {
        self.stages.iter().filter_map(|s| s.error.as_ref()).chain(&self.errors)
    }

    /// The lowest code of all failures, as for every command.
    pub fn exit_code(&self) -> u8 {
        if let Some(signal) = self.interrupted {
            return Kind::Signal(signal).exit_code();
        }
        let failed = self.failures().map(|e| e.kind.exit_code()).min();
        let stale = if self.stale.is_empty() && self.stale_data.is_empty() { None } else { Some(1) };
        failed.into_iter().chain(stale).min().unwrap_or(0)
    }
}
