//! The state of a run, and the messages that change it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use crate::cache::signatures::TrustPolicy;
use crate::error::Result;
use crate::event::Sink;
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::hidden_edges::HiddenEdges;
use crate::plan::programs::Programs;
use crate::plan::reasons::{Facts, Reason};
use crate::plan::schedule::Schedule;
use crate::project::{Definitions, Locks, Project};
use crate::run::execute::{FinishedStage, StageFailure};
use crate::run::options::RunOptions;
use crate::run::outcome::Outcome;
use crate::run::pull::RunRemotes;
use crate::run::record::{self, RecordResult};
use crate::run::watchdog::Watchdog;
use crate::run::workers::Workers;
use crate::workspace::backup::Backups;
use crate::workspace::gitignore;
use crate::workspace::journal::Record;
use crate::workspace::logs::Logs;

/// A message to the main thread.
pub(super) enum Message {
    Finished {
        id: StageId,
        result: Box<Result<FinishedStage, StageFailure>>,
    },
    /// Missing inputs of a stage were fetched, as far as possible; the stage is decided again.
    InputsFetched {
        id: StageId,
        result: Result<()>,
    },
    Recorded(Box<RecordResult>),
    /// The recorder panicked and will not answer.
    RecorderDied,
}

impl From<RecordResult> for Message {
    fn from(recorded: RecordResult) -> Message {
        Message::Recorded(Box::new(recorded))
    }
}

/// The state of a run, owned by the main thread.
pub(super) struct Run<'s, 'e, 'a> {
    pub(super) project: &'a Project,
    pub(super) definitions: &'a Definitions,
    pub(super) options: &'a RunOptions,
    pub(super) sink: &'a dyn Sink,
    pub(super) signal: &'a AtomicI32,
    pub(super) backups: &'a Backups,
    pub(super) logs: &'a Logs,
    pub(super) trust: &'a TrustPolicy,
    pub(super) programs: Programs<'a>,
    pub(super) hidden_edges: HiddenEdges,
    /// The remotes, if the run may use them.
    pub(super) remotes: Option<&'a RunRemotes<'a>>,
    /// Stages whose missing inputs were already requested, so that they are requested once.
    pub(super) fetch_requested: HashSet<StageId>,
    /// Stages for which the listings of missing folders were already requested.
    pub(super) listing_requested: HashSet<StageId>,
    pub(super) locks: Locks,
    pub(super) reader: FactsReader<'a>,
    pub(super) schedule: Schedule<'a>,
    pub(super) selected: HashSet<StageId>,
    pub(super) workers: Workers<'s, 'e>,
    pub(super) sender: Sender<Message>,
    pub(super) inbox: Receiver<Message>,
    pub(super) recorder: Option<Sender<record::RecorderMessage>>,
    pub(super) watchdog: Option<Arc<Watchdog>>,
    pub(super) running_count: usize,
    pub(super) recording_count: usize,
    pub(super) recorder_died: bool,
    /// No new stage starts: a stage failed, or the user wants to stop.
    pub(super) stopping: bool,
    pub(super) prepared: bool,
    /// Stages that run because one upstream did (`--force-downstream`).
    pub(super) forced: HashSet<StageId>,
    /// Stages that need one whose result could not be recorded: their inputs were replaced while they ran.
    pub(super) withdrawn: HashSet<StageId>,
    /// Ignore files whose folders do not exist yet.
    pub(super) pending_ignore_lines: gitignore::IgnoreLines,
    /// Reasons and facts of the stages that are running.
    pub(super) in_progress: HashMap<StageId, (Vec<Reason>, Facts)>,
    pub(super) records: Vec<Record>,
    pub(super) outcome: Outcome,
    pub(super) head_commit: Option<Option<String>>,
    pub(super) interrupted_at: Option<Instant>,
    /// The generation of the store when the run began.
    pub(super) store_generation: Option<[u8; 16]>,
    pub(super) shell: Option<String>,
}
