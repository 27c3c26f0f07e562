//! The few Git settings that lockstep uses.
//!
//! The repository is opened again for each query: that takes well under a millisecond, few commands need more than one,
//! and a [`Repo`] stays free of gix types and can be shared between threads. Settings are cached.

use std::path::{Path, PathBuf};

use gix::glob::pattern::Case;

use crate::error::{Error, Kind, Result};
use crate::git::repo::Repo;
use crate::url::Url;
use crate::url::form::AddressForm;

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

    /// The address of the remote `origin`, as its users have it.
    pub fn origin_url(&self) -> Option<Url> {
        let repo = self.open().ok().flatten()?;
        Some(Url::from(repo.config_snapshot().string("remote.origin.url")?.to_string()))
    }

    /// The name of the repository: of its address at the remote `origin`, which is the same in all clones, else of its
    /// folder. It holds no host, user or password.
    pub fn name(&self) -> String {
        let origin = || {
            let repo = self.open().ok().flatten()?;
            let address = repo.config_snapshot().string("remote.origin.url")?.to_string();
            name_of_address(&Url::from(address))
        };
        // The folder of a linked worktree has a name of its own.
        let git_dir = self.common_dir.as_deref().filter(|dir| dir.ends_with(".git")).and_then(Path::parent);
        let folder = git_dir.or(self.common_dir.as_deref()).unwrap_or(&self.top);
        let of_folder = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
        origin().or_else(of_folder).unwrap_or_else(|| "/".into()).trim_end_matches(".git").to_string()
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

/// The last part of the path of an address.
fn name_of_address(address: &Url) -> Option<String> {
    let address = address.without_secret();
    let path = match address.form().ok()? {
        AddressForm::Folder(path) => path.into_owned(),
        AddressForm::Service { rest, .. } => rest.split_once('/')?.1.to_string(),
        AddressForm::Host(_, path) => path.to_string(),
    };
    let name = path.trim_end_matches('/').rsplit('/').next()?.trim_end_matches(".git");
    // Such a name may be part of a password that contains a slash.
    let is_doubtful = name.is_empty() || name.contains(['@', ':', '\\']) || [".", ".."].contains(&name);
    (!is_doubtful).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses_have_no_credentials() {
        for (address, want) in [
            ("https://github.com/team/churn.git", Some("churn")),
            ("https://me:t0ken@host/team/churn/", Some("churn")),
            ("https://host/team/churn.git?token=t0ken#x", Some("churn")),
            ("git@github.com:team/churn.git", Some("churn")),
            ("host:churn", Some("churn")),
            ("ssh://git@host:22/churn.git", Some("churn")),
            ("/srv/git/churn.git", Some("churn")),
            ("../churn", Some("churn")),
            ("file:///srv/churn", Some("churn")),
            ("https://me:t0/ken@host", None),
            ("https://me:t0ken@host", None),
            ("https://me:t0ken@host/", None),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(name_of_address(&Url::from(address)).as_deref(), want, "{address}");
        }
    }

    #[test]
    fn the_name_of_a_repository_is_that_of_its_origin_or_folder() {
        let (_dir, top) = repository();
        let name = || Repo::discover(&top).unwrap().name();
        assert_eq!(name(), top.file_name().unwrap().to_str().unwrap());
        git(&top, &["remote", "add", "origin", "https://me:t0ken@host/team/churn.git"]);
        assert_eq!(name(), "churn");
        git(&top, &["remote", "set-url", "origin", "https://me:t0/ken@host"]);
        assert_eq!(name(), top.file_name().unwrap().to_str().unwrap());
    }
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
