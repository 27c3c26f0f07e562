//! Commits in reflogs, which no ref may lead to any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::reftable;
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::git::id::GitId;
use crate::git::program;
use crate::git::repo::Repo;
use crate::git::repo::format::RefStorage;

/// Git's message for an entry whose commits it pruned: there is nothing left to keep.
const PRUNED: &str = "references pruned commits";

impl Repo {
    /// The commits in the reflogs of this worktree and of the repository, including pruned ones.
    pub fn reflog_commits(&self) -> Result<BTreeSet<GitId>> {
        // Without reflogs it needs another source: its input, which is empty.
        self.reflogs("", &["rev-list", "--no-walk=unsorted", "--reflog", "--stdin"])
    }

    /// The commits in the reflog of the stash, which are its entries.
    pub fn stash_commits(&self) -> Result<BTreeSet<GitId>> {
        if self.format.refs == RefStorage::Reftable && self.history()?.find_ref("refs/stash")?.is_none() {
            return Ok(BTreeSet::new());
        }
        self.reflogs("refs/stash", &["rev-list", "--walk-reflogs", "refs/stash", "--"])
    }

    /// The commits in the reflog of `HEAD`, which must exist.
    pub(in crate::git) fn head_reflog_commits(&self) -> Result<BTreeSet<GitId>> {
        self.reflogs("HEAD", &["rev-list", "--walk-reflogs", "HEAD", "--"])
    }

    /// Reads the files below `logs/`, or asks Git if there are none.
    fn reflogs(&self, below: &str, question: &[&str]) -> Result<BTreeSet<GitId>> {
        let mut found = BTreeSet::new();
        let Some(git_dir) = &self.git_dir else { return Ok(found) };
        if self.format.refs == RefStorage::Reftable {
            let common_dir = self.common_dir.as_ref().unwrap_or(git_dir);
            reftable::check(git_dir, common_dir)?;
            let found = ask(git_dir, question)?;
            reftable::check(git_dir, common_dir)?;
            return Ok(found);
        }
        let folders: BTreeSet<_> = [Some(git_dir), self.common_dir.as_ref()].into_iter().flatten().collect();
        for folder in folders {
            collect(&folder.join("logs").join(below), &mut found)?;
        }
        Ok(found)
    }
}

fn ask(git_dir: &Path, question: &[&str]) -> Result<BTreeSet<GitId>> {
    let unreadable = |why: &str| Error::new(Kind::Io, "the reflogs of the Git repository cannot be read").because(why);
    let out = program::question(git_dir).args(question).output().map_err(|e| unreadable(&e.to_string()))?;
    let said = String::from_utf8_lossy(&out.stderr);
    // Git skips an unreadable commit with an error, so that it would be missing here.
    if let Some(line) = said.lines().find(|line| !line.contains(PRUNED)) {
        return Err(unreadable(line));
    }
    if !out.status.success() {
        return Err(unreadable("git failed"));
    }
    let one = |line: &[u8]| ObjectId::from_hex(line).map(GitId).map_err(|e| unreadable(&e.to_string()));
    out.stdout.lines().map(one).collect()
}

fn collect(path: &Path, found: &mut BTreeSet<GitId>) -> Result<()> {
    if path.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| Error::io("read", path, e))?,
        };
        for entry in entries {
            collect(&entry.map_err(|e| Error::io("read", path, e))?.path(), found)?;
        }
        return Ok(());
    }
    let bytes = document::read(path, document::MOST)?.unwrap_or_default();
    for line in bytes.lines().filter(|line| !line.is_empty()) {
        // `old new name <mail> time zone<tab>message`
        let mut words = line.split(|byte| *byte == b' ').map(|word| ObjectId::from_hex(word).ok());
        let (Some(Some(old)), Some(Some(new))) = (words.next(), words.next()) else {
            return Err(Error::new(Kind::Io, format!("the reflog {} has a line that is not an entry", path.display()))
                .hint("git reflog expire --stale-fix --all — writes reflogs again"));
        };
        found.extend([old, new].into_iter().filter(|id| !id.is_null()).map(GitId));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn the_stash_and_what_was_reset() {
        let (_dir, top) = repository();
        write(&top, &[("f", "1")]);
        let repo = Repo::discover(&top).unwrap();
        assert!(repo.reflog_commits().unwrap().is_empty() && repo.stash_commits().unwrap().is_empty());
        let one = commit_all(&top, "1");
        write(&top, &[("f", "2")]);
        let two = commit_all(&top, "2");
        git(&top, &["reset", "-q", "--hard", "HEAD~1"]);
        for text in ["3", "4"] {
            write(&top, &[("f", text)]);
            git(&top, &["stash", "-q"]);
        }
        let stashes = ["stash@{0}", "stash@{1}"].map(|rev| git(&top, &["rev-parse", rev]).trim().to_string());
        let hex = |ids: BTreeSet<GitId>| ids.iter().map(GitId::hex).collect::<BTreeSet<_>>();
        assert_eq!(hex(repo.stash_commits().unwrap()), stashes.clone().into());
        assert!(hex(repo.reflog_commits().unwrap()).is_superset(&[one.clone(), two, stashes[0].clone()].into()));
        assert_eq!(repo.head_commit().unwrap().unwrap().hex(), one);
    }

    #[test]
    fn a_torn_reflog_is_unknown() {
        let (_dir, top) = repository();
        commit_all(&top, "1");
        let repo = Repo::discover(&top).unwrap();
        if repo.format.refs == RefStorage::Reftable {
            return;
        }
        let log = top.join(".git/logs/HEAD");
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, format!("{text}{}", &text[..30])).unwrap();
        assert!(repo.reflog_commits().unwrap_err().message.contains("logs/HEAD"));
    }
}
