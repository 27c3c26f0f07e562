//! One `repro`: this thread owns all state; workers run stages and send messages back.
//!
//! The schedule gives the next stage to decide. Its facts are read and judged, and the stage is up to date, restored or
//! run. A finished stage goes to the recorder while the stages that need it may already start. At the end the journal
//! is folded into the locks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink, StageResult};
use crate::lock::StageLock;
use crate::pipeline::stage::{FileId, Stage, StageId};
use crate::plan::facts::{FactsReader, IgnoreRules};
use crate::plan::hidden_edges::HiddenEdges;
use crate::plan::locked_secrets;
use crate::plan::programs::Programs;
use crate::plan::reasons::{Facts, Reason};
use crate::plan::schedule::Schedule;
use crate::plan::select::Selection;
use crate::plan::stale_upstream;
use crate::project::{Definitions, Project};
use crate::run::execute::{Context, EarlierResult, StageFailure, Task};
use crate::run::options::RunOptions;
use crate::run::outcome::Outcome;
use crate::run::pull::{MissingInput, RunRemotes};
use crate::run::record;
use crate::run::state::{Message, Run};
use crate::run::watchdog::Watchdog;
use crate::run::workers::Workers;
use crate::run::{data, dry, stale_count};
use crate::secret::is_withheld;
use crate::store::ObjectId;
use crate::workspace::backup::Backups;
use crate::workspace::journal::{Journal, Record};
use crate::workspace::logs::Logs;
use crate::workspace::orphans::orphans;
use crate::workspace::recover::{Baseline, fold_run, has_stale_entries, overlay, recover, restore_backups};
use crate::workspace::{gitignore, worktree_lock};

/// Added to the signal number when the user sends a second signal: commands are killed instead of asked to stop.
pub const KILL: i32 = 1 << 16;

