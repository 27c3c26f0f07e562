//! Git's index: the tracked files of a worktree.
//!
//! A sparse index has one entry, with the id of a tree, for a folder that is not checked out. Such an entry represents
//! all files of its tree, so it is expanded wherever the files below it matter.

use std::path::{Path, PathBuf};

use gix::bstr::{BStr, ByteSlice};
use gix::index::{Entry, File, entry::Mode};

use crate::error::{Error, Kind, Result};
use crate::git::discover::commit::DEEPEST;
use crate::git::history::History;
use crate::git::history::commit::{EntryKind, lookup};
use crate::git::history::find_by_name::FilesByName;
use crate::git::id::GitId;
use crate::git::program;
use crate::git::repo::Repo;
use crate::path::RepoPath;

impl Repo {
    /// All tracked files of the worktree, in the order of the index; none outside Git.
    pub fn index_entries(&self) -> Result<Vec<(RepoPath, EntryKind)>> {
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let history = if index.is_sparse() { Some(self.history()?) } else { None };
        let mut found = Vec::with_capacity(index.entries().len());
        for entry in index.entries() {
            let Some(path) = path_of(entry, &index) else { continue };
            match (entry.mode, &history) {
                (Mode::DIR, Some(history)) => add_tree(history, &path, entry.id, 0, &mut found)?,
                (Mode::FILE_EXECUTABLE, _) => found.push((path, EntryKind::Executable)),
                (Mode::SYMLINK, _) => found.push((path, EntryKind::Symlink)),
                (Mode::COMMIT, _) => found.push((path, EntryKind::Submodule)),
                (Mode::DIR, None) => found.push((path, EntryKind::Folder)),
                _ => found.push((path, EntryKind::File)),
            }
        }
        Ok(found)
    }

    /// The blobs in the index of this worktree under a file name, in any folder; including the sides of conflicts and
    /// of resolved conflicts that Git remembers. If a variable of the environment names another index (a commit of
    /// selected files has its own), both are searched.
    ///
    /// Errors: an index is damaged anywhere.
    pub fn index_named(&self, history: &History, name: &'static str) -> Result<Vec<(RepoPath, GitId)>> {
        let Some(git_dir) = &self.git_dir else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let files: Vec<PathBuf> = [git_dir.join("index")].into_iter().chain(self.index_file.clone()).collect();
        for file in files {
            let Some(index) = self.read_index(&file, true)? else { continue };
            let mut named = FilesByName::new(history, name);
            for entry in index.entries() {
                let Some(path) = path_of(entry, &index) else { continue };
                if entry.mode == Mode::DIR {
                    let below = named.find_in_tree(GitId(entry.id))?;
                    found.extend(below.into_iter().filter_map(|(inner, id)| Some((path.join(&inner)?, id))));
                } else if path.name() == name {
                    found.push((path, GitId(entry.id)));
                }
            }
            if index.resolve_undo().is_some_and(|resolved| !resolved.is_empty()) {
                found.extend(resolved(git_dir, &file)?.into_iter().filter(|(path, _)| path.name() == name));
            }
        }
        Ok(found)
    }

    /// The elements of `paths` that Git tracks, or that contain tracked files, in the order given. Reads Git's index
    /// once; then each path is one binary search.
    pub fn tracked(&self, paths: &[RepoPath]) -> Result<Vec<RepoPath>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let history = if index.is_sparse() { Some(self.history()?) } else { None };
        let mut found = Vec::new();
        for path in paths {
            let name = path.as_str();
            let exact = path.is_root() || index.entry_index_by_path(name.into()).is_ok();
            let below = || index.prefixed_entries_range(format!("{name}/").as_bytes().as_bstr());
            let is_listed = (exact && !(path.is_root() && index.entries().is_empty()))
                || below().is_some_and(|range| !range.is_empty());
            let is_in_folder =
                || history.as_ref().map_or(Ok(false), |history| is_in_sparse_folder(history, &index, path));
            if is_listed || is_in_folder()? {
                found.push(path.clone());
            }
        }
        Ok(found)
    }

    /// The index of this worktree; `None` before the first `git add`, and outside Git.
    pub(super) fn index(&self) -> Result<Option<File>> {
        let Some(git_dir) = &self.git_dir else { return Ok(None) };
        match &self.index_file {
            Some(file) => self.read_index(file, false),
            None => self.read_index(&git_dir.join("index"), false),
        }
    }

    fn read_index(&self, file: &Path, verify: bool) -> Result<Option<File>> {
        let fail = || Error::new(Kind::Io, format!("cannot read Git's index {}", file.display()));
        if !file.try_exists().map_err(|e| fail().because(e))? {
            return Ok(None);
        }
        let index = File::at(file, self.format.hash, !verify, Default::default());
        index.map(Some).map_err(|e| fail().because(e).hint("git fsck — says what is wrong with the repository"))
    }
}

