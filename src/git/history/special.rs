//! Pipeline files of a commit, as they are remembered for each tree.

use crate::git::history::commit::EntryKind;
use crate::git::id::GitId;

/// A file that says something about pipelines.
#[derive(Clone, Debug)]
pub struct Special {
    /// From the folder that was asked about.
    pub path: String,
    pub what: What,
    pub kind: EntryKind,
    pub id: GitId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Pipeline,
    Dvc,
    Rules,
    Project,
}
