//! Pipeline files of a commit, as they are cached for each tree.

use crate::git::history::commit::EntryKind;
use crate::git::id::GitId;

/// A file that affects pipelines.
#[derive(Clone, Debug)]
pub struct Special {
    /// Relative to the folder of the query.
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
