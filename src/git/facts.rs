//! What Git knows of a repository: its commit, what it tracks, and the few of its settings that count here.
//!
//! The repository is opened anew for each question: that takes well under a millisecond, few commands ask more than
//! once, and a [`Repo`] stays free of gix types and can be shared between threads. Settings are remembered.

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use gix::glob::pattern::Case;

use super::commit::EntryKind;
use super::id::GitId;
use super::repo::Repo;
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

/// The settings of Git that count for lockstep.
#[derive(Debug)]
pub(super) struct Settings {
    /// `core.fileMode`
    pub file_mode: bool,
    /// Of ignore rules: `core.ignoreCase`
    pub case: Case,
    /// The user's global ignore rules: `core.excludesFile`, else `git/ignore` in the user's configuration folder.
    pub excludes_file: Option<PathBuf>,
}

impl Repo {
    /// The commit that is checked out, in hex; `None` before the first commit and outside Git.
    pub fn head(&self) -> Result<Option<String>> {
        let Some(repo) = self.open()? else { return Ok(None) };
        let head = repo.head().map_err(|e| self.unreadable(e))?;
        Ok(head.id().map(|id| id.to_hex().to_string()))
    }

    /// All that Git tracks in the worktree, in the order of its index; none outside Git.
    pub fn index_entries(&self) -> Result<Vec<(RepoPath, EntryKind)>> {
        use gix::index::entry::Mode;
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let one = |entry: &gix::index::Entry| {
            let kind = match entry.mode {
                Mode::FILE_EXECUTABLE => EntryKind::Executable,
                Mode::SYMLINK => EntryKind::Symlink,
                Mode::COMMIT => EntryKind::Submodule,
                Mode::DIR => EntryKind::Folder,
                _ => EntryKind::File,
            };
            Some((RepoPath::root().join(entry.path(&index).to_str().ok()?)?, kind))
        };
        Ok(index.entries().iter().filter_map(one).collect())
    }

    /// The blobs that the index of this worktree has under a file name, in whatever folder; conflicting sides are among
    /// them.
    pub fn index_named(&self, name: &str) -> Result<Vec<(RepoPath, GitId)>> {
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let one = |entry: &gix::index::Entry| {
            let path = entry.path(&index).to_str().ok()?;
            (path.rsplit('/').next() == Some(name)).then_some(())?;
            Some((RepoPath::root().join(path)?, GitId(entry.id)))
        };
        Ok(index.entries().iter().filter_map(one).collect())
    }

    fn index(&self) -> Result<Option<gix::index::File>> {
        let Some(git_dir) = &self.git_dir else { return Ok(None) };
        let file = git_dir.join("index");
        if !file.exists() {
            return Ok(None);
        }
        let index = gix::index::File::at(&file, gix::hash::Kind::Sha1, true, Default::default());
        let fail = || Error::new(Kind::Io, format!("cannot read Git's index {}", file.display()));
        index.map(Some).map_err(|e| fail().because(e))
    }

    /// Those of `paths` that Git tracks, or that hold files that Git tracks, in the order given. Git's index is read
    /// once, then each path is one binary search.
    pub fn tracked(&self, paths: &[RepoPath]) -> Result<Vec<RepoPath>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let holds = |path: &RepoPath| {
            let name = path.as_str();
            let exact = path.is_root() || index.entry_index_by_path(name.into()).is_ok();
            let below = || index.prefixed_entries_range(format!("{name}/").as_bytes().as_bstr());
            (exact && !(path.is_root() && index.entries().is_empty())) || below().is_some_and(|range| !range.is_empty())
        };
        Ok(paths.iter().filter(|path| holds(path)).cloned().collect())
    }

    /// Do executable bits count here (`core.fileMode`)? True outside Git.
    pub fn file_mode(&self) -> bool {
        self.settings().file_mode
    }

    /// A repository that gix cannot open (a format it does not know yet) counts with Git's defaults: no reason to
    /// refuse work that needs nothing else of Git.
    pub(super) fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| {
            let mut found = Settings { file_mode: true, case: Case::Sensitive, excludes_file: None };
            if self.git_dir.is_none() {
                return found;
            }
            if let Ok(Some(repo)) = self.open() {
                let config = repo.config_snapshot();
                found.file_mode = config.boolean("core.fileMode").unwrap_or(true);
                if config.boolean("core.ignoreCase").unwrap_or(false) {
                    found.case = Case::Fold;
                }
                found.excludes_file = config.trusted_path("core.excludesFile").ok().flatten();
            }
            if found.excludes_file.is_none() {
                found.excludes_file = gix::path::env::xdg_config("ignore", &mut |name| std::env::var_os(name));
            }
            found
        })
    }

    pub(super) fn open(&self) -> Result<Option<gix::Repository>> {
        let Some(git_dir) = &self.git_dir else { return Ok(None) };
        open_at(git_dir).map(Some).map_err(|e| self.unreadable(e))
    }

    pub(super) fn unreadable(&self, cause: impl std::fmt::Display) -> Error {
        Error::new(Kind::Io, format!("cannot read the Git repository {}", self.top.display())).because(cause)
    }
}

/// Opens the repository of a Git folder. Every object is the one that its id names: `refs/replace/` does not count, since
/// a signature covers ids, and everyone who may push could put other commits and trees in their place.
pub(super) fn open_at(git_dir: &Path) -> Result<gix::Repository, String> {
    let options = gix::open::Options::default().open_path_as_is(true);
    let mut repo = options.open(git_dir).map_err(|e| e.to_string())?.to_thread_local();
    repo.objects.ignore_replacements = true;
    Ok(repo)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{git, repository};
    use super::*;
    use std::fs;

    fn paths(names: &[&str]) -> Vec<RepoPath> {
        names.iter().map(|n| RepoPath::root().join(n).unwrap()).collect()
    }

    #[test]
    fn head_is_the_commit() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(repo.head().unwrap(), None);
        git(&top, &["commit", "-q", "--allow-empty", "-m", "x"]);
        let commit = git(&top, &["rev-parse", "HEAD"]);
        assert_eq!(repo.head().unwrap().as_deref(), Some(commit.trim()));
        git(&top, &["pack-refs", "--all"]);
        git(&top, &["checkout", "-q", "--detach"]);
        assert_eq!(repo.head().unwrap().as_deref(), Some(commit.trim()));
    }

    #[test]
    fn tracked_files_and_folders_with_them() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        assert!(repo.tracked(&paths(&["a", "."])).unwrap().is_empty());
        for name in ["data/x/1", "data.csv", "model", "data-2/y", "free"] {
            let file = top.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, name).unwrap();
        }
        git(&top, &["add", "data", "data.csv", "model", "data-2"]);
        let asked = paths(&["free", "data", "data/x/1", "data/x", "data/z", "dat", "mode", "model", "data-2", "."]);
        let want = paths(&["data", "data/x/1", "data/x", "model", "data-2", "."]);
        assert_eq!(repo.tracked(&asked).unwrap(), want);
        git(&top, &["update-index", "--split-index"]);
        assert_eq!(repo.tracked(&asked).unwrap(), want);
    }

    #[test]
    fn file_mode_is_gits() {
        let (_dir, top) = repository();
        assert!(Repo::discover(&top).unwrap().file_mode());
        git(&top, &["config", "core.fileMode", "false"]);
        assert!(!Repo::discover(&top).unwrap().file_mode());
    }
}
