//! The contents of the model that a command names.

use crate::cli::global::Global;
use crate::cli::surroundings::surroundings;
use crate::error::Result;
use crate::model::formats::{self, Contents};
use crate::model::registry::find::{self, ModelSource};
use crate::model::script;
use crate::project::Project;

/// Reads the headers of a model: `PATH` or `PATH@REVISION`, a file or a folder. Opens a repository only for a revision,
/// or for symlinks into its store. With `torch`, libtorch loads a TorchScript module. Returns the size in bytes, too.
pub fn read_contents(spec: &str, torch: bool, global: &Global) -> Result<(u64, Contents)> {
    let around = surroundings(global)?;
    let store = || {
        let project = Project::open(surroundings(global).ok()?).ok()?;
        std::fs::canonicalize(project.store_dir()).ok()
    };
    if let Some(source) = find::on_disk(&around.cwd, spec, &store)? {
        return contents(&source, torch);
    }
    if !spec.contains(['@', '#']) {
        return match Project::open(around) {
            // A bare repository has no workspace, so this reads `HEAD`.
            Ok(project) if project.repo.is_bare() => {
                contents(&find::at_revision(&project, &format!("{spec}@HEAD"))?, torch)
            }
            _ => Err(find::absent(spec)),
        };
    }
    contents(&find::at_revision(&Project::open(around)?, spec)?, torch)
}

fn contents(source: &ModelSource, torch: bool) -> Result<(u64, Contents)> {
    match source {
        ModelSource::File(source) => {
            let mut contents = formats::read(source)?;
            if torch {
                script::load(source, &mut contents)?;
            }
            Ok((source.len(), contents))
        }
        ModelSource::Folder(folder) => Ok((folder.size(), formats::read_folder(folder)?)),
    }
}
