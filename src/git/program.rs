//! The `git` program, for the few things that it alone knows how to do.

use std::path::Path;
use std::process::{Command, Stdio};

use super::protected;
use crate::error::{Error, Kind, Result};
use crate::shell::word;
use crate::url::Url;

/// Variables by which Git's hooks name their repository, and which would make `git -C FOLDER` mean another one.
const OF_A_REPOSITORY: [&str; 11] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Protocols of Git itself. Every other one is a program `git-remote-NAME`.
const PROTOCOLS: [&str; 7] = ["file", "git", "git+ssh", "http", "https", "ssh", "ssh+git"];

/// Runs `git` in a folder; it has to succeed.
pub(super) fn git(folder: &Path, args: &[&str]) -> Result<()> {
    let out = Command::new("git").arg("-C").arg(folder).args(args).output().map_err(|e| Error::io("run", "git", e))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(Error::new(Kind::Io, format!("`git {}` failed", args.join(" "))).because(said.trim().replace('\n', "; ")))
}

/// `git` for a question: it runs no hook and no file system monitor of the repository's settings, reads nothing from the
/// terminal, takes no object for another (`refs/replace/`), and fetches nothing that a partial clone left out.
pub(super) fn reading_git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).stdin(Stdio::null());
    command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
    command
}

/// [`reading_git`] for a repository that no variable of the environment may replace by another one.
pub(super) fn exact_git(folder: &Path) -> Command {
    let mut command = reading_git(folder);
    for name in OF_A_REPOSITORY {
        command.env_remove(name);
    }
    command
}

/// `git` for the repository of an address that may stand in a file. Such an address starts no program of the user: only
/// protocols that the user's own settings allow always (`protocol.NAME.allow`) are spoken. Nothing asks for a password
/// in the terminal, where one could not tell who asks, unless the user set `GIT_TERMINAL_PROMPT`. Submodules stay where
/// they are.
pub(super) fn foreign_git(folder: &Path) -> Command {
    let mut command = exact_git(folder);
    command.env_remove("GIT_NO_LAZY_FETCH");
    command.args(["-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false"]);
    // `url.BASE.insteadOf`, which is the user's, may lead to a folder. lockstep itself opens `file://` where it lies.
    if ["protocol.allow", "protocol.file.allow"].iter().all(|key| protected::values(key).is_empty()) {
        command.args(["-c", "protocol.file.allow=always"]);
    }
    command.env("GIT_PROTOCOL_FROM_USER", "0");
    if protected::terminal_prompt().is_none() {
        command.env("GIT_TERMINAL_PROMPT", "0");
    }
    command
}

/// Refuses the address of a repository for which Git would start a program `git-remote-NAME`.
pub(super) fn check_protocol(address: &Url) -> Result<()> {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let rest = address.raw().trim_start_matches(is_of_scheme);
    let scheme = &address.raw()[..address.raw().len() - rest.len()];
    if !rest.starts_with("::") && (!rest.starts_with("://") || PROTOCOLS.contains(&scheme)) {
        return Ok(());
    }
    let error = Error::usage(format!(
        "the address {address} needs the program git-remote-{scheme}, which lockstep does not start"
    ))
    .hint("use an address that begins with https:// or ssh://");
    let (base, allow) = (format!("url.{address}.insteadOf"), format!("protocol.{scheme}.allow"));
    Err(error.hint(format!(
        "or map one to it, for you alone: git config --global {} https://… && git config --global {} always",
        word(&base),
        word(&allow)
    )))
}

/// Does Git ignore a name in a folder? `None` if it does not say.
pub fn is_ignored(folder: &Path, name: &str) -> Option<bool> {
    let mut command = reading_git(folder);
    command.args(["check-ignore", "-q", "--", name]).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().ok()?.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// Merges three files as text, into the first, with conflict markers where it takes them.
pub fn merge_as_text(ours: &Path, base: &Path, theirs: &Path) -> Result<()> {
    let mut command = Command::new("git");
    command.args(["merge-file", "-L", "ours", "-L", "base", "-L", "theirs"]).args([ours, base, theirs]);
    // Its exit code is the number of conflicts; what cannot be merged at all (255) stays as it is, and is a conflict.
    command.output().map(drop).map_err(|e| Error::io("run", "git", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_start_programs_are_refused() {
        for address in [
            "https://host/x",
            "http://host/x",
            "ssh://me@host/x",
            "git+ssh://host/x",
            "git://host/x",
            "git@host:x/y.git",
            "host:x::y",
            "[::1]:x",
            "/a/folder",
            "../b",
            "a b",
            "",
        ] {
            assert!(check_protocol(&address.into()).is_ok(), "{address}");
        }
        for address in [
            "ext::sh -c 'touch x'",
            "EXT::x",
            "fd::3",
            "evil::x",
            "evil::https://host/x",
            "evil://host/x",
            "e::x",
            "::x",
            "a.b-c+d::x",
            "ftp://host/x",
            "HTTPS://host/x",
            "file::/x",
            "://x",
        ] {
            assert!(check_protocol(&address.into()).is_err(), "{address}");
        }
    }
}
