//! One stage, from pinned inputs to pinned outputs, on a thread of its own.
//!
//! Old outputs are set aside, the commands run, inputs are looked at again, outputs are pinned. Nothing is recorded
//! here: what comes back is either everything that recording needs, or a failure after which the workspace holds the
//! last good outputs again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::lock::{self, Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::{Out, Place, Stage};
use crate::project::{Definitions, Project};
use crate::run::aside::{Aside, Asides, move_to};
use crate::run::cache::RunRecord;
use crate::run::fresh::{self, Facts};
use crate::run::local::{self, Exit};
use crate::run::logs::{Logs, RunLog};
use crate::run::look::{look, spot};
use crate::run::outcome::Source;
use crate::run::pty::Owner;
use crate::run::pull::{Input, Pull};
use crate::run::restore::restore;
use crate::run::watchdog::Watchdog;
use crate::store::{LinkType, ObjectId, Pin, Place as Spot, unprotect};

/// What a worker has to know.
pub struct Context<'a> {
    pub project: &'a Project,
    pub definitions: &'a Definitions,
    pub sink: &'a dyn Sink,
    pub asides: &'a Asides,
    pub logs: &'a Logs,
    /// Whose process group commands join.
    pub watchdog: Option<Arc<Watchdog>>,
    /// Becomes the number of a signal when the user wants an end.
    pub signal: &'a AtomicI32,
    /// The stage owns the user's terminal while it runs; a Ctrl-C that is typed then is noted here.
    pub terminal: Option<&'a AtomicI32>,
    /// No other stage runs: its output is handed on as it comes.
    pub alone: bool,
}

pub struct Task<'a> {
    pub stage: &'a Stage,
    /// How the stage is named in messages.
    pub address: String,
    /// As pinned now; the run is recorded against these.
    pub facts: Facts,
    /// What the lock says of it so far.
    pub old: Option<StageLock>,
    /// Outputs in the workspace that exist nowhere else.
    pub precious: Vec<RepoPath>,
    /// Why it is stale, in a line.
    pub reason: String,
    /// Inputs that are not here yet; fetched before a command starts.
    pub absent: Vec<Input>,
}

/// Where an earlier result of a stage may come from, instead of running it.
pub enum Candidate {
    /// It has to run.
    None,
    /// An entry whose outputs are all here, with the record of its run where that is known.
    Here(Box<StageLock>, Option<RunRecord>),
    /// Nothing here: a remote may have what the lock pins, or a result under this key.
    Elsewhere { locked: Option<Box<StageLock>>, key: Option<ObjectId> },
}

impl Candidate {
    /// The entry that would be restored, as far as that is known.
    pub fn entry(&self) -> Option<&StageLock> {
        match self {
            Candidate::Here(entry, _) => Some(entry),
            Candidate::Elsewhere { locked, .. } => locked.as_deref(),
            Candidate::None => None,
        }
    }
}

/// A result to be recorded.
pub struct Done {
    pub entry: StageLock,
    /// In the order of the stage's outs.
    pub pins: Vec<Option<Pin>>,
    pub seconds: f64,
    /// The outputs that it replaces.
    pub replaced: Vec<Aside>,
    /// Of a run, or of a restore that replaced something.
    pub log: Option<RunLog>,
    pub how: How,
}

pub enum How {
    Ran,
    /// With the record of the run whose result it is, where that is known.
    Restored(Option<RunRecord>, Source),
}

pub struct Failure {
    pub error: Error,
    pub exit: Option<Exit>,
    pub seconds: f64,
    pub log: Option<RunLog>,
}

impl Failure {
    /// Before any command was started.
    pub fn early(error: Error) -> Failure {
        Failure { error, exit: None, seconds: 0.0, log: None }
    }
}

