//! What a killed command left: its journal is folded into the locks, and outputs that it moved away return.

use std::collections::HashSet;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, StageId};
use crate::plan::facts::{FactsReader, IgnoreRules};
use crate::plan::reasons::judge;
use crate::project::{Definitions, Locks, Project};
use crate::workspace::backup::{Backups, kept_at, move_to};
use crate::workspace::journal::{self, Journal, LockChange, Record};
use crate::workspace::lock_update::{apply, apply_records};
use crate::workspace::logs::{Logs, RunLog};
use crate::workspace::preserve::{discard_backup, rules};
use crate::workspace::restore::clear_interrupted_restores;

/// Applies to `locks`, in memory, the records of a crashed run that match the current files: the old block is
/// unchanged, and the inputs of the stage are the same. Returns the applied records.
pub fn overlay<'a>(
    project: &Project,
    definitions: &'a Definitions,
    locks: &mut Locks,
    reader: &mut FactsReader<'a>,
) -> Result<Vec<Record>> {
    let mut applied = Vec::new();
    let records = journal::read_project(project)?;
    let file_of =
        |record: &Record| definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == record.lock);
    let stages = records.iter().filter_map(|record| match &record.change {
        LockChange::Stage { name, .. } => stage_named(definitions, FileId(file_of(record)? as u32), name),
        LockChange::Data { .. } => None,
    });
    reader.sweep(&stages.collect::<Vec<_>>());
    for record in records {
        let Some(file) = file_of(&record) else { continue };
        if still_valid(project, definitions, reader, &record) && apply(&mut locks.all[file], &record.change) {
            applied.push(record);
        }
    }
    Ok(applied)
}

/// Writes the records of a killed run into `locks` and into the lock files, and empties the journal. Returns the
/// written lock files.
pub fn fold_journal<'a>(
    project: &Project,
    definitions: &'a Definitions,
    locks: &mut Locks,
    reader: &mut FactsReader<'a>,
    sink: &dyn Sink,
) -> Result<Vec<RepoPath>> {
    let records = overlay(project, definitions, locks, reader)?;
    let written = apply_records(project, definitions, &records, locks, &[], sink)?;
    Journal::of_project(project).clear()?;
    Ok(written)
}

/// Whether the files have the stage or data of a record, with the same inputs as in the record.
pub fn still_valid<'a>(
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
    let recorded = recorded_outs(&journal::read_project(project)?);
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
