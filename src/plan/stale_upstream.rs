//! Stages that a run needs but does not include (`--single-item`, `--downstream`): their current outputs are used.

use std::collections::HashSet;

use crate::event::{Event, Sink};
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{PathState, Reason, judge};
use crate::plan::select::Selection;
use crate::project::{Definitions, Locks, Project};
use crate::shell::words;

/// At most this many stages are named in the warning.
const NAMED: usize = 5;

/// Warns about stale stages among them: the run uses their earlier outputs, as DVC does.
pub fn warn_of_stale<'a>(
    project: &'a Project,
    definitions: &'a Definitions,
    locks: &Locks,
    selected: &Selection,
    reader: &mut FactsReader<'a>,
    sink: &dyn Sink,
) {
    let left_out = left_out(definitions, selected);
    if left_out.is_empty() {
        return;
    }
    reader.sweep(&left_out);
    let shell = project.shell();
    let mut is_stale = |id: &StageId| {
        let stage = definitions.pipelines.stage(*id);
        // A stage that cannot be read is not known to be up to date.
        let Ok(facts) = reader.facts(*id) else { return true };
        let reasons = judge(stage, &shell, &facts, locks.of_file(stage.file).stages.get(&stage.name));
        !stage.frozen && reasons.iter().any(|reason| !is_no_change(reason))
    };
    let stale: Vec<StageId> = left_out.into_iter().filter(|id| is_stale(id)).collect();
    if stale.is_empty() {
        return;
    }
    let address = |id: &StageId| definitions.pipelines.address(*id, &project.cwd);
    let mut names = stale.iter().take(NAMED).map(address).collect::<Vec<_>>().join(", ");
    if stale.len() > NAMED {
        names.push_str(&format!(" and {} more", stale.len() - NAMED));
    }
    let are = if stale.len() == 1 { "is" } else { "are" };
    let targets = words(selected.named.iter().take(NAMED).map(address));
    let text = format!(
        "{names} {are} stale and not part of this run, which takes the outputs as they are (with what is needed: lockstep \
         repro {targets})"
    );
    sink.event(Event::Warning { text: &text });
}

/// Whether the output is only missing, so that it may be unchanged.
fn is_no_change(reason: &Reason) -> bool {
    let is_gone = |state: &PathState| matches!(state, PathState::Deleted | PathState::NotInCache);
    match reason {
        Reason::Always => true,
        Reason::Dep { state, .. } | Reason::Out { state, .. } => is_gone(state),
        _ => false,
    }
}

/// The stages that selected ones need, directly or not, and that are not selected, in topological order. Inputs of a
/// frozen stage are skipped.
fn left_out(definitions: &Definitions, selected: &Selection) -> Vec<StageId> {
    let (graph, chosen) = (&definitions.graph, selected.stages.iter().copied().collect::<HashSet<_>>());
    let mut found: HashSet<StageId> = HashSet::new();
    let mut heads: Vec<StageId> = selected.stages.clone();
    while let Some(head) = heads.pop() {
        if definitions.pipelines.stage(head).frozen {
            continue;
        }
        let above = graph.upstream(head).iter().copied();
        heads.extend(above.filter(|id| !chosen.contains(id) && found.insert(*id)));
    }
    if found.is_empty() {
        return Vec::new();
    }
    graph.order().iter().copied().filter(|id| found.contains(id)).collect()
}
