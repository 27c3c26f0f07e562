//! Decides about a stage when the schedule reaches it: gathers its situation and carries out the action.

mod missing;
pub(super) mod next_action;
mod stored;

use crate::error::Error;
use crate::event::{Event, StageResult};
use crate::lock::StageLock;
use crate::pipeline::stage::{ParamsFile, Stage, StageId};
use crate::plan::bashisms::check_commands;
use crate::plan::reasons::{Facts, PathState, Reason, judge};
use crate::plan::schedule::{Fetched, StageState};
use crate::run::decide::next_action::{Action, Change, Obstacle, PinnedOuts, Situation, next_action};
use crate::run::execute::EarlierResult;
use crate::run::pull::MissingInput;
use crate::run::record::RecordJob;
use crate::run::state::Run;
use crate::shell::word;

/// What was found about a stage. Of a stage that is up to date, only the first four fields are looked up.
struct Findings {
    facts: Facts,
    reasons: Vec<Reason>,
    wrong_shell: Option<Error>,
    /// Folders of which the stage reads a part and whose listings are missing.
    unlisted: Vec<MissingInput>,
    /// Missing inputs that the decision needs and the lock pins, if the run may fetch them.
    inputs: Vec<MissingInput>,
    /// A dep, params file or value does not exist.
    lacks_inputs: bool,
    version_error: Option<Error>,
    /// Missing outputs that the stage builds on.
    persistent: Vec<MissingInput>,
}

