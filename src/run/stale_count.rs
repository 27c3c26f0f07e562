//! Counts the stale stages outside of a run's selection, so that the user does not take one folder's pipeline for the
//! whole repository.

use std::collections::HashSet;

use crate::error::Result;
use crate::event::Sink;
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{Reason, always_runs, judge};
use crate::project::{Definitions, Project};

/// The number of stale stages that were not selected. Stages that always run are not counted, or the number would never
/// reach zero. A stage that never ran is stale without reading its files. A stage that cannot be judged is not counted.
pub fn count_unselected_stale(
    project: &Project,
    definitions: &Definitions,
    selected: &[StageId],
    sink: &dyn Sink,
) -> Result<usize> {
    let selected: HashSet<StageId> = selected.iter().copied().collect();
    let order = definitions.graph.order().iter().copied();
    let others: Vec<StageId> = order.filter(|id| !selected.contains(id)).collect();
    if others.is_empty() {
        return Ok(0);
    }
    let locks = project.locks(definitions)?;
    let shell = project.shell();
    let entry = |id: StageId| {
        let stage = definitions.pipelines.stage(id);
        locks.of_file(stage.file).stages.get(&stage.name)
    };
    let (have_entry, never_ran): (Vec<StageId>, Vec<StageId>) = others.into_iter().partition(|id| entry(*id).is_some());
    let mut reader = FactsReader::new(project, definitions, sink);
    reader.sweep(&have_entry);
    let mut stale = never_ran.iter().filter(|id| !always_runs(definitions.pipelines.stage(**id))).count();
    for id in have_entry {
        let Ok(facts) = reader.facts(id) else { continue };
        let reasons = judge(definitions.pipelines.stage(id), &shell, &facts, entry(id));
        stale += usize::from(reasons.iter().any(|reason| *reason != Reason::Always));
    }
    Ok(stale)
}
