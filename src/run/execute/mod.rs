//! Runs one stage on a worker thread, from pinned inputs to pinned outputs.
//!
//! Old outputs are backed up, the commands run, inputs are read again, outputs are pinned. This module records nothing:
//! it returns either everything that recording needs, or a failure, after which the workspace holds the last good
//! outputs again.

mod environment;
mod pin;
mod resolve;
mod scratch;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Instant;

use crate::cache::entries::RunRecord;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::{Out, Stage};
use crate::plan::programs::find_file;
use crate::plan::reasons::Facts;
use crate::project::{Definitions, Project};
use crate::run::environment::Environment;
use crate::run::environments::EnteredEnvironment;
use crate::run::local::{self, CommandLog, Exit};
use crate::run::mask::Mask;
use crate::run::outcome::ResultSource;
use crate::run::pty::TerminalOwner;
use crate::run::pty::Tick;
use crate::run::pull::MissingInput;
use crate::run::watchdog::{Group, Watchdog};
use crate::shell::word;
use crate::store::{Pin, TrackedPath, unprotect};
use crate::workspace::backup::{Backup, Backups, move_to};
use crate::workspace::logs::{Logs, RunLog};

pub use self::pin::record_metrics;
pub use resolve::EarlierResult;

/// What a worker needs to know.
pub struct Context<'a> {
    pub project: &'a Project,
    pub definitions: &'a Definitions,
    pub sink: &'a dyn Sink,
    pub backups: Arc<Backups>,
    pub logs: &'a Logs,
    /// Ends the process groups of commands with the run.
    pub watchdog: Option<Arc<Watchdog>>,
    /// Becomes a signal number when the user wants to stop.
    pub signal: &'a AtomicI32,
    /// The stage owns the user's terminal while it runs; set when the user types Ctrl-C there.
    pub terminal: Option<&'a AtomicI32>,
    /// No other stage runs at the same time: output is passed on as raw bytes.
    pub alone: bool,
    /// Whether outputs are stored.
    pub stores: bool,
    /// Credentials that the user grants to stages that ask for them.
    pub pass_env: &'a [String],
    /// Tools that make environments must not use the network.
    pub offline: bool,
}

/// One stage to run or restore, with all that the worker needs.
pub struct Task<'a> {
    pub stage: &'a Stage,
    /// How the stage is named in messages.
    pub address: String,
    /// As pinned now; the run is recorded with these.
    pub facts: Facts,
    /// Outputs in the workspace that have no other copy.
    pub precious: Vec<RepoPath>,
    /// Why the stage is stale, in one line.
    pub reason: String,
    /// Missing inputs, fetched before a command starts.
    pub absent: Vec<MissingInput>,
}

/// A result to record.
pub struct FinishedStage {
    pub entry: StageLock,
    /// In the order of the stage's outs.
    pub pins: Vec<Option<Pin>>,
    pub seconds: f64,
    /// Backups of the outputs that it replaces.
    pub replaced: Vec<Backup>,
    /// The log folder of a run, or of a restore that replaced something.
    pub log: Option<RunLog>,
    pub how: Provenance,
}

/// Whether a result was made by a run or restored.
pub enum Provenance {
    Ran,
    /// With the record of the run that made the result, if known.
    Restored(Option<RunRecord>, ResultSource),
}

/// A failed stage; the workspace holds the last good outputs again.
pub struct StageFailure {
    pub error: Box<Error>,
    pub exit: Option<Exit>,
    pub seconds: f64,
    pub log: Option<RunLog>,
}

impl StageFailure {
    /// A failure before any command started.
    pub fn early(error: Error) -> StageFailure {
        StageFailure { error: Box::new(error), exit: None, seconds: 0.0, log: None }
    }
}

