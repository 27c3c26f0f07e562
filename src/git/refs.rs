//! Where a history is entered, for those who must not overlook a way in: all refs, and what the reflogs remember.
//!
//! Commands that show things pass over what is broken; whoever throws things away must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::history::{History, unreadable};
use super::id::GitId;
use super::repo::Repo;
use crate::document;
use crate::error::{Error, Kind, Result};

/// So often refs are listed anew where one cannot be read.
const PATIENCE: usize = 5;

impl History {
    /// All refs below a prefix that lead to commits, by their full names.
    ///
    /// Errors: a ref that leads to nothing. A symbolic ref without its branch (`origin/HEAD` after a rename) is none.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, GitId)>> {
        let mut found = self.refs_now(prefix);
        // One that is deleted while they are listed is no reason to give up.
        for _ in 1..PATIENCE {
            if found.is_ok() {
                break;
            }
            found = self.refs_now(prefix);
        }
        found
    }

    fn refs_now(&self, prefix: &str) -> Result<Vec<(String, GitId)>> {
        let platform = self.0.repo.references().map_err(unreadable)?;
        let mut found = Vec::new();
        for reference in platform.prefixed(prefix).map_err(unreadable)? {
            let mut reference = reference.map_err(unreadable)?;
            let name = reference.name().as_bstr().to_string();
            let is_symbolic = matches!(reference.target(), gix::refs::TargetRef::Symbolic(_));
            let id = match reference.peel_to_id() {
                Ok(id) => id,
                Err(_) if is_symbolic => continue,
                Err(e) => return Err(broken(&name, e)),
            };
            let header = id.header().map_err(|e| broken(&name, e))?;
            if header.kind() == gix::object::Kind::Commit {
                found.push((name, GitId(id.detach())));
            }
        }
        found.sort();
        Ok(found)
    }

    /// These commits and all that lead to them, each once.
    pub fn reachable(&self, tips: impl IntoIterator<Item = GitId>) -> Result<Vec<GitId>> {
        let tips: BTreeSet<gix::ObjectId> = tips.into_iter().map(|id| id.0).collect();
        self.walk(tips, None)
    }

    /// Is this commit still there? What a reflog remembers may be gone.
    pub fn has_commit(&self, id: GitId) -> bool {
        self.0.repo.find_header(id.0).is_ok_and(|header| header.kind() == gix::object::Kind::Commit)
    }
}

impl Repo {
    /// Where `HEAD` of this worktree is; `None` before the first commit.
    pub fn head_commit(&self) -> Result<Option<GitId>> {
        Ok(self.head()?.as_deref().and_then(GitId::from_hex))
    }

    /// The commits that the reflogs below `logs/` remember (`refs/stash` for the stash), those that are gone included.
    pub fn reflogs(&self, below: &str) -> Result<BTreeSet<GitId>> {
        let mut found = BTreeSet::new();
        let folders: BTreeSet<_> = [self.git_dir.as_ref(), self.common_dir.as_ref()].into_iter().flatten().collect();
        for folder in folders {
            collect(&folder.join("logs").join(below), &mut found)?;
        }
        Ok(found)
    }
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
    // `old new name <mail> time zone<tab>message`
    let ids = bytes.split(|b| *b == b'\n').flat_map(|line| line.split(|b| *b == b' ').take(2));
    found.extend(ids.filter_map(|id| GitId::from_hex(std::str::from_utf8(id).ok()?)).filter(|id| !id.0.is_null()));
    Ok(())
}

fn broken(name: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::Missing, format!("the Git reference {name} leads to nothing"))
        .because(cause)
        .hint("git fsck — says what is wrong with the repository")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{commit_all, git, repository, write};
    use super::*;

    #[test]
    fn nothing_broken_is_passed_over() {
        let (_dir, top) = repository();
        let one = commit_all(&top, "1");
        git(&top, &["tag", "v1"]);
        git(&top, &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone"]);
        let repo = Repo::discover(&top).unwrap();
        let names = |prefix: &str| -> Vec<String> {
            repo.history().unwrap().refs(prefix).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("refs/"), ["refs/heads/main", "refs/tags/v1"]);
        write(&top, &[(".git/refs/heads/bad", &format!("{}\n", one.replace(|c: char| c != '0', "1")))]);
        assert!(repo.history().unwrap().refs("refs/").unwrap_err().message.contains("refs/heads/bad"));
    }

    #[test]
    fn the_stash_and_what_was_reset() {
        let (_dir, top) = repository();
        write(&top, &[("f", "1")]);
        let one = commit_all(&top, "1");
        write(&top, &[("f", "2")]);
        let two = commit_all(&top, "2");
        git(&top, &["reset", "-q", "--hard", "HEAD~1"]);
        write(&top, &[("f", "3")]);
        git(&top, &["stash", "-q"]);
        let stash = git(&top, &["rev-parse", "stash"]).trim().to_string();
        let repo = Repo::discover(&top).unwrap();
        let hex = |ids: BTreeSet<GitId>| ids.iter().map(GitId::hex).collect::<BTreeSet<_>>();
        assert_eq!(hex(repo.reflogs("refs/stash").unwrap()), [stash.clone()].into());
        assert!(hex(repo.reflogs("").unwrap()).is_superset(&[one.clone(), two, stash].into()));
        assert_eq!(repo.head_commit().unwrap().unwrap().hex(), one);
    }
}
