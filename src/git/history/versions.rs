//! The versions that one file had: in the history of `HEAD`, and in the commits of the reflog of `HEAD`.

use std::collections::HashSet;

use super::commit::{Commit, EntryKind};
use crate::error::Result;
use crate::git::history::History;
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::path::RepoPath;

/// The number of commits that are searched, the newest first.
const MOST_COMMITS: usize = 10_000;
/// The number of versions that are read.
const MOST_VERSIONS: usize = 500;
/// The number of commits that are read at once.
const BATCH: usize = 256;

impl Repo {
    /// Reads each version of a file once, the newest first. Returns a reason if there may be further versions.
    ///
    /// Errors: the history cannot be read.
    pub fn file_versions(&self, path: &RepoPath, read: &mut dyn FnMut(&[u8])) -> Result<Option<&'static str>> {
        if self.git_dir.is_none() {
            return Ok(None);
        }
        let history = self.history()?;
        let Some(head) = history.head_id()? else { return Ok(None) };
        let remembered = self.head_reflog_commits()?.into_iter().map(|id| id.0);
        let tips = remembered.filter(|id| history.0.repo.has_object(id)).chain([head]);
        let mut tips: Vec<_> = tips.collect();
        tips.sort();
        tips.dedup();
        let commits = history.walk(tips, Some(MOST_COMMITS))?;
        let mut seen: HashSet<GitId> = HashSet::new();
        for batch in commits.chunks(BATCH) {
            let batch: Vec<Commit> = batch.iter().map(|id| history.commit(*id)).collect::<Result<_>>()?;
            let mut new = Vec::new();
            history.prefetch_trees(&batch);
            for commit in &batch {
                if let Some((EntryKind::File | EntryKind::Executable, id)) = commit.find(path)?
                    && seen.insert(id)
                {
                    new.push(id);
                }
            }
            read_all(&history, &new, read)?;
            if seen.len() > MOST_VERSIONS {
                return Ok(Some("it has more versions than are read"));
            }
        }
        Ok(match commits.len() {
            MOST_COMMITS.. => Some("the history is longer than is read"),
            _ if history.is_shallow() => Some("this clone is shallow"),
            _ => None,
        })
    }
}

fn read_all(history: &History, ids: &[GitId], read: &mut dyn FnMut(&[u8])) -> Result<()> {
    let ahead = history.prefetch_blobs(ids.iter().copied(), &|_, bytes| bytes);
    ahead.iter().for_each(|(_, bytes)| read(bytes));
    let known: HashSet<GitId> = ahead.into_iter().map(|(id, _)| id).collect();
    for id in ids.iter().filter(|id| !known.contains(id)) {
        read(&history.blob(*id)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    fn versions(repo: &Repo, path: &str) -> (Vec<String>, Option<&'static str>) {
        let mut found = Vec::new();
        let path = RepoPath::root().join(path).unwrap();
        let limit = repo.file_versions(&path, &mut |bytes| found.push(String::from_utf8(bytes.to_vec()).unwrap()));
        found.sort();
        (found, limit.unwrap())
    }

    #[test]
    fn a_file_has_its_versions_of_the_history_and_of_the_reflog() {
        let (dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(versions(&repo, "a/f"), (vec![], None));
        for text in ["1", "2", "1", "3"] {
            write(&top, &[("a/f", text), ("other", "x")]);
            git(&top, &["add", "-A"]);
            git(&top, &["commit", "-q", "--allow-empty", "-m", text]);
        }
        git(&top, &["reset", "-q", "--hard", "HEAD~1"]);
        git(&top, &["checkout", "-q", "-b", "side"]);
        write(&top, &[("a/f", "side")]);
        commit_all(&top, "side");
        git(&top, &["checkout", "-q", "main"]);
        assert_eq!(versions(&repo, "a/f"), (["1", "2", "3", "side"].map(String::from).to_vec(), None));
        assert_eq!(versions(&repo, "a/gone"), (vec![], None));
        let clone = dir.path().join("clone");
        let url = format!("file://{}", top.display());
        git(dir.path(), &["clone", "-q", "--depth", "2", &url, clone.to_str().unwrap()]);
        let shallow = Repo::discover(&clone).unwrap();
        assert_eq!(versions(&shallow, "a/f"), (vec!["1".into(), "2".into()], Some("this clone is shallow")));
    }
}
