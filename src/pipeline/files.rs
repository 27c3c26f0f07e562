//! Where the loader reads files from.

use super::stage::Place;
use crate::error::Result;

/// Where files come from: the worktree or a commit.
pub trait Files {
    /// `None` if there is no such file; a folder is an error.
    fn read(&self, place: &Place) -> Result<Option<Vec<u8>>>;

    /// The absolute path of the repository, so that absolute paths inside it become relative.
    fn top(&self) -> &std::path::Path;
}
