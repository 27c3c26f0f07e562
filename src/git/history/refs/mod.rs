//! All starting points of a history, for callers that must not miss one: all refs, and the commits in reflogs.
//!
//! Commands that show data skip broken refs; commands that delete data must not.

pub(super) mod packed;
pub(super) mod reflog;
pub(super) mod reftable;
pub(in crate::git) mod store;
pub(in crate::git) mod tags;

use std::collections::BTreeSet;

use crate::error::Result;
use crate::git::history::commit::LARGEST;
use crate::git::history::{History, unreadable};
use crate::git::id::GitId;
use crate::git::repo::Repo;
use packed::check_head;
use store::{Ref, broken_ref};

/// The number of times refs are listed again if one cannot be read.
pub(super) const PATIENCE: usize = 5;

impl History {
    /// All refs below a prefix that lead to commits, by their full names.
    ///
    /// Errors: a ref with a missing target. A symbolic ref without its branch (`origin/HEAD` after a rename) is
    /// skipped.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, GitId)>> {
        let mut found = self.refs_now(prefix);
        // A ref that is deleted during the listing is no reason to fail.
        for _ in 1..PATIENCE {
            if found.is_ok() {
                break;
            }
            found = self.refs_now(prefix);
        }
        found
    }

    /// The refs below a prefix that lead to trees and files, with whether it is a tree: Git makes an index of a tree.
    pub fn refs_without_commit(&self, prefix: &str) -> Result<Vec<(String, GitId, bool)>> {
        let mut found = Vec::new();
        for reference in self.read_refs(prefix)? {
            let Ref { name, peeled, .. } = reference?;
            let header = self.0.repo.find_header(peeled).map_err(|e| broken_ref(&name, e))?;
            match header.kind() {
                gix::object::Kind::Tree => found.push((name, GitId(peeled), true)),
                gix::object::Kind::Blob if header.size() <= LARGEST => found.push((name, GitId(peeled), false)),
                _ => {}
            }
        }
        Ok(found)
    }

    fn refs_now(&self, prefix: &str) -> Result<Vec<(String, GitId)>> {
        let mut found = Vec::new();
        for reference in self.read_refs(prefix)? {
            let Ref { name, peeled, .. } = reference?;
            if self.is_commit(peeled).map_err(|e| broken_ref(&name, e))? {
                found.push((name, GitId(peeled)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// These commits and all their ancestors, each once.
    pub fn reachable(&self, tips: impl IntoIterator<Item = GitId>) -> Result<Vec<GitId>> {
        let tips: BTreeSet<gix::ObjectId> = tips.into_iter().map(|id| id.0).collect();
        self.walk(tips, None)
    }

    /// Does this commit still exist? A commit of a reflog may have been deleted.
    ///
    /// Errors: the object cannot be read.
    pub fn has_commit(&self, id: GitId) -> Result<bool> {
        match self.0.repo.try_find_header(id.0).map_err(unreadable)? {
            Some(header) => Ok(header.kind() == gix::object::Kind::Commit),
            None => Ok(false),
        }
    }

    /// Commits and their parents, if present: a shallow clone lacks some.
    pub fn with_parents(&self, ids: impl IntoIterator<Item = GitId>) -> Result<BTreeSet<GitId>> {
        let mut all = BTreeSet::new();
        for id in ids {
            let commit = self.0.repo.find_commit(id.0).map_err(unreadable)?;
            for parent in commit.parent_ids().map(|id| GitId(id.detach())) {
                if self.has_commit(parent)? {
                    all.insert(parent);
                }
            }
            all.insert(id);
        }
        Ok(all)
    }

    /// The ancestors of `tips` that are not ancestors of `known`.
    pub(in crate::git) fn between(
        &self,
        tips: impl IntoIterator<Item = gix::ObjectId>,
        known: impl IntoIterator<Item = gix::ObjectId>,
    ) -> Result<Vec<GitId>> {
        let walk = self.0.repo.rev_walk(tips).with_hidden(known).all().map_err(unreadable)?;
        walk.map(|info| info.map(|info| GitId(info.id)).map_err(unreadable)).collect()
    }

    pub(in crate::git) fn is_commit(&self, id: gix::ObjectId) -> Result<bool> {
        Ok(self.0.repo.find_header(id).map_err(unreadable)?.kind() == gix::object::Kind::Commit)
    }
}

impl Repo {
    /// The commit of `HEAD` in this worktree; `None` before the first commit.
    pub fn head_commit(&self) -> Result<Option<GitId>> {
        if let Some(git_dir) = self.git_dir.as_ref().filter(|_| !self.has_root_refs()) {
            check_head(git_dir)?;
        }
        Ok(self.head()?.as_deref().and_then(GitId::from_hex))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository};

    #[test]
    fn nothing_broken_is_passed_over() {
        let (_dir, top) = repository();
        commit_all(&top, "1");
        git(&top, &["tag", "v1"]);
        git(&top, &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone"]);
        let repo = Repo::discover(&top).unwrap();
        let names = |prefix: &str| -> Vec<String> {
            repo.history().unwrap().refs(prefix).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("refs/"), ["refs/heads/main", "refs/tags/v1"]);
        let bad = git(&top, &["commit-tree", "-m", "bad", "HEAD^{tree}"]);
        git(&top, &["update-ref", "refs/heads/bad", bad.trim()]);
        std::fs::remove_file(top.join(".git/objects").join(&bad[..2]).join(bad[2..].trim())).unwrap();
        assert!(repo.history().unwrap().refs("refs/").unwrap_err().message.contains("refs/heads/bad"));
    }
}
