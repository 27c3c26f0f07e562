//! Pushes tags to a Git remote, with the user's own settings, agents and hooks.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::git::history::signature;
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::shell::word;
use crate::url::Url;

impl Repo {
    /// The remote that Git pushes this branch to.
    ///
    /// Errors: [`Kind::Usage`] if there is none.
    pub fn tag_remote(&self) -> Result<Url> {
        self.push_remote()
            .ok_or_else(|| Error::usage("nothing can be pushed: Git knows no remote").hint("git remote add origin URL"))
    }

    /// The tags at a remote whose names match one of the patterns, with the objects that they name.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn tags_at(&self, remote: &Url, patterns: &[String]) -> Result<BTreeMap<String, GitId>> {
        let place = self.push_place(remote);
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("refs/tags/{pattern}")).collect();
        let mut args = vec!["ls-remote", "--quiet", "--refs", "--", place.raw()];
        args.extend(patterns.iter().map(String::as_str));
        let listed = self.git(&args, None, None).map_err(|e| {
            let error = Error::new(Kind::Remote, format!("the tags at {remote} cannot be read"));
            e.causes.iter().map(|why| place.scrub(&remote.scrub(why))).fold(error, Error::because)
        })?;
        let line = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/tags/")?.to_string(), GitId::from_hex(id)?))
        };
        Ok(listed.lines().filter_map(line).collect())
    }

    /// Pushes all of these tags, or none.
    ///
    /// Errors: [`Kind::Remote`]. The tags may have arrived nevertheless; [`Repo::tags_at`] shows it.
    pub fn push_tags(&self, remote: &Url, names: &[String]) -> Result<()> {
        let refs: Vec<String> = names.iter().map(|name| format!("refs/tags/{name}")).collect();
        let mut args = vec!["push", "--quiet"];
        // A single tag needs no `--atomic`, which some servers lack.
        args.extend((refs.len() > 1).then_some("--atomic"));
        args.push(remote.raw());
        args.extend(refs.iter().map(String::as_str));
        self.git(&args, None, None).map(drop).map_err(|e| {
            let error = Error::new(Kind::Remote, format!("the push to {remote} failed"));
            let place = self.push_place(remote);
            e.causes.iter().map(|why| place.scrub(&remote.scrub(why))).fold(error, Error::because)
        })
    }

    /// Deletes a tag of this clone if it still names the object.
    pub fn delete_tag(&self, name: &str, object: GitId) -> Result<()> {
        let id = object.hex();
        let deleted = self.git(&["update-ref", "--no-deref", "-d", &format!("refs/tags/{name}"), &id], None, None);
        deleted.map(drop).map_err(|e| {
            let error = Error::new(Kind::Io, format!("the tag {name} of this clone cannot be deleted"));
            let look = format!("git show-ref --verify {}", word(&format!("refs/tags/{name}")));
            e.causes.into_iter().fold(error, Error::because).hint(format!("see what it names now: {look}"))
        })
    }

    /// The object of a tag, and its content without a signature; `None` if there is no such annotated tag.
    pub fn tag_content(&self, name: &str) -> Result<Option<(GitId, Vec<u8>)>> {
        let history = self.plain_history()?;
        let Some(reference) = history.find_ref(&format!("refs/tags/{name}"))? else { return Ok(None) };
        let Ok(object) = history.0.repo.find_object(reference.target) else { return Ok(None) };
        let is_tag = object.kind == gix::object::Kind::Tag && !reference.is_symbolic;
        Ok(is_tag.then(|| (GitId(reference.target), signature::split(&object.data).0.to_vec())))
    }

    /// The destination of a push: the remote itself, unless it has a separate push URL.
    pub(in crate::git) fn push_place(&self, remote: &Url) -> Url {
        let url = |args: &[&str]| self.git(args, None, None).ok().map(|url| url.trim().to_string());
        match (url(&["remote", "get-url", remote.raw()]), url(&["remote", "get-url", "--push", remote.raw()])) {
            (Some(fetched), Some(pushed)) if fetched != pushed && !pushed.starts_with('-') => pushed.into(),
            _ => remote.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

    #[test]
    fn tags_are_pushed_all_or_none_to_where_the_branch_goes() {
        let (dir, top) = repository();
        git(&top, &["config", "user.name", "A U Thor"]);
        git(&top, &["config", "user.email", "a@example.org"]);
        git(&top, &["commit", "-q", "--allow-empty", "-m", "x"]);
        for name in ["a@v1.0.0", "a#prod#1", "b@v1.0.0"] {
            git(&top, &["tag", "-a", "-m", "x", name]);
        }
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(repo.tag_remote().unwrap_err().kind, Kind::Usage);
        let there = dir.path().join("there");
        git(dir.path(), &["init", "-q", "--bare", "there"]);
        git(&top, &["remote", "add", "up", there.to_str().unwrap()]);
        let remote = repo.tag_remote().unwrap();
        assert_eq!(remote.raw(), "up");
        repo.push_tags(&remote, &["a@v1.0.0".into()]).unwrap();
        git(&top, &["tag", "-f", "-a", "-m", "y", "a@v1.0.0"]);
        let error = repo.push_tags(&remote, &["a@v1.0.0".into(), "b@v1.0.0".into()]).unwrap_err();
        assert_eq!(error.kind, Kind::Remote);
        assert_eq!(git(&there, &["tag"]), "a@v1.0.0\n");
        repo.push_tags(&remote, &["a#prod#1".into(), "b@v1.0.0".into()]).unwrap();
        let found = repo.tags_at(&remote, &["a@*".into(), "a#*".into()]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a#prod#1", "a@v1.0.0"]);
        let (own, _) = repo.tag_content("a#prod#1").unwrap().unwrap();
        assert_eq!(found["a#prod#1"], own);
        assert_ne!(found["a@v1.0.0"], repo.tag_content("a@v1.0.0").unwrap().unwrap().0);

        // A tag that was moved since is kept.
        let error = repo.delete_tag("a@v1.0.0", found["a@v1.0.0"]).unwrap_err();
        assert_eq!(error.hints, ["see what it names now: git show-ref --verify refs/tags/a@v1.0.0"]);
        repo.delete_tag("a#prod#1", own).unwrap();
        assert_eq!(git(&top, &["tag"]), "a@v1.0.0\nb@v1.0.0\n");
        git(&top, &["remote", "add", "origin", "/nowhere/at/all"]);
        let error = repo.tags_at(&repo.tag_remote().unwrap(), &["a@*".into()]).unwrap_err();
        assert!(error.kind == Kind::Remote && error.message.contains("origin"), "{error}");
        // A remote with a separate push URL.
        git(&top, &["remote", "set-url", "--push", "origin", there.to_str().unwrap()]);
        assert_eq!(repo.tags_at(&"origin".into(), &["b@*".into()]).unwrap().len(), 1);
        // `git push -u URL` writes the URL itself into the settings of the branch, with a token in it.
        let branch = git(&top, &["symbolic-ref", "--short", "HEAD"]);
        let url = "https://me:S3CRETTOKEN@127.0.0.1:1/x.git";
        git(&top, &["config", &format!("branch.{}.remote", branch.trim()), url]);
        let remote = repo.tag_remote().unwrap();
        assert_eq!(remote.raw(), url);
        git(&top, &["remote", "set-url", "origin", url]);
        git(&top, &["remote", "set-url", "--push", "origin", url]);
        for remote in [remote, "origin".into()] {
            for error in [
                repo.tags_at(&remote, &["a@*".into()]).unwrap_err(),
                repo.push_tags(&remote, &["a@v1.0.0".into()]).unwrap_err(),
            ] {
                assert!(!error.full_message().contains("S3CRET"), "{}", error.full_message());
            }
        }
    }
}
