//! What happens to a stage whose turn it is: it is up to date, restored, run, or cannot be.

use crate::error::Error;
use crate::event::StageResult;
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::{Dep, Place, Stage, StageId};
use crate::run::cache::{self, RunRecord};
use crate::run::fresh::{self, Facts, Reason, State, judge};
use crate::run::record;
use crate::run::repro::Run;
use crate::store::{Pin, Place as Spot};

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    pub(super) fn decide(&mut self, id: StageId) {
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
        if !self.prepared {
            match self.prepare() {
                // An ignore file that was just written may lie in a folder that the stage reads.
                Ok(true) => {
                    self.look.forget();
                    return self.decide(id);
                }
                Ok(false) => {}
                Err(error) => {
                    self.stopping = true;
                    return self.fail(id, reasons, error, None, 0.0);
                }
            }
        }
        let candidate = self.candidate(id, &facts, &reasons);
        if self.options.locked && candidate.is_none() {
            let error = Error::missing(format!(
                "the outputs of stage {} are missing, and neither the store nor the run cache has them",
                self.address(id)
            ));
            return self.fail(id, reasons, error.hint("make them again: lockstep repro"), None, 0.0);
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
    fn locked_out(&self, dep: &Dep) -> Option<Pin> {
        let Place::Repo(path) = &dep.place else { return None };
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
        let generation = self.generation;
        let mut missing = Vec::new();
        for (out, pin) in stage.outs.iter().zip(&facts.outs) {
            let Some(pin) = pin else { continue };
            let ask = Spot::from(&out.path);
            if generation.is_some_and(|generation| index.is_stored(&ask, pin, generation)) {
                continue;
            }
            if store.contains(pin) {
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
                Some(_) => error.hint("bring it back: lockstep checkout"),
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
        if reasons.contains(&Reason::Forced) || !cache::is_cacheable(stage) {
            return None;
        }
        let key = fresh::entry(stage, &self.shell, facts, &[]).key;
        let locked = self.entry(id).filter(|e| e.key == key && self.is_complete(id, e, facts)).cloned();
        let _ = self.project.store().keep_runs_young(&key.hex());
        let mut earlier = cache::get(self.project.store(), &key).into_iter().filter(|(e, _)| cache::fits(e, facts));
        // That the lock knows the result is no matter of the run cache.
        if self.options.no_run_cache && (locked.is_none() || reasons.iter().any(Reason::is_input)) {
            return None;
        }
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
                here || self.project.store().contains(&o.pin)
            })
        })
    }

    /// Outputs in the workspace that exist nowhere else: they are kept when they are replaced.
    pub(super) fn edited(&self, stage: &Stage, facts: &Facts, new: Option<&StageLock>) -> Vec<RepoPath> {
        let locked = self.locks.of(stage.file).stages.get(&stage.name);
        let mut edited = Vec::new();
        for (out, pin) in stage.outs.iter().zip(&facts.outs) {
            let Some(pin) = pin else { continue };
            let is = |entry: Option<&StageLock>| {
                entry.and_then(|e| e.outs.get(&out.spelled)).is_some_and(|o| o.pin.id == pin.id)
            };
            if !is(locked) && !is(new) && !self.project.store().holds(pin) {
                edited.push(out.path.clone());
            }
        }
        edited
    }
}
