//! The state of a run, and the messages that change it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use crate::cache::signatures::TrustPolicy;
use crate::error::Result;
use crate::event::Sink;
use crate::lock::StageLock;
use crate::pipeline::stage::{Stage, StageId};
use crate::plan::hidden_edges::HiddenEdges;
use crate::plan::programs::Programs;
use crate::plan::schedule::Schedule;
use crate::project::{Definitions, Project};
use crate::run::execute::{FinishedStage, StageFailure};
use crate::run::options::RunOptions;
use crate::run::outcome::Outcome;
use crate::run::pull::RunRemotes;
use crate::run::record::{RecordResult, Recorder};
use crate::run::watchdog::Watchdog;
use crate::run::workers::Workers;
use crate::workspace::journal::Record;
use crate::workspace::logs::Logs;
use crate::workspace::{Workspace, gitignore};

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
    pub(super) workspace: Workspace<'a>,
    pub(super) options: &'a RunOptions,
    pub(super) signal: &'a AtomicI32,
    pub(super) logs: &'a Logs,
    pub(super) trust: &'a TrustPolicy,
    pub(super) programs: Programs<'a>,
    pub(super) hidden_edges: HiddenEdges,
    /// The remotes, if the run may use them.
    pub(super) remotes: Option<&'a RunRemotes<'a>>,
    /// The state of each stage.
    pub(super) schedule: Schedule<'a>,
    /// Stages that run even if nothing changed, because one upstream ran (`--force-downstream`).
    pub(super) forced: HashSet<StageId>,
    pub(super) workers: Workers<'s, 'e>,
    pub(super) sender: Sender<Message>,
    pub(super) inbox: Receiver<Message>,
    pub(super) recorder: Recorder,
    /// Started before the first command.
    pub(super) watchdog: Option<Arc<Watchdog>>,
    /// No new stage starts: a stage failed, or the user wants to stop.
    pub(super) stopping: bool,
    /// Ignore files whose folders do not exist yet.
    pub(super) pending_ignore_lines: gitignore::IgnoreLines,
    pub(super) records: Vec<Record>,
    pub(super) outcome: Outcome,
    /// The checked-out commit, once a run record needs it.
    pub(super) head_commit: Option<Option<String>>,
    pub(super) interrupted_at: Option<Instant>,
    /// The generation of the store when the run began.
    pub(super) store_generation: Option<[u8; 16]>,
    pub(super) shell: Option<String>,
}

impl<'a> Run<'_, '_, 'a> {
    pub(super) fn project(&self) -> &'a Project {
        self.workspace.project
    }

    pub(super) fn definitions(&self) -> &'a Definitions {
        self.workspace.definitions
    }

    pub(super) fn sink(&self) -> &'a dyn Sink {
        self.workspace.sink
    }

    pub(super) fn stage(&self, id: StageId) -> &'a Stage {
        self.definitions().pipelines.stage(id)
    }

    /// How messages name a stage.
    pub(super) fn address(&self, id: StageId) -> String {
        self.definitions().pipelines.address(id, &self.project().cwd)
    }

    /// The lock entry of a stage.
    pub(super) fn entry(&self, id: StageId) -> Option<&StageLock> {
        let stage = self.stage(id);
        self.workspace.locks.of_file(stage.file).stages.get(&stage.name)
    }
}
