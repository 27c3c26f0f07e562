//! Inputs behind a symlinked folder.
//!
//! The graph joins stages by the spelling of paths. A dep `lnk/o`, where `lnk` is a link to `real` and another stage makes
//! `real/o`, has no edge to that stage: it would be read before it is made. Such a dep is refused. A folder costs one stat,
//! however many deps lie in it.

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::path::links::FolderLinks;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{Place, StageId};
use crate::project::{Definitions, Project};

/// Refuses stages that read an output of another stage by way of a symlinked folder.
pub fn refuse_hidden_edges(project: &Project, definitions: &Definitions, stages: &[StageId]) -> Result<()> {
    let top = project.top();
    let mut links = FolderLinks::below(top);
    for id in stages {
        let stage = definitions.pipelines.stage(*id);
        let read = stage.deps.iter().map(|d| &d.place).chain(stage.params.iter().map(|p| &p.place));
        for path in read.filter_map(|place| if let Place::Repo(path) = place { Some(path) } else { None }) {
            let Some(folder) = links.real_parent(path) else { continue };
            let Some(real) = RepoPath::from_absolute(top, &folder.join(path.name())) else { continue };
            let producer = definitions.graph.owners_of(&real).into_iter().find_map(|owner| match owner {
                Owner::Out(producer, _) if producer != *id => Some(producer),
                _ => None,
            });
            if let Some(producer) = producer {
                let address = |id| definitions.pipelines.address(id, &project.cwd);
                let message = format!(
                    "stage {} reads {path}, which is really {real}, an output of stage {}",
                    address(*id),
                    address(producer)
                );
                return Err(Error::usage(message)
                    .because("a folder of it is a symlink, so the order of the two stages is not known")
                    .hint(format!("write {real} in its deps")));
            }
        }
    }
    Ok(())
}
