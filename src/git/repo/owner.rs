//! Checks the owner of a repository. Its settings name programs that run as the user, so a repository of another user
//! is opened only if the user's own Git configuration lists it under `safe.directory`: the rule of Git since 2.35.2
//! (CVE-2022-24765), with the same owners and the same settings.
//!
//! A bare repository inside a worktree may have come with a clone or as data from a remote, settings included: neither
//! refuses the names of its files. It is opened only with `safe.bareRepository=all` in the same configuration.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::protected;
use crate::error::{Error, Result};
use crate::git::repo::{OWN_FOLDER, common_dir_of, git_dir_of};
use crate::shell::word;

/// Refuses a repository of another user. `parts` are its folders and files, `shown` the path that `safe.directory` has
/// to list: the root of its worktree, or a bare repository itself.
pub(in crate::git) fn check_owner(shown: &Path, parts: &[&Path]) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let sudo = protected::sudo_user().filter(|_| user == 0);
    let foreign = parts.iter().find_map(|part| {
        // Of a link both owners count, that of the link and that of its target.
        let owners = [part.symlink_metadata(), part.metadata()].into_iter().flatten().map(|meta| meta.uid());
        let mut others = owners.filter(|owner| *owner != user && Some(*owner) != sudo);
        others.next().map(|owner| (part, owner))
    });
    let Some((part, owner)) = foreign else { return Ok(()) };
    let cwd = fs::canonicalize(".").unwrap_or_default();
    if is_listed(&protected::values("safe.directory"), shown, &home(), &cwd) {
        return Ok(());
    }
    Err(Error::usage(format!("the repository {} belongs to another user", shown.display()))
        .because(format!("{} has the owner {owner}, and this process runs as user {user}", part.display()))
        .hint(format!(
            "if you trust its owner with your account: git config --global --add safe.directory {}",
            word(&shown.display().to_string())
        )))
}

/// Refuses a Git folder that is inside a worktree.
pub(in crate::git) fn check_embedded(git_dir: &Path) -> Result<()> {
    let Some(outer) = git_dir.ancestors().skip(1).find(|folder| is_worktree(folder)) else { return Ok(()) };
    if is_kept_by_git(git_dir, outer) || protected::values("safe.bareRepository").last().is_some_and(|v| v == "all") {
        return Ok(());
    }
    let (shown, outer) = (git_dir.display(), outer.display());
    Err(Error::usage(format!("{shown} is a bare repository in a folder of the repository {outer}"))
        .because(
            "a clone or a remote may have brought it, and its settings, which name programs, would count as your own",
        )
        .hint(format!("for the outer one, run the command in {outer}"))
        .hint("if you trust the bare one: git config --global safe.bareRepository all"))
}

fn is_worktree(folder: &Path) -> bool {
    // As in Git, a folder with only the name does not count.
    !matches!(git_dir_of(folder), Ok(None)) || folder.join(OWN_FOLDER).is_dir()
}

/// Does Git or lockstep manage it: a clone, a submodule, `.git` itself? Backups of outputs do not count.
fn is_kept_by_git(git_dir: &Path, worktree: &Path) -> bool {
    let git = git_dir_of(worktree).ok().flatten();
    let common = git.as_deref().and_then(|git| common_dir_of(git).ok());
    let mut homes = git.into_iter().chain(common).chain([worktree.join(OWN_FOLDER)]);
    let is_aside = git_dir.components().zip(git_dir.components().skip(1)).any(|(folder, below)| {
        ["lockstep", OWN_FOLDER].iter().any(|own| folder.as_os_str() == *own) && below.as_os_str() == "worktree"
    });
    !is_aside && homes.any(|home| fs::canonicalize(home).is_ok_and(|home| git_dir.starts_with(home)))
}

fn home() -> Option<PathBuf> {
    gix::path::env::home_dir()
}

/// Does `safe.directory` list a repository? An empty value resets the list.
fn is_listed(values: &[String], repository: &Path, home: &Option<PathBuf>, cwd: &Path) -> bool {
    let mut listed = false;
    for value in values {
        match value.as_str() {
            "" => listed = false,
            "*" => listed = true,
            "." => listed |= repository == cwd,
            value => {
                let (value, below) = value.strip_suffix("/*").map_or((value, false), |folder| (folder, true));
                let path = match (value.strip_prefix("~/"), home) {
                    (Some(rest), Some(home)) => home.join(rest),
                    _ => PathBuf::from(value),
                };
                if !path.is_absolute() && !value.is_empty() {
                    continue;
                }
                let path = if value.is_empty() { PathBuf::from("/") } else { path };
                let path = fs::canonicalize(&path).unwrap_or(path);
                listed |= if below { repository.starts_with(&path) && repository != path } else { repository == path };
            }
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_safe_directory_lists() {
        for (values, repository, want) in [
            (&[][..], "/x/r", false),
            (&["*"], "/x/r", true),
            (&["*", ""], "/x/r", false),
            (&["", "/x/r"], "/x/r", true),
            (&["/x/r/"], "/x/r", true),
            (&["/x"], "/x/r", false),
            (&["/x/*"], "/x/r", true),
            (&["/x/*"], "/x/r/deep", true),
            (&["/x/*"], "/xy/r", false),
            (&["/x/*"], "/x", false),
            (&["/*"], "/x", true),
            (&["~/r"], "/nowhere/home/r", true),
            (&["r", "x/r"], "/x/r", false),
            (&["."], "/x/r", false),
            (&["."], "/x/cwd", true),
            (&["/x/r", "/y"], "/x/r", true),
        ] {
            let values: Vec<String> = values.iter().map(|v| v.to_string()).collect();
            let home = Some(PathBuf::from("/nowhere/home"));
            assert_eq!(
                is_listed(&values, Path::new(repository), &home, Path::new("/x/cwd")),
                want,
                "{values:?} {repository}"
            );
        }
    }
}
