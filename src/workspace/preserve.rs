//! Preserves ignored files inside an output when that version of the output is replaced.
//!
//! They belong to the user, and no store has them. They move to the new version ([`carry_over`]). A file that cannot
//! move (the new version has another file of that name, or is a file itself) is kept in a log folder, and the user is
//! notified. This applies before any old version is deleted.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::event::{Event, Sink};
use crate::git;
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{self, PreserveResult, Rules, carry_over, strip};
use crate::workspace::backup::{Backup, move_to};
use crate::workspace::logs::{Logs, RunLog};

/// The current ignore rules, for callers that have not loaded the definitions.
pub fn rules(project: &Project) -> Result<git::Rules> {
    Ok(project.definitions_without_graph()?.rules)
}

/// Removes the old version of an output at `old`, except for ignored files.
pub fn discard_old(project: &Project, rules: &dyn Rules, out: &RepoPath, old: &Path, sink: &dyn Sink) -> Result<()> {
    if !carry_over_ignored(project, rules, out, old)?.left {
        // Content that cannot be removed is left under a name that identifies its owner.
        let _ = store::remove(old);
        return Ok(());
    }
    let _ = strip(old, out.as_str().as_bytes(), rules);
    keep_ignored_files(project, out, old, sink)
}

/// Moves ignored files from an old version into the output's current folder.
fn carry_over_ignored(project: &Project, rules: &dyn Rules, out: &RepoPath, old: &Path) -> Result<PreserveResult> {
    let place = project.writable(out)?;
    if !fs::symlink_metadata(old).is_ok_and(|meta| meta.is_dir()) {
        return Ok(PreserveResult::default());
    }
    place.create_parents()?;
    let folder = place.open_folder()?;
    let new = folder.join(place.file_name().unwrap_or_default());
    Ok(carry_over(old, &new, out.as_str().as_bytes(), rules))
}

/// Moves the rest of an old version to a log folder: ignored files that could not move to the new version.
pub fn keep_ignored_files(project: &Project, out: &RepoPath, left: &Path, sink: &dyn Sink) -> Result<()> {
    let log = Logs::new(project.logs_dir()).recovered()?;
    notify_kept(out, &move_to(left, &log.kept(out))?, sink);
    Ok(())
}

/// Like [`discard_old`], for a backup. Until its ignored files are safe it can still be restored as a whole.
pub fn discard_backup(
    project: &Project,
    rules: &dyn Rules,
    backup: Backup,
    log: Option<&RunLog>,
    sink: &dyn Sink,
) -> Result<()> {
    let out = backup.out.clone();
    if !carry_over_ignored(project, rules, &out, backup.bytes_at())?.left {
        backup.delete();
        return Ok(());
    }
    let log = log.cloned().map_or_else(|| Logs::new(project.logs_dir()).recovered(), Ok)?;
    let kept = backup.keep(&free_path(log.kept(&out)))?;
    let _ = strip(&kept, out.as_str().as_bytes(), rules);
    notify_kept(&out, &kept, sink);
    Ok(())
}

/// A free path: `path`, or `path` with a number.
fn free_path(path: PathBuf) -> PathBuf {
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    let name = path.file_name().unwrap_or_default().to_os_string();
    let numbered = (2..).map(|n| {
        let mut name = name.clone();
        name.push(format!(".{n}"));
        path.with_file_name(name)
    });
    std::iter::once(path.clone()).chain(numbered).find(is_free).unwrap_or(path.clone())
}

fn notify_kept(out: &RepoPath, kept: &Path, sink: &dyn Sink) {
    let text =
        format!("files in {out} that lockstep ignores could not stay there; they are kept in {}", kept.display());
    sink.event(Event::Note { text: &text });
}
