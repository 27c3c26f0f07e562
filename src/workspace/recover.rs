//! Folds the journal into the locks, and recovers after a crash.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::lock::{Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{FileId, InputLocation, StageId};
use crate::plan::facts::{FactsReader, IgnoreRules};
use crate::plan::reasons::judge;
use crate::project::{Definitions, Locks, Project, write_lock};
use crate::store::{ObjectId, TrackedPath};
use crate::workspace::backup::{Backups, kept_at, move_to};
use crate::workspace::journal::{self, Journal, LockChange, Record};
use crate::workspace::leftovers::pinned_paths;
use crate::workspace::logs::{Logs, RunLog};
use crate::workspace::preserve::{discard_backup, rules};
use crate::workspace::restore::clear_interrupted_restores;

/// The state at the beginning of a run. At its end, a comparison shows whether another program changed something.
pub struct Baseline {
    /// BLAKE3 of each lock file that may be written; `None` if the file was missing.
    lock_hashes: BTreeMap<RepoPath, Option<ObjectId>>,
    /// The locks with stale entries, which are removed at the end.
    stale_locks: BTreeMap<RepoPath, Lock>,
    /// The commit that was checked out.
    head: Option<String>,
}

impl Baseline {
    /// `locks` as read from disk; the files in `written` were written after that.
    pub fn capture(
        project: &Project,
        definitions: &Definitions,
        locks: &Locks,
        written: &[RepoPath],
        files: BTreeSet<FileId>,
        stale_locks: &[FileId],
    ) -> Result<Baseline> {
        let path = |f: FileId| Project::lock_path(&definitions.pipelines.file(f).path);
        let mut lock_hashes = BTreeMap::new();
        for file in files {
            let path = path(file);
            let hash = if written.contains(&path) { hash(project, &path)? } else { locks.hash_of(file) };
            lock_hashes.insert(path, hash);
        }
        let stale_locks = stale_locks.iter().map(|f| (path(*f), locks.of_file(*f).clone())).collect();
        Ok(Baseline { lock_hashes, stale_locks, head: project.repo.head().ok().flatten() })
    }
}

fn hash(project: &Project, lock: &RepoPath) -> Result<Option<ObjectId>> {
    Ok(project.files().read(&InputLocation::Repo(lock.clone()))?.map(|bytes| ObjectId::of(&bytes)))
}

/// Folds the records of a run into the locks. If another commit was checked out during the run, or another program
/// wrote to a lock, only records that match the current files are folded: the result of one branch must not enter the
/// lock of another. For files in `tidy`, blocks that existed when the run began and whose stages the pipeline files no
/// longer have are removed.
pub fn fold_run(
    project: &Project,
    definitions: &Definitions,
    baseline: &Baseline,
    mut records: Vec<Record>,
    tidy: &[FileId],
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    if records.is_empty() && tidy.is_empty() {
        return Ok(Vec::new());
    }
    let is_current = project.is_current(definitions);
    if !is_current {
        let text = "pipeline.yaml was edited during the run: the run used the text from its beginning";
        sink.event(Event::Warning { text });
    }
    let moved = project.repo.head().ok().flatten() != baseline.head;
    let mut changed_locks = BTreeSet::new();
    for path in records.iter().map(|r| &r.lock).collect::<BTreeSet<_>>() {
        if moved || baseline.lock_hashes.get(path) != Some(&hash(project, path)?) {
            changed_locks.insert(path.clone());
        }
    }
    if !changed_locks.is_empty() {
        let now = if is_current { None } else { project.definitions().ok() };
        let now = now.as_ref().unwrap_or(definitions);
        let mut reader = FactsReader::new(project, now, sink);
        records.retain(|record| {
            let matches = !changed_locks.contains(&record.lock) || still_valid(project, now, &mut reader, record);
            if !matches && let LockChange::Stage { name, .. } = &record.change {
                let path = &record.lock;
                let text =
                    format!("the files changed during the run: the result of {name} is not recorded in this {path}");
                sink.event(Event::Warning { text: &text });
            }
            matches
        });
    }
    fold(project, definitions, &records, Some(baseline), if is_current { tidy } else { &[] }, sink)
}

