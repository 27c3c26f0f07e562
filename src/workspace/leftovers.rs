//! Leftovers: outputs of a branch that is not checked out any more.
//!
//! Git deletes a file when it checks out a commit without it; `checkout` does the same for outputs and data, which Git
//! does not see. Only content that lockstep itself stored or restored at that place is deleted, and only while it is
//! unchanged and the store has all of it. An out that leaves a pipeline file by an edit belongs to the user: it stays
//! while the lock pins it, and is released when the lock drops it ([`StatIndex::release`]).
//!
//! [`StatIndex::release`]: crate::store::StatIndex::release

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::event::Sink;
use crate::git;
use crate::lock::Lock;
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::plan::facts::read_pins;
use crate::project::{Definitions, Locks, Project};
use crate::store::trees::EntryKind;
use crate::store::{ListedEntry, TrackedPath};
use crate::workspace::backup::Backups;

/// Removes leftovers, and the folders that become empty. Returns the removed paths.
pub fn remove_leftovers(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    backups: &Backups,
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    // A file that cannot be read may define any stage.
    if !definitions.broken.is_empty() {
        return Ok(Vec::new());
    }
    let known = KnownPaths::collect(definitions, locks);
    let is_leftover = |path: &RepoPath| {
        let exists = || fs::symlink_metadata(path.on_disk(project.top())).is_ok();
        !known.overlaps(path) && is_ours(project, path) && exists()
    };
    let leftovers: Vec<RepoPath> = project.index().stored_places().into_iter().filter(is_leftover).collect();
    let tracked: HashSet<RepoPath> = project.repo.tracked(&leftovers)?.into_iter().collect();
    let mut removed = Vec::new();
    for path in leftovers.into_iter().filter(|path| !tracked.contains(path)) {
        if remove(project, definitions, &path, backups, sink)? {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Removes one leftover, if every file in it is stored. Returns whether it was removed.
fn remove(
    project: &Project,
    definitions: &Definitions,
    path: &RepoPath,
    backups: &Backups,
    sink: &dyn Sink,
) -> Result<bool> {
    let (spot, index) = (TrackedPath::from(path), project.index());
    let before = files(&path.on_disk(project.top()));
    let found = read_pins(project, definitions, std::slice::from_ref(&spot), sink).pop();
    let Some(Ok(Some(pin))) = found else { return Ok(false) };
    if !index.was_stored(&spot, &pin) || !project.store().contains(&pin) {
        return Ok(false);
    }
    // Files that are not part of the content, such as ignored ones, may have no other copy.
    if pin.is_dir() && !index.list_entries(&spot).is_some_and(|listed| are_all_listed(&listed, &before)) {
        return Ok(false);
    }
    let Some(backup) = backups.take(path, false)? else { return Ok(false) };
    if files(backup.bytes_at()) != before {
        // Another process wrote to it at this moment.
        backup.restore(project.writable_area())?;
        return Ok(false);
    }
    backup.delete();
    index.forget_place(&spot);
    let mut folder = path.parent();
    while let Some(parent) = folder.filter(|parent| !parent.is_root())
        && fs::remove_dir(parent.on_disk(project.top())).is_ok()
    {
        folder = parent.parent();
    }
    Ok(true)
}

/// Whether the files on disk are exactly the listed ones.
fn are_all_listed(listed: &[ListedEntry], files: &[(PathBuf, u64, u64, SystemTime)]) -> bool {
    let mut listed: Vec<&[u8]> =
        listed.iter().filter(|one| one.kind != EntryKind::Tree).map(|one| one.path.as_slice()).collect();
    let mut files: Vec<&[u8]> = files.iter().map(|(path, ..)| path.as_os_str().as_bytes()).collect();
    listed.sort_unstable();
    files.sort_unstable();
    listed == files
}

/// All files at a path or below it, with the attributes that change when a file is written.
fn files(place: &Path) -> Vec<(PathBuf, u64, u64, SystemTime)> {
    let mut all = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let here = if below.as_os_str().is_empty() { place.to_path_buf() } else { place.join(&below) };
        let Ok(meta) = fs::symlink_metadata(&here) else { continue };
        if meta.is_dir() {
            let entries = fs::read_dir(&here).into_iter().flatten().flatten();
            waiting.extend(entries.map(|entry| below.join(entry.file_name())));
        } else {
            all.push((below, meta.ino(), meta.len(), meta.modified().unwrap_or(UNIX_EPOCH)));
        }
    }
    all.sort_unstable();
    all
}

/// Whether a path belongs to this project, and not to another project or repository in one of its folders. All projects
/// of a worktree share one index.
pub(crate) fn is_ours(project: &Project, path: &RepoPath) -> bool {
    let root = &project.repo.project_root;
    let above = std::iter::successors(path.parent(), RepoPath::parent).take_while(|folder| folder != root);
    let is_foreign = |folder: &RepoPath| git::is_foreign(&folder.on_disk(project.top()), project.repo.is_git());
    path != root && path.is_in(root) && !above.into_iter().any(|folder| is_foreign(&folder))
}

/// Every path that the pipelines name or the locks pin.
pub(crate) struct KnownPaths {
    paths: HashSet<RepoPath>,
    /// All parent folders of `paths`.
    folders: HashSet<RepoPath>,
}

impl KnownPaths {
    /// Collects the paths of all definitions and locks.
    pub fn collect(definitions: &Definitions, locks: &Locks) -> KnownPaths {
        let pipelines = &definitions.pipelines;
        let mut paths: HashSet<RepoPath> = crate::project::skipped(pipelines).into_iter().collect();
        let read = pipelines.stages.iter().flat_map(|s| s.deps.iter().map(|d| &d.place));
        paths.extend(
            read.filter_map(|place| if let InputLocation::Repo(path) = place { Some(path.clone()) } else { None }),
        );
        for (file, lock) in pipelines.files.iter().zip(&locks.all) {
            paths.extend(pinned_paths(&file.path, lock));
        }
        paths.extend(locks.alone.iter().flat_map(|(path, lock)| pinned_paths(path, lock)));
        let folders = paths.iter().flat_map(|path| std::iter::successors(path.parent(), RepoPath::parent)).collect();
        KnownPaths { paths, folders }
    }

    /// Whether the path equals, contains or is inside a known path.
    pub fn overlaps(&self, path: &RepoPath) -> bool {
        self.folders.contains(path)
            || std::iter::successors(Some(path.clone()), RepoPath::parent).any(|above| self.paths.contains(&above))
    }
}

/// The paths of the outs and data of a lock, whether or not a pipeline file still names them.
pub fn pinned_paths(pipeline: &RepoPath, lock: &Lock) -> Vec<RepoPath> {
    let folder = pipeline.parent().unwrap_or_default();
    let outs = lock.stages.values().flat_map(|entry| {
        let wdir = entry.wdir.as_deref().map_or(Some(folder.clone()), |wdir| folder.join(wdir));
        entry.outs.keys().filter_map(move |out| wdir.as_ref()?.join(out))
    });
    outs.chain(lock.data.keys().filter_map(|path| folder.join(path))).collect()
}
