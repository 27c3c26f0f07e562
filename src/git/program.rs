//! The `git` program, for the few things that it alone knows how to do.

use std::path::Path;
use std::process::Command;

use crate::error::{Error, Kind, Result};

/// Runs `git` in a folder; it has to succeed.
pub(super) fn git(folder: &Path, args: &[&str]) -> Result<()> {
    let out = Command::new("git").arg("-C").arg(folder).args(args).output().map_err(|e| Error::io("run", "git", e))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(Error::new(Kind::Io, format!("`git {}` failed", args.join(" "))).because(said.trim().replace('\n', "; ")))
}

/// Merges three files as text, into the first, with conflict markers where it takes them.
pub fn merge_as_text(ours: &Path, base: &Path, theirs: &Path) -> Result<()> {
    let mut command = Command::new("git");
    command.args(["merge-file", "-L", "ours", "-L", "base", "-L", "theirs"]).args([ours, base, theirs]);
    // Its exit code is the number of conflicts; what cannot be merged at all (255) stays as it is, and is a conflict.
    command.output().map(drop).map_err(|e| Error::io("run", "git", e))
}
