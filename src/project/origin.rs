//! The repository that imported data comes from.

use crate::path::RepoPath;
use crate::pipeline::stage::{Data, Import};
use crate::project::Definitions;

/// The origin of imported data.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The path of the data.
    pub path: RepoPath,
    /// The pipeline file that lists it.
    pub file: RepoPath,
    /// The repository, revision and path that it was imported from.
    pub import: Import,
}

impl Origin {
    /// The origin of the data at a path, or that contains the path; `None` if it is not an import.
    pub fn of(definitions: &Definitions, path: &RepoPath) -> Option<Origin> {
        let files = definitions.pipelines.files.iter();
        let mut data = files.flat_map(|file| file.data.iter().map(|data| (&file.path, data)));
        let (file, data) = data.find(|(_, data)| path.is_in(&data.path))?;
        Origin::of_data(file, data)
    }

    /// The origin of a data entry of this pipeline file.
    pub fn of_data(file: &RepoPath, data: &Data) -> Option<Origin> {
        Some(Origin { path: data.path.clone(), file: file.clone(), import: data.import.clone()? })
    }
}
