//! One `repro`: this thread owns all state; workers run stages and send messages back.
//!
//! The schedule gives the next stage to decide. Its facts are read and judged, and the stage is up to date, restored or
//! run. A finished stage goes to the recorder while the stages that need it may already start. At the end the journal
//! is folded into the locks.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink, StageResult};
use crate::pipeline::stage::{Stage, StageId};
use crate::plan::facts::IgnoreRules;
use crate::plan::hidden_edges::HiddenEdges;
use crate::plan::programs::Programs;
use crate::plan::schedule::{Schedule, StageState};
use crate::plan::select::Selection;
use crate::project::{Definitions, Project};
use crate::run::announce::announce;
use crate::run::options::RunOptions;
use crate::run::outcome::Outcome;
use crate::run::pull::RunRemotes;
use crate::run::record::{self, Recorder};
use crate::run::state::{Message, Run};
use crate::run::workers::Workers;
use crate::run::{data, dry, stale_count};
use crate::store::ObjectId;
use crate::workspace::journal::Record;
use crate::workspace::logs::Logs;
use crate::workspace::orphans::orphans;
use crate::workspace::{Workspace, gitignore, worktree_lock};

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
    if options.dry {
        return dry::plan(project, definitions, selected, options, sink);
    }
    let logs = Logs::new(project.logs_dir());
    let trust = TrustPolicy::from_settings(project)?;
    if let Some(text) = trust.warning() {
        sink.event(Event::Warning { text });
    }
    let modes = &options.modes;
    let remotes = modes.remote.read.then(|| RunRemotes::new(project, definitions, &trust, modes.local.write, sink));
    let tools = Tools { options, signal, logs: &logs, trust: &trust, remotes: remotes.as_ref() };
    // Held until all threads of the run have ended, also if one of them panics.
    let lock = worktree_lock::take_unless(signal, project, &options.command, sink)?;
    let mut workspace = Workspace::within(&lock, project, definitions, sink)?;
    announce(project, definitions, &workspace.locks, selected, &mut workspace.reader, sink);
    let orphans = orphans(project, definitions, &workspace.locks);
    let stale_locks = workspace.stale_locks(&selected.files);
    let (workspace, records, mut outcome) = run_stages(workspace, selected, tools)?;
    let failed = outcome.failures().next().is_some() || outcome.interrupted.is_some();
    let tidy = if failed || options.locked { &[][..] } else { &stale_locks };
    outcome.written.extend(workspace.finish_run(records, tidy)?);
    outcome.orphans = orphans;
    outcome.written.sort();
    outcome.written.dedup();
    if options.count_unselected && !failed {
        outcome.stale_unselected = stale_count::count_unselected_stale(project, definitions, &selected.stages, sink)?;
        // What the count hashed is not hashed again by the next one.
        let _ = project.index().save();
    }
    Ok(outcome)
}

/// What a run borrows from its caller.
struct Tools<'a> {
    options: &'a RunOptions,
    signal: &'a AtomicI32,
    logs: &'a Logs,
    trust: &'a TrustPolicy,
    remotes: Option<&'a RunRemotes<'a>>,
}

