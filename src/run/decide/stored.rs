//! What the store has for a stage: earlier results, and copies of the outputs that are here.

use crate::cache::entries;
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::{Out, Stage, StageId};
use crate::plan::reasons::{self, Facts, Reason};
use crate::run::execute::EarlierResult;
use crate::run::state::Run;
use crate::store::{Pin, TrackedPath};

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    /// An earlier result that can be restored completely, or where it may be fetched from.
    pub(super) fn earlier(&self, id: StageId, facts: &Facts, reasons: &[Reason]) -> EarlierResult {
        let stage = self.stage(id);
        if reasons.contains(&Reason::Forced) || !entries::is_cacheable(stage) {
            return EarlierResult::None;
        }
        let key = reasons::entry(stage, &self.shell, facts, &[]).key;
        let in_lock = |e: &&StageLock| {
            e.key == key || e.key == reasons::earlier_entry(stage, &self.shell, facts, &[], Some(e)).key
        };
        let locked = self.entry(id).filter(in_lock).cloned();
        let _ = self.project().store().freshen_runs(&key.hex());
        let earlier = entries::get(self.project().store(), &key, self.trust);
        // A commit pins these exact bytes, not the result of another run of the same stage.
        let is_pinned = |e: &StageLock| !self.options.locked || locked.as_ref().is_some_and(|l| l.outs == e.outs);
        let mut earlier = earlier.into_iter().filter(|(e, _)| entries::same_param_types(e, facts) && is_pinned(e));
        // A result that the lock has does not need the run cache.
        let by_lock = locked.is_some() && !reasons.iter().any(Reason::is_input);
        if let Some(entry) = locked.as_ref().filter(|e| self.is_complete(id, e, facts))
            && (by_lock || self.options.modes.local.read)
        {
            let record = earlier.find(|(e, _)| e.outs == entry.outs).map(|(_, record)| record);
            return EarlierResult::Local(Box::new(entry.clone()), record);
        }
        if self.options.modes.local.read
            && let Some((entry, record)) = earlier.find(|(e, _)| self.is_complete(id, e, facts))
        {
            return EarlierResult::Local(Box::new(entry), Some(record));
        }
        match self.remotes {
            Some(_) => {
                let key = (!self.options.locked).then_some(key);
                EarlierResult::Remote { locked: locked.clone().map(Box::new), key }
            }
            None => EarlierResult::None,
        }
    }

    /// Whether every output of this entry is in the store or still in its place.
    pub(super) fn is_complete(&self, id: StageId, entry: &StageLock, facts: &Facts) -> bool {
        let stage = self.stage(id);
        stage.outs.iter().zip(&facts.outs).all(|(out, now)| {
            entry.outs.get(&out.spelled).is_some_and(|o| {
                let here = now.is_some_and(|now| now.same_content(&o.pin));
                here || self.project().store().contains(&o.pin)
            })
        })
    }

    /// Outputs that are intact in the workspace but missing from the store.
    pub(super) fn missing_from_store(&self, stage: &Stage, facts: &Facts) -> Option<Vec<(RepoPath, Pin)>> {
        let (index, store) = (self.project().index(), self.project().store());
        let generation = self.store_generation;
        let mut missing = Vec::new();
        for (out, pin) in stage.outs.iter().zip(&facts.outs) {
            let Some(pin) = pin else { continue };
            let ask = TrackedPath::from(&out.path);
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

    /// Outputs in the workspace of which the store has no good copy: they are kept when they are replaced. A pin in the
    /// lock is not a copy, because a store may be deleted or damaged. Pinned outputs with `cache: false` are left to
    /// Git.
    pub(in crate::run) fn unsaved(&self, stage: &Stage, facts: &Facts) -> Vec<RepoPath> {
        let locked = self.workspace.locks.of_file(stage.file).stages.get(&stage.name);
        let is_gits = |out: &Out, pin: &Pin| {
            !out.cache && locked.and_then(|e| e.outs.get(&out.spelled)).is_some_and(|o| o.pin.id == pin.id)
        };
        let here = stage.outs.iter().zip(&facts.outs).filter_map(|(out, pin)| Some((out, pin.as_ref()?)));
        let unsaved = here.filter(|(out, pin)| !is_gits(out, pin) && !self.project().store().holds(pin));
        unsaved.map(|(out, _)| out.path.clone()).collect()
    }
}
