//! Sources of plot files: the workspace, or a commit.
//!
//! A page is made to be published, and a file that is not a table may be embedded as a picture, byte for byte.
//! [`crate::document`] defines what may be read in the workspace.

use std::fs;
use std::path::Path;

use crate::document::Bounds;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::Project;

/// What is at a path.
#[derive(Debug)]
pub enum PathContent {
    /// Nothing is there.
    Missing,
    /// The bytes of the file.
    File(Vec<u8>),
    /// All files below it, at any depth, sorted.
    Folder(Vec<RepoPath>),
}

/// A revision whose files can be read.
pub trait PlotSource {
    /// `workspace`, or the revision as it was typed.
    fn label(&self) -> &str;

    /// Reads a file, or lists a folder.
    ///
    /// Errors: the file may not be read (see [`crate::document`]), or reading fails.
    fn read(&self, path: &RepoPath) -> Result<PathContent>;
}

/// The current files.
pub struct Worktree<'p> {
    top: &'p Path,
    bounds: &'p Bounds,
}

impl Worktree<'_> {
    /// The current files of an open project, below its top.
    pub(super) fn of(project: &Project) -> Worktree<'_> {
        Worktree { top: project.top(), bounds: project.bounds() }
    }
}

impl PlotSource for Worktree<'_> {
    fn label(&self) -> &str {
        "workspace"
    }

    fn read(&self, path: &RepoPath) -> Result<PathContent> {
        let there = path.on_disk(self.top);
        let Some(real) = self.bounds.find(&there)? else { return Ok(PathContent::Missing) };
        if real.is_dir() {
            let mut files = Vec::new();
            below(&there, path, &mut files)?;
            files.sort();
            return Ok(PathContent::Folder(files));
        }
        Ok(self.bounds.read(&there)?.map_or(PathContent::Missing, PathContent::File))
    }
}

/// Links to folders are not followed: they may form cycles.
fn below(folder: &Path, path: &RepoPath, files: &mut Vec<RepoPath>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", folder, e))?;
        let Some(path) = entry.file_name().to_str().and_then(|name| path.join(name)) else { continue };
        let kind = entry.file_type().map_err(|e| Error::io("look at", entry.path(), e))?;
        if kind.is_dir() {
            below(&entry.path(), &path, files)?;
        } else if kind.is_file() || kind.is_symlink() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_at_a_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/sub")).unwrap();
        fs::write(dir.path().join("d/sub/a"), "x").unwrap();
        symlink("sub/a", dir.path().join("d/b")).unwrap();
        symlink("..", dir.path().join("d/sub/up")).unwrap();
        symlink("/dev/zero", dir.path().join("d/zero")).unwrap();
        for (folder, link) in [("git", "d/secret"), ("git/store", "d/kept"), ("other", "d/disk")] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("y"), "y").unwrap();
            symlink(dir.path().join(folder).join("y"), dir.path().join(link)).unwrap();
        }
        std::os::unix::net::UnixListener::bind(dir.path().join("d/sub/socket")).unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let bounds = Bounds::new(&top, [&top.join("git")], Some(&top.join("git/store")));
        let tree = Worktree { top: &top, bounds: &bounds };
        let shown = |path: &str| match tree.read(&RepoPath::root().join(path).unwrap()) {
            Ok(PathContent::Missing) => "missing".into(),
            Ok(PathContent::File(bytes)) => String::from_utf8(bytes).unwrap(),
            Ok(PathContent::Folder(files)) => format!("{files:?}"),
            Err(error) => error.message.replace(top.to_str().unwrap(), "TOP"),
        };
        for (path, want) in [
            ("d/sub/a", "x"),
            ("d/b", "x"),
            ("d/c", "missing"),
            ("d/b/c", "missing"),
            ("d/sub/socket", "d/sub/socket is not read: it is not a regular file"),
            ("d/zero", "d/zero is not read: it leads to /dev/zero, outside of the repository"),
            (
                "d/secret",
                "d/secret is not read: it leads to TOP/git/y, in a folder that belongs to Git or lockstep itself",
            ),
            ("d/kept", "y"),
            ("d/disk", "y"),
            ("d", "[d/b, d/disk, d/kept, d/secret, d/sub/a, d/sub/up, d/zero]"),
        ] {
            assert_eq!(shown(path), want, "{path}");
        }
    }
}
