//! Signs and creates tags with the `git` program, with the user's own settings, agents and hooks.
//!
//! gix reads; this module writes. `git tag` creates a tag, so that `tag.gpgSign`, `gpg.format` and later settings have
//! the same meaning as everywhere.

pub(super) mod fetch;
pub(super) mod publish;

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::{Error, Kind, Result};
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::shell::word;
use crate::url::{Url, redact_text};

/// The author and the time of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// `Name <mail>`.
    pub who: String,
    /// Seconds since 1970.
    pub time: i64,
    /// `+0100`
    zone: String,
}

impl Committer {
    /// The same at another time, in seconds since 1970.
    pub fn with_time(self, time: i64) -> Committer {
        Committer { time, ..self }
    }

    /// As `GIT_COMMITTER_DATE` takes it.
    fn date(&self) -> String {
        format!("{} {}", self.time, self.zone)
    }
}

/// A tag to be made.
pub struct NewTag<'a> {
    /// Without `refs/tags/`.
    pub name: &'a str,
    /// The commit that the tag points to.
    pub commit: GitId,
    /// The whole message, with its title.
    pub message: &'a str,
    /// Signs the tag, whatever the settings are.
    pub sign: bool,
}

impl NewTag<'_> {
    /// The content of its object, without a signature.
    pub fn content(&self, by: &Committer) -> String {
        let (commit, name, message) = (self.commit.hex(), self.name, self.message);
        format!("object {commit}\ntype commit\ntag {name}\ntagger {} {}\n\n{message}", by.who, by.date())
    }
}

impl Repo {
    /// The user's Git identity, with the current time.
    ///
    /// Errors: [`Kind::Usage`] if it is not configured.
    pub fn committer(&self) -> Result<Committer> {
        let said = self.git(&["var", "GIT_COMMITTER_IDENT"], None, None).map_err(|e| {
            let unset = Error::usage("Git does not know who you are, and a tag says who made it")
                .hint("git config user.name 'Your Name' && git config user.email you@example.org");
            e.causes.into_iter().fold(unset, Error::because)
        })?;
        parse(said.trim()).ok_or_else(|| Error::new(Kind::Bug, format!("git var says: {said}")))
    }

    /// Creates an annotated tag atomically; never moves an existing one.
    ///
    /// Errors: [`Kind::Usage`] if the name is taken, or if the tag cannot be signed.
    pub fn make_tag(&self, tag: &NewTag<'_>, by: &Committer) -> Result<()> {
        let kind = if tag.sign { "--sign" } else { "--annotate" };
        let commit = tag.commit.hex();
        let args = ["tag", kind, "--cleanup=verbatim", "--file=-", tag.name, &commit];
        let made = self.git(&args, Some(tag.message), Some(&by.date()));
        made.map(drop).map_err(|e| {
            if e.causes.iter().any(|why| why.contains("already exists")) {
                return Error::usage(format!("there is a tag {} already", tag.name))
                    .hint(format!("see what it is: git show --no-patch {}", word(&format!("refs/tags/{}", tag.name))))
                    .hint("if it was made just now, run the same command again");
            }
            let error = Error::usage(format!("the tag {} could not be made", tag.name));
            e.causes.into_iter().fold(error, Error::because)
        })
    }

    /// The remote to which `git push` goes: `branch.NAME.pushRemote`, `remote.pushDefault`, `branch.NAME.remote`, else
    /// `origin`, else the first one that Git lists. It is the name of a remote, or a URL, which may hold a token
    /// (`git push -u https://me:token@host/repo`).
    pub fn push_remote(&self) -> Option<Url> {
        let ask = |args: &[&str]| {
            let said = self.git(args, None, None).ok()?;
            Some(said.trim().to_string()).filter(|text| !text.is_empty())
        };
        let branch = ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
        let of_branch = |key: &str| ask(&["config", "--get", &format!("branch.{}.{key}", branch.as_ref()?)]);
        let remotes = ask(&["remote"]).unwrap_or_default();
        let named = || remotes.lines().find(|name| *name == "origin").or_else(|| remotes.lines().next());
        of_branch("pushRemote")
            .or_else(|| ask(&["config", "--get", "remote.pushDefault"]))
            .or_else(|| of_branch("remote"))
            .filter(|name| !name.starts_with('-') && name != ".")
            .or_else(|| named().map(str::to_string))
            .map(Url::from)
    }

