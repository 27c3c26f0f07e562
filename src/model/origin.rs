//! The origin of an artifact's bytes according to the locks of one commit: its pin, the stage that made it, the stages
//! upstream, and their inputs.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::project::{PinnedPath, Snapshot};
use crate::store::Pin;

/// The origin of an artifact's bytes.
#[derive(Clone, Debug)]
pub struct ArtifactOrigin {
    /// The path of the artifact's file or folder.
    pub path: RepoPath,
    /// Its bytes: a part of those of `root`, if it is inside of it.
    pub pin: Pin,
    /// The out or data that it equals or is inside of: the unit of storage and push.
    pub root: PinnedPath,
    /// The stage that made it, then those upstream, the nearest first. Empty for data.
    pub stages: Vec<StageId>,
    /// Inputs of these stages that no stage made, by path, each once.
    pub inputs: Vec<Input>,
}

/// An input that no stage made.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Relative to the root; outside of the repository as written.
    pub path: String,
    /// The pin in the lock of a stage that read it.
    pub pin: Pin,
    /// Whether it is tracked data, not a file of Git or from outside.
    pub data: bool,
}

/// Traces the file at `path`; the snapshot is of a commit.
///
/// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if no lock pins it.
pub fn trace(snapshot: &Snapshot<'_>, path: &RepoPath) -> Result<ArtifactOrigin> {
    let Some(root) = snapshot.pinned()?.into_iter().find(|p| path.is_in(&p.path)) else {
        let of = if snapshot.commit.is_some() { format!(" of {}", snapshot.name) } else { String::new() };
        return Err(Error::missing(format!("{path} is pinned by no pipeline.lock{of}"))
            .hint("a stage has to make it (lockstep repro), or it is data (lockstep add PATH); then commit the lock"));
    };
    let pin = match snapshot.pin(path)? {
        Some(pin) => pin,
        None => return Err(Error::missing(format!("{} is pinned, and there is no {path} in it", root.path))),
    };
    let stages = root.stage.map(|maker| upstream(snapshot, maker)).unwrap_or_default();
    let inputs = inputs(snapshot, &stages)?;
    Ok(ArtifactOrigin { path: path.clone(), pin, root, stages, inputs })
}

/// Breadth first, each stage once.
fn upstream(snapshot: &Snapshot<'_>, maker: StageId) -> Vec<StageId> {
    let mut found = vec![maker];
    if snapshot.wrong.is_some() {
        return found;
    }
    let mut seen: BTreeSet<StageId> = found.iter().copied().collect();
    let mut at = 0;
    while at < found.len() {
        let next = snapshot.definitions.graph.upstream(found[at]).iter().copied();
        found.extend(next.filter(|id| seen.insert(*id)));
        at += 1;
    }
    found
}

/// The lock entry of a stage.
pub fn lock_entry<'s>(snapshot: &'s Snapshot<'_>, id: StageId) -> Result<Option<&'s StageLock>> {
    let stage = snapshot.definitions.pipelines.stage(id);
    Ok(snapshot.locks()?.of_file(stage.file).stages.get(&stage.name))
}

fn inputs(snapshot: &Snapshot<'_>, stages: &[StageId]) -> Result<Vec<Input>> {
    let definitions = &snapshot.definitions;
    let mut found: Vec<Input> = Vec::new();
    for id in stages {
        let Some(entry) = lock_entry(snapshot, *id)? else { continue };
        for dep in &definitions.pipelines.stage(*id).deps {
            let Some(pin) = entry.deps.get(&dep.spelled) else { continue };
            let (path, owners) = match &dep.place {
                InputLocation::Repo(path) => (path.to_string(), definitions.graph.owners_of(path)),
                other => (other.to_string(), Vec::new()),
            };
            if !owners.iter().any(|owner| matches!(owner, Owner::Out(..))) {
                found.push(Input { path, pin: *pin, data: !owners.is_empty() });
            }
        }
    }
    found.sort_by(|a, b| (&a.path, a.pin.id).cmp(&(&b.path, b.pin.id)));
    found.dedup();
    Ok(found)
}
