//! Finds symlinks inside a dep that lead to another stage's output: the command reads that output, but the graph has no
//! edge for it.

use std::collections::{HashMap, HashSet};
use std::fs;

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::project::{Definitions, Project};
use crate::store::{ObjectId, Pin, TrackedPath};

/// A link in a dep, the output that it leads to, and the stage that makes that output.
#[derive(Clone, Debug)]
struct LinkedOut {
    link: RepoPath,
    out: RepoPath,
    maker: StageId,
}

/// The links of deps; a dep is searched once while its content stays the same.
#[derive(Debug, Default)]
pub struct HiddenEdges {
    by_dep: HashMap<RepoPath, (ObjectId, Vec<LinkedOut>)>,
}

impl HiddenEdges {
    /// Errors: a link in a dep of the stage leads to an output of a stage that it does not depend on. The stage would
    /// run too early, and be up to date when that output is stale. `pins` are those of the deps.
    pub fn check(
        &mut self,
        project: &Project,
        definitions: &Definitions,
        id: StageId,
        pins: &[Option<Pin>],
    ) -> Result<()> {
        let stage = definitions.pipelines.stage(id);
        let mut above = None;
        for (dep, pin) in stage.deps.iter().zip(pins) {
            let (InputLocation::Repo(path), Some(pin)) = (&dep.place, pin) else { continue };
            if self.by_dep.get(path).is_none_or(|(known, _)| *known != pin.id) {
                self.by_dep.insert(path.clone(), (pin.id, find_links(project, definitions, path)));
            }
            for found in &self.by_dep[path].1 {
                let above = above.get_or_insert_with(|| all_above(definitions, id));
                if found.maker != id && !above.contains(&found.maker) {
                    return Err(hidden(project, definitions, id, found));
                }
            }
        }
        Ok(())
    }
}

fn hidden(project: &Project, definitions: &Definitions, id: StageId, found: &LinkedOut) -> Error {
    let address = |id| definitions.pipelines.address(id, &project.cwd);
    let (link, out) = (found.link.relative_to(&project.cwd), found.out.relative_to(&project.cwd));
    let message = format!("stage {} reads {out} through the link {link}, and does not name it", address(id));
    Error::usage(message)
        .because(format!("stage {} makes {out}, so it has to run before", address(found.maker)))
        .hint(format!("add {out} to the deps of {}", address(id)))
}

fn find_links(project: &Project, definitions: &Definitions, dep: &RepoPath) -> Vec<LinkedOut> {
    let links = project.index().followed(&TrackedPath::from(dep));
    if links.is_empty() {
        return Vec::new();
    }
    let Ok(top) = fs::canonicalize(project.top()) else { return Vec::new() };
    let mut found = Vec::new();
    for link in links {
        let Some(real) = fs::canonicalize(&link).ok().and_then(|real| RepoPath::from_absolute(&top, &real)) else {
            continue;
        };
        let link = RepoPath::from_absolute(project.top(), &link).unwrap_or_default();
        for owner in definitions.graph.owners_of(&real) {
            if let Owner::Out(maker, at) = owner {
                let out = definitions.pipelines.stage(maker).outs[at as usize].path.clone();
                found.push(LinkedOut { link: link.clone(), out, maker });
            }
        }
    }
    found
}

fn all_above(definitions: &Definitions, id: StageId) -> HashSet<StageId> {
    let mut found = HashSet::new();
    let mut heads = vec![id];
    while let Some(head) = heads.pop() {
        heads.extend(definitions.graph.upstream(head).iter().copied().filter(|up| found.insert(*up)));
    }
    found
}
