//! Pipeline files of a commit, as they are cached for each tree.

use crate::git::history::commit::EntryKind;
use crate::git::id::GitId;

/// A file that affects pipelines.
#[derive(Clone, Debug)]
pub struct DiscoveryFile {
    /// Relative to the folder of the query.
    pub path: String,
    pub what: DiscoveryFileKind,
    pub kind: EntryKind,
    pub id: GitId,
}

/// The role of a file in discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryFileKind {
    Pipeline,
    Dvc,
    Rules,
    Project,
}
