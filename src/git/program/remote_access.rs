//! What the user's settings of Git say about a server: the address that is really used, and the credentials.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::error::Result;
use crate::git::program::{foreign_git, run};
use crate::git::repo::protected;
use crate::url::Url;

/// The address after `url.BASE.insteadOf` of the user's settings.
pub fn effective_url(folder: &Path, url: &Url) -> Result<Url> {
    let text = run(foreign_git(folder).args(["ls-remote", "--get-url", "--", url.raw()]))?;
    Ok(Url::from(String::from_utf8_lossy(&text).trim_end_matches('\n')))
}

/// `lfs.url` of the user's own settings: one server of LFS for all repositories.
pub fn lfs_url() -> Option<Url> {
    protected::values("lfs.url").pop().filter(|url| !url.is_empty()).map(Url::from)
}

/// The user and password that Git's credential helpers have for a server; `None` if they have none.
pub fn credentials(folder: &Path, protocol: &str, host: &str, path: &str) -> Option<(String, String)> {
    let question = [("protocol", protocol), ("host", host), ("path", path)];
    // A line break would start another field.
    if question.iter().any(|(_, value)| value.contains(['\n', '\r', '\0'])) {
        return None;
    }
    let question: String = question.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let mut command = foreign_git(folder);
    command.args(["credential", "fill"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    // If the program does not read, it fails on its own.
    let _ = child.stdin.take()?.write_all(format!("{question}\n").as_bytes());
    let answer = child.wait_with_output().ok().filter(|answer| answer.status.success())?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let field =
        |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_string);
    Some((field("username")?, field("password").filter(|password| !password.is_empty())?))
}
