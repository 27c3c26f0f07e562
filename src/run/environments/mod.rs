//! Makes environments, and lets stages run in them. What they resolve to, and their folders: [`crate::environment`].
//!
//! A stage holds the shared lock of its environment while its commands run. A missing, incomplete or damaged one is made
//! first, under the exclusive lock: in its final folder, since a virtual environment cannot be moved. The record is
//! written last, after all files are on the disk. Another process that wants the same one waits and finds it made.

mod build;
mod remove;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use crate::environment::interpreter::Pythons;
use crate::environment::lock::{self, EnvironmentLockFile};
use crate::environment::record::{Record, folder_of};
use crate::environment::resolve::ResolvedEnvironment;
use crate::environment::{State, check};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::file_lock::{Mode, Wait};
use crate::pipeline::stage::EnvironmentSource;
use crate::project::{Definitions, Project};
use crate::run::local::{self, CommandLog};
use crate::run::mask::Mask;
use crate::run::watchdog::Watchdog;

pub use remove::{Removal, all, remove};

/// How often a stage makes its environment if others remove it at the same time.
const MOST_TRIES: usize = 5;

/// Makes environments.
pub struct EnvironmentMaker<'a> {
    pub project: &'a Project,
    pub definitions: &'a Definitions,
    pub sink: &'a dyn Sink,
    /// Ends the process groups of commands with the run.
    pub watchdog: Option<Arc<Watchdog>>,
    /// Becomes a signal number when the user wants to stop.
    pub signal: &'a AtomicI32,
    /// No stage runs at the same time.
    pub alone: bool,
    /// Tools must not use the network.
    pub offline: bool,
}

/// What the commands that make an environment need.
pub struct BuildSurroundings<'a> {
    /// The stage or environment in events.
    pub address: &'a str,
    /// Variables that the commands do not see.
    pub withheld: &'a [String],
    pub mask: &'a Mask,
    pub log: &'a CommandLog,
}

/// An environment that a stage runs in; locked until this is dropped.
pub struct EnteredEnvironment {
    folder: PathBuf,
    source: EnvironmentSource,
    /// For the log: `environment py (uv, python 3.11.7, 0123456789ab)`.
    pub title: String,
    _lock: EnvironmentLockFile,
}

impl EnvironmentMaker<'_> {
    /// Locks an environment for a stage, and makes it first if need be.
    ///
    /// Errors ([`Kind::Stage`]): it cannot be made.
    pub fn enter(
        &self,
        environment: &ResolvedEnvironment,
        surroundings: &BuildSurroundings<'_>,
    ) -> Result<EnteredEnvironment> {
        let (environments, hash) = (self.project.repo.environments_dir(), &environment.lock.hash);
        for _ in 0..MOST_TRIES {
            let held = self.lock(environment, Mode::Shared)?;
            if let State::Built(record) = check(&environments, hash) {
                return Ok(EnteredEnvironment {
                    folder: folder_of(&environments, hash),
                    source: environment.spec.source.clone(),
                    title: title(environment, &record),
                    _lock: held,
                });
            }
            drop(held);
            self.make(environment, surroundings, false)?;
        }
        let name = &environment.spec.name;
        Err(Error::new(
            Kind::Stage,
            format!("environment {name} is removed or changed by another process all the time"),
        ))
    }

    /// Makes an environment unless it is made; `again` also then. Returns whether it did something.
    pub fn make(
        &self,
        environment: &ResolvedEnvironment,
        surroundings: &BuildSurroundings<'_>,
        again: bool,
    ) -> Result<bool> {
        let (environments, hash) = (self.project.repo.environments_dir(), &environment.lock.hash);
        let held = self.lock(environment, Mode::Exclusive)?;
        let state = check(&environments, hash);
        let why = match &state {
            State::Built(_) if !again => return Ok(false),
            State::Damaged(why) => format!(", because {why}"),
            State::Incomplete => ", because it was not finished".into(),
            State::Built(_) | State::Missing => String::new(),
        };
        let text = format!("making environment {} ({}){why}", environment.spec.name, describe(environment));
        self.sink.event(Event::Note { text: &text });
        surroundings.log.write_line(&format!("lockstep: {text}"))?;
        remove::clear(&environments, hash)?;
        let made = self.build(environment, surroundings);
        if made.is_err() {
            // The error of the commands says more than one of this.
            let _ = remove::clear(&environments, hash);
        }
        drop(held);
        made.map(|()| true)
    }

    fn lock(&self, environment: &ResolvedEnvironment, mode: Mode) -> Result<EnvironmentLockFile> {
        let name = &environment.spec.name;
        let busy = match mode {
            Mode::Shared => format!("makes or removes environment {name}"),
            Mode::Exclusive => format!("makes environment {name}, or runs a stage in it"),
        };
        let stop = self.project.around.stop;
        let wait = Wait { busy: &busy, usual: None, signal: &|| stop.signal(), sink: self.sink };
        lock::lock(&self.project.repo.environments_dir(), &environment.lock.hash, mode, &wait)
    }

    fn pythons(&self) -> Pythons {
        Pythons::new(&self.project.around.env, self.project.around.home.as_deref())
    }
}

/// `uv, python 3.11, 0123456789ab`.
fn describe(environment: &ResolvedEnvironment) -> String {
    let lock = &environment.lock;
    let python = lock.python.as_ref().map(|python| format!("python {python}, ")).unwrap_or_default();
    format!("{}, {python}{}", lock.kind, &lock.hash.hex()[..12])
}

fn title(environment: &ResolvedEnvironment, record: &Record) -> String {
    let lock = &environment.lock;
    let python = record.interpreter.as_ref().map(|python| format!("python {python}, ")).unwrap_or_default();
    format!("environment {} ({}, {python}{})", environment.spec.name, lock.kind, &lock.hash.hex()[..12])
}

impl EnteredEnvironment {
    /// The variables that commands get; `path` is the user's PATH.
    pub fn variables(&self, path: Option<&str>) -> Vec<(String, String)> {
        let folder = self.folder.to_string_lossy().into_owned();
        let mut variables = vec![("LOCKSTEP_ENVIRONMENT".to_string(), folder.clone())];
        if !matches!(self.source, EnvironmentSource::Files { .. }) {
            variables.push(("VIRTUAL_ENV".to_string(), folder.clone()));
        }
        if self.folder.join("bin").is_dir() {
            let path = path.map_or(format!("{folder}/bin"), |path| format!("{folder}/bin:{path}"));
            variables.push(("PATH".to_string(), path));
        }
        variables
    }

    /// Variables that commands must not see.
    pub fn unset(&self) -> Vec<String> {
        match self.source {
            EnvironmentSource::Files { .. } => Vec::new(),
            _ => vec!["PYTHONHOME".to_string()],
        }
    }

    /// The command line of an item, with the command of `run` before it.
    pub fn command_line(&self, shell: &str, item: &str) -> Vec<String> {
        let words = local::command_line(shell, item);
        let EnvironmentSource::Files { run: Some(run), .. } = &self.source else { return words };
        let script = format!("{} \"$@\"", run.trim_end());
        [shell.to_string(), "-c".into(), script, "lockstep".into()].into_iter().chain(words).collect()
    }
}
