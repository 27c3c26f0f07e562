//! The contents of the model file that a command names.

use crate::cli::global::Global;
use crate::cli::surroundings::surroundings;
use crate::error::Result;
use crate::model::formats::{self, Contents};
use crate::model::registry::find;
use crate::model::script;
use crate::model::source::Source;
use crate::project::Project;

/// Opens `PATH` or `PATH@REVISION`. Opens a repository only for a revision.
fn open_source(spec: &str, global: &Global) -> Result<Source> {
    let around = surroundings(global)?;
    if let Some(source) = find::on_disk(&around.cwd, spec)? {
        return Ok(source);
    }
    if !spec.contains(['@', '#']) {
        return match Project::open(around) {
            // A bare repository has no workspace, so this reads `HEAD`.
            Ok(project) if project.repo.is_bare() => find::at_revision(&project, &format!("{spec}@HEAD")),
            _ => Err(find::absent(spec)),
        };
    }
    find::at_revision(&Project::open(around)?, spec)
}

/// Reads the header of a model file. With `torch`, libtorch loads a TorchScript module.
pub fn read_contents(spec: &str, torch: bool, global: &Global) -> Result<(Source, Contents)> {
    let source = open_source(spec, global)?;
    let mut contents = formats::read(&source)?;
    if torch {
        script::load(&source, &mut contents)?;
    }
    Ok((source, contents))
}
