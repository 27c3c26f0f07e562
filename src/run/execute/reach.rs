//! How a stage comes to its result: an earlier one is restored, from here or from a remote, or its commands run.

use std::fs;
use std::time::Instant;

use super::{Context, Done, Failure, How, Task};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::lock::StageLock;
use crate::run::cache::RunRecord;
use crate::run::fresh;
use crate::run::outcome::Source;
use crate::run::pull::{Input, Pull};
use crate::run::restore::restore;
use crate::shell::word;
use crate::store::{ObjectId, Pin};

/// Where an earlier result of a stage may come from, instead of running it.
pub enum Candidate {
    /// It has to run.
    None,
    /// An entry whose outputs are all here, with the record of its run where that is known.
    Here(Box<StageLock>, Option<RunRecord>),
    /// Nothing here: a remote may have what the lock pins, or a result under this key.
    Elsewhere { locked: Option<Box<StageLock>>, key: Option<ObjectId> },
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
            // An edit that was made just now would be set aside as if the store had it.
            Err(error) if must_not_run || error.kind == Kind::Check => Err(Failure::early(error)),
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
                _ if gone.origin.is_some() => error.hint("bring it from where it was imported: lockstep pull"),
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
            if now.is_some_and(|now| now.same_content(pin)) {
                continue;
            }
            let one = (|| {
                self.project.writable(&out.path)?;
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
                    if let Ok(place) = self.project.writable(&aside.out) {
                        let _ = crate::store::remove(&place);
                    }
                    let _ = aside.put_back(self.project.writable_area());
                }
                return Err(error);
            }
        }
        // The entry keeps the spelling that it has; how the command is written is taken from the definition.
        let entry = StageLock { cmd: fresh::command(task.stage), ..entry };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Done { entry, pins, seconds, replaced, log, how: How::Restored(record, from) })
    }
}

/// A stage that must not run has outputs missing that cannot be had.
fn lost(task: &Task, asked: bool) -> Error {
    let address = &task.address;
    let remote = if asked { ", and no remote has them either" } else { "" };
    if task.stage.frozen {
        let what = format!("stage {address} is frozen, and its outputs are neither in the workspace nor in the store");
        return Error::missing(what + remote)
            .hint(format!("let it run again: lockstep stage unfreeze {}", word(address)));
    }
    let what = format!("the outputs of stage {address} are missing, and neither the store nor the run cache has them");
    Error::missing(what + remote).hint("make them again: lockstep repro")
}
