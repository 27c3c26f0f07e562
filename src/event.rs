//! What a long task tells the world, and the one thing that the world tells it: to end. The work emits events; only the
//! counter (`cli`) shows them.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

/// Is the work to end? Asked by those who wait for a network: whatever else they do is short.
#[derive(Clone, Copy, Debug)]
pub struct Stop(&'static AtomicI32);

impl Stop {
    /// By a number that becomes that of a signal when the user wants an end; more bits say how much.
    pub fn by(signal: &'static AtomicI32) -> Stop {
        Stop(signal)
    }

    /// Nobody can ask for an end.
    pub fn never() -> Stop {
        static NEVER: AtomicI32 = AtomicI32::new(0);
        Stop(&NEVER)
    }

    /// The number of the signal.
    pub fn asked(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst) & 0x7f).filter(|number| *number != 0)
    }

    pub fn check(&self) -> Result<()> {
        match self.asked() {
            Some(number) => Err(Error::new(Kind::Signal(number), "interrupted")
                .hint("run the same command again: what has arrived is kept and goes no second time")),
            None => Ok(()),
        }
    }
}

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