/// Reproduces the selected stages. `signal` becomes a signal number when the user wants to stop.
pub fn repro(
    project: &Project,
    definitions: &Definitions,
    selected: &Selection,
    options: &RunOptions,
    sink: &dyn Sink,
    signal: &AtomicI32,
) -> Result<Outcome> {
    let _lock = match options.dry {
        true => None,
        false => Some(worktree_lock::take_unless(signal, project, &options.command, sink)?),
    };
    let backups = Backups::for_project(project);
    if !options.dry {
        restore_backups(project, &backups, sink)?;
    }
    let mut reader = FactsReader::new(project, definitions, sink);
    let mut locks = project.locks(definitions)?;
    for text in &locked_secrets::warnings(project, definitions, &locks) {
        sink.event(Event::Warning { text });
    }
    sink.event(Event::RunStarted { stages: selected.stages.len() });
    reader.sweep(&selected.stages);
    stale_upstream::warn_of_stale(project, definitions, &locks, selected, &mut reader, sink);
    let mut journal = Journal::at(project.state_dir().join("journal"));
    if options.dry {
        overlay(project, definitions, &mut locks, &mut reader)?;
        return dry::plan(project, definitions, &locks, selected, options, &mut reader);
    }
    let mut written = recover(project, definitions, &mut locks, &mut reader, &mut journal, sink)?;
    let files = selected.stages.iter().map(|id| definitions.pipelines.stage(*id).file);
    // A lock that changes is read again before it is written; an unchanged lock is not written.
    let orphans = orphans(project, definitions, &locks);
    let has_stale_entries = |f: &FileId| has_stale_entries(definitions, &locks, *f);
    let stale_locks: Vec<FileId> = selected.files.iter().copied().filter(has_stale_entries).collect();
    let baseline = Baseline::capture(project, definitions, &locks, &written, files.collect(), &stale_locks)?;
    let logs = Logs::new(project.logs_dir());
    let trust = TrustPolicy::from_settings(project)?;
    if let Some(text) = trust.warning() {
        sink.event(Event::Warning { text });
    }
    let remotes = options
        .modes
        .remote
        .read
        .then(|| RunRemotes::new(project, definitions, &trust, options.modes.local.write, sink));
    let (sender, inbox) = channel::<Message>();
    let (to_recorder, jobs) = channel();
    let outcome = std::thread::scope(|scope| {
        let (answers, recorder_trust) = (sender.clone(), &trust);
        let recorder = scope.spawn(move || {
            let rules = IgnoreRules(&definitions.rules);
            let work = || record::serve(project, &rules, recorder_trust, sink, &mut journal, jobs, &answers);
            // Without this message the run would wait forever for a thread that has died.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                let _ = answers.send(Message::RecorderDied);
            }
        });
        let mut run = Run {
            project,
            definitions,
            options,
            sink,
            signal,
            backups: &backups,
            logs: &logs,
            trust: &trust,
            programs: Programs::load(project),
            hidden_edges: HiddenEdges::default(),
            remotes: remotes.as_ref(),
            fetch_requested: HashSet::new(),
            listing_requested: HashSet::new(),
            locks,
            reader,
            schedule: Schedule::new(&definitions.graph, &selected.stages),
            selected: selected.stages.iter().copied().collect(),
            workers: Workers::new(scope),
            sender,
            inbox,
            recorder: Some(to_recorder),
            watchdog: None,
            running_count: 0,
            recording_count: 0,
            recorder_died: false,
            stopping: false,
            prepared: false,
            forced: HashSet::new(),
            withdrawn: HashSet::new(),
            pending_ignore_lines: gitignore::IgnoreLines::new(),
            in_progress: HashMap::new(),
            records: Vec::new(),
            outcome: Outcome { stages: Vec::with_capacity(selected.stages.len()), ..Outcome::default() },
            head_commit: None,
            store_generation: project.store().generation(),
            interrupted_at: None,
            shell: project.shell(),
        };
        run.data(selected);
        run.drive();
        let finished = run.finish();
        let _ = recorder.join();
        finished
    });
    let (records, mut outcome) = outcome?;
    let failed = outcome.failures().next().is_some() || outcome.interrupted.is_some();
    let tidy = if failed || options.locked { &[][..] } else { &stale_locks };
    written.extend(fold_run(project, definitions, &baseline, records, tidy, sink)?);
    Journal::at(project.state_dir().join("journal")).clear()?;
    outcome.orphans = orphans;
    outcome.written.append(&mut written);
    outcome.written.sort();
    outcome.written.dedup();
    if options.count_unselected && !failed {
        outcome.stale_unselected = stale_count::count_unselected_stale(project, definitions, &selected.stages, sink)?;
    }
    let _ = project.index().save();
    Ok(outcome)
}

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    fn drive(&mut self) {
        loop {
            while !self.stopping && self.running_count < self.options.jobs {
                self.check_signal();
                match self.schedule.start_next() {
                    Some(id) if !self.stopping => self.decide(id),
                    _ => break,
                }
            }
            if self.running_count == 0 {
                if self.recording_count == 0 || self.recorder_died {
                    break;
                }
                // All remaining work waits for the recorder.
                if let Some(recorder) = &self.recorder {
                    let _ = recorder.send(record::RecorderMessage::Flush);
                }
            }
            match self.inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Finished { id, result }) => {
                    // A signal that result the stage also ends the run, and is not a failure of the stage alone.
                    self.check_signal();
                    self.finished(id, *result);
                }
                Ok(Message::InputsFetched { id, result }) => {
                    self.check_signal();
                    self.running_count -= 1;
                    self.reader.forget();
                    match result {
                        Ok(()) if !self.stopping => self.decide(id),
                        // Treated like a stage that was never reached.
                        Ok(()) => self.push(id, StageResult::Blocked, Vec::new(), 0.0),
                        Err(error) => self.fail(id, Vec::new(), error, None, 0.0),
                    }
                }
                Ok(Message::Recorded(recorded)) => self.recorded(*recorded),
                Ok(Message::RecorderDied) => (self.stopping, self.recorder_died) = (true, true),
                Err(RecvTimeoutError::Timeout) => self.check_signal(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Errors: the recorder died, so it is unknown what was recorded. The next command recovers, as after a kill.
    fn finish(mut self) -> Result<(Vec<Record>, Outcome)> {
        for id in self.schedule.left() {
            self.push(id, StageResult::Blocked, Vec::new(), 0.0);
        }
        self.recorder = None;
        if self.outcome.interrupted.is_some()
            && let Some(watchdog) = &self.watchdog
        {
            watchdog.hang_up();
        }
        self.watchdog = None;
        self.check_programs();
        if self.recorder_died {
            return Err(Error::new(Kind::Bug, "lockstep itself failed while it recorded what the stages made")
                .hint("run the same command again: what was recorded stays, the rest is run again"));
        }
        Ok((self.records, self.outcome))
    }

    /// Warns about stages that did not run and whose results were made by other programs than would run them now.
    fn check_programs(&mut self) {
        let definitions = self.definitions;
        let entries = |id: StageId| {
            let stage = definitions.pipelines.stage(id);
            self.locks.of_file(stage.file).stages.get(&stage.name).map(|entry| (id, stage, entry.key))
        };
        let up_to_date = self.outcome.stages.iter().filter(|stage| stage.result == StageResult::UpToDate);
        let runs: Vec<(StageId, &Stage, ObjectId)> = up_to_date.filter_map(|stage| entries(stage.id)).collect();
        for change in self.programs.changed_versions(runs.into_iter()) {
            self.sink.event(Event::Warning { text: &change.describe(|id| self.address(id)) });
        }
        let locked = self.locks.all.iter().flat_map(|lock| lock.stages.values()).map(|entry| entry.key);
        self.programs.save(&|| locked.clone().collect());
    }

    pub(super) fn stage(&self, id: StageId) -> &'a Stage {
        self.definitions.pipelines.stage(id)
    }

    pub(super) fn address(&self, id: StageId) -> String {
        self.definitions.pipelines.address(id, &self.project.cwd)
    }

    pub(super) fn entry(&self, id: StageId) -> Option<&StageLock> {
        let stage = self.stage(id);
        self.locks.of_file(stage.file).stages.get(&stage.name)
    }

    /// Pins and stores changed data that the selected stages need.
    fn data(&mut self, selected: &Selection) {
        match data::pin(self, selected) {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.send(job)),
            Err(error) => {
                self.outcome.errors.push(error);
                self.stopping = true;
            }
        }
    }

    pub(super) fn start(&mut self, id: StageId, facts: Facts, reasons: Vec<Reason>, earlier: EarlierResult) {
        if let Err(error) = self.hidden_edges.check(self.project, self.definitions, id, &facts.deps) {
            return self.refuse(id, error);
        }
        if let Err(error) = self.prepare() {
            self.stopping = true;
            return self.fail(id, reasons, error, None, 0.0);
        }
        let stage = self.stage(id);
        let precious = self.unsaved(stage, &facts);
        let mut reason = reasons.first().map(crate::workspace::status::sentence).unwrap_or_default();
        if reasons.len() > 1 {
            reason.push_str(&format!(", and {} more", reasons.len() - 1));
        }
        let address = self.address(id);
        let absent = self.missing_inputs(id);
        let task = Task { stage, address, facts: facts.clone(), precious, reason, absent };
        let context = Context {
            project: self.project,
            definitions: self.definitions,
            sink: self.sink,
            backups: self.backups,
            logs: self.logs,
            watchdog: self.watchdog.clone(),
            signal: self.signal,
            terminal: self.options.terminal.then_some(self.signal),
            alone: self.options.jobs == 1,
            stores: !self.options.no_commit,
            pass_env: &self.options.pass_env,
        };
        self.in_progress.insert(id, (reasons, facts));
        self.running_count += 1;
        let (sender, remotes) = (self.sender.clone(), self.remotes);
        let must_not_run = stage.frozen || self.options.locked;
        self.workers.start(self.running_count, move || {
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
    pub(super) fn start_fetch(&mut self, id: StageId, remotes: &'a RunRemotes<'a>, inputs: Vec<MissingInput>) {
        self.fetch_requested.insert(id);
        let address = self.address(id);
        self.decide_after(id, move || remotes.fetch_inputs(&inputs, &address));
    }

    /// Fetches the listings of missing folders on a worker; afterwards the stage is decided again.
    pub(super) fn start_listing(&mut self, id: StageId, remotes: &'a RunRemotes<'a>, folders: Vec<MissingInput>) {
        self.listing_requested.insert(id);
        let address = self.address(id);
        self.decide_after(id, move || {
            remotes.fetch_listings(&folders, &address);
            Ok(())
        });
    }

    fn decide_after(&mut self, id: StageId, work: impl FnOnce() -> Result<()> + Send + 's) {
        self.running_count += 1;
        let (sender, address) = (self.sender.clone(), self.address(id));
        self.workers.start(self.running_count, move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
                Err(Error::new(Kind::Bug, format!("lockstep itself failed while it fetched the inputs of {address}")))
            });
            let _ = sender.send(Message::InputsFetched { id, result });
        });
    }

    /// Preparation before the first command: writes ignore files and starts the watchdog. Returns whether an ignore
    /// file was written.
    pub(super) fn prepare(&mut self) -> Result<bool> {
        if self.prepared {
            return Ok(false);
        }
        let files = gitignore::files_of(self.definitions, self.selected.iter().copied());
        let ignored = gitignore::write(self.project, self.definitions, &self.locks, &files)?;
        let wrote = !ignored.written.is_empty();
        self.outcome.written.extend(ignored.written);
        self.pending_ignore_lines = ignored.missing;
        let lock = self.project.state_dir().join("watchdog");
        let withheld = self.project.around.env.keys().filter(|name| is_withheld(name));
        self.watchdog = Some(Arc::new(Watchdog::start(&self.project.around.program, &lock, withheld)?));
        self.prepared = true;
        Ok(wrote)
    }

    /// Passes the user's signal to every command. Commands that do not end within ten seconds, or that are still
    /// running at a second signal, are killed.
    fn check_signal(&mut self) {
        let number = self.signal.load(Ordering::SeqCst);
        if number == 0 {
            return;
        }
        self.stopping = true;
        let (number, at_once) = (number & !KILL, number & KILL != 0);
        if self.outcome.interrupted.is_none() {
            self.outcome.interrupted = Some(number);
            let signal = match number {
                1 => Signal::HUP,
                2 => Signal::INT,
                _ => Signal::TERM,
            };
            if let Some(watchdog) = &self.watchdog {
                watchdog.signal(signal);
            }
            if self.running_count > 0 && number == 2 {
                self.sink.event(Event::Note { text: "stopping; press Ctrl-C again to kill what does not stop" });
            }
            self.interrupted_at = Some(Instant::now());
        }
        let late = self.interrupted_at.is_some_and(|at| at.elapsed() > Duration::from_secs(10));
        if (late || at_once)
            && let Some(watchdog) = &self.watchdog
        {
            watchdog.kill();
        }
    }
}