/// Whether a dep, a params file, or a value that the stage reads does not exist.
fn lacks_inputs(stage: &Stage, facts: &Facts) -> bool {
    let lacks_values = |file: &ParamsFile| match facts.params.get(&file.spelled) {
        Some(Some(values)) => file.keys.iter().flatten().any(|key| !values.contains_key(key)),
        _ => true,
    };
    facts.deps.iter().any(Option::is_none) || stage.params.iter().any(lacks_values)
}

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    pub(super) fn decide(&mut self, id: StageId) {
        let facts = match self.workspace.reader.facts(id) {
            Ok(facts) => facts,
            Err(error) => return self.fail(id, Vec::new(), error, None, 0.0),
        };
        let found = self.look_at(id, facts);
        let action = next_action(&self.situation(id, &found));
        self.carry_out(id, action, found);
    }

    fn look_at(&self, id: StageId, facts: Facts) -> Findings {
        let stage = self.stage(id);
        let wrong_shell = check_commands(stage, &|| self.address(id), self.project().config.shell());
        let (facts, unlisted) = if self.options.allow_missing { self.assume(id, facts) } else { (facts, Vec::new()) };
        let mut reasons = judge(stage, &self.shell, &facts, self.entry(id));
        if self.options.allow_missing {
            reasons.retain(|reason| !matches!(reason, Reason::Out { state: PathState::Deleted, .. }));
        }
        let mut found = Findings {
            facts,
            reasons,
            wrong_shell,
            unlisted,
            inputs: Vec::new(),
            lacks_inputs: false,
            version_error: None,
            persistent: Vec::new(),
        };
        if stage.frozen || (found.reasons.is_empty() && !self.is_forced(id)) {
            return found;
        }
        found.persistent = self.missing_persistent(id);
        if self.remotes.is_some() {
            // Inputs that are not assumed must be present before the decision.
            let assumed = self.options.allow_missing;
            let unknown = stage.deps.iter().zip(&found.facts.deps).filter(|(_, pin)| pin.is_none() || !assumed);
            found.inputs = self.missing_sources(unknown.map(|(dep, _)| dep));
            found.inputs.extend(found.persistent.iter().cloned());
        }
        found.lacks_inputs = lacks_inputs(stage, &found.facts);
        found.version_error = self.persistent_version_error(id, &found.facts, &found.reasons);
        found
    }

    fn situation(&self, id: StageId, found: &Findings) -> Situation {
        let is_frozen = self.stage(id).frozen;
        let lacks_outs = is_frozen && found.facts.outs.iter().any(Option::is_none) && !self.options.allow_missing;
        let outs = match self.entry(id).filter(|_| lacks_outs) {
            Some(entry) if self.is_complete(id, entry, &found.facts) => PinnedOuts::Stored,
            Some(_) => PinnedOuts::Pinned,
            None => PinnedOuts::Unpinned,
        };
        Situation {
            change: Change::of(&found.reasons),
            is_forced: self.is_forced(id),
            is_locked: self.options.locked,
            is_frozen,
            has_wrong_shell: found.wrong_shell.is_some(),
            has_remotes: self.remotes.is_some(),
            fetched: match self.schedule.state(id) {
                Some(StageState::Ready(fetched)) => *fetched,
                _ => Fetched::Nothing,
            },
            lacks_listings: !found.unlisted.is_empty(),
            lacks_pinned_inputs: !found.inputs.is_empty(),
            lacks_inputs: found.lacks_inputs,
            has_other_version: found.version_error.is_some(),
            lacks_persistent: !found.persistent.is_empty(),
            lacks_outs,
            outs,
        }
    }

    fn carry_out(&mut self, id: StageId, action: Action, found: Findings) {
        match action {
            Action::FetchListings => self.start_listing(id, found.unlisted),
            Action::FetchInputs => match self.prepare() {
                Ok(_) => self.start_fetch(id, found.inputs),
                Err(error) => self.fail(id, found.reasons, error, None, 0.0),
            },
            Action::UpToDate => self.up_to_date(id, found.facts),
            Action::Skip if self.stage(id).frozen => {
                self.warn_of_other_versions(id, self.entry(id), &found.facts);
                self.close(id, StageResult::Skipped, Vec::new(), 0.0);
            }
            Action::Skip => self.close(id, StageResult::Skipped, found.reasons, 0.0),
            Action::SkipStale => {
                self.outcome.stale.push(id);
                self.close(id, StageResult::Skipped, found.reasons, 0.0);
            }
            Action::Start => self.start_stale(id, found),
            Action::RestorePinned | Action::FetchPinned => {
                let Some(entry) = self.entry(id).cloned().map(Box::new) else { return };
                // Outputs that exist stay, edited or not: lockstep never writes to outputs of a frozen stage.
                let earlier = match action {
                    Action::RestorePinned => EarlierResult::Local(entry, None),
                    _ => EarlierResult::Remote { locked: Some(entry), key: None },
                };
                self.start(id, found.facts, found.reasons, earlier);
            }
            Action::Stop(obstacle) => self.stop_stage(id, obstacle, found),
        }
    }

    fn start_stale(&mut self, id: StageId, found: Findings) {
        let Findings { facts, mut reasons, persistent, .. } = found;
        if self.is_forced(id) {
            reasons.push(Reason::Forced);
        }
        match self.prepare() {
            // The new ignore file may be in a folder that the stage reads.
            Ok(true) => {
                self.workspace.reader.forget();
                return self.decide(id);
            }
            Ok(false) => {}
            Err(error) => {
                self.stopping = true;
                return self.fail(id, reasons, error, None, 0.0);
            }
        }
        if let Some(missing) = persistent.first() {
            let (out, address) = (&missing.path, self.address(id));
            let text = format!("{address} builds on its old {out}, which is not here: it starts without it");
            self.sink().event(Event::Warning { text: &text });
        }
        let earlier = self.earlier(id, &facts, &reasons);
        self.start(id, facts, reasons, earlier);
    }

    /// Fails a stage that cannot go on. Where its definition or the user's choice is at fault, other stages go on.
    fn stop_stage(&mut self, id: StageId, obstacle: Obstacle, mut found: Findings) {
        if self.is_forced(id) {
            found.reasons.push(Reason::Forced);
        }
        let error = match obstacle {
            Obstacle::WrongShell => return found.wrong_shell.into_iter().for_each(|error| self.refuse(id, error)),
            Obstacle::OtherVersion => return found.version_error.into_iter().for_each(|error| self.refuse(id, error)),
            Obstacle::MissingInput => self.missing_input_error(id, &found.facts),
            Obstacle::MissingPersistent => found.persistent.first().map(|missing| self.lost_persistent(id, missing)),
            Obstacle::FrozenWithoutOuts => Some(self.frozen_without_outs(id)),
        };
        if let Some(error) = error {
            self.fail(id, found.reasons, error, None, 0.0);
        }
    }

    /// Whether the stage runs even if nothing changed.
    fn is_forced(&self, id: StageId) -> bool {
        self.options.force || self.forced.contains(&id)
    }

    fn lost_persistent(&self, id: StageId, missing: &MissingInput) -> Error {
        let (out, address) = (&missing.path, self.address(id));
        Error::missing(format!("stage {address} builds on its old {out}, which is not here and cannot be fetched"))
            .hint("push it from where it is: lockstep push")
            .hint(format!("or let the stage start without it: lockstep repro --cache local:rw {}", word(&address)))
    }

    fn frozen_without_outs(&self, id: StageId) -> Error {
        let address = self.address(id);
        let error = Error::missing(format!(
            "stage {address} is frozen, and its outputs are neither in the workspace nor in the store"
        ));
        let is_pinned = self.entry(id).is_some() && !self.project().config.remotes().is_empty();
        let error = if is_pinned { error.hint("fetch what was pushed: lockstep pull") } else { error };
        error.hint(format!("let it run again: lockstep stage unfreeze {}", word(&address)))
    }

    /// Warns about outputs of a frozen stage that differ from the lock: downstream stages use the workspace's version.
    fn warn_of_other_versions(&self, id: StageId, entry: Option<&StageLock>, facts: &Facts) {
        let Some(entry) = entry else { return };
        for (out, now) in self.stage(id).outs.iter().zip(&facts.outs) {
            if let (Some(now), Some(locked)) = (now, entry.outs.get(&out.spelled))
                && !now.same_content(&locked.pin)
            {
                let (path, address) = (out.path.relative_to(&self.project().cwd), self.address(id));
                let text = format!(
                    "{path} is not what pipeline.lock pins, and {address}, which makes it, is frozen: what needs it is made \
                     from what is here (lockstep checkout {} brings the pinned version)",
                    word(&path)
                );
                self.sink().event(Event::Warning { text: &text });
            }
        }
    }

    fn up_to_date(&mut self, id: StageId, facts: Facts) {
        let stage = self.stage(id);
        if !self.options.no_commit
            && !self.options.allow_missing
            && let Some(store) = self.missing_from_store(stage, &facts)
        {
            self.send(RecordJob { stage: Some(id), store, run: None, record: None, replaced: vec![], log: None });
        }
        self.close(id, StageResult::UpToDate, Vec::new(), 0.0);
    }
}
