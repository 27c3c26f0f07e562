//! Checks a path that the user gave with `-o`: any path is allowed except folders of Git and lockstep.
//!
//! The user typed the path, but it may lead through links of an untrusted clone: `-o models/` in a clone in which
//! `models` is a link to `.git/hooks`. So the real path is checked.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::git::Repo;
use crate::path::RepoPath;
use crate::store::{ProtectedKind, WritableArea, real_path};

/// Errors: `path` is really in Git's or lockstep's own folder of a repository.
pub fn check_target(path: &Path) -> Result<()> {
    // The last name is not followed, because it is replaced.
    let real = real_path(path.parent().unwrap_or(Path::new("/"))).join(path.file_name().unwrap_or_default());
    let Some(folder) = real.ancestors().skip(1).find(|above| above.is_dir()) else { return Ok(()) };
    let repo = match Repo::discover(folder) {
        Ok(repo) => repo,
        Err(e) if e.kind == Kind::Missing => return Ok(()),
        Err(e) => return Err(e),
    };
    if repo.is_bare() {
        return Err(Error::usage(format!("{} lies in the bare repository {}", path.display(), repo.top.display()))
            .hint("name a place outside of it"));
    }
    let mut folders = [&repo.git_dir, &repo.common_dir].into_iter().flatten().map(|folder| real_path(folder));
    if let Some(git) = folders.find(|git| !git.starts_with(&repo.top) && real.starts_with(git)) {
        return Err(Error::usage(format!("{} lies in the Git folder {}", path.display(), git.display()))
            .hint("name a place outside of it"));
    }
    let Some(below) = RepoPath::from_absolute(&repo.top, &real).filter(|below| !below.is_root()) else { return Ok(()) };
    let git =
        [&repo.git_dir, &repo.common_dir].into_iter().flatten().map(|folder| (folder.clone(), ProtectedKind::Git));
    let own = [(repo.store_dir(), ProtectedKind::Store), (repo.worktree_dir(), ProtectedKind::State)];
    let area = WritableArea::new(&repo.top, &git.chain(own).collect::<Vec<(PathBuf, ProtectedKind)>>());
    area.path(&below).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn judged_where_it_really_is() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("r");
        fs::create_dir_all(top.join(".git/hooks")).unwrap();
        fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir(top.join("real")).unwrap();
        let other = dir.path().join("s/.git");
        fs::create_dir_all(other.join("hooks")).unwrap();
        fs::write(other.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(other.join("config"), "[core]\n\tworktree = ../../r/real\n").unwrap();
        for (link, to) in [("hooks", ".git/hooks"), ("in", "real"), ("up", "..")] {
            symlink(to, top.join(link)).unwrap();
        }
        for (path, want) in [
            ("r/x", true),
            ("r/new/deep/x", true),
            ("r/in/x", true),
            ("r/hooks", true),
            ("r/up/x", true),
            ("x", true),
            ("s/.git/hooks/x", false),
            ("r/hooks/post-checkout", false),
            ("r/hooks/new/x", false),
            ("r/up/r/hooks/x", false),
            ("r/.git/x", false),
            ("r/real/.GIT/x", false),
            ("r/.git", false),
        ] {
            assert_eq!(check_target(&dir.path().join(path)).is_ok(), want, "{path}");
        }
    }
}
