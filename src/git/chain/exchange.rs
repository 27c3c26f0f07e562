//! Exchanges a chain with a Git remote, with the user's own settings, agents and hooks.

use crate::error::{Error, Kind, Result};
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::url::Url;

/// What a remote has of a chain, as of the last fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteChain {
    /// The remote has no such ref.
    Absent,
    /// Its last commit; it has all commits that an earlier fetch saw.
    At(GitId),
    /// Its last commit lacks commits that an earlier fetch saw: the chain was rewritten or deleted there.
    Rewritten {
        /// The last commit that was seen.
        seen: GitId,
        /// The last commit there now; `None` if the ref is gone.
        now: Option<GitId>,
    },
}

impl Repo {
    /// Fetches a chain into the ref `seen`, which moves forward only.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn fetch_chain(&self, remote: &Url, reference: &str, seen: &str) -> Result<RemoteChain> {
        let before = self.chain_tip(seen)?;
        let now = self.tip_at(remote, reference)?;
        let gone = |now| match before {
            Some(seen) => RemoteChain::Rewritten { seen, now },
            None => RemoteChain::Absent,
        };
        let Some(now) = now else { return Ok(gone(None)) };
        if before == Some(now) {
            return Ok(RemoteChain::At(now));
        }
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--end-of-options",
            remote.raw(),
            reference,
        ];
        self.git(&args, None, None)
            .map_err(|e| self.exchange_error(remote, format!("{reference} cannot be fetched from {remote}"), e))?;
        if let Some(before) = before
            && !self.is_in_chain(before, now)?
        {
            return Ok(gone(Some(now)));
        }
        match self.move_chain(seen, before, now)? {
            true => Ok(RemoteChain::At(now)),
            // Another process of this clone has fetched it meanwhile.
            false => Ok(self.chain_tip(seen)?.map_or(RemoteChain::Absent, RemoteChain::At)),
        }
    }

    /// Pushes a commit to a ref of a remote, without force. Returns false if the remote has commits that it lacks.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn push_chain(&self, remote: &Url, tip: GitId, reference: &str) -> Result<bool> {
        let spec = format!("{}:{reference}", tip.hex());
        match self.git(&["push", "--quiet", "--end-of-options", remote.raw(), &spec], None, None) {
            Ok(_) => Ok(true),
            Err(e) => match self.tip_at(remote, reference) {
                Ok(Some(there)) if there == tip => Ok(true),
                Ok(Some(there)) if !self.has_in_chain(there, tip) => Ok(false),
                _ => Err(self.exchange_error(remote, format!("the push of {reference} to {remote} failed"), e)),
            },
        }
    }

    /// The names below a prefix at a remote.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn chains_at(&self, remote: &Url, prefix: &str) -> Result<Vec<String>> {
        let listed = self.list_refs(remote, &format!("{prefix}*"))?;
        let names = listed.lines().filter_map(|line| line.split_once('\t')?.1.strip_prefix(prefix));
        Ok(names.map(str::to_string).collect())
    }

    fn has_in_chain(&self, old: GitId, tip: GitId) -> bool {
        self.is_in_chain(old, tip).unwrap_or(false)
    }

    fn tip_at(&self, remote: &Url, reference: &str) -> Result<Option<GitId>> {
        let listed = self.list_refs(remote, reference)?;
        let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines.find(|(_, name)| *name == reference).and_then(|(id, _)| GitId::from_hex(id)))
    }

    fn list_refs(&self, remote: &Url, pattern: &str) -> Result<String> {
        let listed = self.git(&["ls-remote", "--quiet", "--refs", "--", remote.raw(), pattern], None, None);
        listed.map_err(|e| self.exchange_error(remote, format!("the refs at {remote} cannot be read"), e))
    }

    fn exchange_error(&self, remote: &Url, message: String, from: Error) -> Error {
        let place = self.push_place(remote);
        let causes = from.causes.iter().map(|why| place.scrub(&remote.scrub(why)));
        causes.fold(Error::new(Kind::Remote, message), Error::because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::chain::NewLink;
    use crate::git::testing::{git, repository};

    const REF: &str = "refs/lockstep/test/a";
    const SEEN: &str = "refs/lockstep/test-seen/a";

    fn grow(repo: &Repo, parent: Option<GitId>, content: &str) -> GitId {
        let new = NewLink { file: "x", content: content.as_bytes(), subject: "s", author: "H <u@h>", sign: false };
        repo.make_link(parent, &new).unwrap()
    }

    #[test]
    fn two_clones_share_a_chain_and_notice_when_it_is_rewritten() {
        let (dir, top) = repository();
        git(dir.path(), &["init", "-q", "--bare", "there"]);
        let remote = Url::from(dir.path().join("there").to_str().unwrap());
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(repo.fetch_chain(&remote, REF, SEEN).unwrap(), RemoteChain::Absent);
        let first = grow(&repo, None, "1");
        assert!(repo.push_chain(&remote, first, REF).unwrap());
        assert!(repo.push_chain(&remote, first, REF).unwrap(), "a second push of the same");
        assert_eq!(repo.fetch_chain(&remote, REF, SEEN).unwrap(), RemoteChain::At(first));

        let (_dir, top) = repository();
        let other = Repo::discover(&top).unwrap();
        let apart = grow(&other, None, "2");
        assert!(!other.push_chain(&remote, apart, REF).unwrap(), "it lacks the first commit");
        assert_eq!(other.fetch_chain(&remote, REF, SEEN).unwrap(), RemoteChain::At(first));
        let second = grow(&other, Some(first), "2");
        assert!(other.push_chain(&remote, second, REF).unwrap());
        assert_eq!(repo.fetch_chain(&remote, REF, SEEN).unwrap(), RemoteChain::At(second));
        assert_eq!(repo.chains_at(&remote, "refs/lockstep/test/").unwrap(), ["a"]);

        let there = dir.path().join("there");
        git(&there, &["update-ref", REF, &first.hex()]);
        let rewritten = RemoteChain::Rewritten { seen: second, now: Some(first) };
        assert_eq!(repo.fetch_chain(&remote, REF, SEEN).unwrap(), rewritten);
        assert_eq!(repo.chain_tip(SEEN).unwrap(), Some(second));
        git(&there, &["update-ref", "-d", REF]);
        let gone = RemoteChain::Rewritten { seen: second, now: None };
        assert_eq!(repo.fetch_chain(&remote, REF, SEEN).unwrap(), gone);
        let nowhere = Url::from("/nowhere/at/all");
        assert_eq!(repo.fetch_chain(&nowhere, REF, SEEN).unwrap_err().kind, Kind::Remote);
    }
}
