//! The error for a dep or params file that does not exist, with the path that the user may have meant.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::path::RepoPath;
use crate::pipeline::problem::similar_word;
use crate::pipeline::stage::{InputLocation, Stage, StageId};
use crate::project::{Definitions, Project};

/// How many files of a folder are compared.
const MOST_FILES: usize = 1000;

/// The error for a dep that does not exist.
pub fn missing_dep_error(
    project: &Project,
    definitions: &Definitions,
    id: StageId,
    spelled: &str,
    place: &InputLocation,
) -> Error {
    let address = definitions.pipelines.address(id, &project.cwd);
    let error = Error::missing(format!("stage {address} needs {spelled}, which does not exist"));
    match similar_path(project, definitions, definitions.pipelines.stage(id), place) {
        Some(path) => error.hint(format!("did you mean `{path}`?")),
        None => error,
    }
}

/// A path similar to that of an input, as the stage would write it: a file of the same folder, else an output or data.
pub fn similar_path(
    project: &Project,
    definitions: &Definitions,
    stage: &Stage,
    place: &InputLocation,
) -> Option<String> {
    let InputLocation::Repo(path) = place else { return None };
    let folder = path.parent()?;
    let pipelines = &definitions.pipelines;
    let data = pipelines.files.iter().flat_map(|file| &file.data).map(|data| &data.path);
    let outs = pipelines.stages.iter().flat_map(|stage| &stage.outs).map(|out| &out.path);
    let own: Vec<&RepoPath> = stage.outs.iter().map(|out| &out.path).collect();
    let kept: Vec<&RepoPath> = outs.chain(data).filter(|kept| !own.contains(kept)).collect();
    let mut names: BTreeSet<String> = std::fs::read_dir(folder.on_disk(project.top()))
        .map(|entries| entries.flatten().take(MOST_FILES).filter_map(|e| e.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.extend(kept.iter().filter(|kept| kept.parent().as_ref() == Some(&folder)).map(|kept| kept.name().into()));
    names.retain(|name| folder.join(name).is_some_and(|path| !own.contains(&&path)));
    let in_folder = similar_word(path.name(), names.iter().map(String::as_str)).and_then(|name| folder.join(name));
    let found = in_folder.or_else(|| {
        let same_name = kept.iter().find(|kept| kept.name() == path.name()).map(|kept| (*kept).clone());
        same_name.or_else(|| similar_word(path.as_str(), kept.iter().map(|kept| kept.as_str())).map(to_path)?)
    })?;
    Some(found.relative_to(&stage.wdir))
}

fn to_path(path: &str) -> Option<RepoPath> {
    RepoPath::root().join(path)
}
