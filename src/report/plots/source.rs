//! Where the files of a plot are read from: the workspace, or a commit.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::path::RepoPath;

/// Larger files are not read; the store reads no larger ones at once, either.
const LARGEST: u64 = 1 << 30;

/// What is at a path.
#[derive(Debug)]
pub enum Entry {
    Missing,
    File(Vec<u8>),
    /// All files below it, at any depth, sorted.
    Folder(Vec<RepoPath>),
}

pub trait Source {
    /// `workspace`, or the revision as it was typed.
    fn label(&self) -> &str;

    fn read(&self, path: &RepoPath) -> Result<Entry>;
}

/// The files as they are now.
pub struct Worktree<'a> {
    pub top: &'a Path,
}

impl Source for Worktree<'_> {
    fn label(&self) -> &str {
        "workspace"
    }

    fn read(&self, path: &RepoPath) -> Result<Entry> {
        let there = path.on_disk(self.top);
        let seen = match fs::metadata(&there) {
            Ok(seen) => seen,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Entry::Missing),
            Err(e) => return Err(Error::io("look at", &there, e)),
        };
        if seen.is_dir() {
            let mut files = Vec::new();
            below(&there, path, &mut files)?;
            files.sort();
            return Ok(Entry::Folder(files));
        }
        // A pipe would be waited for, and a device has no end.
        if !seen.is_file() || seen.len() > LARGEST {
            let why = if seen.is_file() { "is too large for a plot" } else { "is no file" };
            return Err(Error::usage(format!("{path} {why}")).hint("plot a file of at most 1 GiB"));
        }
        fs::read(&there).map(Entry::File).map_err(|e| Error::io("read", &there, e))
    }
}

/// Links to folders are not followed: they may lead in circles.
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
        let tree = Worktree { top: dir.path() };
        let shown = |path: &str| match tree.read(&RepoPath::root().join(path).unwrap()) {
            Ok(Entry::Missing) => "missing".into(),
            Ok(Entry::File(bytes)) => String::from_utf8(bytes).unwrap(),
            Ok(Entry::Folder(files)) => format!("{files:?}"),
            Err(error) => error.message,
        };
        for (path, want) in [
            ("d/sub/a", "x"),
            ("d/b", "x"),
            ("d/c", "missing"),
            ("d/b/c", "missing"),
            ("d/zero", "d/zero is no file"),
            ("d", "[d/b, d/sub/a, d/sub/up, d/zero]"),
        ] {
            assert_eq!(shown(path), want, "{path}");
        }
    }
}
