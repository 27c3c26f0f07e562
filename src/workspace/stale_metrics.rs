//! Metrics of the workspace that are unknown, because their files, or the lock entries, belong to another state.

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::event::Silent;
use crate::path::RepoPath;
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{PathState, Reason};
use crate::project::Snapshot;
use crate::workspace::status::status;

/// Metrics of stale stages and of stages that need a stale one, by file, each with the reason. An output that is only
/// missing is not a reason: the lock pins it. Metrics of a commit are never stale.
pub fn stale_metrics(snapshot: &Snapshot<'_>) -> Result<BTreeMap<String, String>> {
    let mut metrics = BTreeMap::new();
    let definitions = &snapshot.definitions;
    if snapshot.commit.is_some() || !definitions.pipelines.stages.iter().flat_map(|s| &s.outs).any(|out| out.metric) {
        return Ok(metrics);
    }
    let order = definitions.graph.order();
    let mut reader = FactsReader::new(snapshot.project, definitions, &Silent);
    let (found, _) = status(snapshot.project, definitions, order, &[], &mut reader)?;
    let is_absence = |reason: &Reason| match reason {
        Reason::Out { state, .. } | Reason::Dep { state, .. } => {
            matches!(state, PathState::Deleted | PathState::NotInCache)
        }
        _ => false,
    };
    let counts = |reason: &Reason| !matches!(reason, Reason::Always | Reason::Forced) && !is_absence(reason);
    let stale = found.stages.iter().filter(|(_, reasons)| reasons.iter().any(counts)).map(|(id, _)| *id);
    let mut stale: HashSet<StageId> = stale.chain(found.unknown.iter().copied()).collect();
    for id in order {
        let stage = definitions.pipelines.stage(*id);
        let is_below = || !stage.frozen && definitions.graph.upstream(*id).iter().any(|up| stale.contains(up));
        if !stale.contains(id) && !is_below() {
            continue;
        }
        stale.insert(*id);
        let why = format!("stage {} is stale", definitions.pipelines.address(*id, &RepoPath::root()));
        metrics.extend(stage.outs.iter().filter(|out| out.metric).map(|out| (out.path.to_string(), why.clone())));
    }
    Ok(metrics)
}
