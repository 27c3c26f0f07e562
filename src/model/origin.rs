//! Where the bytes of an artifact come from, as the locks of one commit tell it: its pin, the stage that made it, the
//! stages upstream, and what went in at the beginning.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::project::{PinnedPath, Snapshot};
use crate::store::Pin;

#[derive(Clone, Debug)]
pub struct Origin {
    pub path: RepoPath,
    pub pin: Pin,
    /// Is it in the store and at remotes (else Git has it)?
    pub cache: bool,
    /// The out or data that it is, or lies in: what is stored and pushed.
    pub root: PinnedPath,
    /// The stage that made it, then those upstream, the nearest first. Empty for data.
    pub stages: Vec<StageId>,
    /// What these stages read and no stage made, by path, each once.
    pub inputs: Vec<Input>,
}

/// Something that went in at the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// From the root; of something outside the repository as written.
    pub path: String,
    pub pin: Pin,
    /// Tracked data, and not a file of Git or of elsewhere?
    pub data: bool,
}

/// Traces what is at `path`; the snapshot is of a commit.
///
/// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if no lock pins it.
pub fn trace(snapshot: &Snapshot<'_>, path: &RepoPath) -> Result<Origin> {
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
    Ok(Origin { path: path.clone(), pin, cache: root.cache, root, stages, inputs })
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

/// What the lock says of a stage.
pub fn entry<'s>(snapshot: &'s Snapshot<'_>, id: StageId) -> Result<Option<&'s StageLock>> {
    let stage = snapshot.definitions.pipelines.stage(id);
    Ok(snapshot.locks()?.of_file(stage.file).stages.get(&stage.name))
}

fn inputs(snapshot: &Snapshot<'_>, stages: &[StageId]) -> Result<Vec<Input>> {
    let definitions = &snapshot.definitions;
    let mut found: Vec<Input> = Vec::new();
    for id in stages {
        let Some(entry) = entry(snapshot, *id)? else { continue };
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