impl Context<'_> {
    /// Brings a stage to its result: restores an earlier one, from here or from a remote, or runs it.
    pub fn reach(
        &self,
        task: &Task,
        candidate: Candidate,
        pull: Option<&Pull>,
        must_not_run: bool,
    ) -> Result<Done, Failure> {
        let (entry, record, from) = match candidate {
            Candidate::None => (None, None, Source::Local),
            Candidate::Here(entry, record) => (Some(*entry), record, Source::Local),
            Candidate::Elsewhere { locked, key } => {
                let locked = locked.map(|entry| *entry);
                let ask = |pull: &Pull| pull.result(task.stage, &task.address, &task.facts, locked, key.as_ref());
                let (entry, record) = pull.and_then(ask).unzip();
                (entry, record.flatten(), Source::Remote)
            }
        };
        let Some(entry) = entry else {
            return if must_not_run {
                Err(Failure::early(lost(task, pull.is_some())))
            } else {
                self.run_here(task, pull)
            };
        };
        match self.restore(task, entry, record, from) {
            Ok(done) => Ok(done),
            Err(error) if must_not_run => Err(Failure::early(error)),
            Err(error) => {
                let text = format!("an earlier result of {} cannot be restored: {}", task.address, error.message);
                self.sink.event(Event::Warning { text: &text });
                self.run_here(task, pull)
            }
        }
    }

    /// Runs a stage, with what it reads brought here first.
    fn run_here(&self, task: &Task, pull: Option<&Pull>) -> Result<Done, Failure> {
        // Nothing was had because the user wants an end.
        self.project.around.stop.check().map_err(Failure::early)?;
        if let Some(pull) = pull.filter(|_| !task.absent.is_empty()) {
            pull.bring(&task.absent, &task.address).map_err(Failure::early)?;
            self.project.around.stop.check().map_err(Failure::early)?;
        }
        let is_gone = |input: &&Input| fs::symlink_metadata(input.path.on_disk(self.project.top())).is_err();
        if let Some(gone) = task.absent.iter().find(is_gone) {
            let error = Error::missing(format!("stage {} needs {}, which does not exist", task.address, gone.path));
            return Err(Failure::early(match pull {
                Some(_) => error.because("no remote has it").hint("make it again: lockstep repro"),
                None => error.hint("bring it back: lockstep checkout, or lockstep pull"),
            }));
        }
        // What was assumed of what is here now: better told before hours of work than after.
        if !task.absent.is_empty()
            && let Some(what) = self.changed_inputs(task)
        {
            let what =
                format!("{what} of stage {} is not what pipeline.lock says, now that all of it is here", task.address);
            return Err(Failure::early(Error::new(Kind::Check, what).hint("run the same command again")));
        }
        self.run(task)
    }

    /// Runs the commands of a stage.
    fn run(&self, task: &Task) -> Result<Done, Failure> {
        let command = task.stage.cmd.join("\n");
        self.sink.event(Event::StageStarted { stage: &task.address, command: &command, reason: &task.reason });
        let started = Instant::now();
        let early = |error| Failure { error, exit: None, seconds: started.elapsed().as_secs_f64(), log: None };
        let file = &self.definitions.pipelines.file(task.stage.file).path;
        let log = self.logs.start(file, &task.stage.name).map_err(early)?;
        let mut replaced = Vec::new();
        let ended = self.set_aside(task, &mut replaced).and_then(|()| self.commands(task, &log));
        let seconds = started.elapsed().as_secs_f64();
        let ended = ended.and_then(|exit| match exit {
            Exit::Fine => self.pin(task, &log).map(Ok),
            other => Ok(Err(other)),
        });
        let (error, exit) = match ended {
            Ok(Ok((entry, pins))) => {
                self.empty_scratch(task);
                return Ok(Done { entry, pins, seconds, replaced, log: Some(log), how: How::Ran });
            }
            Ok(Err(exit)) => (failed(task, exit), Some(exit)),
            Err(error) => (error, None),
        };
        let error = self.put_back(task, replaced, &log, error);
        Err(Failure { error, exit, seconds, log: Some(log) })
    }

    /// Restores an earlier result: every object is checked before the workspace is touched.
    fn restore(&self, task: &Task, entry: StageLock, record: Option<RunRecord>, from: Source) -> Result<Done> {
        let started = Instant::now();
        let mut pins: Vec<Option<Pin>> =
            task.stage.outs.iter().map(|o| entry.outs.get(&o.spelled).map(|o| o.pin)).collect();
        if task.stage.frozen {
            // Frozen means hands off: what is there stays, edited or not, and is not stored under another's pin.
            let here = |(pin, now): (&mut Option<Pin>, &Option<Pin>)| now.is_some().then(|| pin.take());
            pins.iter_mut().zip(&task.facts.outs).filter_map(here).for_each(drop);
        }
        let file = &self.definitions.pipelines.file(task.stage.file).path;
        let mut replaced = Vec::new();
        let mut log = None;
        for ((out, pin), now) in task.stage.outs.iter().zip(&pins).zip(&task.facts.outs) {
            let Some(pin) = pin else { continue };
            if now.is_some_and(|now| now.id == pin.id && now.executable == pin.executable) {
                continue;
            }
            let one = (|| {
                crate::store::inside(self.project.top(), &out.path)?;
                // What the store has too is replaced in one step; the rest is somebody's only copy.
                if task.precious.contains(&out.path) {
                    if log.is_none() {
                        log = Some(self.logs.start(file, &task.stage.name)?);
                    }
                    replaced.extend(self.asides.take(&out.path, true)?);
                }
                restore(self.project, self.definitions, &out.path, pin, self.sink)
            })();
            if let Err(error) = one {
                for aside in replaced {
                    let place = aside.out.on_disk(self.project.top());
                    let _ = crate::store::remove(&place);
                    let _ = aside.put_back(self.project.top());
                }
                return Err(error);
            }
        }
        // The entry keeps the spelling that it has; how the command is written is taken from the definition.
        let entry = StageLock { cmd: fresh::command(task.stage), ..entry };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Done { entry, pins, seconds, replaced, log, how: How::Restored(record, from) })
    }

    fn set_aside(&self, task: &Task, replaced: &mut Vec<Aside>) -> Result<()> {
        for out in task.stage.outs.iter().filter(|o| !o.persist) {
            crate::store::inside(self.project.top(), &out.path)?;
            replaced.extend(self.asides.take(&out.path, task.precious.contains(&out.path))?);
        }
        Ok(())
    }

    fn commands(&self, task: &Task, log: &RunLog) -> Result<Exit> {
        let stage = task.stage;
        let wdir = self.project.folder(&stage.wdir)?;
        if !wdir.is_dir() {
            return Err(Error::missing(format!(
                "the working folder {} of stage {} does not exist",
                stage.wdir, task.address
            ))
            .hint(format!("mkdir -p {}", stage.wdir)));
        }
        if self.project.store().links().iter().any(|link| link == LinkType::Hardlink) {
            for out in stage.outs.iter().filter(|o| o.persist) {
                unprotect(&crate::store::inside(self.project.top(), &out.path)?)?;
            }
        }
        self.prepare_scratch(task, log)?;
        let shell = self.project.shell().unwrap_or_else(|| "sh".into());
        let root = self.project.repo.project_root.on_disk(self.project.top()).to_string_lossy().into_owned();
        let env: Vec<(String, String)> = [("LOCKSTEP_ROOT", &root), ("DVC_ROOT", &root)]
            .into_iter()
            .chain([("LOCKSTEP_STAGE", &task.address), ("DVC_STAGE", &task.address)])
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        let commands = stage.cmd.iter().map(|item| local::command_line(&shell, item)).collect();
        let owner = self.watchdog.clone().zip(self.terminal).map(|(watchdog, signal)| Owner { watchdog, signal });
        let group = self.watchdog.as_ref().map_or(0, |w| w.group());
        let (terminal, signal) = (owner, self.signal);
        let job = local::Job { commands, wdir, env, log: log.output(), group, signal, terminal, raw: self.alone };
        let inherited: Vec<String> = self.project.around.env.keys().cloned().collect();
        log.describe(&job.wdir, &job.commands, &job.env, &inherited)?;
        let mut told = false;
        let mut hear = |bytes: &[u8]| {
            let stage = &task.address;
            self.sink.event(match self.alone {
                true => Event::StageBytes { bytes },
                false => Event::StageOutput { stage, line: bytes },
            });
        };
        let ended = local::run(&job, &mut hear, &mut || {
            if !told && let Some(what) = self.changed_inputs(task) {
                told = true;
                let text = format!("{what} changed while stage {} reads it: the stage will fail", task.address);
                self.sink.event(Event::Warning { text: &text });
            }
        });
        self.sink.event(Event::CommandsOver { stage: &task.address });
        ended
    }

    /// The names of the inputs that are not what they were when the stage began.
    fn changed_inputs(&self, task: &Task) -> Option<String> {
        let asks: Vec<Spot> = task.stage.deps.iter().map(|d| spot(&d.place, self.project.top())).collect();
        let now = look(self.project, self.definitions, &asks, self.sink);
        let mut changed: Vec<String> = Vec::new();
        for ((dep, before), now) in task.stage.deps.iter().zip(&task.facts.deps).zip(now) {
            let same = match (before, now) {
                (Some(a), Ok(Some(b))) => a.id == b.id && a.executable == b.executable,
                _ => false,
            };
            if !same {
                changed.push(match &dep.place {
                    Place::Repo(path) => path.to_string(),
                    Place::Outside(path) | Place::Url(path) => path.clone(),
                });
            }
        }
        match read_params(&self.project.files(), task.stage, &mut ParamsCache::default()) {
            Ok(params) => {
                for (file, before) in &task.facts.params {
                    let same = match (before, params.get(file).and_then(Option::as_ref)) {
                        (Some(a), Some(b)) => {
                            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| v.same(w)))
                        }
                        (None, None) => true,
                        _ => false,
                    };
                    if !same {
                        changed.push(file.clone());
                    }
                }
            }
            Err(_) => changed.push("a params file".into()),
        }
        if changed.is_empty() { None } else { Some(changed.join(", ")) }
    }

    /// Looks at inputs again, and at outputs for the first time.
    fn pin(&self, task: &Task, log: &RunLog) -> Result<(StageLock, Vec<Option<Pin>>)> {
        let stage = task.stage;
        for out in &stage.outs {
            crate::store::inside(self.project.top(), &out.path)?;
        }
        let asks: Vec<Spot> = stage.outs.iter().map(|o| Spot::from(&o.path)).collect();
        let pins = look(self.project, self.definitions, &asks, self.sink).into_iter().collect::<Result<Vec<_>>>()?;
        if let Some((out, _)) = stage.outs.iter().zip(&pins).find(|(_, pin)| pin.is_none()) {
            let wrote = "its commands ended well, but wrote no such file or folder";
            return Err(Error::new(
                Kind::Stage,
                format!("stage {} did not make its output {}", task.address, out.path),
            )
            .because(wrote)
            .hint(format!("see what it did: lockstep logs {}", task.address)));
        }
        let mut entry = fresh::entry(stage, &self.project.shell(), &task.facts, &pins);
        record_metrics(self.project, stage, &mut entry);
        if let Some(changed) = self.changed_inputs(task) {
            let lock = Lock { stages: [(stage.name.clone(), entry)].into(), ..Lock::default() };
            let _ = fs::write(log.inputs(), lock::write(&lock));
            return Err(Error::new(
                Kind::Stage,
                format!("stage {} failed: {changed} changed while it ran", task.address),
            )
            .because("its result may belong to the old content or to the new, so nothing was recorded")
            .hint(format!("run it again: lockstep repro {}", task.address))
            .hint(format!(
                "or record what it made against the old content: lockstep commit --kept --force {}",
                task.address
            )));
        }
        Ok((entry, pins))
    }

    /// What the failed command left is kept in its log folder, and the last good outputs return.
    fn put_back(&self, task: &Task, replaced: Vec<Aside>, log: &RunLog, mut error: Error) -> Error {
        if replaced.is_empty() {
            return error;
        }
        let top = self.project.top();
        let mut back = Vec::new();
        for aside in replaced {
            let out = aside.out.clone();
            let place = out.on_disk(top);
            if fs::symlink_metadata(&place).is_ok()
                && let Err(e) = move_to(&place, &log.kept(&out))
            {
                error = error.because(e.message);
                continue;
            }
            match aside.put_back(top) {
                Ok(()) => {
                    if let Some(pin) = self.before(task, &out) {
                        // A row that cannot be refreshed costs a hash at the next look, nothing else.
                        let _ = self.project.index().trust_returned(&Spot::from(&out), &pin);
                    }
                    back.push(out.to_string());
                }
                Err(e) => error = error.because(e),
            }
        }
        if !back.is_empty() {
            let kept = if log.dir.join("kept").exists() {
                format!("; what the failed run left is in {}", log.dir.join("kept").display())
            } else {
                String::new()
            };
            error.hints.insert(0, format!("the last good {} {} back{kept}", back.join(", "), is_are(back.len())));
        }
        error
    }

    fn before(&self, task: &Task, path: &crate::path::RepoPath) -> Option<Pin> {
        let at = task.stage.outs.iter().position(|o: &Out| o.path == *path)?;
        task.facts.outs.get(at).copied().flatten()
    }

    /// Where the scratch folders' key is noted: they are emptied when another key runs.
    fn scratch_note(&self, task: &Task) -> std::path::PathBuf {
        let name = ObjectId::of(task.address.as_bytes()).hex();
        self.project.state_dir().join("scratch").join(&name[..32])
    }

    fn prepare_scratch(&self, task: &Task, log: &RunLog) -> Result<()> {
        if task.stage.scratch.is_empty() {
            return Ok(());
        }
        let key = fresh::entry(task.stage, &self.project.shell(), &task.facts, &[]).key.hex();
        let note = self.scratch_note(task);
        let noted = fs::read_to_string(&note).ok();
        if noted.as_deref() != Some(&key) {
            match noted {
                Some(_) => self.empty_scratch(task),
                None => self.keep_foreign_scratch(task, log)?,
            }
            if let Some(dir) = note.parent() {
                fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
            }
            fs::write(&note, key).map_err(|e| Error::io("write", &note, e))?;
        }
        for scratch in &task.stage.scratch {
            let dir = crate::store::inside(self.project.top(), &scratch.path)?;
            fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        }
        Ok(())
    }

    /// A scratch folder that no run of this stage has made may hold anything: it is kept, not emptied.
    fn keep_foreign_scratch(&self, task: &Task, log: &RunLog) -> Result<()> {
        for scratch in &task.stage.scratch {
            let dir = crate::store::inside(self.project.top(), &scratch.path)?;
            let holds_something = match fs::symlink_metadata(&dir) {
                Ok(m) if m.is_dir() => fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()),
                Ok(_) => true,
                Err(_) => false,
            };
            if holds_something {
                let kept = move_to(&dir, &log.kept(&scratch.path))?;
                let text = format!(
                    "{} was there before stage {} first used it as scratch; what it held is kept in {}",
                    scratch.path,
                    task.address,
                    kept.display()
                );
                self.sink.event(Event::Warning { text: &text });
            }
        }
        Ok(())
    }

    /// Only folders that a note tells to be the stage's own are emptied.
    fn empty_scratch(&self, task: &Task) {
        if task.stage.scratch.is_empty() || !self.scratch_note(task).exists() {
            return;
        }
        for scratch in &task.stage.scratch {
            let Ok(dir) = crate::store::inside(self.project.top(), &scratch.path) else { continue };
            if fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir()) {
                let _ = fs::remove_dir_all(&dir);
                let _ = fs::create_dir(&dir);
            }
        }
        let _ = fs::remove_file(self.scratch_note(task));
    }
}

