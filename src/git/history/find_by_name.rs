//! Finds all files of one name, in any folder: in commits, and on disk.
//!
//! For callers that must not miss one: ignore rules and the outputs of pipelines do not apply here. Nested repositories
//! are skipped: they are handled on their own.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::commit::{Commit, EntryKind};
use crate::error::{Error, Kind, Result};
use crate::git::history::History;
use crate::git::id::GitId;
use crate::git::repo::{OWN_FOLDER, Repo};
use crate::path::RepoPath;

/// The largest depth of folders, as in Git (`core.maxTreeDepth`).
const DEEPEST: usize = 2048;

/// Finds the files of a name in any number of commits; reads a tree that several of them share once.
pub struct FilesByName {
    history: History,
    name: &'static str,
    below: HashMap<gix::ObjectId, Rc<Vec<Hit>>>,
}

#[derive(Clone)]
struct Hit {
    /// Relative to the folder of the query.
    path: String,
    kind: EntryKind,
    id: GitId,
}

impl FilesByName {
    /// Searches for files with the name `name`.
    pub fn new(history: &History, name: &'static str) -> FilesByName {
        FilesByName { history: history.clone(), name, below: HashMap::new() }
    }

    /// In a partial clone, fetches the objects that [`FilesByName::find_in_commit`] reads of these commits, and the files
    /// found, with two requests.
    pub fn prefetch(&mut self, commits: &[Commit]) -> Result<()> {
        if !self.history.0.is_partial {
            return Ok(());
        }
        let history = self.history.clone();
        history.fetch_missing(commits.iter().map(|commit| commit.tree));
        let mut blobs = Vec::new();
        for commit in commits {
            blobs.extend(self.below(commit.tree, 0)?.iter().map(|hit| hit.id.0));
        }
        history.fetch_missing(blobs);
        Ok(())
    }

    /// Paths and blobs in a commit.
    pub fn find_in_commit(&mut self, commit: &Commit) -> Result<Vec<(RepoPath, GitId)>> {
        let hits = self.below(commit.tree, 0)?;
        let mut found = Vec::with_capacity(hits.len());
        for hit in hits.iter() {
            let Some(path) = RepoPath::root().join(&hit.path) else { continue };
            let id = match hit.kind {
                EntryKind::Symlink => match commit.find(&path)? {
                    Some((EntryKind::File | EntryKind::Executable, id)) => id,
                    _ => continue,
                },
                _ => hit.id,
            };
            found.push((path, id));
        }
        Ok(found)
    }

    /// Paths and blobs in a tree, relative to it; a symlink is not followed, and its text is the blob.
    pub fn find_in_tree(&mut self, tree: GitId) -> Result<Vec<(String, GitId)>> {
        Ok(self.below(tree.0, 0)?.iter().map(|hit| (hit.path.clone(), hit.id)).collect())
    }

    fn below(&mut self, tree: gix::ObjectId, depth: usize) -> Result<Rc<Vec<Hit>>> {
        if let Some(known) = self.below.get(&tree) {
            return Ok(known.clone());
        }
        if depth > DEEPEST {
            return Err(Error::new(Kind::Io, "folders of a commit lie too deep in each other"));
        }
        let mut hits = Vec::new();
        for entry in self.history.tree(tree)?.iter() {
            let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
            match entry.kind {
                EntryKind::Folder => {
                    let inside = self.below(entry.id.0, depth + 1)?;
                    hits.extend(inside.iter().map(|hit| Hit { path: format!("{name}/{}", hit.path), ..hit.clone() }));
                }
                EntryKind::Submodule => {}
                kind if name == self.name => hits.push(Hit { path: name.to_string(), kind, id: entry.id }),
                _ => {}
            }
        }
        let hits = Rc::new(hits);
        self.below.insert(tree, hits.clone());
        Ok(hits)
    }
}

impl Repo {
    /// Is this Git's own folder, of any name? One that a variable names may be in the worktree.
    pub(in crate::git) fn is_git_folder(&self, folder: &Path) -> bool {
        self.is_named && [&self.git_dir, &self.common_dir].into_iter().flatten().any(|git| git == folder)
    }

    /// The files of a name in the worktree, tracked or not; none if the worktree does not exist.
    ///
    /// Errors: a folder cannot be read.
    pub fn files_named(&self, name: &str) -> Result<Vec<RepoPath>> {
        let mut found = Vec::new();
        if !self.top.is_dir() || self.is_bare() {
            return Ok(found);
        }
        let walk = walkdir::WalkDir::new(&self.top).into_iter().filter_entry(|entry| {
            let own =
                entry.file_name() == ".git" || entry.file_name() == OWN_FOLDER || self.is_git_folder(entry.path());
            let other = || entry.depth() > 0 && entry.file_type().is_dir() && entry.path().join(".git").exists();
            !own && !other()
        });
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                // Deleted during the walk.
                Err(e) if e.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => continue,
                Err(e) => {
                    let path = e.path().unwrap_or(&self.top).to_path_buf();
                    return Err(Error::io("read", path, std::io::Error::from(e)));
                }
            };
            if entry.file_name() == name && !entry.file_type().is_dir() {
                found.extend(RepoPath::from_absolute(&self.top, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn wherever_they_lie() {
        let (_dir, top) = repository();
        write(&top, &[("x.lock", "1"), ("a/b/x.lock", "2"), ("a/x.locks", ""), ("x.lock.d/x.lock", "3")]);
        std::os::unix::fs::symlink("../x.lock", top.join("a/x.lock")).unwrap();
        commit_all(&top, "1");
        git(&top, &["init", "-q", "nested"]);
        write(&top, &[("nested/x.lock", ""), (".gitignore", "ignored"), ("ignored/x.lock", "")]);
        let repo = Repo::discover(&top).unwrap();
        let names = |all: &[RepoPath]| all.iter().map(|p| p.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            names(&repo.files_named("x.lock").unwrap()),
            "a/b/x.lock a/x.lock ignored/x.lock x.lock x.lock.d/x.lock"
        );
        let history = repo.history().unwrap();
        let mut named = FilesByName::new(&history, "x.lock");
        let at = named.find_in_commit(&repo.resolve("HEAD").unwrap()).unwrap();
        let paths: Vec<RepoPath> = at.iter().map(|(p, _)| p.clone()).collect();
        assert_eq!(names(&paths), "a/b/x.lock a/x.lock x.lock x.lock.d/x.lock");
        assert_eq!(history.blob(at[1].1).unwrap(), b"1");
        assert_eq!(repo.index_named(&history, "x.lock").unwrap().len(), 4);
    }

    #[test]
    fn worktrees_of_any_of_them() {
        let (dir, top) = repository();
        commit_all(&top, "1");
        let linked = std::fs::canonicalize(dir.path()).unwrap().join("linked");
        git(&top, &["worktree", "add", "-q", linked.to_str().unwrap()]);
        for from in [&top, &linked] {
            let all = Repo::discover(from).unwrap().worktrees().unwrap();
            let tops: Vec<_> = all.iter().map(|repo| repo.top.clone()).collect();
            assert_eq!(tops, [top.clone(), linked.clone()]);
            assert_eq!(all[1].git_dir, Repo::discover(&linked).unwrap().git_dir);
        }
        assert_eq!(Repo::open_home(&dir.path().join("gone/.git")).unwrap_err().kind, Kind::Missing);
    }
}
