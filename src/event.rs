//! What a long task tells the world. The work emits events; only the counter (`cli`) shows them.

use crate::path::RepoPath;

/// Receives events; called from several threads.
pub trait Sink: Sync {
    fn event(&self, event: Event<'_>);
}

/// Nobody listens.
pub struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event<'_>) {}
}

#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes are about to be hashed, stored or restored: `total` more to do under this label.
    WorkPlanned {
        doing: Doing,
        bytes: u64,
    },
    /// That many bytes more are done.
    WorkDone {
        doing: Doing,
        bytes: u64,
    },
    /// How many stages the run will look at.
    RunStarted {
        stages: usize,
    },
    StageStarted {
        stage: &'a str,
        command: &'a str,
        reason: &'a str,
    },
    /// A line that a stage wrote, without its line end.
    StageOutput {
        stage: &'a str,
        line: &'a [u8],
    },
    /// What the only stage that runs wrote, as it came: perhaps half a line, or keys of a terminal.
    StageBytes {
        bytes: &'a [u8],
    },
    /// The commands of a stage ended, well or not; its outputs are looked at next.
    CommandsOver {
        stage: &'a str,
    },
    StageFinished {
        stage: &'a str,
        result: StageResult,
        seconds: f64,
    },
    /// Something that the user should know, in full sentences.
    Note {
        text: &'a str,
    },
    Warning {
        text: &'a str,
    },
    /// Another process holds the lock.
    Waiting {
        text: &'a str,
    },
    /// A data path was pinned.
    DataPinned {
        path: &'a RepoPath,
        summary: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Hashing,
    Storing,
    Restoring,
    Pushing,
    Fetching,
    Comparing,
    Verifying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageResult {
    Ran,
    Restored,
    UpToDate,
    Failed,
    Blocked,
    Skipped,
}
