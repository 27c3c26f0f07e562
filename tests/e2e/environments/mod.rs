//! Environments that stages run in: made once, shared, repaired, never made by a command that only looks.

mod generic;
mod python;
mod real;

use std::fs;
use std::path::PathBuf;

use crate::sandbox::{Output, Sandbox};

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// The folders of all environments of a sandbox with Git.
fn folders(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path(".git/lockstep/environments")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The only environment.
#[track_caller]
fn folder(sandbox: &Sandbox) -> PathBuf {
    let folders = folders(sandbox);
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].clone()
}
