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
    /// Must return soon: the work waits for it.
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
    /// Work that is to be done, in addition to earlier events of the kind.
    WorkPlanned {
        /// The kind of work.
        doing: Activity,
        /// The bytes that are added to the total of this kind.
        bytes: u64,
    },
    /// Some of the planned work is done.
    WorkDone {
        /// The kind of work.
        doing: Activity,
        /// The bytes that were done since the last event of this kind.
        bytes: u64,
    },
    /// A run begins.
    RunStarted {
        /// The number of selected stages.
        stages: usize,
    },
    /// The commands of a stage start.
    StageStarted {
        /// The address of the stage, relative to the current folder.
        stage: &'a str,
        /// Its commands, one a line.
        command: &'a str,
        /// Why it runs, for people.
        reason: &'a str,
    },
    /// A line that a stage wrote, without its line end.
    StageOutput {
        /// The address of the stage.
        stage: &'a str,
        /// Bytes in any encoding.
        line: &'a [u8],
    },
    /// The raw output of the only running stage: it may be half a line, or control sequences of a terminal.
    StageBytes {
        /// As they were read.
        bytes: &'a [u8],
    },
    /// The commands of a stage ended, with or without success; its outputs are hashed next.
    CommandsOver {
        /// The address of the stage.
        stage: &'a str,
    },
    /// A stage needs nothing more from this run.
    StageFinished {
        /// The address of the stage; empty for several up-to-date ones.
        stage: &'a str,
        /// What happened to it.
        result: StageResult,
        /// How long it took; for a restored one, the restore.
        seconds: f64,
    },
    /// A note for the user, in full sentences.
    Note {
        /// One note.
        text: &'a str,
    },
    /// Something may be wrong, and the task continues.
    Warning {
        /// The warning, in full sentences.
        text: &'a str,
    },
    /// Another process holds the lock.
    Waiting {
        /// A sentence that names the holder.
        text: &'a str,
    },
    /// A data path was pinned.
    DataPinned {
        /// The path of the data.
        path: &'a RepoPath,
        /// The change: `+12 −0 ~3 files, pinned`, or the number of files.
        summary: &'a str,
    },
}

/// The kind of work whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Reading files of the workspace and computing their ids.
    Hashing,
    /// Adding objects to the store.
    Storing,
    /// Bringing objects from the store into the workspace.
    Restoring,
    /// Sending objects to a remote.
    Pushing,
    /// Getting objects from a remote.
    Fetching,
    /// Comparing the values of two models.
    Comparing,
    /// Reading stored objects and comparing them with their ids.
    Verifying,
}

/// The result of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageResult {
    /// Its commands ran and succeeded.
    Ran,
    /// Its outputs are from the run cache.
    Restored,
    /// Nothing differed from the lock.
    UpToDate,
    /// Its commands failed, or their result was refused.
    Failed,
    /// A stage that it needs failed.
    Blocked,
    /// It was not reached, or not to be run.
    Skipped,
}
