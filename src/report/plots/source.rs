//! Where the files of a plot are read from: the workspace, or a commit.
//!
//! A page is made to be published, and a file that is no table may be shown as a picture is, byte for byte. A symlink of
//! the workspace is therefore followed only to what belongs to the repository, or to the store, which a checkout may link
//! to: not to `/proc/self/environ`, and not to Git's own settings, where CI systems keep a token.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::Project;

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

/// The files as they are now. Folders are absolute, without symlinks.
pub struct Worktree {
    top: PathBuf,
    /// Git's own folder, of which nothing but the store may be shown.
    git_dir: Option<PathBuf>,
    store: PathBuf,
}

impl Worktree {
    pub fn of(project: &Project) -> Worktree {
        let store = project.store_dir();
        Worktree {
            top: project.top().to_path_buf(),
            git_dir: project.repo.git_dir.clone(),
            store: fs::canonicalize(&store).unwrap_or(store),
        }
    }

    /// May this be shown, whatever led to it?
    fn owns(&self, real: &Path) -> bool {
        let in_git = self.git_dir.as_ref().is_some_and(|git_dir| real.starts_with(git_dir));
        (real.starts_with(&self.top) && !in_git) || real.starts_with(&self.store)
    }
}

impl Source for Worktree {
    fn label(&self) -> &str {
        "workspace"
    }

    fn read(&self, path: &RepoPath) -> Result<Entry> {
        let there = path.on_disk(&self.top);
        let seen = match fs::metadata(&there) {
            Ok(seen) => seen,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Entry::Missing),
            Err(e) => return Err(Error::io("look at", &there, e)),
        };
        let real = fs::canonicalize(&there).map_err(|e| Error::io("look at", &there, e))?;
        if !self.owns(&real) {
            let message = format!("{path} is not plotted: it leads to {}, outside of the repository", real.display());
            return Err(
                Error::usage(message).hint("a page may be published: copy what it is to show into the repository")
            );
        }
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
        for (folder, link) in [("git", "d/secret"), ("git/store", "d/kept"), ("other", "d/disk")] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("y"), "y").unwrap();
            symlink(dir.path().join(folder).join("y"), dir.path().join(link)).unwrap();
        }
        std::os::unix::net::UnixListener::bind(dir.path().join("d/sub/socket")).unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let tree = Worktree { git_dir: Some(top.join("git")), store: top.join("git/store"), top: top.clone() };
        let shown = |path: &str| match tree.read(&RepoPath::root().join(path).unwrap()) {
            Ok(Entry::Missing) => "missing".into(),
            Ok(Entry::File(bytes)) => String::from_utf8(bytes).unwrap(),
            Ok(Entry::Folder(files)) => format!("{files:?}"),
            Err(error) => error.message.replace(top.to_str().unwrap(), "TOP"),
        };
        for (path, want) in [
            ("d/sub/a", "x"),
            ("d/b", "x"),
            ("d/c", "missing"),
            ("d/b/c", "missing"),
            ("d/sub/socket", "d/sub/socket is no file"),
            ("d/zero", "d/zero is not plotted: it leads to /dev/zero, outside of the repository"),
            ("d/secret", "d/secret is not plotted: it leads to TOP/git/y, outside of the repository"),
            ("d/kept", "y"),
            ("d/disk", "y"),
            ("d", "[d/b, d/disk, d/kept, d/secret, d/sub/a, d/sub/up, d/zero]"),
        ] {
            assert_eq!(shown(path), want, "{path}");
        }
    }
}