/// Writes changes into the locks on disk, each of which is read again for it; a block that another program changed in
/// between stays. Returns the written lock files.
pub fn fold_records(
    project: &Project,
    definitions: &Definitions,
    records: &[Record],
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    fold(project, definitions, records, None, &[], sink)
}

/// Like [`fold_records`], for a command that records whole pipeline files: `tidy` drops blocks as in [`fold_run`].
pub fn fold_and_tidy(
    project: &Project,
    definitions: &Definitions,
    records: &[Record],
    baseline: &Baseline,
    tidy: &[FileId],
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    fold(project, definitions, records, Some(baseline), tidy, sink)
}

fn fold(
    project: &Project,
    definitions: &Definitions,
    records: &[Record],
    baseline: Option<&Baseline>,
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
        if let (Some(file), Some(baseline)) = (tidy.get(path), baseline.and_then(|b| b.stale_locks.get(path))) {
            let data: Vec<String> = lock.data.keys().cloned().collect();
            drop_stale_entries(&mut lock, baseline, definitions, *file);
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

/// Replaces the block if it is still the old one (or the new one already). Returns whether it is the new one now.
fn apply(lock: &mut Lock, change: &LockChange) -> bool {
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

/// Removes blocks of stages and data that the file does not have. Blocks that were written after the run began stay.
fn drop_stale_entries(lock: &mut Lock, baseline: &Lock, definitions: &Definitions, file: FileId) {
    let file = definitions.pipelines.file(file);
    let names: HashSet<&str> = file.stages.iter().map(|id| definitions.pipelines.stage(*id).name.as_str()).collect();
    lock.stages.retain(|name, block| names.contains(name.as_str()) || baseline.stages.get(name) != Some(block));
    let is_data = |path: &String| file.data.iter().any(|d| d.spelled == *path);
    lock.data.retain(|path, pin| is_data(path) || baseline.data.get(path) != Some(pin));
}

/// Applies to `locks`, in memory, the records of a crashed run that match the current files: the old block is
/// unchanged, and the inputs of the stage are the same. Returns the applied records.
pub fn overlay<'a>(
    project: &Project,
    definitions: &'a Definitions,
    locks: &mut Locks,
    reader: &mut FactsReader<'a>,
) -> Result<Vec<Record>> {
    let mut applied = Vec::new();
    for record in journal::read(&project.state_dir().join("journal"))? {
        let file = definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == record.lock);
        let Some(file) = file else { continue };
        if still_valid(project, definitions, reader, &record) && apply(&mut locks.all[file], &record.change) {
            applied.push(record);
        }
    }
    Ok(applied)
}

/// Runs at the beginning of a command that writes: folds the records of a crashed run into `locks` and into the lock
/// files, and empties the journal.
pub fn recover<'a>(
    project: &Project,
    definitions: &'a Definitions,
    locks: &mut Locks,
    reader: &mut FactsReader<'a>,
    journal: &mut Journal,
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    let records = overlay(project, definitions, locks, reader)?;
    let written = fold_records(project, definitions, &records, sink)?;
    journal.clear()?;
    Ok(written)
}

/// Whether the files have the stage or data of a record, with the same inputs as in the record.
fn still_valid<'a>(
    project: &Project,
    definitions: &'a Definitions,
    reader: &mut FactsReader<'a>,
    record: &Record,
) -> bool {
    let file = definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == record.lock);
    let Some(file) = file else { return false };
    match &record.change {
        LockChange::Stage { name, new, .. } => stage_named(definitions, FileId(file as u32), name)
            .is_some_and(|id| inputs_unchanged(project, definitions, reader, id, new)),
        // The data may have been changed back, or belong to another branch.
        LockChange::Data { path, new, .. } => definitions.pipelines.files[file]
            .data
            .iter()
            .find(|d| d.spelled == *path)
            .is_some_and(|d| matches!(reader.out(&d.path), Ok(Some(now)) if now == *new)),
    }
}

