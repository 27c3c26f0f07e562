//! From the journal into the locks; and what the next command does after a crash.

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::event::{Event, Sink};
use crate::lock::{Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, StageId};
use crate::project::{Definitions, Locks, Project, write_lock};
use crate::run::aside::{Asides, move_to};
use crate::run::fresh::judge;
use crate::run::journal::{self, Change, Record};
use crate::run::look::Look;

/// Writes changes into the locks on disk, each of which is read again for it; a block that somebody else changed
/// meanwhile stays as it is. With `tidy`, blocks of stages that these files no longer have go too. Returns the lock
/// files that were written.
pub fn fold(
    project: &Project,
    definitions: &Definitions,
    records: &[Record],
    tidy: &[FileId],
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    let mut by_lock: BTreeMap<&RepoPath, Vec<&Change>> = BTreeMap::new();
    for record in records {
        by_lock.entry(&record.lock).or_default().push(&record.change);
    }
    let tidy: BTreeMap<RepoPath, FileId> =
        tidy.iter().map(|f| (Project::lock_path(&definitions.pipelines.file(*f).path), *f)).collect();
    let mut written = Vec::new();
    let paths: std::collections::BTreeSet<&RepoPath> = by_lock.keys().copied().chain(tidy.keys()).collect();
    for path in paths {
        let on_disk = project.read_lock(path)?;
        let mut lock = on_disk.clone().unwrap_or_default();
        for change in by_lock.get(path).into_iter().flatten() {
            if !apply(&mut lock, change) {
                let what = match change {
                    Change::Stage { name, .. } => name,
                    Change::Data { path, .. } => path,
                };
                let text =
                    format!("{path} was changed by another program meanwhile: its entry of {what} stays as it is");
                sink.event(Event::Warning { text: &text });
            }
        }
        if let Some(file) = tidy.get(path) {
            drop_foreign(&mut lock, definitions, *file);
        }
        if on_disk.as_ref() != Some(&lock) && !(on_disk.is_none() && lock == Lock::default()) {
            write_lock(project.top(), path, &lock)?;
            written.push(path.clone());
        }
    }
    Ok(written)
}

/// Replaces the block if it still is the old one (or the new one already).
fn apply(lock: &mut Lock, change: &Change) -> bool {
    match change {
        Change::Stage { name, old, new } => {
            let now = lock.stages.get(name);
            let fits = now == old.as_deref() || now == Some(&**new);
            if fits {
                lock.stages.insert(name.clone(), (**new).clone());
            }
            fits
        }
        Change::Data { path, old, new } => {
            let now = lock.data.get(path);
            let fits = now == old.as_ref() || now == Some(new);
            if fits {
                lock.data.insert(path.clone(), *new);
            }
            fits
        }
    }
}

/// Has the lock entries of stages or data that its pipeline file no longer has?
pub fn is_untidy(definitions: &Definitions, locks: &Locks, file: FileId) -> bool {
    let before = locks.of(file);
    if before.stages.len() <= definitions.pipelines.file(file).stages.len() && before.data.is_empty() {
        let names = definitions.pipelines.file(file).stages.iter().map(|id| &definitions.pipelines.stage(*id).name);
        if names.filter(|name| before.stages.contains_key(*name)).count() == before.stages.len() {
            return false;
        }
    }
    let mut after = before.clone();
    drop_foreign(&mut after, definitions, file);
    after != *before
}

fn drop_foreign(lock: &mut Lock, definitions: &Definitions, file: FileId) {
    let file = definitions.pipelines.file(file);
    let names: HashSet<&str> = file.stages.iter().map(|id| definitions.pipelines.stage(*id).name.as_str()).collect();
    lock.stages.retain(|name, _| names.contains(name.as_str()));
    lock.data.retain(|path, _| file.data.iter().any(|d| d.spelled == *path));
}

/// What a crashed run recorded and the locks do not have yet, as far as it is true of the files at hand: the old block
/// still stands, and nothing that the stage reads differs. Applied to `locks` in memory; the records that were applied
/// come back.
pub fn overlay(
    project: &Project,
    definitions: &Definitions,
    locks: &mut Locks,
    look: &mut Look,
) -> Result<Vec<Record>> {
    let mut applied = Vec::new();
    for record in journal::read(&project.state_dir().join("journal"))? {
        let file = definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == record.lock);
        let Some(file) = file else { continue };
        let is_true = match &record.change {
            Change::Stage { name, new, .. } => stage_named(definitions, FileId(file as u32), name)
                .is_some_and(|id| reads_the_same(project, definitions, look, id, new)),
            Change::Data { path, .. } => definitions.pipelines.files[file].data.iter().any(|d| d.spelled == *path),
        };
        if is_true && apply(&mut locks.0[file], &record.change) {
            applied.push(record);
        }
    }
    Ok(applied)
}

fn stage_named(definitions: &Definitions, file: FileId, name: &str) -> Option<StageId> {
    let ids = &definitions.pipelines.file(file).stages;
    ids.iter().copied().find(|id| definitions.pipelines.stage(*id).name == name)
}

fn reads_the_same(
    project: &Project,
    definitions: &Definitions,
    look: &mut Look,
    id: StageId,
    entry: &StageLock,
) -> bool {
    let Ok(facts) = look.facts(id) else { return false };
    let stage = definitions.pipelines.stage(id);
    judge(stage, &project.shell(), &facts, Some(entry))
        .iter()
        .all(|reason| !reason.is_input() || *reason == crate::run::fresh::Reason::Always)
}

/// After a crash, with the workspace lock held: outputs that were set aside and not replaced by a recorded result
/// return to their places.
pub fn put_asides_back(project: &Project, asides: &Asides, sink: &dyn Sink) -> Result<()> {
    let left = asides.left()?;
    if left.is_empty() {
        return Ok(());
    }
    let recorded = recorded_outs(&journal::read(&project.state_dir().join("journal"))?);
    for aside in left {
        if recorded.contains(&aside.out) {
            aside.forget();
            continue;
        }
        let out = aside.out.clone();
        let place = out.on_disk(project.top());
        if std::fs::symlink_metadata(&place).is_ok() {
            let kept = out.on_disk(&project.logs_dir().join("recovered"));
            let kept = free_name(&kept);
            move_to(&place, &kept)?;
            let text = format!("what a killed run left of {out} is in {}", kept.display());
            sink.event(Event::Note { text: &text });
        }
        aside.put_back(project.top())?;
        sink.event(Event::Note { text: &format!("a run was killed: the last good {out} is back") });
    }
    Ok(())
}

fn free_name(path: &std::path::Path) -> std::path::PathBuf {
    let mut candidate = path.to_path_buf();
    let mut n = 1;
    while std::fs::symlink_metadata(&candidate).is_ok() {
        n += 1;
        candidate = path.with_file_name(format!("{}-{n}", path.file_name().unwrap_or_default().to_string_lossy()));
    }
    candidate
}

/// The paths of the outputs of all recorded stages.
fn recorded_outs(records: &[Record]) -> HashSet<RepoPath> {
    let mut outs = HashSet::new();
    for record in records {
        if let Change::Stage { new, .. } = &record.change {
            let dir = record.lock.parent().unwrap_or_default();
            let wdir = dir.join(new.wdir.as_deref().unwrap_or("."));
            outs.extend(new.outs.keys().filter_map(|path| wdir.as_ref()?.join(path)));
        }
    }
    outs
}
