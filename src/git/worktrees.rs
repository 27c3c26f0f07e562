//! All worktrees of a repository, whoever is asked.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::owner;
use super::repo::{OWN_FOLDER, Repo};
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

impl Repo {
    /// The repository that [`Repo::home`] names, seen from its main worktree. Who wrote the name may be anybody.
    ///
    /// Errors: [`Kind::Missing`] if there is none, [`Kind::Usage`] if it belongs to another user, or lies among the files of
    /// another repository.
    pub fn of_home(home: &Path) -> Result<Repo> {
        if !home.is_absolute() {
            return Err(Error::usage(format!("the path of the project {} is not absolute", home.display())));
        }
        // The links in its path lead to where it is judged.
        if let Ok(real) = fs::canonicalize(home) {
            let is_own = [OWN_FOLDER, ".git"].iter().any(|name| real.file_name().is_some_and(|last| last == *name));
            let shown = real.parent().filter(|_| is_own).unwrap_or(&real);
            owner::check_owner(shown, &[home, &real, shown])?;
            owner::check_embedded(&real)?;
        }
        Repo::at_home(home)
    }

    fn at_home(home: &Path) -> Result<Repo> {
        let gone = || Error::missing(format!("the project at {} is not there", home.display()));
        if home.file_name().is_some_and(|name| name == OWN_FOLDER) {
            let top = home.parent().filter(|_| home.is_dir()).ok_or_else(gone)?.to_path_buf();
            let (git_dir, common_dir, project_root) = (None, None, RepoPath::root());
            return Ok(Repo::of(top, git_dir, common_dir, project_root));
        }
        if !home.join("HEAD").is_file() {
            return Err(gone());
        }
        let fail = |e: &dyn std::fmt::Display| {
            Error::new(Kind::Io, format!("cannot read the Git repository {}", home.display())).because(e)
        };
        let opened = gix::open(home).map_err(|e| fail(&e))?;
        let top = match opened.workdir() {
            Some(top) => fs::canonicalize(top).map_err(|e| fail(&e))?,
            None => return Ok(Repo::bare(home)),
        };
        let (git_dir, common_dir) = (Some(home.to_path_buf()), Some(home.to_path_buf()));
        Ok(Repo::of(top, git_dir, common_dir, RepoPath::root()))
    }

    /// The main worktree and all linked ones, those included whose folder is not there now: their index and what
    /// lockstep keeps for them are.
    pub fn worktrees(&self) -> Result<Vec<Repo>> {
        let home = self.home();
        let mut all = vec![Repo::at_home(&home)?];
        let folder = home.join("worktrees");
        let entries = match fs::read_dir(&folder) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(all);
            }
            entries => entries.map_err(|e| Error::io("read", &folder, e))?,
        };
        for entry in entries {
            let git_dir = entry.map_err(|e| Error::io("read", &folder, e))?.path();
            // One that cannot be read may stand for a worktree whose data would be taken for garbage.
            let Some(named) = document::read(&git_dir.join("gitdir"), document::MOST)? else { continue };
            let named = git_dir.join(OsStr::from_bytes(named.trim_ascii_end()));
            let top = named.parent().unwrap_or(&named).to_path_buf();
            let (git_dir, common_dir) = (Some(git_dir), Some(home.clone()));
            all.push(Repo::of(top, git_dir, common_dir, RepoPath::root()));
        }
        Ok(all)
    }
}