/// The sides of conflicts that were resolved: `git checkout -m` restores them.
fn resolved(git_dir: &Path, index: &Path) -> Result<Vec<(RepoPath, GitId)>> {
    let mut command = program::question(git_dir);
    command.args(["ls-files", "--resolve-undo", "--full-name", "-z"]).env("GIT_INDEX_FILE", index);
    let said = program::run(&mut command)?;
    let one = |line: &[u8]| -> Option<(RepoPath, GitId)> {
        // `mode id stage<tab>path`
        let (facts, path) = line.to_str().ok()?.split_once('\t')?;
        Some((RepoPath::root().join(path)?, GitId::from_hex(facts.split(' ').nth(1)?)?))
    };
    Ok(said.split(|byte| *byte == 0).filter_map(one).collect())
}

/// The path of an entry; that of a folder ends with `/`. A path that is not UTF-8 cannot be written in a pipeline.
fn path_of(entry: &Entry, index: &File) -> Option<RepoPath> {
    RepoPath::root().join(entry.path(index).to_str().ok()?.trim_end_matches('/'))
}

fn add_tree(
    history: &History,
    folder: &RepoPath,
    tree: gix::ObjectId,
    depth: usize,
    found: &mut Vec<(RepoPath, EntryKind)>,
) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new(Kind::Io, format!("folders lie too deep in each other below {folder}")));
    }
    for entry in history.tree(tree)?.iter() {
        let Some(path) = std::str::from_utf8(&entry.name).ok().and_then(|name| folder.join(name)) else { continue };
        match entry.kind {
            EntryKind::Folder => add_tree(history, &path, entry.id.0, depth + 1, found)?,
            kind => found.push((path, kind)),
        }
    }
    Ok(())
}

/// Is a path in a folder that has a single entry in the index?
fn is_in_sparse_folder(history: &History, index: &File, path: &RepoPath) -> Result<bool> {
    let name = path.as_str();
    for (at, _) in name.match_indices('/') {
        let folder: &BStr = name[..=at].into();
        let Ok(entry) = index.entry_index_by_path(folder) else { continue };
        let mut tree = index.entries()[entry].id;
        let parts: Vec<&str> = name[at + 1..].split('/').collect();
        for (n, part) in parts.iter().enumerate() {
            let entries = history.tree(tree)?;
            let Some(entry) = lookup(&entries, part) else { return Ok(false) };
            if n + 1 < parts.len() && entry.kind != EntryKind::Folder {
                return Ok(false);
            }
            tree = entry.id.0;
        }
        return Ok(true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};
    use std::fs;

    fn paths(names: &[&str]) -> Vec<RepoPath> {
        names.iter().map(|n| RepoPath::root().join(n).unwrap()).collect()
    }

    #[test]
    fn tracked_files_and_folders_with_them() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        assert!(repo.tracked(&paths(&["a", "."])).unwrap().is_empty());
        for name in ["data/x/1", "data.csv", "model", "data-2/y", "free"] {
            write(&top, &[(name, name)]);
        }
        git(&top, &["add", "data", "data.csv", "model", "data-2"]);
        let asked = paths(&["free", "data", "data/x/1", "data/x", "data/z", "dat", "mode", "model", "data-2", "."]);
        let want = paths(&["data", "data/x/1", "data/x", "model", "data-2", "."]);
        assert_eq!(repo.tracked(&asked).unwrap(), want);
        git(&top, &["update-index", "--split-index"]);
        assert_eq!(repo.tracked(&asked).unwrap(), want);
    }

    #[test]
    fn a_sparse_index_tells_the_same() {
        let (_dir, top) = repository();
        for name in ["x/a", "y/a", "y/b/a.lock", "y/b/c", "y.lock", "z/a.lock"] {
            write(&top, &[(name, name)]);
        }
        commit_all(&top, "1");
        let repo = Repo::discover(&top).unwrap();
        let asked =
            paths(&["x", "x/a", "y", "y/a", "y/b", "y/b/c", "y/b/d", "y/a/d", "y/d", "z/a.lock", "y.lock", "."]);
        let tell = || {
            let history = repo.history().unwrap();
            let mut named = repo.index_named(&history, "a.lock").unwrap();
            named.sort();
            (repo.tracked(&asked).unwrap(), repo.index_entries().unwrap(), named)
        };
        let full = tell();
        assert_eq!((full.0.len(), full.1.len(), full.2.len()), (9, 6, 2));
        git(&top, &["sparse-checkout", "set", "--cone", "--sparse-index", "x"]);
        assert!(git(&top, &["ls-files", "--sparse"]).contains("y/\n"));
        let sparse = tell();
        assert_eq!((sparse.0, sparse.2), (full.0, full.2));
        let sorted = |mut all: Vec<(RepoPath, EntryKind)>| {
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        assert_eq!(sorted(sparse.1), sorted(full.1));
    }

    #[test]
    fn a_damaged_index_is_unknown() {
        let (_dir, top) = repository();
        write(&top, &[("a.lock", "1")]);
        commit_all(&top, "1");
        let repo = Repo::discover(&top).unwrap();
        let file = top.join(".git/index");
        let mut bytes = fs::read(&file).unwrap();
        bytes[50] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(repo.index_named(&repo.history().unwrap(), "a.lock").is_err());
    }
}
