//! Repositories for the tests of this module, created by the real `git`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `LOCKSTEP_TEST_LAYOUT` (`reftable-sha256`) as the variables by which Git chooses the layout of new repositories.
pub fn layout() -> Vec<(&'static str, String)> {
    let layout = std::env::var("LOCKSTEP_TEST_LAYOUT").unwrap_or_default();
    let parts = layout.split_once('-');
    parts.map_or(Vec::new(), |(refs, hash)| {
        vec![("GIT_DEFAULT_REF_FORMAT", refs.to_string()), ("GIT_DEFAULT_HASH", hash.to_string())]
    })
}

/// A fresh repository in a temporary folder: its folder (dropped last) and its root.
pub fn repository() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("repo");
    std::fs::create_dir(&top).unwrap();
    git(&top, &["init", "-q"]);
    let top = std::fs::canonicalize(top).unwrap();
    (dir, top)
}

/// Runs `git` in `dir`, away from the user's configuration, and returns what it prints.
pub fn git(dir: &Path, args: &[&str]) -> String {
    git_at(dir, args, "")
}

/// The same at a given time, for tests that depend on the order of commits.
pub fn git_at(dir: &Path, args: &[&str], date: &str) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .env("GIT_COMMITTER_DATE", date)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .envs(layout())
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Writes files, with their folders.
pub fn write(top: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let file = top.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
}

/// Commits all files and returns the id.
pub fn commit_all(top: &Path, message: &str) -> String {
    git(top, &["add", "-A"]);
    git(top, &["commit", "-q", "--allow-empty", "-m", message]);
    git(top, &["rev-parse", "HEAD"]).trim().to_string()
}
