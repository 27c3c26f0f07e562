//! One `repro`: this thread owns all state, workers run stages and send messages back.
//!
//! The schedule says which stage may be decided next; its facts are looked at, judged, and it is up to date, restored
//! or run. A finished stage goes to the recorder, and what needs it may start meanwhile. At the end the journal is folded
//! into the locks.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::event::{Event, Sink, StageResult};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::{Stage, StageId};
use crate::project::{Definitions, Locks, Project};
use crate::run::aside::Asides;
use crate::run::cache::{self, RunRecord};
use crate::run::execute::{Context, Done, Failure, Task};
use crate::run::fold::{Began, fold_run, overlay, put_asides_back, recover};
use crate::run::fresh::{self, Facts, Reason, State, judge};
use crate::run::journal::{Change, Journal, Record};
use crate::run::local::Exit;
use crate::run::logs::Logs;
use crate::run::look::Look;
use crate::run::outcome::{Outcome, StageOutcome};
use crate::run::record::{self, Recorded};
use crate::run::schedule::Schedule;
use crate::run::select::Selected;
use crate::run::watchdog::Watchdog;
use crate::run::{data, dry, ignore, workspace};
use crate::store::{Ask, Pin};

/// How a run is asked for; what selects its stages stands in [`Selected`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub force: bool,
    /// What needs a stage that ran, runs too.
    pub force_downstream: bool,
    pub dry: bool,
    pub keep_going: bool,
    pub ignore_errors: bool,
    pub no_run_cache: bool,
    pub no_commit: bool,
    pub allow_missing: bool,
    pub locked: bool,
    /// How many stages at once; at least 1.
    pub jobs: usize,
    /// How long to wait for the workspace lock; `None` for ever.
    pub wait: Option<Duration>,
    /// The command as typed, for others who wait.
    pub command: String,
}

/// What reaches the main thread.
pub(super) enum Message {
    Finished { id: StageId, ended: Box<Result<Done, Failure>>, edited: Vec<RepoPath> },
    Recorded(Recorded),
}

impl From<Recorded> for Message {
    fn from(recorded: Recorded) -> Message {
        Message::Recorded(recorded)
    }
}

/// Reproduces what was selected. `signal` becomes the number of a signal when the user wants an end.
pub fn repro(
    project: &Project,
    definitions: &Definitions,
    selected: &Selected,
    options: &Options,
    sink: &dyn Sink,
    signal: &AtomicI32,
) -> Result<Outcome> {
    let _lock = match options.dry {
        true => None,
        false => Some(workspace::take_unless(signal, project, &options.command, options.wait, sink)?),
    };
    let asides = Asides::new(project.state_dir().join("aside"), project.top().to_path_buf());
    if !options.dry {
        put_asides_back(project, &asides, sink)?;
    }
    let mut look = Look::new(project, definitions, sink);
    let mut locks = project.locks(definitions)?;
    sink.event(Event::RunStarted { stages: selected.stages.len() });
    look.sweep(&selected.stages);
    let mut journal = Journal::at(project.state_dir().join("journal"));
    if options.dry {
        overlay(project, definitions, &mut locks, &mut look)?;
        return dry::plan(project, definitions, &locks, selected, options, &mut look);
    }
    let mut written = recover(project, definitions, &mut locks, &mut look, &mut journal, sink)?;
    let files = selected.stages.iter().map(|id| definitions.pipelines.stage(*id).file);
    let began = Began::now(project, definitions, &locks, files.chain(selected.files.iter().copied()).collect());
    let logs = Logs::new(project.logs_dir());
    let (sender, inbox) = channel::<Message>();
    let (to_recorder, jobs) = channel();
    let outcome = std::thread::scope(|scope| {
        let answers = sender.clone();
        let recorder = scope.spawn(move || record::serve(project, sink, &mut journal, jobs, &answers));
        let mut run = Run {
            project,
            definitions,
            options,
            sink,
            signal,
            asides: &asides,
            logs: &logs,
            locks,
            look,
            schedule: Schedule::new(&definitions.graph, &selected.stages),
            chosen: selected.stages.iter().copied().collect(),
            scope,
            sender,
            inbox,
            recorder: Some(to_recorder),
            watchdog: None,
            running: 0,
            recording: 0,
            stopping: false,
            prepared: false,
            forced: HashSet::new(),
            withdrawn: HashSet::new(),
            waiting: HashMap::new(),
            records: Vec::new(),
            outcome: Outcome::default(),
            commit: None,
            interrupted_at: None,
            shell: project.shell(),
        };
        run.data(selected);
        run.drive();
        let (records, outcome) = run.finish();
        let _ = recorder.join();
        (records, outcome)
    });
    let (records, mut outcome) = outcome;
    let failed = outcome.failures().next().is_some() || outcome.interrupted.is_some();
    let tidy = if failed { &[][..] } else { &selected.files };
    written.extend(fold_run(project, definitions, &began, records, tidy, sink)?);
    Journal::at(project.state_dir().join("journal")).clear()?;
    outcome.written.append(&mut written);
    outcome.written.sort();
    outcome.written.dedup();
    let _ = project.index().save();
    Ok(outcome)
}