impl Context<'_> {
    /// Runs the commands of a stage.
    fn run(&self, task: &Task) -> Result<FinishedStage, StageFailure> {
        let variables = &self.project.around.env;
        let environment = Environment::new(task.stage, &task.address, variables, self.pass_env);
        let environment = environment.map_err(StageFailure::early)?.without(self.project.repo.foreign_variables());
        let command = task.stage.cmd.join("\n");
        self.sink.event(Event::StageStarted { stage: &task.address, command: &command, reason: &task.reason });
        // Report an unusable shell or store before hours of work.
        self.project.config.shell_to_run().map_err(StageFailure::early)?;
        if self.stores {
            self.project.store().try_write().map_err(StageFailure::early)?;
        }
        let started = Instant::now();
        let early = |error| StageFailure { seconds: started.elapsed().as_secs_f64(), ..StageFailure::early(error) };
        let file = &self.definitions.pipelines.file(task.stage.file).path;
        let log = self.logs.start(file, &task.stage.name).map_err(early)?;
        let mut replaced = Vec::new();
        let result = self.in_environment(task, environment, &log, &mut replaced);
        let seconds = started.elapsed().as_secs_f64();
        let result = result.and_then(|exit| match exit {
            Exit::Fine => self.pin(task, &log).map(Ok),
            other => Ok(Err(other)),
        });
        let (error, exit) = match result {
            Ok(Ok((entry, pins))) => {
                self.empty_scratch(task);
                return Ok(FinishedStage { entry, pins, seconds, replaced, log: Some(log), how: Provenance::Ran });
            }
            Ok(Err(exit)) => (failed(task, exit), Some(exit)),
            Err(error) => (error, None),
        };
        let error = self.restore_backups(task, replaced, &log, error);
        Err(StageFailure { error: Box::new(error), exit, seconds, log: Some(log) })
    }

    fn set_aside(&self, task: &Task, replaced: &mut Vec<Backup>) -> Result<()> {
        for out in task.stage.outs.iter().filter(|o| !o.persist) {
            self.project.writable(&out.path)?;
            replaced.extend(self.backups.take(&out.path, task.precious.contains(&out.path))?);
        }
        Ok(())
    }

    fn commands(
        &self,
        task: &Task,
        environment: Environment,
        entered: Option<&EnteredEnvironment>,
        mask: Mask,
        log: &RunLog,
        output: &CommandLog,
    ) -> Result<Exit> {
        let stage = task.stage;
        let wdir = self.project.folder(&stage.wdir)?;
        if !wdir.is_dir() {
            return Err(Error::missing(format!(
                "the working folder {} of stage {} does not exist",
                stage.wdir, task.address
            ))
            .hint(format!("mkdir -p -- {}", word(stage.wdir.as_str()))));
        }
        // The link mode may have changed since: existing files may be hard links.
        for out in stage.outs.iter().filter(|o| o.persist) {
            unprotect(&self.project.writable(&out.path)?)?;
        }
        self.prepare_scratch(task, log)?;
        let shell = self.project.config.shell_to_run()?;
        let root = self.project.repo.project_root.on_disk(self.project.top()).to_string_lossy().into_owned();
        let mut env: Vec<(String, String)> = [("LOCKSTEP_ROOT", &root), ("DVC_ROOT", &root)]
            .into_iter()
            .chain([("LOCKSTEP_STAGE", &task.address), ("DVC_STAGE", &task.address)])
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        let folders = self.project.around.env.get("PATH").map(String::as_str);
        let Environment { seen, mut withheld } = environment;
        if let Some(entered) = entered {
            env.extend(entered.variables(folders));
            withheld.extend(entered.unset());
        }
        let line = |item: &String| match entered {
            Some(entered) => entered.command_line(shell, item),
            None => local::command_line(shell, item),
        };
        let commands = stage.cmd.iter().map(line).collect();
        let program = find_file(folders, &wdir, shell).map_or_else(|| shell.into(), |(path, _)| path);
        let owner =
            self.watchdog.clone().zip(self.terminal).map(|(watchdog, signal)| TerminalOwner { watchdog, signal });
        let watched = self.watchdog.as_ref().map(|w| Group::acquire(w, self.alone));
        let group = watched.as_ref().map_or(0, Group::id);
        let (terminal, signal) = (owner, self.signal);
        let raw = self.alone;
        let job = local::CommandJob {
            commands,
            program,
            wdir,
            env,
            withheld,
            log: output,
            mask,
            group,
            signal,
            terminal,
            raw,
        };
        let (mut warned, mut logged) = (false, false);
        let mut on_output = |bytes: &[u8]| {
            let stage = &task.address;
            self.sink.event(match self.alone {
                true => Event::StageBytes { bytes },
                false => Event::StageOutput { stage, line: bytes },
            });
        };
        let result = local::run(&job, &mut on_output, &mut |moment| {
            // Written while the command runs, so that the command does not wait for it.
            if !std::mem::replace(&mut logged, true)
                && let Err(e) =
                    self.logs.write_env(log, &seen).and_then(|()| log.write_replay(&job.wdir, &job.commands, &job.env))
            {
                self.sink.event(Event::Warning { text: &e.message });
            }
            if moment == Tick::Periodic
                && !warned
                && let Some(what) = self.changed_inputs(task)
            {
                warned = true;
                let text = format!("{what} changed while stage {} reads it: the stage will fail", task.address);
                self.sink.event(Event::Warning { text: &text });
            }
        });
        self.sink.event(Event::CommandsOver { stage: &task.address });
        result
    }

    /// Moves the output of the failed command to its log folder and restores the last good outputs.
    fn restore_backups(&self, task: &Task, replaced: Vec<Backup>, log: &RunLog, mut error: Error) -> Error {
        if replaced.is_empty() {
            return error;
        }
        let mut back = Vec::new();
        for backup in replaced {
            let out = backup.out.clone();
            if let Err(e) = move_to_log(self.project, &out, log) {
                error = error.because(e.message);
                continue;
            }
            match backup.restore(self.project.writable_area()) {
                Ok(()) => {
                    if let Some(pin) = self.pin_before(task, &out) {
                        // If the index row cannot be refreshed, the next status hashes the file once more.
                        let _ = self.project.index().trust_returned(&TrackedPath::from(&out), &pin);
                    }
                    back.push(out.to_string());
                }
                Err(e) => error = error.because_of(e),
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

    fn pin_before(&self, task: &Task, path: &RepoPath) -> Option<Pin> {
        let at = task.stage.outs.iter().position(|o: &Out| o.path == *path)?;
        task.facts.outs.get(at).copied().flatten()
    }
}

/// Moves the content of an output's place to the log folder, unless a parent folder became a symlink.
pub fn move_to_log(project: &Project, out: &RepoPath, log: &RunLog) -> Result<()> {
    let place = project.writable(out)?;
    if fs::symlink_metadata(&place).is_ok() {
        move_to(&place, &log.kept(out))?;
    }
    Ok(())
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

/// The verb for `n` things.
pub fn is_are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}
