//! Remembers the worktrees of a Git folder that Git itself does not know: `GIT_WORK_TREE` may name any folder, and a
//! Git folder of another name than `.git` (`git init --separate-git-dir`) does not name its worktree.
//!
//! ```text
//! <git dir>/lockstep/worktree/places/<hash>     a folder that lockstep worked in, as an absolute path
//! ```
//! `gc` reads the locks of these worktrees, also when it runs elsewhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::format::RepoFormat;
use crate::document;
use crate::error::{Error, Result};
use crate::git::ignore::{SEED, mix};
use crate::git::repo::Repo;
use crate::path::RepoPath;
use crate::replace::replace_file;
use crate::shell::word;

impl Repo {
    /// Records the folder of this worktree, if the Git folder does not lead to it.
    pub fn record_worktree(&self) -> Result<()> {
        let (Some(git_dir), Some(common_dir)) = (&self.git_dir, &self.common_dir) else { return Ok(()) };
        if self.is_bare() || worktree_of(git_dir, common_dir, &self.format)?.is_some_and(|place| place == self.top) {
            return Ok(());
        }
        let note = self.worktree_record();
        let is_whole = |bytes: Vec<u8>| bytes == self.top.as_os_str().as_bytes();
        if document::read(&note, document::MOST)?.is_some_and(is_whole) {
            return Ok(());
        }
        let folder = note.parent().unwrap_or(&note);
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        replace_file(&note, self.top.as_os_str().as_bytes())
    }

    /// The file in which [`Repo::record_worktree`] records this worktree.
    pub fn worktree_record(&self) -> PathBuf {
        let name = format!("{:016x}", mix(SEED, self.top.as_os_str().as_bytes()));
        self.worktree_dir().join("places").join(name)
    }

    /// The other worktrees that were used with this Git folder.
    pub(in crate::git) fn recorded_worktrees(&self) -> Result<Vec<Repo>> {
        let folder = self.worktree_dir().join("places");
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| Error::io("read", &folder, e))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| Error::io("read", &folder, e))?.path();
            // A temporary file of a killed write.
            if !is_name_of_note(&file) {
                continue;
            }
            let Some(bytes) = document::read(&file, document::MOST)? else { continue };
            let top = PathBuf::from(OsStr::from_bytes(&bytes));
            let (git_dir, common_dir) = (self.git_dir.clone(), self.common_dir.clone());
            let repo = Repo { is_named: true, ..Repo::of(top, git_dir, common_dir, RepoPath::root())? };
            if repo.worktree_record() != file {
                let what =
                    format!("{} is truncated: it does not say which worktree uses this Git folder", file.display());
                let note = file.display().to_string();
                return Err(Error::missing(what)
                    .hint("run lockstep checkout in each worktree of this Git folder: it writes the file again")
                    .hint(format!("only if that worktree is gone: rm {}", word(&note))));
            }
            if repo.top != self.top {
                found.push(repo);
            }
        }
        found.sort_by(|a, b| a.top.cmp(&b.top));
        Ok(found)
    }

    /// Does this worktree exist? A linked one has to lead back to the repository.
    pub fn is_here(&self) -> bool {
        if self.is_named { self.top.is_dir() } else { self.top.join(".git").exists() }
    }
}

fn is_name_of_note(file: &Path) -> bool {
    let name = file.file_name().map(OsStr::as_bytes).unwrap_or_default();
    name.len() == 16 && name.iter().all(u8::is_ascii_hexdigit)
}

/// The worktree that a Git folder names itself; `None` if it has none, or names none.
pub(in crate::git) fn worktree_of(git_dir: &Path, common_dir: &Path, format: &RepoFormat) -> Result<Option<PathBuf>> {
    if git_dir != common_dir {
        let Some(named) = document::read(&git_dir.join("gitdir"), document::MOST)? else { return Ok(None) };
        let named = named.strip_suffix(b"\n").unwrap_or(&named);
        let named = git_dir.join(OsStr::from_bytes(named));
        return Ok(named.parent().filter(|_| named.ends_with(".git")).map(Path::to_path_buf));
    }
    let found = match &format.worktree {
        _ if format.is_bare == Some(true) => return Ok(None),
        Some(tree) => git_dir.join(tree),
        None if git_dir.ends_with(".git") => git_dir.join(".."),
        None => return Ok(None),
    };
    fs::canonicalize(&found).map(Some).map_err(|e| Error::io("open", found, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

    #[test]
    fn places_that_git_does_not_know_are_remembered() {
        let (dir, top) = repository();
        let here = fs::canonicalize(dir.path()).unwrap();
        let repo = Repo::discover(&top).unwrap();
        repo.record_worktree().unwrap();
        assert!(!repo.worktree_record().exists());
        git(&here, &["init", "-q", "--separate-git-dir", "store.git", "files"]);
        git(&here.join("files"), &["commit", "-q", "--allow-empty", "-m", "1"]);
        git(&here.join("files"), &["worktree", "add", "-q", "../linked"]);
        let files = Repo::discover(&here.join("files")).unwrap();
        let linked = Repo::discover(&here.join("linked")).unwrap();
        linked.record_worktree().unwrap();
        assert!(!linked.worktree_record().exists());
        let tops = |repo: &Repo| repo.worktrees().unwrap().into_iter().map(|one| one.top).collect::<Vec<_>>();
        assert_eq!(tops(&linked), [here.join("store.git"), here.join("linked")]);
        files.record_worktree().unwrap();
        assert_eq!(tops(&linked), [here.join("store.git"), here.join("files"), here.join("linked")]);
        assert_eq!(tops(&files), [here.join("files"), here.join("linked")]);
        fs::rename(here.join("files"), here.join("moved")).unwrap();
        assert!(linked.worktrees().unwrap().iter().any(|repo| !repo.is_here()));
        fs::write(files.worktree_record().with_extension("tmp"), "/").unwrap();
        fs::write(files.worktree_record(), "/").unwrap();
        assert!(linked.worktrees().unwrap_err().message.contains("is truncated"));
        fs::remove_file(files.worktree_record()).unwrap();
        assert_eq!(tops(&linked), [here.join("store.git"), here.join("linked")]);
        // Git does not know the worktree, but the user can repair that.
        fs::write(here.join("store.git/worktrees/linked/gitdir"), "").unwrap();
        assert!(files.worktrees().unwrap().iter().any(|repo| !repo.is_here()));
    }
}
