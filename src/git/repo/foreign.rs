//! Checks whether another version control system tracks lockstep's own folder.
//!
//! Outside Git lockstep trusts the content of `.lockstep`. In a working copy of Subversion or Mercurial such a folder
//! may come from the server, with settings and state from an untrusted source. An untracked one was made locally.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// The folder of a version control system in the root of its working copy, its name, and a command that succeeds if a
/// path is tracked.
const ASKED: [(&str, &str, &[&str]); 2] = [
    (".svn", "Subversion", &["svn", "info", "--non-interactive", "--depth", "empty"]),
    (".hg", "Mercurial", &["hg", "--noninteractive", "files"]),
];
/// The folders of systems that have no such command here.
const NOT_ASKED: [&str; 6] = [".jj", ".bzr", "_darcs", ".pijul", ".fslckout", "_FOSSIL_"];

/// Refuses the folder `own` if it is, or may be, under version control.
pub fn refuse_tracked(own: &Path) -> Result<()> {
    // Each folder of an old working copy has its own marker.
    if own.join(".svn").exists() || own.join("CVS").exists() {
        return Err(tracked(own, "the version control"));
    }
    let folder = own.parent().unwrap_or(own);
    for above in folder.ancestors() {
        for (mark, name, ask) in ASKED {
            if above.join(mark).is_dir() && (!is_spelled_so(own) || is_tracked(folder, own, name, ask)?) {
                return Err(tracked(own, name));
            }
        }
        if let Some(mark) = NOT_ASKED.iter().find(|mark| above.join(mark).symlink_metadata().is_ok()) {
            return Err(Error::usage(format!(
                "{} is in a working copy ({mark}), and lockstep cannot tell whether it is tracked there",
                own.display()
            ))
            .hint("use Git, Subversion or Mercurial, or a plain folder"));
        }
    }
    Ok(())
}

/// Is there an entry of exactly this name? Where case is ignored, a folder of another spelling matches as well, and the
/// version control system knows only that one.
fn is_spelled_so(own: &Path) -> bool {
    let mut entries = own.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    entries.any(|entry| Some(entry.file_name().as_os_str()) == own.file_name())
}

fn is_tracked(folder: &Path, own: &Path, name: &str, ask: &[&str]) -> Result<bool> {
    let mut command = Command::new(ask[0]);
    command.args(&ask[1..]).arg(own.file_name().unwrap_or_default()).current_dir(folder).env("HGPLAIN", "1");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map(|status| status.success()).map_err(|e| {
        let message = format!("{name} cannot be asked whether it tracks {}", own.display());
        Error::usage(message).because(format!("{}: {e}", ask[0])).hint(format!("install {}", ask[0]))
    })
}

fn tracked(own: &Path, by: &str) -> Error {
    Error::usage(format!(
        "{} is tracked by {by}; settings and state that came with a commit are not trusted",
        own.display()
    ))
    .hint("take it out of version control, and make it again here: lockstep init --no-scm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_program_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("sub/.lockstep");
        fs::create_dir_all(&own).unwrap();
        refuse_tracked(&own).unwrap();
        for (exit, want) in [(0, true), (1, false)] {
            let program = dir.path().join("ask");
            fs::write(&program, format!("#!/bin/sh\nexit {exit}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let got = is_tracked(dir.path(), &own, "It", &[program.to_str().unwrap()]);
            assert_eq!(got.unwrap(), want);
        }
        assert!(is_tracked(dir.path(), &own, "It", &["/nowhere/svn"]).is_err());
        for mark in ["sub/.lockstep/CVS", "sub/.lockstep/.svn", ".jj"] {
            fs::create_dir_all(dir.path().join(mark)).unwrap();
            assert!(refuse_tracked(&own).is_err(), "{mark}");
            fs::remove_dir(dir.path().join(mark)).unwrap();
        }
    }
}
