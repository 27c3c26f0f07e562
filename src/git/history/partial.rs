//! Fetches the missing objects of a partial clone. Git fetches a missing object from the remote of the clone, with one
//! request per object; this module fetches many with one request.
//!
//! A request runs programs from the repository's settings, so it is made only for the current repository and for
//! lockstep's own clones: see [`Repo::fetches_missing`](crate::git::Repo).

use std::io::Write;
use std::process::Stdio;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::commit::absent;
use crate::error::{Error, Result};
use crate::git::history::History;
use crate::git::id::GitId;
use crate::git::program::question;
use crate::shell::word;

impl History {
    /// Is the history of this clone truncated? Then older commits are unknown.
    pub fn is_shallow(&self) -> bool {
        self.0.repo.is_shallow().unwrap_or(true)
    }

    /// Fetches the missing objects of a list, with the subtrees of trees but without file contents. Best effort: an
    /// object that cannot be fetched is an error when it is read.
    pub(in crate::git) fn fetch_missing(&self, ids: impl IntoIterator<Item = ObjectId>) {
        if !self.0.is_partial || !self.0.fetches_missing {
            return;
        }
        let mut missing: Vec<ObjectId> = ids.into_iter().filter(|id| !self.0.repo.has_object(id)).collect();
        missing.sort();
        missing.dedup();
        if missing.is_empty() {
            return;
        }
        let Some(remote) = self.promisor() else { return };
        // As in Git's own promisor-remote.c.
        let mut command = question(self.0.repo.git_dir());
        command.args(["-c", "fetch.negotiationAlgorithm=noop", "-c", "maintenance.auto=false", "fetch", &remote]);
        command.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"]);
        command.args(["--filter=blob:none", "--stdin"]).env_remove("GIT_NO_LAZY_FETCH");
        if let Some(header) = &self.0.server_header {
            header.give_to(&mut command);
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(mut child) = piped else { return };
        if let Some(mut pipe) = child.stdin.take() {
            let lines: String = missing.iter().map(|id| format!("{id}\n")).collect();
            // If the program does not read, it fails on its own.
            let _ = pipe.write_all(lines.as_bytes());
        }
        let _ = child.wait();
    }

    /// The remote that has the missing objects.
    fn promisor(&self) -> Option<String> {
        let config = self.0.repo.config_snapshot();
        let named = config.string("extensions.partialClone").map(|name| name.to_str_lossy().into_owned());
        let is_promisor = |name: &String| config.boolean(format!("remote.{name}.promisor").as_str()) == Some(true);
        let mut remotes = self.0.repo.remote_names().into_iter().map(|name| name.to_str_lossy().into_owned());
        named.or_else(|| remotes.find(is_promisor)).filter(|name| !name.starts_with('-'))
    }

    /// The error for an object that is missing, or was left out and cannot be fetched.
    pub(in crate::git) fn left_out(&self, what: &str, id: GitId) -> Error {
        let error = self.because_of_objects_elsewhere(absent(format!("{what} {id}")));
        if !self.0.is_partial || self.0.fetches_missing {
            return error;
        }
        error.hint(format!(
            "lockstep lets Git fetch for the repository at hand alone; if you trust this one: git -C {} fetch --refetch \
             --no-filter",
            word(&self.0.repo.git_dir().display().to_string())
        ))
    }

    /// Fetches a single missing object.
    pub(in crate::git) fn require(&self, what: &str, id: ObjectId) -> Result<()> {
        if self.0.repo.has_object(id) {
            return Ok(());
        }
        self.fetch_missing([id]);
        if self.0.repo.has_object(id) { Ok(()) } else { Err(self.left_out(what, GitId(id))) }
    }
}

#[cfg(test)]
mod tests {
    use crate::git::testing::{commit_all, git, repository, write};
    use crate::git::{Commit, CommitSelection, FilesByName, Repo};
    use crate::path::RepoPath;

    /// One request fetches the missing blobs and trees of all commits.
    #[test]
    fn a_partial_clone_gets_many_objects_at_once() {
        let (dir, top) = repository();
        git(&top, &["config", "uploadpack.allowFilter", "true"]);
        git(&top, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        for n in 0..5 {
            write(&top, &[("a/b/x.lock", &format!("{n}")), ("other", &format!("{n}"))]);
            commit_all(&top, "x");
        }
        let url = format!("file://{}", top.display());
        for filter in ["blob:none", "tree:0"] {
            let clone = dir.path().join(filter);
            let flags = ["clone", "-q", "--no-checkout", "--filter", filter, &url, clone.to_str().unwrap()];
            git(dir.path(), &flags);
            let packs = || std::fs::read_dir(clone.join(".git/objects/pack")).unwrap().count();
            let before = packs();
            let repo = Repo::discover(&clone).unwrap();
            let history = repo.history().unwrap();
            let all =
                history.select_commits(&CommitSelection { all_commits: true, ..CommitSelection::default() }).unwrap();
            let commits: Vec<Commit> = all.iter().map(|one| history.commit(one.id).unwrap()).collect();
            assert_eq!(commits.len(), 5);
            let mut named = FilesByName::new(&history, "x.lock");
            named.prefetch(&commits).unwrap();
            let fetched = packs();
            let files: Vec<_> = commits.iter().flat_map(|commit| named.find_in_commit(commit).unwrap()).collect();
            let texts: Vec<_> = files.iter().map(|(_, id)| history.blob(*id).unwrap()).collect();
            assert_eq!(texts, ["4", "3", "2", "1", "0"].map(|text| text.as_bytes().to_vec()));
            assert_eq!(packs(), fetched, "{filter}");
            assert!(fetched > before);
            // A single one is fetched, too.
            let other = RepoPath::root().join("other").unwrap();
            assert_eq!(commits[0].read(&other).unwrap().as_deref(), Some(&b"4"[..]));
        }
    }
}
