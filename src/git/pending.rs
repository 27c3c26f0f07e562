//! Commits that Git names outside of refs and reflogs: what a merge, a rebase or a fetch that goes on, or was the last one,
//! left in the Git folder of a worktree.

use std::collections::BTreeSet;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::history::{History, unreadable};
use super::id::GitId;
use super::repo::Repo;
use crate::document;
use crate::error::{Error, Kind, Result};

/// Files that remember where something was, besides those of [`OF_UNFINISHED`].
const PAST: [&str; 2] = ["FETCH_HEAD", "ORIG_HEAD"];
/// What an operation that goes on needs, to be continued or aborted.
const OF_UNFINISHED: [&str; 13] = [
    "BISECT_HEAD",
    "CHERRY_PICK_HEAD",
    "MERGE_AUTOSTASH",
    "MERGE_HEAD",
    "REBASE_HEAD",
    "REVERT_HEAD",
    "rebase-apply/autostash",
    "rebase-apply/orig-head",
    "rebase-merge/autostash",
    "rebase-merge/onto",
    "rebase-merge/orig-head",
    "rebase-merge/stopped-sha",
    "sequencer/head",
];
/// Refs of a worktree that others do not see.
const PRIVATE: [&str; 3] = ["refs/bisect/", "refs/rewritten/", "refs/worktree/"];

impl Repo {
    /// The commits that this worktree needs to go on with what Git is in the middle of: sides of a merge, stashed changes.
    pub fn unfinished_commits(&self, history: &History) -> Result<BTreeSet<GitId>> {
        self.named_in(&OF_UNFINISHED, history)
    }

    /// Other commits that this worktree alone knows: where `HEAD` was, what was fetched last, private refs.
    pub fn private_commits(&self) -> Result<BTreeSet<GitId>> {
        let history = self.history()?;
        let mut found = self.named_in(&PAST, &history)?;
        for prefix in PRIVATE {
            found.extend(history.refs(prefix)?.into_iter().map(|(_, id)| id));
        }
        found.extend(self.head_commit()?);
        Ok(found)
    }

    fn named_in(&self, names: &[&str], history: &History) -> Result<BTreeSet<GitId>> {
        let mut ids = BTreeSet::new();
        let Some(git_dir) = &self.git_dir else { return Ok(BTreeSet::new()) };
        for name in names {
            read_ids(&git_dir.join(name), &mut ids)?;
        }
        // In other storages than files some of them are refs.
        if self.has_root_refs() {
            let at_root = self.history()?.root_refs()?;
            ids.extend(at_root.into_iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, id)| id));
        }
        let mut commits = BTreeSet::new();
        for id in ids {
            // A tag may have been fetched; what is gone, Git does not need.
            if history.0.repo.try_find_header(id).map_err(unreadable)?.is_none() {
                continue;
            }
            let id = history.peel(id)?;
            if history.is_commit(id)? {
                commits.insert(GitId(id));
            }
        }
        Ok(commits)
    }

    pub(super) fn has_root_refs(&self) -> bool {
        self.format.refs == super::format::RefStorage::Reftable
    }

    /// Is there a ref of this name beside `HEAD`, in a file or where else refs are stored?
    pub(super) fn has_root_ref(&self, name: &str) -> bool {
        let Some(git_dir) = &self.git_dir else { return false };
        let is_ref = || self.history().and_then(|history| history.root_refs());
        git_dir.join(name).exists()
            || (self.has_root_refs() && is_ref().is_ok_and(|refs| refs.iter().any(|(found, _)| found == name)))
    }
}

/// The ids at the beginnings of lines, as in `FETCH_HEAD` and in files of one line.
fn read_ids(file: &Path, ids: &mut BTreeSet<ObjectId>) -> Result<()> {
    let bytes = document::read(file, document::MOST)?.unwrap_or_default();
    for line in bytes.lines().filter(|line| !line.trim().is_empty()) {
        let word = line.split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
        let id = ObjectId::from_hex(word).map_err(|e| {
            Error::new(Kind::Io, format!("{} does not name a commit", file.display()))
                .because(e)
                .hint("git status — says what Git is in the middle of")
        })?;
        ids.insert(id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{commit_all, git, repository, write};
    use super::*;
    use crate::git::Underway;

    #[test]
    fn what_a_merge_and_a_fetch_name() {
        let (dir, top) = repository();
        write(&top, &[("f", "1")]);
        commit_all(&top, "1");
        git(dir.path(), &["clone", "-q", top.to_str().unwrap(), "there"]);
        let there = dir.path().join("there");
        write(&there, &[("f", "2")]);
        let fetched = commit_all(&there, "2");
        git(&top, &["fetch", "-q", there.to_str().unwrap(), "HEAD"]);
        let repo = Repo::discover(&top).unwrap();
        let hex = |ids: BTreeSet<GitId>| ids.iter().map(GitId::hex).collect::<BTreeSet<_>>();
        assert!(hex(repo.private_commits().unwrap()).contains(&fetched));
        let history = || repo.history().unwrap();
        assert_eq!(hex(repo.unfinished_commits(&history()).unwrap()), [].into());
        assert_eq!(repo.underway(), None);
        write(&top, &[("f", "3")]);
        commit_all(&top, "3");
        let picked = std::process::Command::new("git").args(["cherry-pick", &fetched]).current_dir(&top).output();
        assert!(!picked.unwrap().status.success());
        assert_eq!(repo.underway(), Some(Underway::CherryPick));
        assert_eq!(hex(repo.unfinished_commits(&history()).unwrap()), [fetched].into());
    }
}
