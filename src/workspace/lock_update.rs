//! Changes of lock files: records are written into them, and stale entries removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::Result;
use crate::event::{Event, Sink};
use crate::lock::Lock;
use crate::path::RepoPath;
use crate::pipeline::stage::FileId;
use crate::project::{Definitions, Locks, Project, write_lock};
use crate::store::TrackedPath;
use crate::workspace::journal::{LockChange, Record};
use crate::workspace::leftovers::pinned_paths;

/// Writes changes into the locks on disk, each of which is read again for it; an entry that another program changed
/// since `locks` were read stays. From the locks of the files in `tidy`, entries of `locks` are removed that the
/// pipeline files no longer have. Returns the written lock files.
pub fn apply_records(
    project: &Project,
    definitions: &Definitions,
    records: &[Record],
    locks: &Locks,
    tidy: &[FileId],
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    let mut by_lock: BTreeMap<&RepoPath, Vec<&LockChange>> = BTreeMap::new();
    for record in records {
        by_lock.entry(&record.lock).or_default().push(&record.change);
    }
    let tidy: BTreeMap<RepoPath, FileId> =
        tidy.iter().map(|f| (Project::lock_path(&definitions.pipelines.file(*f).path), *f)).collect();
    let mut written = Vec::new();
    let paths: BTreeSet<&RepoPath> = by_lock.keys().copied().chain(tidy.keys()).collect();
    for path in paths {
        let on_disk = project.read_lock(path)?;
        let mut lock = on_disk.clone().unwrap_or_default();
        for change in by_lock.get(path).into_iter().flatten() {
            if !apply(&mut lock, change) {
                let what = match change {
                    LockChange::Stage { name, .. } => name,
                    LockChange::Data { path, .. } => path,
                };
                let text =
                    format!("{path} was changed by another program during the run: its entry of {what} stays as it is");
                sink.event(Event::Warning { text: &text });
            }
        }
        if let Some(file) = tidy.get(path) {
            let data: Vec<String> = lock.data.keys().cloned().collect();
            drop_stale_entries(&mut lock, locks.of_file(*file), definitions, *file);
            for name in data.iter().filter(|name| !lock.data.contains_key(*name)) {
                let pipeline = &definitions.pipelines.file(*file).path;
                let text = format!("{path} pins the data {name} no longer, since {pipeline} does not list it");
                sink.event(Event::Warning { text: &text });
            }
            release(project, &definitions.pipelines.file(*file).path, on_disk.as_ref(), &lock);
        }
        if on_disk.as_ref() != Some(&lock) && !(on_disk.is_none() && lock == Lock::default()) {
            write_lock(project, path, &lock)?;
            written.push(path.clone());
        }
    }
    Ok(written)
}

/// Releases what the lock no longer pins because its stage was removed from the pipeline file: it belongs to the user
/// now.
fn release(project: &Project, pipeline: &RepoPath, before: Option<&Lock>, after: &Lock) {
    let after: HashSet<RepoPath> = pinned_paths(pipeline, after).into_iter().collect();
    let before = before.map(|lock| pinned_paths(pipeline, lock)).unwrap_or_default();
    before
        .iter()
        .filter(|path| !after.contains(path))
        .for_each(|path| project.index().release(&TrackedPath::from(path)));
}

/// Replaces the entry if it is still the old one (or the new one already). Returns whether it is the new one now.
pub fn apply(lock: &mut Lock, change: &LockChange) -> bool {
    match change {
        LockChange::Stage { name, old, new } => {
            let now = lock.stages.get(name);
            let matches = now == old.as_deref() || now == Some(&**new);
            if matches {
                lock.stages.insert(name.clone(), (**new).clone());
            }
            matches
        }
        LockChange::Data { path, old, new } => {
            let now = lock.data.get(path);
            let matches = now == old.as_ref() || now == Some(new);
            if matches {
                lock.data.insert(path.clone(), *new);
            }
            matches
        }
    }
}

/// Whether the lock has entries of stages or data that its pipeline file no longer has.
pub fn has_stale_entries(definitions: &Definitions, locks: &Locks, file: FileId) -> bool {
    let before = locks.of_file(file);
    if before.stages.len() <= definitions.pipelines.file(file).stages.len() && before.data.is_empty() {
        let names = definitions.pipelines.file(file).stages.iter().map(|id| &definitions.pipelines.stage(*id).name);
        if names.filter(|name| before.stages.contains_key(*name)).count() == before.stages.len() {
            return false;
        }
    }
    let mut after = before.clone();
    drop_stale_entries(&mut after, before, definitions, file);
    after != *before
}

/// Removes entries of stages and data that the file does not have. Entries that `before` lacks stay: another program
/// wrote them since.
fn drop_stale_entries(lock: &mut Lock, before: &Lock, definitions: &Definitions, file: FileId) {
    let file = definitions.pipelines.file(file);
    let names: HashSet<&str> = file.stages.iter().map(|id| definitions.pipelines.stage(*id).name.as_str()).collect();
    lock.stages.retain(|name, entry| names.contains(name.as_str()) || before.stages.get(name) != Some(entry));
    let is_data = |path: &String| file.data.iter().any(|d| d.spelled == *path);
    lock.data.retain(|path, pin| is_data(path) || before.data.get(path) != Some(pin));
}
