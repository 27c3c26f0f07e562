//! The few Git settings that lockstep uses.
//!
//! The repository is opened again for each query: that takes well under a millisecond, few commands need more than one,
//! and a [`Repo`] stays free of gix types and can be shared between threads. Settings are cached.

use std::path::{Path, PathBuf};

use gix::glob::pattern::Case;

use crate::error::{Error, Kind, Result};
use crate::git::repo::Repo;

/// The Git settings that lockstep uses.
#[derive(Debug)]
pub(in crate::git) struct Settings {
    /// `core.fileMode`
    pub file_mode: bool,
    /// `core.ignoreCase`, for ignore rules.
    pub case: Case,
    /// The user's global ignore rules: `core.excludesFile`, else `git/ignore` in the user's configuration folder.
    pub excludes_file: Option<PathBuf>,
}

impl Repo {
    /// Are executable bits tracked (`core.fileMode`)? True outside Git.
    pub fn file_mode(&self) -> bool {
        self.settings().file_mode
    }

    /// If gix cannot open a repository, Git's defaults are used, so that commands that need nothing else of Git work.
    pub(in crate::git) fn settings(&self) -> &Settings {
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

    pub(in crate::git) fn open(&self) -> Result<Option<gix::Repository>> {
        let Some(git_dir) = &self.git_dir else { return Ok(None) };
        open_at(git_dir).map(Some).map_err(|e| self.unreadable(e))
    }

    pub(in crate::git) fn unreadable(&self, cause: impl std::fmt::Display) -> Error {
        Error::new(Kind::Io, format!("cannot read the Git repository {}", self.top.display())).because(cause)
    }
}

/// Opens the repository of a Git folder, without replacements (`refs/replace/`): a signature covers ids, and every user
/// who may push could put other commits and trees in their place; see `replacements.rs`.
pub(in crate::git) fn open_at(git_dir: &Path) -> Result<gix::Repository, String> {
    let options = gix::open::Options::default().open_path_as_is(true);
    let mut repo = options.open(git_dir).map_err(|e| e.to_string())?.to_thread_local();
    repo.objects.ignore_replacements = true;
    // `GIT_NAMESPACE` would hide refs, and the objects that they need.
    repo.clear_namespace();
    Ok(repo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

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
    fn file_mode_is_gits() {
        let (_dir, top) = repository();
        assert!(Repo::discover(&top).unwrap().file_mode());
        git(&top, &["config", "core.fileMode", "false"]);
        assert!(!Repo::discover(&top).unwrap().file_mode());
    }
}