    /// Runs `git` in the repository and returns its output; its standard error becomes the cause of an error.
    pub(in crate::git) fn git(&self, args: &[&str], input: Option<&str>, date: Option<&str>) -> Result<String> {
        let mut command = self.user_git();
        if let Some(date) = date {
            command.env("GIT_COMMITTER_DATE", date);
        }
        run(command, args, input)
    }

    /// The same, as the author `who` (`Name <mail>`) if one is given.
    pub(in crate::git) fn git_as(&self, args: &[&str], input: &str, who: Option<&str>) -> Result<String> {
        let mut command = self.user_git();
        if let Some((name, mail)) = who.and_then(|who| who.strip_suffix('>')?.split_once(" <")) {
            command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", mail);
            command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", mail);
        }
        run(command, args, Some(input))
    }

    /// Runs `git`; the error is all that it writes to its standard error, line by line.
    fn git_lines(&self, args: &[&str]) -> std::result::Result<(), Vec<String>> {
        let mut command = self.user_git();
        command.args(args).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        let out = command.output().map_err(|e| vec![format!("the program git cannot be started: {e}")])?;
        let said = String::from_utf8_lossy(&out.stderr);
        let lines = || said.lines().map(redact_text).filter(|line| !line.trim().is_empty()).collect();
        if out.status.success() { Ok(()) } else { Err(lines()) }
    }
}

fn run(mut command: Command, args: &[&str], input: Option<&str>) -> Result<String> {
    let failed = |why: String| {
        Error::new(Kind::Io, format!("git {} failed", args.first().copied().unwrap_or_default())).because(why)
    };
    command.args(args).env("LC_ALL", "C");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(format!("the program git cannot be started: {e}")))?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // If the program does not read, it reports why on its own.
        let _ = pipe.write_all(text.as_bytes());
    }
    let out = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("hint:")).collect();
    Err(failed(redact_text(&lines.iter().rev().take(3).rev().copied().collect::<Vec<_>>().join("; "))))
}

/// `A U Thor <a@example.org> 1767225600 +0100`
fn parse(ident: &str) -> Option<Committer> {
    let (rest, zone) = ident.rsplit_once(' ')?;
    let (who, seconds) = rest.rsplit_once(' ')?;
    Some(Committer { who: who.to_string(), time: seconds.parse().ok()?, zone: zone.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

    fn known(top: &std::path::Path) {
        git(top, &["config", "user.name", "A U Thor"]);
        git(top, &["config", "user.email", "a@example.org"]);
    }

    #[test]
    fn a_tag_is_made_once() {
        let (_dir, top) = repository();
        known(&top);
        git(&top, &["commit", "-q", "--allow-empty", "-m", "x"]);
        let repo = Repo::discover(&top).unwrap();
        let commit = GitId::from_hex(&repo.head().unwrap().unwrap()).unwrap();
        let by = repo.committer().unwrap();
        assert_eq!(by.who, "A U Thor <a@example.org>");
        let message = "title\n\n# not a comment\n  kept\n";
        let tag = NewTag { name: "digits#prod#1", commit, message, sign: false };
        repo.make_tag(&tag, &by).unwrap();
        let made = &repo.tags().unwrap()[0];
        let about = made.annotated.as_ref().unwrap();
        assert_eq!((made.name.as_str(), made.commit, about.time), ("digits#prod#1", commit, by.time));
        let content = repo.tag_content(tag.name).unwrap().unwrap();
        assert_eq!(content, (about.id, tag.content(&by).into_bytes()));
        assert_eq!((about.tagger.as_str(), about.message.as_str()), (by.who.as_str(), message.trim_end()));
        let again = repo.make_tag(&tag, &by).unwrap_err();
        assert!(again.kind == Kind::Usage && again.message.contains("already"), "{again}");
        let signed = NewTag { name: "digits#prod#2", sign: true, ..tag };
        git(&top, &["config", "gpg.program", "/nonexistent"]);
        let error = repo.make_tag(&signed, &by).unwrap_err();
        assert!(error.kind == Kind::Usage && !error.causes.is_empty(), "{error}");
        assert_eq!(repo.tags().unwrap().len(), 1);
    }

    #[test]
    fn idents() {
        let by = parse("A <a@b> 1767225600 +0100").unwrap();
        assert_eq!((by.who.as_str(), by.time, by.date().as_str()), ("A <a@b>", 1767225600, "1767225600 +0100"));
        assert_eq!((parse(""), parse("A <a@b> now +0100")), (None, None));
    }
}
