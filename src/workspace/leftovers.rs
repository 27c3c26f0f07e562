//! What another state of the repository left in the workspace: outputs of a branch that is not checked out any more.
//!
//! Git takes a file away when it checks out a commit that does not have it; `checkout` does the same for outputs and
//! data, which Git does not see. Only what lockstep itself stored or restored at that place goes, and only while it is
//! unchanged and the store has all of it. What leaves a pipeline file by an edit is the user's from then on: while the
//! lock still pins it, it stays, and when the lock is tidied it is released ([`StatIndex::release`]).
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
use crate::pipeline::stage::Place;
use crate::plan::facts::look;
use crate::project::{Definitions, Locks, Project};
use crate::store::trees::EntryKind;
use crate::store::{ListedEntry, TrackedPath};
use crate::workspace::backup::Asides;

/// Removes them, and the folders that are empty then. Returns the paths.
pub fn remove_leftovers(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    asides: &Asides,
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    // A file that cannot be read may have any stage.
    if !definitions.broken.is_empty() {
        return Ok(Vec::new());
    }
    let claims = Claims::of(definitions, locks);
    let is_left = |path: &RepoPath| {
        let is_there = || fs::symlink_metadata(path.on_disk(project.top())).is_ok();
        !claims.touch(path) && is_ours(project, path) && is_there()
    };
    let left: Vec<RepoPath> = project.index().stored_places().into_iter().filter(is_left).collect();
    let tracked: HashSet<RepoPath> = project.repo.tracked(&left)?.into_iter().collect();
    let mut removed = Vec::new();
    for path in left.into_iter().filter(|path| !tracked.contains(path)) {
        if remove(project, definitions, &path, asides, sink)? {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// One of them, if nothing else would go with it.
fn remove(
    project: &Project,
    definitions: &Definitions,
    path: &RepoPath,
    asides: &Asides,
    sink: &dyn Sink,
) -> Result<bool> {
    let (spot, index) = (TrackedPath::from(path), project.index());
    let before = files(&path.on_disk(project.top()));
    let found = look(project, definitions, std::slice::from_ref(&spot), sink).pop();
    let Some(Ok(Some(pin))) = found else { return Ok(false) };
    if !index.was_stored(&spot, &pin) || !project.store().contains(&pin) {
        return Ok(false);
    }
    // A file that does not count as its content, an ignored one, say, is nobody's copy.
    if pin.is_dir() && !index.list_entries(&spot).is_some_and(|listed| is_all_of(&listed, &before)) {
        return Ok(false);
    }
    let Some(aside) = asides.take(path, false)? else { return Ok(false) };
    if files(aside.place()) != before {
        // Somebody wrote to it just now.
        aside.put_back(project.writable_area())?;
        return Ok(false);
    }
    aside.forget();
    index.forget_place(&spot);
    let mut folder = path.parent();
    while let Some(parent) = folder.filter(|parent| !parent.is_root())
        && fs::remove_dir(parent.on_disk(project.top())).is_ok()
    {
        folder = parent.parent();
    }
    Ok(true)
}

/// Are the files on the disk those that are listed, and no others?
fn is_all_of(listed: &[ListedEntry], files: &[(PathBuf, u64, u64, SystemTime)]) -> bool {
    let mut listed: Vec<&[u8]> =
        listed.iter().filter(|one| one.kind != EntryKind::Tree).map(|one| one.path.as_slice()).collect();
    let mut files: Vec<&[u8]> = files.iter().map(|(path, ..)| path.as_os_str().as_bytes()).collect();
    listed.sort_unstable();
    files.sort_unstable();
    listed == files
}

/// All but folders at a place or below it, with what changes when they are written to.
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

/// Does a path belong to this project, and not to another one, or another repository, in a folder of it? The index is one
/// for all projects of a worktree.
pub(crate) fn is_ours(project: &Project, path: &RepoPath) -> bool {
    let root = &project.repo.project_root;
    let above = std::iter::successors(path.parent(), RepoPath::parent).take_while(|folder| folder != root);
    let is_foreign = |folder: &RepoPath| git::is_foreign(&folder.on_disk(project.top()), project.repo.is_git());
    path != root && path.is_in(root) && !above.into_iter().any(|folder| is_foreign(&folder))
}

/// Everything that the pipelines name or the locks pin.
pub(crate) struct Claims {
    paths: HashSet<RepoPath>,
    /// The folders that they lie in.
    folders: HashSet<RepoPath>,
}

impl Claims {
    pub fn of(definitions: &Definitions, locks: &Locks) -> Claims {
        let pipelines = &definitions.pipelines;
        let mut paths: HashSet<RepoPath> = crate::project::skipped(pipelines).into_iter().collect();
        let read = pipelines.stages.iter().flat_map(|s| s.deps.iter().map(|d| &d.place));
        paths.extend(read.filter_map(|place| if let Place::Repo(path) = place { Some(path.clone()) } else { None }));
        for (file, lock) in pipelines.files.iter().zip(&locks.all) {
            paths.extend(pinned_paths(&file.path, lock));
        }
        paths.extend(locks.alone.iter().flat_map(|(path, lock)| pinned_paths(path, lock)));
        let folders = paths.iter().flat_map(|path| std::iter::successors(path.parent(), RepoPath::parent)).collect();
        Claims { paths, folders }
    }

    /// Is it one of them, in one of them, or does it hold one?
    pub fn touch(&self, path: &RepoPath) -> bool {
        self.folders.contains(path)
            || std::iter::successors(Some(path.clone()), RepoPath::parent).any(|above| self.paths.contains(&above))
    }
}

/// Where the outs and data of a lock are, whether or not a pipeline file still has them.
pub fn pinned_paths(pipeline: &RepoPath, lock: &Lock) -> Vec<RepoPath> {
    let folder = pipeline.parent().unwrap_or_default();
    let outs = lock.stages.values().flat_map(|entry| {
        let wdir = entry.wdir.as_deref().map_or(Some(folder.clone()), |wdir| folder.join(wdir));
        entry.outs.keys().filter_map(move |out| wdir.as_ref()?.join(out))
    });
    outs.chain(lock.data.keys().filter_map(|path| folder.join(path))).collect()
}
