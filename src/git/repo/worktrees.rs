//! All worktrees of a repository, from any of them.

use std::fs;
use std::path::Path;

use super::format::RepoFormat;
use super::owner;
use super::places::worktree_of;
use crate::error::{Error, Result};
use crate::git::repo::{OWN_FOLDER, Repo};
use crate::path::RepoPath;

impl Repo {
    /// Opens the repository at a path that [`Repo::home`] returned, from its main worktree. The path may come from an
    /// untrusted source.
    ///
    /// Errors: `Kind::Missing` if there is none, `Kind::Usage` if it belongs to another user, or is inside the
    /// worktree of another repository.
    pub fn open_home(home: &Path) -> Result<Repo> {
        if !home.is_absolute() {
            return Err(Error::usage(format!("the path of the project {} is not absolute", home.display())));
        }
        // Symlinks in its path are resolved, so that the target is checked.
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
            return Repo::of(top, git_dir, common_dir, project_root);
        }
        if !home.join("HEAD").is_file() {
            return Err(gone());
        }
        let format = RepoFormat::read(home, home)?;
        let Some(top) = worktree_of(home, home, &format)? else { return Repo::bare(home) };
        let (git_dir, common_dir) = (Some(home.to_path_buf()), Some(home.to_path_buf()));
        let is_named = format.worktree.is_some();
        Ok(Repo { is_named, ..Repo::of(top, git_dir, common_dir, RepoPath::root())? })
    }

    /// Opens the same worktree again, from its root.
    fn again(&self) -> Result<Repo> {
        let (git_dir, common_dir) = (self.git_dir.clone(), self.common_dir.clone());
        let found = Repo::of(self.top.clone(), git_dir, common_dir, RepoPath::root())?;
        let (index_file, is_named) = (self.index_file.clone(), self.is_named);
        Ok(Repo { index_file, is_named, is_other: self.is_other, fetches_missing: self.fetches_missing, ..found })
    }

    /// The main worktree and all linked ones, including those whose folder does not exist at the moment: their index
    /// and lockstep's files for them exist.
    pub fn worktrees(&self) -> Result<Vec<Repo>> {
        let home = self.home();
        let mut all = vec![match self.git_dir.as_deref() == Some(&*home) {
            // A variable may have named its worktree.
            true => self.again()?,
            false => Repo::at_home(&home)?,
        }];
        all.extend(all[0].recorded_worktrees()?);
        let folder = home.join("worktrees");
        let entries = match fs::read_dir(&folder) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(all);
            }
            entries => entries.map_err(|e| Error::io("read", &folder, e))?,
        };
        for entry in entries {
            let git_dir = entry.map_err(|e| Error::io("read", &folder, e))?.path();
            // A worktree with an unknown path cannot be read, but its index can: `git worktree repair` finds it again.
            let top = match worktree_of(&git_dir, &home, &self.format)? {
                Some(top) => top,
                None if git_dir.join("HEAD").exists() => git_dir.clone(),
                None => continue,
            };
            let (git_dir, common_dir) = (Some(git_dir), Some(home.clone()));
            let found = match self.git_dir == git_dir {
                true => self.again()?,
                false => Repo::of(top, git_dir, common_dir, RepoPath::root())?,
            };
            all.extend(found.recorded_worktrees()?);
            all.push(found);
        }
        Ok(all)
    }
}
