//! Symlinks inside of a dep that lead to what another stage makes: the command reads it, and the graph does not know.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::{Place, StageId};
use crate::project::{Definitions, Project};
use crate::store::Place as Spot;

/// Errors: a link in a dep leads to an output of a stage that this one does not depend on. It would run too early, and
/// be called up to date when that output is stale.
pub fn check_links(project: &Project, definitions: &Definitions, id: StageId) -> Result<()> {
    let stage = definitions.pipelines.stage(id);
    let mut above = None;
    for dep in &stage.deps {
        let Place::Repo(path) = &dep.place else { continue };
        for link in project.index().followed(&Spot::from(path)) {
            let Some((real, maker)) = made_by(project, definitions, &link) else { continue };
            let above = above.get_or_insert_with(|| all_above(definitions, id));
            if maker == id || above.contains(&maker) {
                continue;
            }
            let address = |id| definitions.pipelines.address(id, &project.cwd);
            let link = RepoPath::from_absolute(project.top(), &link).unwrap_or_default();
            let (link, real) = (link.relative_to(&project.cwd), real.relative_to(&project.cwd));
            let message = format!("stage {} reads {real} through the link {link}, and does not name it", address(id));
            return Err(Error::usage(message)
                .because(format!("stage {} makes {real}, so it has to run before", address(maker)))
                .hint(format!("add {real} to the deps of {}", address(id))));
        }
    }
    Ok(())
}

/// The output that a link leads to, into, or that lies in the folder that it leads to; with its stage.
fn made_by(project: &Project, definitions: &Definitions, link: &std::path::Path) -> Option<(RepoPath, StageId)> {
    let real = std::fs::canonicalize(link).ok()?;
    let top = std::fs::canonicalize(project.top()).ok()?;
    let real = RepoPath::from_absolute(&top, &real)?;
    let pipelines = &definitions.pipelines;
    pipelines.ids().find_map(|id| {
        let out = pipelines.stage(id).outs.iter().find(|out| out.path.is_in(&real) || real.is_in(&out.path))?;
        Some((out.path.clone(), id))
    })
}

fn all_above(definitions: &Definitions, id: StageId) -> HashSet<StageId> {
    let mut found = HashSet::new();
    let mut heads = vec![id];
    while let Some(head) = heads.pop() {
        heads.extend(definitions.graph.upstream(head).iter().copied().filter(|up| found.insert(*up)));
    }
    found
}
