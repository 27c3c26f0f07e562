//! Fetches tags from a Git remote, with the user's own settings and agents. Files of the clone do not change.

use crate::error::{Error, Kind, Result};
use crate::git::repo::Repo;
use crate::shell::word;
use crate::url::Url;

impl Repo {
    /// Fetches the tags whose names match one of the patterns. A tag of this clone never moves.
    ///
    /// The patterns become refspecs: the server sends the refs with these prefixes only, while a fetch or a listing with
    /// `*` elsewhere reads all refs of the remote.
    ///
    /// Errors: [`Kind::Remote`]; [`Kind::Check`] if a tag of this clone is another one at the remote.
    pub fn fetch_tags(&self, remote: &Url, patterns: &[String]) -> Result<()> {
        let specs: Vec<String> = patterns.iter().map(|p| format!("refs/tags/{p}:refs/tags/{p}")).collect();
        // Without `--quiet`, which would hide the tags that are refused.
        let mut args = vec![
            "fetch",
            "--no-tags",
            "--no-prune",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--end-of-options",
            remote.raw(),
        ];
        args.extend(specs.iter().map(String::as_str));
        let Err(e) = self.git_lines(&args) else { return Ok(()) };
        let moved: Vec<&str> = e.iter().filter_map(|line| moved_tag(line)).collect();
        let place = self.push_place(remote);
        if let Some(first) = moved.first() {
            let error = Error::new(Kind::Check, format!("the tag {first} at {remote} is not the one of this clone"));
            let others = moved[1..].iter().map(|tag| format!("{tag} is another one, too"));
            return Err(others
                .fold(error, Error::because)
                .hint("a tag that was moved may name other bytes: find out who moved it before you deploy")
                .hint(format!("if the tag at {remote} is the right one: git tag -d {}", word(first))));
        }
        let error = Error::new(Kind::Remote, format!("tags cannot be fetched from {remote}"));
        Err(e.iter().map(|why| place.scrub(&remote.scrub(why))).fold(error, Error::because))
    }
}

/// ` ! [rejected]        digits#prod#7 -> digits#prod#7  (would clobber existing tag)`
fn moved_tag(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("! [rejected]")?.strip_suffix("(would clobber existing tag)")?;
    Some(rest.trim().split_once(" -> ")?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository};

    #[test]
    fn tags_are_fetched_by_their_prefix_and_never_moved() {
        let (dir, top) = repository();
        commit_all(&top, "1");
        for name in ["a@v1.0.0", "a#prod#1", "b@v1.0.0"] {
            git(&top, &["tag", "-a", "-m", "x", name]);
        }
        git(dir.path(), &["clone", "-q", "--bare", "repo", "there"]);
        let remote = Url::from(dir.path().join("there").to_str().unwrap());
        let (_other, clone) = repository();
        let repo = Repo::discover(&clone).unwrap();
        // A tag that is not pushed yet stays, whatever the user's settings say of branches.
        git(&clone, &["config", "fetch.prune", "true"]);
        commit_all(&clone, "own");
        git(&clone, &["tag", "-a", "-m", "x", "a@v2.0.0"]);
        let patterns = ["a@*".to_string(), "a#*".to_string()];
        repo.fetch_tags(&remote, &patterns).unwrap();
        assert_eq!(git(&clone, &["tag"]), "a#prod#1\na@v1.0.0\na@v2.0.0\n");
        repo.fetch_tags(&remote, &patterns).unwrap();
        repo.fetch_tags(&remote, &["nothing@*".to_string()]).unwrap();

        let there = dir.path().join("there");
        git(&there, &["tag", "-f", "-a", "-m", "moved", "a#prod#1", "b@v1.0.0"]);
        let error = repo.fetch_tags(&remote, &patterns).unwrap_err();
        assert!(error.kind == Kind::Check && error.message.contains("a#prod#1"), "{error}");
        let error = repo.fetch_tags(&"/nowhere/at/all".into(), &patterns).unwrap_err();
        assert_eq!(error.kind, Kind::Remote);
    }

    #[test]
    fn refused_tags_are_named() {
        for (line, want) in [
            (" ! [rejected]        a#p#7 -> a#p#7  (would clobber existing tag)", Some("a#p#7")),
            (" ! [rejected]        main -> main  (non-fast-forward)", None),
            (" * [new tag]         a -> a", None),
            ("", None),
        ] {
            assert_eq!(moved_tag(line), want, "{line}");
        }
    }
}
