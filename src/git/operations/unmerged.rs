//! Unmerged files, and the operation in progress.

use gix::bstr::ByteSlice;
use gix::index::entry::Stage;

use crate::error::Result;
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::path::RepoPath;

/// A path with a conflict. A side is `None` where it has no such file.
#[derive(Debug, Default, PartialEq)]
pub struct UnmergedFile {
    /// The path of the file.
    pub path: RepoPath,
    /// The content at the common ancestor.
    pub base: Option<Vec<u8>>,
    /// The content of the current branch; in a rebase, of the commit that is built upon.
    pub ours: Option<Vec<u8>>,
    /// The content of the other side.
    pub theirs: Option<Vec<u8>>,
}

/// The Git operation in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// `git merge`, also within `git pull`.
    Merge,
    /// Ours is the commit that is built upon, theirs the user's own commit that is applied on top.
    Rebase,
    /// `git cherry-pick`
    CherryPick,
    /// `git revert`
    Revert,
}

impl Repo {
    /// The conflicts in files of this name, in the order of their paths.
    pub fn unmerged(&self, name: &str) -> Result<Vec<UnmergedFile>> {
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let Some(repo) = self.open()? else { return Ok(Vec::new()) };
        let mut found: Vec<UnmergedFile> = Vec::new();
        for entry in index.entries().iter().filter(|entry| entry.stage() != Stage::Unconflicted) {
            let Ok(path) = entry.path(&index).to_str() else { continue };
            let Some(path) = RepoPath::root().join(path).filter(|path| path.name() == name) else { continue };
            let blob = repo.find_object(entry.id).map_err(|e| self.unreadable(e))?.detach().data;
            if found.last().is_none_or(|last| last.path != path) {
                found.push(UnmergedFile { path, ..UnmergedFile::default() });
            }
            let Some(last) = found.last_mut() else { continue };
            match entry.stage() {
                Stage::Base => last.base = Some(blob),
                Stage::Ours => last.ours = Some(blob),
                _ => last.theirs = Some(blob),
            }
        }
        Ok(found)
    }

    /// The nearest common ancestor of two commits; `None` if they have none, or if a shallow clone lacks it.
    ///
    /// Errors: a commit cannot be read.
    pub fn merge_base(&self, one: GitId, other: GitId) -> Result<Option<GitId>> {
        let Some(repo) = self.open()? else { return Ok(None) };
        match repo.merge_base(one.0, other.0) {
            Ok(base) => Ok(base.map(|id| GitId(id.detach()))),
            Err(_) if repo.is_shallow().unwrap_or(false) => Ok(None),
            Err(e) => Err(self.unreadable(e)),
        }
    }

    /// A commit for people: its short id and its subject. `None` if the revision does not exist.
    pub fn describe(&self, revision: &str) -> Result<Option<String>> {
        let Ok(commit) = self.resolve(revision) else { return Ok(None) };
        Ok(Some(format!("{} ({})", commit.id.short(), commit.info()?.subject)))
    }

    /// The operation that waits for the user to continue it.
    pub fn current_operation(&self) -> Option<OperationKind> {
        let git_dir = self.git_dir.as_ref()?;
        let is_there = |name: &str| git_dir.join(name).exists();
        match () {
            _ if is_there("rebase-merge") || is_there("rebase-apply") => Some(OperationKind::Rebase),
            _ if is_there("MERGE_HEAD") => Some(OperationKind::Merge),
            _ if self.has_root_ref("CHERRY_PICK_HEAD") => Some(OperationKind::CherryPick),
            _ if self.has_root_ref("REVERT_HEAD") => Some(OperationKind::Revert),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::git::testing::{git, repository};

    #[test]
    fn sides_come_from_the_index() {
        let (_dir, top) = repository();
        let commit = |text: &str| {
            fs::create_dir_all(top.join("sub")).unwrap();
            fs::write(top.join("sub/x.lock"), text).unwrap();
            git(&top, &["add", "-A"]);
            git(&top, &["commit", "-qm", text]);
        };
        git(&top, &["checkout", "-qb", "main"]);
        commit("one");
        git(&top, &["checkout", "-qb", "side"]);
        commit("two");
        git(&top, &["checkout", "-q", "main"]);
        commit("three");
        let repo = Repo::discover(&top).unwrap();
        assert_eq!((repo.unmerged("x.lock").unwrap(), repo.current_operation()), (vec![], None));
        let merge = ["-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "-q", "side"];
        let out = Command::new("git").args(merge).current_dir(&top).output().unwrap();
        assert!(!out.status.success());

        let path = RepoPath::root().join("sub/x.lock").unwrap();
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let want = UnmergedFile { path: path.clone(), base: bytes("one"), ours: bytes("three"), theirs: bytes("two") };
        assert_eq!(repo.unmerged("x.lock").unwrap(), [want]);
        assert_eq!(repo.unmerged("lock").unwrap(), []);
        assert_eq!(repo.current_operation(), Some(OperationKind::Merge));
        let id = |name: &str| repo.resolve(name).unwrap().id;
        let base = repo.merge_base(id("HEAD"), id("side")).unwrap().unwrap();
        assert_eq!(repo.resolve(&base.hex()).unwrap().read(&path).unwrap(), bytes("one"));
        assert!(repo.describe("HEAD").unwrap().unwrap().ends_with(" (three)"));
        assert_eq!(repo.describe("nowhere").unwrap(), None);
    }

    /// An unknown ancestor is not "no common ancestor".
    #[test]
    fn a_commit_that_cannot_be_read_is_an_error() {
        let (_dir, top) = repository();
        let commit = |text: &str| {
            fs::write(top.join("x"), text).unwrap();
            git(&top, &["add", "-A"]);
            git(&top, &["commit", "-qm", text]);
        };
        git(&top, &["checkout", "-qb", "main"]);
        commit("one");
        commit("two");
        git(&top, &["checkout", "-qb", "side"]);
        commit("three");
        git(&top, &["checkout", "-qb", "other", "main"]);
        commit("four");
        git(&top, &["checkout", "-q", "--orphan", "alone"]);
        commit("five");
        let base = |one: &str, other: &str| {
            let repo = Repo::discover(&top).unwrap();
            let id = |name: &str| repo.resolve(name).unwrap().id;
            let (one, other) = (id(one), id(other));
            repo.merge_base(one, other).map(|base| base.map(|id| id.hex()))
        };
        let middle = Repo::discover(&top).unwrap().resolve("main").unwrap().id.hex();
        assert_eq!(base("side", "other").unwrap(), Some(middle.clone()));
        assert_eq!(base("side", "alone").unwrap(), None);
        let object = top.join(".git/objects").join(&middle[..2]).join(&middle[2..]);
        fs::remove_file(&object).unwrap();
        fs::write(&object, "damaged").unwrap();
        assert!(base("side", "other").is_err());
    }
}
