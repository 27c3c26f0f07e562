//! Decides about a stage when the schedule reaches it: up to date, restored, run, or failed.

use crate::cache::entries;
use crate::error::{Error, Kind};
use crate::event::{Event, StageResult};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{Dep, InputLocation, Out, Stage, StageId};
use crate::plan::bashisms::check_commands;
use crate::plan::content_source::ContentSource;
use crate::plan::missing_input::{missing_dep_error, similar_path};
use crate::plan::reasons::{self, Facts, PathState, Reason, judge};
use crate::project::origin::Origin;
use crate::run::execute::EarlierResult;
use crate::run::pull::MissingInput;
use crate::run::record;
use crate::run::state::Run;
use crate::shell::word;
use crate::store::{Pin, TrackedPath, overlay};

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    pub(super) fn decide(&mut self, id: StageId) {
        let facts = match self.reader.facts(id) {
            Ok(facts) => facts,
            Err(error) => return self.fail(id, Vec::new(), error, None, 0.0),
        };
        let stage = self.stage(id);
        if let Some(error) = self.shell_error(id) {
            return self.refuse(id, error);
        }
        let (facts, unlisted) = if self.options.allow_missing { self.assume(id, facts) } else { (facts, Vec::new()) };
        if let Some(remotes) = self.remotes
            && !unlisted.is_empty()
            && !self.listing_requested.contains(&id)
        {
            return self.start_listing(id, remotes, unlisted);
        }
        let mut reasons = judge(stage, &self.shell, &facts, self.entry(id));
        if self.options.allow_missing {
            reasons.retain(|reason| !matches!(reason, Reason::Out { state: PathState::Deleted, .. }));
        }
        if stage.frozen {
            return self.decide_frozen(id, facts, reasons);
        }
        if let Some(remotes) = self.remotes
            && (!reasons.is_empty() || self.options.force || self.forced.contains(&id))
            && !self.fetch_requested.contains(&id)
        {
            // Inputs that are not assumed must be present before the decision.
            let assumed = self.options.allow_missing;
            let unknown = stage.deps.iter().zip(&facts.deps).filter(|(_, pin)| pin.is_none() || !assumed);
            let mut inputs = self.missing_sources(unknown.map(|(dep, _)| dep));
            inputs.extend(self.missing_persistent(id));
            if !inputs.is_empty() {
                return match self.prepare() {
                    Ok(_) => self.start_fetch(id, remotes, inputs),
                    Err(error) => self.fail(id, reasons, error, None, 0.0),
                };
            }
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
        if let Some(error) = self.missing_input_error(id, &facts) {
            return self.fail(id, reasons, error, None, 0.0);
        }
        if !self.prepared {
            match self.prepare() {
                // The new ignore file may be in a folder that the stage reads.
                Ok(true) => {
                    self.reader.forget();
                    return self.decide(id);
                }
                Ok(false) => {}
                Err(error) => {
                    self.stopping = true;
                    return self.fail(id, reasons, error, None, 0.0);
                }
            }
        }
        if let Some(error) = self.persistent_version_error(id, &facts, &reasons) {
            return self.refuse(id, error);
        }
        if let Some(missing) = self.missing_persistent(id).first() {
            let (out, address) = (&missing.path, self.address(id));
            if self.remotes.is_some() {
                let message =
                    format!("stage {address} builds on its old {out}, which is not here and cannot be fetched");
                let error = Error::missing(message).hint("push it from where it is: lockstep push").hint(format!(
                    "or let the stage start without it: lockstep repro --cache local:rw {}",
                    word(&address)
                ));
                return self.fail(id, reasons, error, None, 0.0);
            }
            let text = format!("{address} builds on its old {out}, which is not here: it starts without it");
            self.sink.event(Event::Warning { text: &text });
        }
        let earlier = self.earlier(id, &facts, &reasons);
        self.start(id, facts, reasons, earlier);
    }

    /// The error if the configured shell cannot run the stage's commands as written.
    fn shell_error(&self, id: StageId) -> Option<Error> {
        let stage = self.stage(id);
        if stage.frozen {
            return None;
        }
        check_commands(stage, &|| self.address(id), self.project.config.shell())
    }

    /// What the lock says about an output or data, and where its bytes are kept.
    fn pinned(&self, owner: Owner) -> Option<MissingInput> {
        match owner {
            Owner::Out(id, at) => {
                let out = &self.stage(id).outs[at as usize];
                let pin = self.entry(id)?.outs.get(&out.spelled)?.pin;
                Some(MissingInput { path: out.path.clone(), pin, remote: out.remote.clone(), origin: None })
            }
            Owner::Data(file, at) => {
                let data = &self.definitions.pipelines.file(file).data[at as usize];
                let pin = *self.locks.of_file(file).data.get(&data.spelled)?;
                let origin = Origin::of_data(&self.definitions.pipelines.file(file).path, data);
                Some(MissingInput { path: data.path.clone(), pin, remote: data.remote.clone(), origin })
            }
        }
    }

    /// With `--allow-missing`, missing paths are assumed to equal what the lock pins. An unchanged stage stays
    /// unchanged, and the result of a changed stage may be known, without the bytes; these are fetched, or reported
    /// missing, before a stage runs. Also returns the folders of which the stage reads a part and whose listing is
    /// missing.
    fn assume(&self, id: StageId, mut facts: Facts) -> (Facts, Vec<MissingInput>) {
        let store = self.project.store();
        let mut unlisted: Vec<MissingInput> = Vec::new();
        for (dep, now) in self.stage(id).deps.iter().zip(&mut facts.deps) {
            let InputLocation::Repo(path) = &dep.place else { continue };
            let absent = self.missing_sources(std::iter::once(dep));
            let holds_it = |input: &&MissingInput| path.is_in(&input.path);
            if let Some(input) = absent.iter().find(holds_it) {
                if *path == input.path {
                    *now = Some(input.pin);
                    continue;
                }
                *now = store.find_in_pin(&input.pin, &path.relative_to(&input.path)).unwrap_or_else(|| {
                    if unlisted.iter().all(|folder| folder.path != input.path) {
                        unlisted.push(input.clone());
                    }
                    // For a part of a folder that cannot be listed, use what the lock says about the stage.
                    self.entry(id).and_then(|entry| entry.deps.get(&dep.spelled).copied())
                });
            } else if !absent.is_empty() && now.is_none_or(|pin| pin.is_dir()) {
                let found =
                    now.and_then(|_| self.project.index().list_entries(&TrackedPath::from(path))).unwrap_or_default();
                let missing: Vec<_> = absent.iter().map(|i| (i.path.relative_to(path).into_bytes(), i.pin)).collect();
                *now = Some(overlay(&found, &missing));
            }
        }
        (facts, unlisted)
    }

    /// The missing outputs and data that equal, contain or are inside these deps.
    fn missing_sources<'d>(&self, deps: impl Iterator<Item = &'d Dep>) -> Vec<MissingInput> {
        let paths = deps.filter_map(|dep| match &dep.place {
            InputLocation::Repo(path) => Some(path),
            _ => None,
        });
        let owners = paths.flat_map(|path| self.definitions.graph.owners_of(path));
        let is_gone = |input: &MissingInput| std::fs::symlink_metadata(input.path.on_disk(self.project.top())).is_err();
        owners.filter_map(|owner| self.pinned(owner)).filter(is_gone).collect()
    }

    /// The missing outputs that the stage builds on (`persist`), as the lock pins them.
    fn missing_persistent(&self, id: StageId) -> Vec<MissingInput> {
        let is_gone = |path: &RepoPath| {
            let seen = std::fs::symlink_metadata(path.on_disk(self.project.top()));
            seen.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
        };
        // What Git tracks is restored by Git.
        let is_absent = |out: &Out| out.persist && out.cache && is_gone(&out.path);
        let outs = self.stage(id).outs.iter().enumerate().filter(|(_, out)| is_absent(out));
        outs.filter_map(|(n, _)| self.pinned(Owner::Out(id, n as u32))).collect()
    }

    /// An error for a stage that is stale for one reason: an output that it builds on (`persist`) is an earlier
    /// version, as after a merge without a checkout. Running it would replace the pinned version.
    fn persistent_version_error(&self, id: StageId, facts: &Facts, reasons: &[Reason]) -> Option<Error> {
        let is_of_out = |reason: &Reason| matches!(reason, Reason::Out { state: PathState::Modified, .. });
        if !reasons.iter().all(is_of_out) {
            return None;
        }
        let (stage, entry, store) = (self.stage(id), self.entry(id)?, self.project.store());
        let is_other = |(out, now): &(&Out, &Option<Pin>)| {
            let (Some(now), Some(locked)) = (now, entry.outs.get(&out.spelled)) else { return false };
            out.persist
                && out.cache
                && !now.same_content(&locked.pin)
                && store.holds(now)
                && store.contains(&locked.pin)
        };
        let (out, _) = stage.outs.iter().zip(&facts.outs).find(is_other)?;
        let (path, address) = (out.path.relative_to(&self.project.cwd), self.address(id));
        let message =
            format!("{path} is not checked out: stage {address} builds on it, and pipeline.lock pins another version");
        let error = Error::new(Kind::Check, message);
        Some(error.hint(format!("bring the pinned version: lockstep checkout {}", word(&path))).hint(format!(
            "or build on the version that is here: lockstep repro --force --single-item {}",
            word(&address)
        )))
    }

    /// All missing inputs of a stage.
    pub(super) fn missing_inputs(&self, id: StageId) -> Vec<MissingInput> {
        self.missing_sources(self.stage(id).deps.iter())
    }

    fn decide_frozen(&mut self, id: StageId, facts: Facts, reasons: Vec<Reason>) {
        let has_missing = facts.outs.iter().any(Option::is_none) && !self.options.allow_missing;
        match (has_missing, self.entry(id).cloned()) {
            (false, entry) => {
                self.warn_of_other_versions(id, entry.as_ref(), &facts);
                self.push(id, StageResult::Skipped, Vec::new(), 0.0);
                self.schedule.done(id);
            }
            (true, Some(entry)) if self.is_complete(id, &entry, &facts) => {
                // Outputs that exist stay, edited or not: lockstep never writes to outputs of a frozen stage.
                self.start(id, facts, reasons, EarlierResult::Local(Box::new(entry), None));
            }
            (true, Some(entry)) if self.remotes.is_some() => {
                let earlier = EarlierResult::Remote { locked: Some(Box::new(entry)), key: None };
                self.start(id, facts, reasons, earlier);
            }
            (true, _) => {
                let error = Error::missing(format!(
                    "stage {} is frozen, and its outputs are neither in the workspace nor in the store",
                    self.address(id)
                ));
                let is_pinned = self.entry(id).is_some() && !self.project.config.remotes().is_empty();
                let error = if is_pinned { error.hint("fetch what was pushed: lockstep pull") } else { error };
                let error =
                    error.hint(format!("let it run again: lockstep stage unfreeze {}", word(&self.address(id))));
                self.fail(id, reasons, error, None, 0.0);
            }
        }
    }

    /// Warns about outputs of a frozen stage that differ from the lock: downstream stages use the workspace's version.
    fn warn_of_other_versions(&self, id: StageId, entry: Option<&StageLock>, facts: &Facts) {
        let Some(entry) = entry else { return };
        for (out, now) in self.stage(id).outs.iter().zip(&facts.outs) {
            if let (Some(now), Some(locked)) = (now, entry.outs.get(&out.spelled))
                && !now.same_content(&locked.pin)
            {
                let (path, address) = (out.path.relative_to(&self.project.cwd), self.address(id));
                let text = format!(
                    "{path} is not what pipeline.lock pins, and {address}, which makes it, is frozen: what needs it is made \
                     from what is here (lockstep checkout {} brings the pinned version)",
                    word(&path)
                );
                self.sink.event(Event::Warning { text: &text });
            }
        }
    }

    fn up_to_date(&mut self, id: StageId, facts: Facts) {
        let stage = self.stage(id);
        if !self.options.no_commit
            && !self.options.allow_missing
            && let Some(store) = self.missing_from_store(stage, &facts)
        {
            self.send(record::RecordJob {
                stage: Some(id),
                store,
                run: None,
                record: None,
                replaced: vec![],
                log: None,
            });
        }
        self.push(id, StageResult::UpToDate, Vec::new(), 0.0);
        self.schedule.done(id);
    }

    /// Outputs that are intact in the workspace but missing from the store.
    fn missing_from_store(&self, stage: &Stage, facts: &Facts) -> Option<Vec<(RepoPath, Pin)>> {
        let (index, store) = (self.project.index(), self.project.store());
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

    fn missing_input_error(&self, id: StageId, facts: &Facts) -> Option<Error> {
        let stage = self.stage(id);
        if let Some((dep, _)) = stage.deps.iter().zip(&facts.deps).find(|(_, pin)| pin.is_none()) {
            let missing = self.missing_sources(std::iter::once(dep));
            if missing.is_empty() {
                let error = missing_dep_error(self.project, self.definitions, id, &dep.spelled, &dep.place);
                return Some(error.hint(format!("create it, or take it out of the deps of {}", stage.name)));
            }
            let message = format!("stage {} needs {}, which does not exist", self.address(id), dep.spelled);
            let source =
                |input: &MissingInput| ContentSource::of(self.project, self.definitions, &input.path, &input.pin);
            let error = Error::missing(message);
            return Some(missing.iter().map(source).max().map_or(error.clone(), |source| source.add_hints(error)));
        }
        for file in &stage.params {
            let Some(Some(values)) = facts.params.get(&file.spelled) else {
                let (address, spelled) = (self.address(id), &file.spelled);
                let error = Error::missing(format!("stage {address} reads params of {spelled}, which does not exist"));
                return Some(match similar_path(self.project, self.definitions, stage, &file.place) {
                    Some(path) => error.hint(format!("did you mean `{path}`?")),
                    None => error,
                });
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

    /// An earlier result that can be restored completely, or where it may be fetched from.
    fn earlier(&self, id: StageId, facts: &Facts, reasons: &[Reason]) -> EarlierResult {
        let stage = self.stage(id);
        if reasons.contains(&Reason::Forced) || !entries::is_cacheable(stage) {
            return EarlierResult::None;
        }
        let key = reasons::entry(stage, &self.shell, facts, &[]).key;
        let locked = self.entry(id).filter(|e| e.key == key).cloned();
        let _ = self.project.store().freshen_runs(&key.hex());
        let earlier = entries::get(self.project.store(), &key, self.trust);
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
    fn is_complete(&self, id: StageId, entry: &StageLock, facts: &Facts) -> bool {
        let stage = self.stage(id);
        stage.outs.iter().zip(&facts.outs).all(|(out, now)| {
            entry.outs.get(&out.spelled).is_some_and(|o| {
                let here = now.is_some_and(|now| now.same_content(&o.pin));
                here || self.project.store().contains(&o.pin)
            })
        })
    }

    /// Outputs in the workspace of which the store has no good copy: they are kept when they are replaced. A pin in the
    /// lock is not a copy, because a store may be deleted or damaged. Pinned outputs with `cache: false` are left to
    /// Git.
    pub(super) fn unsaved(&self, stage: &Stage, facts: &Facts) -> Vec<RepoPath> {
        let locked = self.locks.of_file(stage.file).stages.get(&stage.name);
        let is_gits = |out: &Out, pin: &Pin| {
            !out.cache && locked.and_then(|e| e.outs.get(&out.spelled)).is_some_and(|o| o.pin.id == pin.id)
        };
        let here = stage.outs.iter().zip(&facts.outs).filter_map(|(out, pin)| Some((out, pin.as_ref()?)));
        let unsaved = here.filter(|(out, pin)| !is_gits(out, pin) && !self.project.store().holds(pin));
        unsaved.map(|(out, _)| out.path.clone()).collect()
    }
}
