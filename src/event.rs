//! Events of a long task, and its stop signal. The work emits events; only the counter (`cli`) shows them.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

/// Should the work stop? Checked by code that waits for a network or a lock: all other work is short.
#[derive(Clone, Copy, Debug)]
pub struct StopSignal(&'static AtomicI32);

impl StopSignal {
    /// The signal number is in the lower bits of `signal` once the user interrupts; further bits count interrupts.
    pub fn from_flag(signal: &'static AtomicI32) -> StopSignal {
        StopSignal(signal)
    }

    /// A stop signal that is never set.
    pub fn never() -> StopSignal {
        static NEVER: AtomicI32 = AtomicI32::new(0);
        StopSignal(&NEVER)
    }

    /// The number of the signal.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst) & 0x7f).filter(|number| *number != 0)
    }

    /// Errors: [`Kind::Signal`] if the user interrupted.
    pub fn check(&self) -> Result<()> {
        match self.signal() {
            Some(number) => Err(Error::new(Kind::Signal(number), "interrupted")
                .hint("run the same command again: transferred files are kept and not transferred again")),
            None => Ok(()),
        }
    }
}

/// Receives events; called from several threads.
pub trait Sink: Sync {
    fn event(&self, event: Event<'_>);
}

/// Ignores all events.
pub struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// An event of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes will be hashed, stored or restored: `total` more under this label.
    WorkPlanned {
        doing: Activity,
        bytes: u64,
    },
    /// The number of bytes that are done in addition.
    WorkDone {
        doing: Activity,
        bytes: u64,
    },
    /// The number of stages that the run will check.
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
    /// The raw output of the only running stage: it may be half a line, or control sequences of a terminal.
    StageBytes {
        bytes: &'a [u8],
    },
    /// The commands of a stage ended, with or without success; its outputs are hashed next.
    CommandsOver {
        stage: &'a str,
    },
    StageFinished {
        stage: &'a str,
        result: StageResult,
        seconds: f64,
    },
    /// A note for the user, in full sentences.
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

/// The kind of work whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Hashing,
    Storing,
    Restoring,
    Pushing,
    Fetching,
    Comparing,
    Verifying,
}

/// The result of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageResult {
    Ran,
    Restored,
    UpToDate,
    Failed,
    Blocked,
    Skipped,
}