fn stage_named(definitions: &Definitions, file: FileId, name: &str) -> Option<StageId> {
    let ids = &definitions.pipelines.file(file).stages;
    ids.iter().copied().find(|id| definitions.pipelines.stage(*id).name == name)
}

fn inputs_unchanged<'a>(
    project: &Project,
    definitions: &'a Definitions,
    reader: &mut FactsReader<'a>,
    id: StageId,
    entry: &StageLock,
) -> bool {
    let Ok(facts) = reader.facts(id) else { return false };
    let stage = definitions.pipelines.stage(id);
    judge(stage, &project.shell(), &facts, Some(entry))
        .iter()
        .all(|reason| !reason.is_input() || *reason == crate::plan::reasons::Reason::Always)
}

/// After a crash, with the workspace lock held: moves outputs back that were backed up and not replaced by a recorded
/// result. Returns their paths.
pub fn restore_backups(project: &Project, backups: &Backups, sink: &dyn Sink) -> Result<Vec<RepoPath>> {
    clear_interrupted_restores(project, sink);
    let remaining = backups.remaining()?;
    let mut returned = Vec::new();
    if remaining.is_empty() {
        return Ok(returned);
    }
    let recorded = recorded_outs(&journal::read(&project.state_dir().join("journal"))?);
    let logs = Logs::new(project.logs_dir());
    let rules = rules(project)?;
    // One folder for everything found now, because the oldest folders are deleted when there are many.
    let mut folder = None;
    let mut recovered = || -> Result<RunLog> {
        if folder.is_none() {
            folder = Some(logs.recovered()?);
        }
        folder.clone().ok_or_else(|| Error::new(Kind::Bug, "a folder that was created has disappeared"))
    };
    for backup in remaining {
        if recorded.contains(&backup.out) {
            if backup.precious {
                let out = backup.out.clone();
                let kept = backup.keep(&recovered()?.kept(&out))?;
                let text = format!("the store lacks the old {out}: it is kept in {}", kept.display());
                sink.event(Event::Note { text: &text });
            } else {
                discard_backup(project, &IgnoreRules(&rules), backup, None, sink)?;
            }
            continue;
        }
        let out = backup.out.clone();
        let place = match project.writable(&out) {
            Ok(place) => place,
            // For example, its folder became a symlink. Keep the bytes in the log folder, so that the backup is not
            // tried forever.
            Err(e) => {
                let kept = backup.keep(&recovered()?.kept(&out))?;
                let text = format!("the last good {out} is kept in {}: {}", kept.display(), e.message);
                sink.event(Event::Warning { text: &text });
                continue;
            }
        };
        if std::fs::symlink_metadata(&place).is_ok() {
            match &backup.replacement_from {
                Some(from) if kept_at(from).is_none() => drop(move_to(&place, from)?),
                _ => {
                    let kept = move_to(&place, &recovered()?.kept(&out))?;
                    let text = format!("what a killed run left of {out} is in {}", kept.display());
                    sink.event(Event::Note { text: &text });
                }
            }
        }
        backup.restore(project.writable_area())?;
        sink.event(Event::Note { text: &format!("a run was killed: the last good {out} is back") });
        returned.push(out);
    }
    Ok(returned)
}

/// The paths of the outputs of all recorded stages.
fn recorded_outs(records: &[Record]) -> HashSet<RepoPath> {
    let mut outs = HashSet::new();
    for record in records {
        if let LockChange::Stage { new, .. } = &record.change {
            let dir = record.lock.parent().unwrap_or_default();
            let wdir = dir.join(new.wdir.as_deref().unwrap_or("."));
            outs.extend(new.outs.keys().filter_map(|path| wdir.as_ref()?.join(path)));
        }
    }
    outs
}