/// Brings the selected stages up to date. The records are in the journal, and not yet in the locks.
fn run_stages<'a>(
    workspace: Workspace<'a>,
    selected: &Selection,
    tools: Tools<'a>,
) -> Result<(Workspace<'a>, Vec<Record>, Outcome)> {
    let Tools { options, signal, logs, trust, remotes } = tools;
    let (project, definitions, sink) = (workspace.project, workspace.definitions, workspace.sink);
    let (sender, inbox) = channel::<Message>();
    let (to_recorder, jobs) = channel();
    let mut journal = workspace.journal();
    std::thread::scope(|scope| {
        let answers = sender.clone();
        let recorder = scope.spawn(move || {
            let rules = IgnoreRules(&definitions.rules);
            let work = || record::serve(project, &rules, trust, sink, &mut journal, jobs, &answers);
            // Without this message the run would wait forever for a thread that has died.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                let _ = answers.send(Message::RecorderDied);
            }
        });
        let mut run = Run {
            workspace,
            options,
            signal,
            logs,
            trust,
            programs: Programs::load(project),
            hidden_edges: HiddenEdges::default(),
            remotes,
            schedule: Schedule::new(&definitions.graph, &selected.stages),
            forced: HashSet::new(),
            workers: Workers::new(scope),
            sender,
            inbox,
            recorder: Recorder::new(to_recorder),
            watchdog: None,
            stopping: false,
            pending_ignore_lines: gitignore::IgnoreLines::new(),
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
    })
}

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    fn drive(&mut self) {
        loop {
            while !self.stopping && self.schedule.working() < self.options.jobs {
                self.check_signal();
                match self.schedule.next_ready() {
                    Some(id) if !self.stopping => self.decide(id),
                    _ => break,
                }
            }
            // If no worker has a stage, all remaining work waits for the recorder.
            if self.schedule.working() == 0 && !self.recorder.flush() {
                break;
            }
            match self.inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Finished { id, result }) => {
                    // A signal that result the stage also ends the run, and is not a failure of the stage alone.
                    self.check_signal();
                    self.finished(id, *result);
                }
                Ok(Message::InputsFetched { id, result }) => {
                    self.check_signal();
                    self.workspace.reader.forget();
                    if let Some(StageState::Fetching(fetched)) = self.schedule.state(id) {
                        let fetched = *fetched;
                        self.schedule.set(id, StageState::Ready(fetched));
                    }
                    match result {
                        Ok(()) if !self.stopping => self.decide(id),
                        // Treated like a stage that was never reached.
                        Ok(()) => {}
                        Err(error) => self.fail(id, Vec::new(), error, None, 0.0),
                    }
                }
                Ok(Message::Recorded(recorded)) => self.recorded(*recorded),
                Ok(Message::RecorderDied) => {
                    self.stopping = true;
                    self.recorder.died();
                }
                Err(RecvTimeoutError::Timeout) => self.check_signal(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Errors: the recorder died, so it is unknown what was recorded. The next command recovers, as after a kill.
    fn finish(mut self) -> Result<(Workspace<'a>, Vec<Record>, Outcome)> {
        for id in self.schedule.left() {
            self.close(id, StageResult::Blocked, Vec::new(), 0.0);
        }
        self.recorder.close();
        if self.outcome.interrupted.is_some()
            && let Some(watchdog) = &self.watchdog
        {
            watchdog.hang_up();
        }
        self.watchdog = None;
        self.check_programs();
        if self.recorder.is_dead() {
            return Err(Error::new(Kind::Bug, "lockstep itself failed while it recorded what the stages made")
                .hint("run the same command again: what was recorded stays, the rest is run again"));
        }
        Ok((self.workspace, self.records, self.outcome))
    }

    /// Warns about stages that did not run and whose results were made by other programs than would run them now.
    fn check_programs(&mut self) {
        let definitions = self.definitions();
        let entries = |id: StageId| {
            let stage = definitions.pipelines.stage(id);
            self.workspace.locks.of_file(stage.file).stages.get(&stage.name).map(|entry| (id, stage, entry.key))
        };
        let up_to_date = self.outcome.stages.iter().filter(|stage| stage.result == StageResult::UpToDate);
        let runs: Vec<(StageId, &Stage, ObjectId)> = up_to_date.filter_map(|stage| entries(stage.id)).collect();
        for change in self.programs.changed_versions(runs.into_iter()) {
            self.sink().event(Event::Warning { text: &change.describe(|id| self.address(id)) });
        }
        let locked = self.workspace.locks.all.iter().flat_map(|lock| lock.stages.values()).map(|entry| entry.key);
        self.programs.save(&|| locked.clone().collect());
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
            if self.schedule.working() > 0 && number == 2 {
                self.sink().event(Event::Note { text: "stopping; press Ctrl-C again to kill what does not stop" });
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
