//! Gives stages to workers, which run or restore them or fetch what their decision needs.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::pipeline::stage::StageId;
use crate::plan::reasons::{Facts, Reason};
use crate::plan::schedule::{Fetched, StageState};
use crate::run::execute::{Context, EarlierResult, StageFailure, Task};
use crate::run::pull::MissingInput;
use crate::run::state::{Message, Run};
use crate::run::watchdog::Watchdog;
use crate::secret::is_withheld;
use crate::workspace::gitignore;
use crate::workspace::status::sentence;

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    /// Lets a worker restore the earlier result, or else run the commands.
    pub(super) fn start(&mut self, id: StageId, facts: Facts, reasons: Vec<Reason>, earlier: EarlierResult) {
        if let Err(error) = self.hidden_edges.check(self.project(), self.definitions(), id, &facts.deps) {
            return self.refuse(id, error);
        }
        if let Err(error) = self.prepare() {
            self.stopping = true;
            return self.fail(id, reasons, error, None, 0.0);
        }
        let stage = self.stage(id);
        let precious = self.unsaved(stage, &facts);
        let mut reason = reasons.first().map(sentence).unwrap_or_default();
        if reasons.len() > 1 {
            reason.push_str(&format!(", and {} more", reasons.len() - 1));
        }
        let address = self.address(id);
        let absent = self.missing_inputs(id);
        let task = Task { stage, address, facts, precious, reason, absent };
        let context = Context {
            project: self.project(),
            definitions: self.definitions(),
            sink: self.sink(),
            backups: Arc::clone(&self.workspace.backups),
            logs: self.logs,
            watchdog: self.watchdog.clone(),
            signal: self.signal,
            terminal: self.options.terminal.then_some(self.signal),
            alone: self.options.jobs == 1,
            stores: !self.options.no_commit,
            pass_env: &self.options.pass_env,
            offline: self.options.offline,
        };
        self.schedule.set(id, StageState::Running(reasons));
        let (sender, remotes) = (self.sender.clone(), self.remotes);
        let must_not_run = stage.frozen || self.options.locked;
        self.workers.start(self.schedule.working(), move || {
            let work = || context.obtain_result(&task, earlier, remotes, must_not_run);
            // Without this message the run would wait forever for a thread that has died.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
                let error =
                    Error::new(Kind::Bug, format!("lockstep itself failed while it worked on {}", task.address));
                Err(StageFailure::early(error))
            });
            let _ = sender.send(Message::Finished { id, result: Box::new(result) });
        });
    }

    /// Fetches missing inputs of a stage on a worker; afterwards the stage is decided again.
    pub(super) fn start_fetch(&mut self, id: StageId, inputs: Vec<MissingInput>) {
        let Some(remotes) = self.remotes else { return };
        let address = self.address(id);
        self.decide_after(id, Fetched::Inputs, move || remotes.fetch_inputs(&inputs, &address));
    }

    /// Fetches the listings of missing folders on a worker; afterwards the stage is decided again.
    pub(super) fn start_listing(&mut self, id: StageId, folders: Vec<MissingInput>) {
        let Some(remotes) = self.remotes else { return };
        let address = self.address(id);
        self.decide_after(id, Fetched::Listings, move || {
            remotes.fetch_listings(&folders, &address);
            Ok(())
        });
    }

    fn decide_after(&mut self, id: StageId, fetched: Fetched, work: impl FnOnce() -> Result<()> + Send + 's) {
        self.schedule.set(id, StageState::Fetching(fetched));
        let (sender, address) = (self.sender.clone(), self.address(id));
        self.workers.start(self.schedule.working(), move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
                Err(Error::new(Kind::Bug, format!("lockstep itself failed while it fetched the inputs of {address}")))
            });
            let _ = sender.send(Message::InputsFetched { id, result });
        });
    }

    /// Preparation before the first command: writes ignore files and starts the watchdog. Returns whether an ignore
    /// file was written.
    pub(super) fn prepare(&mut self) -> Result<bool> {
        if self.watchdog.is_some() {
            return Ok(false);
        }
        let files = gitignore::files_of(self.definitions(), self.schedule.stages());
        let ignored = gitignore::write(self.project(), self.definitions(), &self.workspace.locks, &files)?;
        let wrote = !ignored.written.is_empty();
        self.outcome.written.extend(ignored.written);
        self.pending_ignore_lines = ignored.missing;
        let lock = self.project().state_dir().join("watchdog");
        let withheld = self.project().around.env.keys().filter(|name| is_withheld(name));
        self.watchdog = Some(Arc::new(Watchdog::start(&self.project().around.program, &lock, withheld)?));
        Ok(wrote)
    }
}