/// The state of a run; one owner, this thread.
pub(super) struct Run<'s, 'e, 'a> {
    pub project: &'a Project,
    pub definitions: &'a Definitions,
    pub options: &'a Options,
    pub sink: &'a dyn Sink,
    signal: &'a AtomicI32,
    asides: &'a Asides,
    logs: &'a Logs,
    pub locks: Locks,
    pub look: Look<'a>,
    schedule: Schedule<'a>,
    chosen: HashSet<StageId>,
    scope: &'s Scope<'s, 'e>,
    sender: Sender<Message>,
    inbox: Receiver<Message>,
    recorder: Option<Sender<record::Job>>,
    watchdog: Option<Watchdog>,
    running: usize,
    recording: usize,
    /// Nothing new starts: a stage failed, or the user wants an end.
    stopping: bool,
    prepared: bool,
    /// Stages that run because one upstream did (`--force-downstream`).
    forced: HashSet<StageId>,
    /// Stages that need one whose result could not be recorded: their inputs went while they ran.
    withdrawn: HashSet<StageId>,
    /// Reasons of the stages that are running.
    waiting: HashMap<StageId, (Vec<Reason>, Facts)>,
    records: Vec<Record>,
    pub outcome: Outcome,
    commit: Option<Option<String>>,
    interrupted_at: Option<Instant>,
    shell: Option<String>,
}

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    fn drive(&mut self) {
        loop {
            while !self.stopping && self.running < self.options.jobs {
                self.check_signal();
                match self.schedule.next() {
                    Some(id) if !self.stopping => self.decide(id),
                    _ => break,
                }
            }
            if self.running == 0 && self.recording == 0 {
                break;
            }
            match self.inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Finished { id, ended, edited }) => self.finished(id, *ended, edited),
                Ok(Message::Recorded(recorded)) => self.recorded(recorded),
                Err(RecvTimeoutError::Timeout) => self.check_signal(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    fn finish(mut self) -> (Vec<Record>, Outcome) {
        for id in self.schedule.left() {
            self.push(id, StageResult::Blocked, Vec::new(), 0.0);
        }
        self.recorder = None;
        if self.outcome.interrupted.is_some()
            && let Some(watchdog) = &mut self.watchdog
        {
            watchdog.hang_up();
        }
        self.watchdog = None;
        (self.records, self.outcome)
    }

    pub(super) fn stage(&self, id: StageId) -> &'a Stage {
        self.definitions.pipelines.stage(id)
    }

    pub(super) fn address(&self, id: StageId) -> String {
        self.definitions.pipelines.address(id, &self.project.cwd)
    }

    fn entry(&self, id: StageId) -> Option<&StageLock> {
        let stage = self.stage(id);
        self.locks.of(stage.file).stages.get(&stage.name)
    }

    /// Pins and stores changed data that the selected stages need.
    fn data(&mut self, selected: &Selected) {
        match data::pin(self, selected) {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.send(job)),
            Err(error) => {
                self.outcome.errors.push(error);
                self.stopping = true;
            }
        }
    }

    fn decide(&mut self, id: StageId) {
        let facts = match self.look.facts(id) {
            Ok(facts) => facts,
            Err(error) => return self.fail(id, Vec::new(), error, None, 0.0),
        };
        let stage = self.stage(id);
        let mut reasons = judge(stage, &self.shell, &facts, self.entry(id));
        if self.options.allow_missing {
            self.excuse_missing(id, &mut reasons);
        }
        if stage.frozen {
            return self.frozen(id, facts, reasons);
        }
        if self.options.locked && reasons.iter().any(|r| r.is_input() && *r != Reason::Always) {
            self.outcome.stale.push(id);
            self.push(id, StageResult::Skipped, reasons, 0.0);
            return self.schedule.done(id);
        }
        if self.options.locked && reasons.contains(&Reason::Always) {
            self.push(id, StageResult::Skipped, reasons, 0.0);
            return self.schedule.done(id);
        }
        if self.options.force || self.forced.contains(&id) {
            reasons.push(Reason::Forced);
        }
        if reasons.is_empty() {
            return self.up_to_date(id, facts);
        }
        if let Some(error) = self.missing_input(id, &facts) {
            return self.fail(id, reasons, error, None, 0.0);
        }
        let candidate = self.candidate(id, &facts, &reasons);
        if self.options.locked && candidate.is_none() {
            let error = Error::missing(format!(
                "the outputs of stage {} are missing, and neither the store nor the run cache has them",
                self.address(id)
            ));
            return self.fail(
                id,
                reasons,
                error.hint("fetch them: lockstep pull, or make them: lockstep repro"),
                None,
                0.0,
            );
        }
        self.start(id, facts, reasons, candidate);
    }

    /// With `--allow-missing` data that is merely gone is no reason.
    fn excuse_missing(&self, id: StageId, reasons: &mut Vec<Reason>) {
        let stage = self.stage(id);
        reasons.retain(|reason| match reason {
            Reason::Out { state: State::Deleted, .. } => false,
            Reason::Dep { path, state: State::Deleted, old: Some(old), .. } => {
                let dep = stage.deps.iter().find(|d| d.spelled == *path);
                match dep.and_then(|d| self.locked_out(d)) {
                    Some(pin) => pin.id != old.id,
                    None => false,
                }
            }
            _ => true,
        });
    }

    /// What the lock says of a dep that is the output of a stage.
    fn locked_out(&self, dep: &crate::pipeline::stage::Dep) -> Option<Pin> {
        let crate::pipeline::stage::Place::Repo(path) = &dep.place else { return None };
        let producer = self.definitions.graph.producer(path)?;
        let at = self.stage(producer).outs.iter().find(|o| o.path == *path)?;
        Some(self.entry(producer)?.outs.get(&at.spelled)?.pin)
    }

    fn frozen(&mut self, id: StageId, facts: Facts, reasons: Vec<Reason>) {
        let gone = facts.outs.iter().any(Option::is_none) && !self.options.allow_missing;
        match (gone, self.entry(id).cloned()) {
            (false, _) => {
                self.push(id, StageResult::Skipped, Vec::new(), 0.0);
                self.schedule.done(id);
            }
            (true, Some(entry)) if self.is_complete(id, &entry, &facts) => {
                // What is there stays, edited or not: frozen means hands off.
                self.start(id, facts, reasons, Some((entry, None)));
            }
            (true, _) => {
                let error = Error::missing(format!(
                    "stage {} is frozen, and its outputs are neither in the workspace nor in the store",
                    self.address(id)
                ));
                let error = error.hint(format!("let it run again: lockstep unfreeze {}", self.address(id)));
                self.fail(id, reasons, error, None, 0.0);
            }
        }
    }

    fn up_to_date(&mut self, id: StageId, facts: Facts) {
        let stage = self.stage(id);
        if !self.options.no_commit
            && !self.options.allow_missing
            && let Some(store) = self.not_stored(stage, &facts)
        {
            self.send(record::Job { stage: Some(id), store, run: None, record: None, replaced: vec![], log: None });
        }
        self.push(id, StageResult::UpToDate, Vec::new(), 0.0);
        self.schedule.done(id);
    }

    /// Outputs that are intact in the workspace and that the store lost.
    fn not_stored(&self, stage: &Stage, facts: &Facts) -> Option<Vec<(RepoPath, Pin)>> {
        let (index, store) = (self.project.index(), self.project.store());
        let generation = store.generation().ok();
        let mut missing = Vec::new();
        for (out, pin) in stage.outs.iter().zip(&facts.outs) {
            let Some(pin) = pin else { continue };
            let ask = Ask::repo(&out.path);
            if generation.is_some_and(|generation| index.is_stored(&ask, pin, generation)) {
                continue;
            }
            if store.contains(pin).unwrap_or(false) {
                if let Some(generation) = generation {
                    index.mark_stored(&ask, pin, generation);
                }
            } else {
                missing.push((out.path.clone(), *pin));
            }
        }
        if missing.is_empty() { None } else { Some(missing) }
    }

    fn missing_input(&self, id: StageId, facts: &Facts) -> Option<Error> {
        let stage = self.stage(id);
        if let Some((dep, _)) = stage.deps.iter().zip(&facts.deps).find(|(_, pin)| pin.is_none()) {
            let error =
                Error::missing(format!("stage {} needs {}, which does not exist", self.address(id), dep.spelled));
            return Some(match self.locked_out(dep) {
                Some(_) => error.hint("bring it back: lockstep checkout, or lockstep pull"),
                None => error.hint(format!("create it, or take it out of the deps of {}", stage.name)),
            });
        }
        for file in &stage.params {
            let Some(Some(values)) = facts.params.get(&file.spelled) else {
                return Some(Error::missing(format!(
                    "stage {} reads params of {}, which does not exist",
                    self.address(id),
                    file.spelled
                )));
            };
            let missing: Vec<&str> =
                file.keys.iter().flatten().filter(|k| !values.contains_key(*k)).map(String::as_str).collect();
            if !missing.is_empty() {
                let what =
                    format!("{} lacks {}, which stage {} reads", file.spelled, missing.join(", "), self.address(id));
                return Some(Error::usage(what).hint(format!("add the value to {}", file.spelled)));
            }
        }
        None
    }

    /// An earlier result that can be restored as a whole.
    fn candidate(&self, id: StageId, facts: &Facts, reasons: &[Reason]) -> Option<(StageLock, Option<RunRecord>)> {
        let stage = self.stage(id);
        if self.options.no_run_cache || reasons.contains(&Reason::Forced) || !cache::is_cacheable(stage) {
            return None;
        }
        let key = fresh::entry(stage, &self.shell, facts, &[]).key;
        let locked = self.entry(id).filter(|e| e.key == key && self.is_complete(id, e, facts)).cloned();
        let mut earlier = cache::get(self.project.store(), &key).into_iter().filter(|(e, _)| cache::fits(e, facts));
        match locked {
            Some(entry) => {
                let record = earlier.find(|(e, _)| e.outs == entry.outs).map(|(_, record)| record);
                Some((entry, record))
            }
            None => earlier.find(|(e, _)| self.is_complete(id, e, facts)).map(|(e, r)| (e, Some(r))),
        }
    }

    /// Is every output of this entry in the store, or still in its place?
    fn is_complete(&self, id: StageId, entry: &StageLock, facts: &Facts) -> bool {
        let stage = self.stage(id);
        stage.outs.iter().zip(&facts.outs).all(|(out, now)| {
            entry.outs.get(&out.spelled).is_some_and(|o| {
                let here = now.is_some_and(|now| now.id == o.pin.id && now.executable == o.pin.executable);
                here || self.project.store().contains(&o.pin).unwrap_or(false)
            })
        })
    }

    fn start(
        &mut self,
        id: StageId,
        facts: Facts,
        reasons: Vec<Reason>,
        candidate: Option<(StageLock, Option<RunRecord>)>,
    ) {
        if let Err(error) = self.prepare() {
            self.stopping = true;
            return self.fail(id, reasons, error, None, 0.0);
        }
        let stage = self.stage(id);
        let task = Task { stage, address: self.address(id), facts: facts.clone(), old: self.entry(id).cloned() };
        if candidate.is_none() {
            let told = reasons.first().map(crate::run::status::sentence).unwrap_or_default();
            let command = stage.cmd.join("\n");
            self.sink.event(Event::StageStarted { stage: &task.address, command: &command, reason: &told });
        }
        let edited = self.edited(stage, &facts, candidate.as_ref().map(|c| &c.0));
        let context = Context {
            project: self.project,
            definitions: self.definitions,
            sink: self.sink,
            asides: self.asides,
            logs: self.logs,
            group: self.watchdog.as_ref().map_or(0, Watchdog::group),
            signal: self.signal,
        };
        self.waiting.insert(id, (reasons, facts));
        self.running += 1;
        let sender = self.sender.clone();
        let must_not_run = stage.frozen || self.options.locked;
        self.scope.spawn(move || {
            let ended = match candidate {
                Some((entry, record)) => context.restore(&task, entry, record).or_else(|error| {
                    let early = |error| Failure { error, exit: None, seconds: 0.0, log: None };
                    if must_not_run {
                        return Err(early(error));
                    }
                    let text = format!("an earlier result of {} cannot be restored: {}", task.address, error.message);
                    context.sink.event(Event::Warning { text: &text });
                    context.run(&task)
                }),
                None => context.run(&task),
            };
            let _ = sender.send(Message::Finished { id, ended: Box::new(ended), edited });
        });
    }

    /// Before the first command: ignore files, and the watchdog.
    fn prepare(&mut self) -> Result<()> {
        if self.prepared {
            return Ok(());
        }
        let written = ignore::write(self.project, self.definitions, &self.locks, &self.chosen)?;
        self.outcome.written.extend(written);
        let lock = self.project.state_dir().join("watchdog");
        self.watchdog = Some(Watchdog::start(&self.project.around.program, &lock)?);
        self.prepared = true;
        Ok(())
    }

    /// Outputs in the workspace that exist nowhere else: they are kept when they are replaced.
    fn edited(&self, stage: &Stage, facts: &Facts, new: Option<&StageLock>) -> Vec<RepoPath> {
        let locked = self.locks.of(stage.file).stages.get(&stage.name);
        let mut edited = Vec::new();
        for (out, pin) in stage.outs.iter().zip(&facts.outs) {
            let Some(pin) = pin else { continue };
            let is = |entry: Option<&StageLock>| {
                entry.and_then(|e| e.outs.get(&out.spelled)).is_some_and(|o| o.pin.id == pin.id)
            };
            if !is(locked) && !is(new) && !self.project.store().contains(pin).unwrap_or(false) {
                edited.push(out.path.clone());
            }
        }
        edited
    }

    fn finished(&mut self, id: StageId, ended: Result<Done, Failure>, edited: Vec<RepoPath>) {
        self.running -= 1;
        self.look.forget();
        let stage = self.stage(id);
        let done = match ended {
            Ok(done) => done,
            Err(failure) => {
                let (reasons, _) = self.waiting.remove(&id).unwrap_or_default();
                if self.withdrawn.contains(&id) {
                    // The failure is the one of the stage above, and has been told.
                    self.push(id, StageResult::Blocked, reasons, failure.seconds);
                    for blocked in self.schedule.failed(id) {
                        self.push(blocked, StageResult::Blocked, Vec::new(), 0.0);
                    }
                    return;
                }
                let tail = failure.log.as_ref().map(|log| log.tail(20)).unwrap_or_default();
                self.fail(id, reasons, failure.error, failure.exit, failure.seconds);
                if let Some(last) = self.outcome.stages.iter_mut().rfind(|s| s.id == id) {
                    last.tail = tail;
                }
                return;
            }
        };
        let file = &self.definitions.pipelines.file(stage.file).path;
        let old = self.entry(id).cloned();
        let run = match &done.restored {
            None if !self.options.no_commit && cache::is_cacheable(stage) => {
                let commit = self.commit.get_or_insert_with(|| self.project.repo.head().ok().flatten());
                Some(cache::record_now(self.project, done.seconds, commit))
            }
            _ => None,
        };
        let store = if self.options.no_commit {
            Vec::new()
        } else {
            stage.outs.iter().zip(&done.pins).filter_map(|(o, pin)| Some((o.path.clone(), (*pin)?))).collect()
        };
        let record = (old.as_ref() != Some(&done.entry) && !stage.frozen).then(|| Record {
            lock: Project::lock_path(file),
            change: Change::Stage {
                name: stage.name.clone(),
                old: old.map(Box::new),
                new: Box::new(done.entry.clone()),
            },
        });
        if !stage.frozen {
            self.locks.0[stage.file.0 as usize].stages.insert(stage.name.clone(), done.entry.clone());
        }
        let (result, saved) = match (&done.restored, stage.frozen) {
            (Some(record), _) => (StageResult::Restored, (record.seconds - done.seconds).max(0.0)),
            (None, _) if self.was_restored(&done) => (StageResult::Restored, 0.0),
            (None, _) => (StageResult::Ran, 0.0),
        };
        if self.options.force_downstream && result == StageResult::Ran {
            let below = self.below(id);
            self.forced.extend(below);
        }
        let (reasons, _) = self.waiting.remove(&id).unwrap_or_default();
        self.push(id, result, reasons, done.seconds);
        if let Some(last) = self.outcome.stages.last_mut() {
            last.saved = saved;
        }
        let replaced = done
            .replaced
            .into_iter()
            .map(|aside| {
                let precious = edited.contains(&aside.out);
                (aside, precious)
            })
            .collect();
        self.send(record::Job { stage: Some(id), store, run, record, replaced, log: Some(done.log) });
        self.schedule.done(id);
    }

    fn was_restored(&self, done: &Done) -> bool {
        done.log.dir == self.project.logs_dir() || !done.log.output().exists()
    }

    /// Everything that needs a stage, however far.
    fn below(&self, id: StageId) -> HashSet<StageId> {
        let mut found = HashSet::new();
        let mut heads = vec![id];
        while let Some(head) = heads.pop() {
            heads.extend(self.definitions.graph.downstream(head).iter().copied().filter(|down| found.insert(*down)));
        }
        found
    }

    fn send(&mut self, job: record::Job) {
        if let Some(record) = &job.record {
            self.records.push(record.clone());
        }
        self.recording += 1;
        if let Some(recorder) = &self.recorder {
            let _ = recorder.send(job);
        }
    }

    /// The recorder is done with a job. Where it failed, nothing refers to the result: the stage failed after all, and
    /// its old outputs return.
    fn recorded(&mut self, recorded: Recorded) {
        self.recording -= 1;
        let Recorded { job, result } = recorded;
        let Err(mut error) = result else { return };
        self.stopping = true;
        if let Some(record) = &job.record {
            self.records.retain(|r| r != record);
        }
        for (aside, _) in job.replaced {
            let out = aside.out.clone();
            let place = out.on_disk(self.project.top());
            if let Some(log) = &job.log
                && std::fs::symlink_metadata(&place).is_ok()
                && let Err(e) = crate::run::aside::move_to(&place, &log.kept(&out))
            {
                error = error.because(e.message);
                continue;
            }
            match aside.put_back(self.project.top()) {
                Ok(()) => error = error.hint(format!("the last good {out} is back")),
                Err(e) => error = error.because(e),
            }
        }
        match job.stage {
            Some(id) => {
                let below = self.below(id);
                self.withdrawn.extend(below);
                let address = self.address(id);
                let mut told = Error::new(error.kind, format!("the result of stage {address} could not be recorded"));
                told.causes.push(error.message);
                told.causes.extend(error.causes);
                told.hints = error.hints;
                if let Some(outcome) = self.outcome.stages.iter_mut().rfind(|s| s.id == id) {
                    outcome.result = StageResult::Failed;
                    outcome.error = Some(told);
                }
            }
            None => self.outcome.errors.push(error),
        }
    }

    fn fail(&mut self, id: StageId, reasons: Vec<Reason>, error: Error, exit: Option<Exit>, seconds: f64) {
        self.push(id, StageResult::Failed, reasons, seconds);
        if let Some(last) = self.outcome.stages.last_mut() {
            last.exit = match exit {
                Some(Exit::Code(n)) => Some(n),
                Some(Exit::Signal(n)) => Some(128 + n),
                _ => None,
            };
            last.error = Some(error);
        }
        if self.options.ignore_errors {
            return self.schedule.done(id);
        }
        for blocked in self.schedule.failed(id) {
            self.push(blocked, StageResult::Blocked, Vec::new(), 0.0);
        }
        if !self.options.keep_going {
            self.stopping = true;
        }
    }

    fn push(&mut self, id: StageId, result: StageResult, reasons: Vec<Reason>, seconds: f64) {
        let quiet = matches!(result, StageResult::UpToDate);
        if !quiet {
            let address = self.address(id);
            self.sink.event(Event::StageFinished { stage: &address, result, seconds });
        } else {
            self.sink.event(Event::StageFinished { stage: "", result, seconds });
        }
        self.outcome.stages.push(StageOutcome {
            id,
            result,
            reasons,
            seconds,
            saved: 0.0,
            error: None,
            exit: None,
            tail: Vec::new(),
        });
    }

    /// The user's signal goes to every command; whoever does not end within ten seconds is killed.
    fn check_signal(&mut self) {
        let number = self.signal.load(Ordering::SeqCst);
        if number == 0 {
            return;
        }
        self.stopping = true;
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
            self.interrupted_at = Some(Instant::now());
        } else if self.interrupted_at.is_some_and(|at| at.elapsed() > Duration::from_secs(10))
            && let Some(watchdog) = &self.watchdog
        {
            watchdog.kill();
        }
    }
}
