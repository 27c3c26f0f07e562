//! `repro --dry`: what would run, without running it.

use std::collections::HashSet;

use crate::cache::entries;
use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Result};
use crate::event::{Sink, StageResult};
use crate::lock::StageLock;
use crate::pipeline::stage::{Dep, InputLocation, StageId};
use crate::plan::bashisms::check_commands;
use crate::plan::facts::FactsReader;
use crate::plan::missing_input::missing_dep_error;
use crate::plan::reasons::{self, Facts, PathState, Reason, judge};
use crate::plan::select::Selection;
use crate::project::{Definitions, Project};
use crate::run::announce::announce;
use crate::run::decide::next_action::{Action, Change, Obstacle, Situation, next_action};
use crate::run::options::RunOptions;
use crate::run::outcome::{Outcome, StageOutcome};
use crate::workspace::recover::overlay;

/// For this many missing deps, similar paths are looked for, which takes some milliseconds each.
const MOST_SUGGESTIONS: usize = 10;

/// Decides every selected stage as if the stale ones had run. A stage that needs one of them counts as stale too,
/// because it is unknown until then whether its inputs will differ.
pub fn plan(
    project: &Project,
    definitions: &Definitions,
    selected: &Selection,
    options: &RunOptions,
    sink: &dyn Sink,
) -> Result<Outcome> {
    let mut reader = FactsReader::new(project, definitions, sink);
    let mut locks = project.locks(definitions)?;
    announce(project, definitions, &locks, selected, &mut reader, sink);
    overlay(project, definitions, &mut locks, &mut reader)?;
    let mut outcome = Outcome { dry: true, ..Outcome::default() };
    let mut touched: HashSet<StageId> = HashSet::new();
    let shell = project.shell();
    let trust = TrustPolicy::from_settings(project)?;
    for id in &selected.stages {
        let stage = definitions.pipelines.stage(*id);
        let entry = locks.of_file(stage.file).stages.get(&stage.name);
        let facts = reader.facts(*id)?;
        let address = project_address(project, definitions, *id);
        let refusal = check_commands(stage, &|| address.clone(), project.config.shell());
        let mut reasons = judge(stage, &shell, &facts, entry);
        if options.allow_missing {
            reasons.retain(|r| !is_missing(r));
        }
        let above: Vec<&StageId> = definitions.graph.upstream(*id).iter().filter(|up| touched.contains(up)).collect();
        let is_forced = options.force || (options.force_downstream && !above.is_empty());
        if is_forced {
            reasons.push(Reason::Forced);
        }
        if reasons.is_empty() && !above.is_empty() {
            reasons.extend(upstream_reasons(definitions, *id, &above));
        }
        let missing = missing_dep(definitions, *id, &facts);
        let action = next_action(&Situation {
            change: Change::of(&reasons),
            is_forced,
            is_frozen: stage.frozen,
            has_wrong_shell: refusal.is_some(),
            lacks_inputs: missing.is_some(),
            ..Situation::default()
        });
        let is_cached = || {
            above.is_empty()
                && options.modes.local.read
                && has_cached_result(project, &trust, *id, definitions, &facts, &reasons, entry)
        };
        let (result, error) = match action {
            Action::UpToDate => (StageResult::UpToDate, None),
            Action::Skip => (StageResult::Skipped, None),
            Action::Stop(Obstacle::WrongShell) => (StageResult::Failed, refusal),
            Action::Stop(_) => {
                let is_one_of_few = outcome.failures().take(MOST_SUGGESTIONS).count() < MOST_SUGGESTIONS;
                let error = missing.map(|dep| match is_one_of_few {
                    true => missing_dep_error(project, definitions, *id, &dep.spelled, &dep.place),
                    false => Error::missing(format!("stage {address} needs {}, which does not exist", dep.spelled)),
                });
                (StageResult::Failed, error)
            }
            _ if is_cached() => (StageResult::Restored, None),
            _ => (StageResult::Ran, None),
        };
        if stage.frozen {
            reasons.clear();
        }
        if matches!(result, StageResult::Ran | StageResult::Restored) {
            touched.insert(*id);
        }
        let (seconds, saved, from, exit, stopped, tail) = Default::default();
        outcome.stages.push(StageOutcome {
            id: *id,
            result,
            reasons,
            seconds,
            saved,
            from,
            error,
            exit,
            stopped,
            tail,
        });
    }
    Ok(outcome)
}

fn project_address(project: &Project, definitions: &Definitions, id: StageId) -> String {
    definitions.pipelines.address(id, &project.cwd)
}

fn is_missing(reason: &Reason) -> bool {
    matches!(reason, Reason::Out { state: PathState::Deleted, .. } | Reason::Dep { state: PathState::Deleted, .. })
}

/// The reasons for a stage whose deps come from stages that would run.
fn upstream_reasons(definitions: &Definitions, id: StageId, above: &[&StageId]) -> Vec<Reason> {
    let stage = definitions.pipelines.stage(id);
    let made = |place: &InputLocation| match place {
        InputLocation::Repo(path) => above
            .iter()
            .any(|up| definitions.pipelines.stage(**up).outs.iter().any(|o| path.is_in(&o.path) || o.path.is_in(path))),
        _ => false,
    };
    let dep =
        |spelled: &String| Reason::Dep { path: spelled.clone(), state: PathState::Modified, old: None, new: None };
    stage.deps.iter().filter(|d| made(&d.place)).map(|d| dep(&d.spelled)).collect()
}

/// Whether the run cache has a result for the current inputs.
fn has_cached_result(
    project: &Project,
    trust: &TrustPolicy,
    id: StageId,
    definitions: &Definitions,
    facts: &Facts,
    reasons: &[Reason],
    entry: Option<&StageLock>,
) -> bool {
    let stage = definitions.pipelines.stage(id);
    if reasons.contains(&Reason::Forced) || !entries::is_cacheable(stage) || facts.deps.iter().any(Option::is_none) {
        return false;
    }
    let key = reasons::entry(stage, &project.shell(), facts, &[]).key;
    let complete = |e: &StageLock| e.outs.values().all(|o| project.store().contains(&o.pin));
    let in_lock = |e: &StageLock| {
        e.key == key || e.key == reasons::earlier_entry(stage, &project.shell(), facts, &[], Some(e)).key
    };
    entry.is_some_and(|e| in_lock(e) && complete(e))
        || entries::get(project.store(), &key, trust)
            .iter()
            .any(|(e, _)| entries::same_param_types(e, facts) && complete(e))
}

/// A dep that does not exist and that no stage makes.
fn missing_dep<'d>(definitions: &'d Definitions, id: StageId, facts: &Facts) -> Option<&'d Dep> {
    let stage = definitions.pipelines.stage(id);
    let (dep, _) = stage.deps.iter().zip(&facts.deps).find(|(dep, pin)| {
        pin.is_none()
            && match &dep.place {
                InputLocation::Repo(path) => {
                    definitions.graph.owners_of(path).is_empty()
                        && !definitions
                            .pipelines
                            .files
                            .iter()
                            .flat_map(|f| &f.data)
                            .any(|d| path.is_in(&d.path) || d.path.is_in(path))
                }
                _ => true,
            }
    })?;
    Some(dep)
}
