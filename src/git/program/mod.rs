//! The `git` program, for the few tasks that gix lacks.

pub mod clone;
pub(super) mod install;
pub(super) mod isolated;
pub mod remote_access;
pub mod worktree_state;

use std::path::Path;
use std::process::{Command, Stdio};

use super::repo::Repo;
use crate::error::{Error, Kind, Result};
use crate::git::repo::protected;
use crate::git::repo::variables::OF_A_REPOSITORY;
use crate::path::RepoPath;
use crate::shell::word;
use crate::url::Url;

/// Protocols of Git itself. Any other one is a program `git-remote-NAME`.
const PROTOCOLS: [&str; 7] = ["file", "git", "git+ssh", "http", "https", "ssh", "ssh+git"];

/// Runs the `git` program and returns its output.
pub(super) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let out = command.output().map_err(|e| Error::new(Kind::Io, "the program git cannot be run").because(e))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let error = Error::new(Kind::Remote, lines.next().unwrap_or("git failed").to_string());
    Err(lines.take(3).fold(error, |error, line| error.because(line)))
}

/// A `git` command that reads the repository of a Git folder: see [`read_only_git`]. Its output is in the language that
/// the parsers here expect.
pub(super) fn question(git_dir: &Path) -> Command {
    let mut command = exact_git(git_dir);
    command.arg("--git-dir").arg(git_dir).env("LC_ALL", "C");
    command
}

/// A read-only `git` command: it runs neither hooks nor a file system monitor of the repository's settings, reads
/// nothing from the terminal, applies no replacements (`refs/replace/`), and fetches no missing objects.
pub(super) fn read_only_git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).stdin(Stdio::null());
    command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    // Git warns of `info/grafts` on the stream that is parsed.
    command.args(["-c", "advice.graftFileDeprecated=false"]);
    command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
    command
}

impl Repo {
    /// A `git` command in this repository as the user would start it, with the hooks and the settings of the
    /// repository.
    pub(super) fn user_git(&self) -> Command {
        let mut command = Command::new("git");
        clear_repository_variables(&mut command);
        command.current_dir(&self.top);
        self.name_to(&mut command);
        command
    }

    /// A read-only `git` command about the files of this worktree; see [`read_only_git`].
    fn worktree_question(&self) -> Command {
        let mut command = exact_git(&self.top);
        self.name_to(&mut command);
        if let Some(file) = &self.index_file {
            command.env("GIT_INDEX_FILE", file);
        }
        command
    }

    fn name_to(&self, command: &mut Command) {
        if let Some(git_dir) = self.git_dir.as_ref().filter(|_| self.is_named) {
            command.arg("--git-dir").arg(git_dir).arg("--work-tree").arg(&self.top);
        }
    }

    /// Does Git ignore a path? `None` if the program fails.
    pub fn is_ignored(&self, path: &RepoPath) -> Option<bool> {
        let mut command = self.worktree_question();
        command.args(["check-ignore", "-q", "--", path.as_str()]).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status().ok()?.code()? {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        }
    }
}

/// Removes the variables that name a repository: the program uses the repository of its folder.
pub fn clear_repository_variables(command: &mut Command) {
    for name in OF_A_REPOSITORY {
        command.env_remove(name);
    }
}

/// [`read_only_git`] for a repository that no variable of the environment may replace by another one.
pub(super) fn exact_git(folder: &Path) -> Command {
    let mut command = read_only_git(folder);
    clear_repository_variables(&mut command);
    command
}

/// A `git` command for the repository of an address that may come from a file. Such an address starts no program of the
/// user: only protocols that the user's own settings always allow (`protocol.NAME.allow`) are used. Git does not ask
/// for a password in the terminal, where its origin would be unclear, unless the user set `GIT_TERMINAL_PROMPT`.
/// Submodules are not fetched.
pub(super) fn foreign_git(folder: &Path) -> Command {
    let mut command = exact_git(folder);
    command.env_remove("GIT_NO_LAZY_FETCH");
    command.args(["-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false"]);
    // `url.BASE.insteadOf`, a setting of the user, may lead to a folder. lockstep itself opens `file://` addresses.
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

/// Merges three files as text, into the first, with conflict markers where both changed.
pub fn merge_as_text(ours: &Path, base: &Path, theirs: &Path) -> Result<()> {
    let mut command = Command::new("git");
    command.args(["merge-file", "-L", "ours", "-L", "base", "-L", "theirs"]).args([ours, base, theirs]);
    // The exit code is the number of conflicts; a file that cannot be merged (255) is unchanged and counts as a
    // conflict.
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
