//! The source from which the loader reads files.

use super::stage::InputLocation;
use crate::error::Result;

/// A source of files: the worktree or a commit.
pub trait Files {
    /// `None` if the file does not exist. Errors: it is a folder, or cannot be read.
    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>>;

    /// The absolute path of the repository, so that absolute paths inside it become relative.
    fn top(&self) -> &std::path::Path;
}
