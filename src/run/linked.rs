//! Inputs behind a symlinked folder.
//!
//! The graph joins stages by the spelling of paths. A dep `lnk/o`, where `lnk` is a link to `real` and another stage makes
//! `real/o`, has no edge to that stage: it would be read before it is made. Such a dep is refused. A folder costs one stat,
//! however many deps lie in it.

use std::collections::HashMap;
use std::fs;

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{Place, StageId};
use crate::project::{Definitions, Project};

/// Refuses stages that read an output of another stage by way of a symlinked folder.
pub fn refuse_hidden_edges(project: &Project, definitions: &Definitions, stages: &[StageId]) -> Result<()> {
    let mut folders = Folders { project, real: HashMap::new() };
    for id in stages {
        let stage = definitions.pipelines.stage(*id);
        let read = stage.deps.iter().map(|d| &d.place).chain(stage.params.iter().map(|p| &p.place));
        for path in read.filter_map(|place| if let Place::Repo(path) = place { Some(path) } else { None }) {
            let Some(real) = folders.real_path(path) else { continue };
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

struct Folders<'a> {
    project: &'a Project,
    /// What each folder really is; `None` if its path has no symlink, or leads out.
    real: HashMap<RepoPath, Option<RepoPath>>,
}

impl Folders<'_> {
    /// Where a path really lies, if a folder above it is a symlink.
    fn real_path(&mut self, path: &RepoPath) -> Option<RepoPath> {
        let folder = path.parent().filter(|folder| !folder.is_root())?;
        self.real_folder(&folder)?.join(path.name())
    }

    fn real_folder(&mut self, folder: &RepoPath) -> Option<RepoPath> {
        if let Some(known) = self.real.get(folder) {
            return known.clone();
        }
        let on_disk = folder.on_disk(self.project.top());
        let is_link = fs::symlink_metadata(&on_disk).is_ok_and(|meta| meta.is_symlink());
        let real = if is_link {
            fs::canonicalize(&on_disk).ok().and_then(|real| RepoPath::from_absolute(self.project.top(), &real))
        } else {
            self.real_path(folder)
        };
        self.real.insert(folder.clone(), real.clone());
        real
    }
}