/// Scalars of small metrics files go into the lock.
pub fn record_metrics(project: &Project, stage: &Stage, entry: &mut StageLock) {
    for out in stage.outs.iter().filter(|o| o.metric) {
        let Some(locked) = entry.outs.get_mut(&out.spelled) else { continue };
        if locked.pin.is_dir() || locked.pin.size > 64 * 1024 {
            continue;
        }
        let bytes = fs::read(out.path.on_disk(project.top())).unwrap_or_default();
        // What was written since it was pinned is not what was pinned.
        if ObjectId::of(&bytes) != locked.pin.id {
            continue;
        }
        if let Ok(value) = crate::value::read(out.path.as_str(), &bytes) {
            locked.metrics = lock::scalars(&value);
        }
    }
}

/// A stage that must not run has outputs missing that cannot be had.
fn lost(task: &Task, asked: bool) -> Error {
    let address = &task.address;
    let remote = if asked { ", and no remote has them either" } else { "" };
    if task.stage.frozen {
        let what = format!("stage {address} is frozen, and its outputs are neither in the workspace nor in the store");
        return Error::missing(what + remote).hint(format!("let it run again: lockstep unfreeze {address}"));
    }
    let what = format!("the outputs of stage {address} are missing, and neither the store nor the run cache has them");
    Error::missing(what + remote).hint("make them again: lockstep repro")
}

fn failed(task: &Task, exit: Exit) -> Error {
    let how = match exit {
        Exit::Signal(n) => match signal_hook::low_level::signal_name(n) {
            Some(name) => format!("was ended by {name}"),
            None => format!("was ended by signal {n}"),
        },
        Exit::Code(n) => format!("failed with exit code {n}"),
        Exit::Fine => "failed".into(),
    };
    let error = Error::new(Kind::Stage, format!("stage {} {how}", task.address));
    if exit == Exit::Code(127) {
        return error.hint("127 means that the shell did not find a command: is the environment active?");
    }
    error
}

pub fn is_are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}
