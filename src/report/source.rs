//! Where the files of a plot are read from: the workspace, or a commit.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::path::RepoPath;

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
        match fs::read(&there) {
            Ok(bytes) => Ok(Entry::File(bytes)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Entry::Missing),
            Err(e) if e.kind() == ErrorKind::IsADirectory => {
                let mut files = Vec::new();
                below(&there, path, &mut files)?;
                files.sort();
                Ok(Entry::Folder(files))
            }
            Err(e) => Err(Error::io("read", &there, e)),
        }
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
        } else {
            files.push(path);
        }
    }
    Ok(())
}
