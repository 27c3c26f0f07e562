//! Gets the result of a stage: restores an earlier one from the store or a remote, or runs the commands.

use std::fs;
use std::time::Instant;

use super::{Context, FinishedStage, Provenance, StageFailure, Task};
use crate::cache::entries::RunRecord;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::lock::StageLock;
use crate::plan::content_source::ContentSource;
use crate::plan::reasons;
use crate::run::outcome::ResultSource;
use crate::run::pull::{MissingInput, RunRemotes};
use crate::shell::word;
use crate::store::{ObjectId, Pin};
use crate::workspace::restore::restore;

/// The possible source of an earlier result of a stage.
pub enum EarlierResult {
    /// None: the stage must run.
    None,
    /// An entry whose outputs are all available locally, with the record of its run if known.
    Local(Box<StageLock>, Option<RunRecord>),
    /// Not available locally: a remote may have what the lock pins, or a result under this key.
    Remote { locked: Option<Box<StageLock>>, key: Option<ObjectId> },
}

impl Context<'_> {
    /// Restores an earlier result of a stage, from the store or from a remote, or runs the stage.
    pub fn obtain_result(
        &self,
        task: &Task,
        earlier: EarlierResult,
        remotes: Option<&RunRemotes>,
        must_not_run: bool,
    ) -> Result<FinishedStage, StageFailure> {
        let (entry, record, from) = match earlier {
            EarlierResult::None => (None, None, ResultSource::Local),
            EarlierResult::Local(entry, record) => (Some(*entry), record, ResultSource::Local),
            EarlierResult::Remote { locked, key } => {
                let locked = locked.map(|entry| *entry);
                let ask =
                    |remotes: &RunRemotes| remotes.result(task.stage, &task.address, &task.facts, locked, key.as_ref());
                let (entry, record) = remotes.and_then(ask).unzip();
                (entry, record.flatten(), ResultSource::Remote)
            }
        };
        let Some(entry) = entry else {
            return if must_not_run {
                Err(StageFailure::early(self.lost_error(task, remotes.is_some())))
            } else {
                self.run_here(task, remotes)
            };
        };
        match self.restore(task, entry, record, from) {
            Ok(done) => Ok(done),
            // An edit made at this moment would be treated as if the store had it.
            Err(error) if must_not_run || error.kind == Kind::Check => Err(StageFailure::early(error)),
            Err(error) => {
                let text = format!("an earlier result of {} cannot be restored: {}", task.address, error.message);
                self.sink.event(Event::Warning { text: &text });
                self.run_here(task, remotes)
            }
        }
    }

    /// Runs a stage after fetching its missing inputs.
    fn run_here(&self, task: &Task, remotes: Option<&RunRemotes>) -> Result<FinishedStage, StageFailure> {
        // The fetch may have stopped because the user wants to stop.
        self.project.around.stop.check().map_err(StageFailure::early)?;
        if let Some(remotes) = remotes.filter(|_| !task.absent.is_empty()) {
            remotes.fetch_inputs(&task.absent, &task.address).map_err(StageFailure::early)?;
            self.project.around.stop.check().map_err(StageFailure::early)?;
        }
        let is_gone = |input: &&MissingInput| fs::symlink_metadata(input.path.on_disk(self.project.top())).is_err();
        if let Some(gone) = task.absent.iter().find(is_gone) {
            let error = Error::missing(format!("stage {} needs {}, which does not exist", task.address, gone.path));
            return Err(StageFailure::early(match remotes {
                _ if gone.origin.is_some() => {
                    error.hint("fetch it from the repository it was imported from: lockstep pull")
                }
                Some(_) => {
                    let is_made = self.definitions.graph.producer(&gone.path).is_some();
                    let data = "it is data, which no stage makes: push it from where it is";
                    error.because("no remote has it").hint(if is_made { "make it again: lockstep repro" } else { data })
                }
                None => ContentSource::of(self.project, self.definitions, &gone.path, &gone.pin).add_hints(error),
            }));
        }
        // Check the assumed inputs now that they are here, before hours of work.
        if !task.absent.is_empty()
            && let Some(what) = self.changed_inputs(task)
        {
            let what =
                format!("{what} of stage {} is not what pipeline.lock says, now that all of it is here", task.address);
            return Err(StageFailure::early(Error::new(Kind::Check, what).hint("run the same command again")));
        }
        self.run(task)
    }

    /// Restores an earlier result: every object is verified before the workspace is changed.
    fn restore(
        &self,
        task: &Task,
        entry: StageLock,
        record: Option<RunRecord>,
        from: ResultSource,
    ) -> Result<FinishedStage> {
        let started = Instant::now();
        let mut pins: Vec<Option<Pin>> =
            task.stage.outs.iter().map(|o| entry.outs.get(&o.spelled).map(|o| o.pin)).collect();
        if task.stage.frozen {
            // An existing output of a frozen stage is left alone, edited or not: without its pin it is neither replaced
            // here nor stored later.
            let here = |(pin, now): (&mut Option<Pin>, &Option<Pin>)| now.is_some().then(|| pin.take());
            pins.iter_mut().zip(&task.facts.outs).filter_map(here).for_each(drop);
        }
        let file = &self.definitions.pipelines.file(task.stage.file).path;
        let mut replaced = Vec::new();
        let mut log = None;
        for ((out, pin), now) in task.stage.outs.iter().zip(&pins).zip(&task.facts.outs) {
            let Some(pin) = pin else { continue };
            if now.is_some_and(|now| now.same_content(pin)) {
                continue;
            }
            let one = (|| {
                self.project.writable(&out.path)?;
                // Content that the store has is replaced in one step; other content is the only copy and is backed up
                // first.
                if task.precious.contains(&out.path) {
                    if log.is_none() {
                        log = Some(self.logs.start(file, &task.stage.name)?);
                    }
                    replaced.extend(self.backups.take(&out.path, true)?);
                }
                restore(self.project, self.definitions, &out.path, pin, self.sink)
            })();
            if let Err(error) = one {
                for backup in replaced {
                    if let Ok(place) = self.project.writable(&backup.out) {
                        let _ = crate::store::remove(&place);
                    }
                    let _ = backup.restore(self.project.writable_area());
                }
                return Err(error);
            }
        }
        // The entry keeps its spelling; the command is written as in the definition.
        let entry = StageLock { cmd: reasons::command(task.stage), ..entry };
        let seconds = started.elapsed().as_secs_f64();
        Ok(FinishedStage { entry, pins, seconds, replaced, log, how: Provenance::Restored(record, from) })
    }

    /// The error for a stage that must not run and whose missing outputs cannot be restored.
    fn lost_error(&self, task: &Task, asked: bool) -> Error {
        let address = &task.address;
        let remote = if asked { ", and no remote has them either" } else { "" };
        if task.stage.frozen {
            let what =
                format!("stage {address} is frozen, and its outputs are neither in the workspace nor in the store");
            return Error::missing(what + remote)
                .hint(format!("let it run again: lockstep stage unfreeze {}", word(address)));
        }
        let what =
            format!("the outputs of stage {address} are missing, and neither the store nor the run cache has them");
        let error = Error::missing(what + remote);
        match (self.project.config.remotes().is_empty(), asked) {
            (true, _) => error.hint("make them again: lockstep repro"),
            (false, false) => {
                error.hint("fetch what was pushed: lockstep pull").hint("or make them again: lockstep repro")
            }
            (false, true) => {
                error.hint("push them from where they are: lockstep push").hint("or make them again: lockstep repro")
            }
        }
    }
}
