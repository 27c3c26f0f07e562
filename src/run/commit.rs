//! `commit`: records the workspace as if the stages had just run. `commit --kept`: records the outputs of a refused
//! run.

use std::collections::BTreeMap;

use crate::cache::entries;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::lock;
use crate::path::RepoPath;
use crate::pipeline::stage::{Data, FileId, StageId};
use crate::plan::data_version::{DataVersions, UnrecordableData};
use crate::plan::facts::read_pins;
use crate::plan::missing_input::missing_dep_error;
use crate::plan::reasons::{self, Reason, judge};
use crate::plan::select::Selection;
use crate::project::{Definitions, Project};
use crate::run::execute::{move_to_log, record_metrics};
use crate::run::record::{RecordJob, record_now};
use crate::shell::word;
use crate::store::{Pin, TrackedPath};
use crate::workspace::backup::kept_at;
use crate::workspace::journal::{LockChange, Record};
use crate::workspace::logs::{Logs, RunLog};
use crate::workspace::orphans::{Orphan, orphans};
use crate::workspace::status::sentence;
use crate::workspace::{Workspace, gitignore};

/// The options of `commit`.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Also record where inputs differ from the lock, or where the lock pins a version of data that is not checked out.
    pub force: bool,
    pub command: String,
}

/// A stage whose inputs differ from the lock, with the reasons: the user must confirm that the outputs match.
#[derive(Debug)]
pub struct ChangedInputs {
    pub stage: StageId,
    pub reasons: Vec<Reason>,
}

/// The result of `commit`.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    pub stages: Vec<StageId>,
    pub written: Vec<RepoPath>,
    /// Outputs and data whose entries were dropped from the lock, that no pipeline file names and that Git still
    /// ignores.
    pub orphans: Vec<Orphan>,
}

/// Records the selected stages and data. `confirm` is asked about stages whose inputs changed, unless forced.
pub fn commit(
    project: &Project,
    definitions: &Definitions,
    selected: &Selection,
    options: &CommitOptions,
    sink: &dyn Sink,
    confirm: &dyn Fn(&ChangedInputs) -> Result<()>,
) -> Result<CommitOutcome> {
    commit_in(Workspace::hold(project, definitions, &options.command, sink)?, selected, options.force, confirm)
}

/// Like [`commit`], in a workspace that is held already.
pub fn commit_in(
    mut workspace: Workspace,
    selected: &Selection,
    force: bool,
    confirm: &dyn Fn(&ChangedInputs) -> Result<()>,
) -> Result<CommitOutcome> {
    let (project, definitions) = (workspace.project, workspace.definitions);
    let mut outs = selected.named.iter().flat_map(|id| &definitions.pipelines.stage(*id).outs);
    if outs.any(|o| workspace.returned.contains(&o.path)) {
        // The workspace is no longer what the user meant to record.
        return Err(Error::new(Kind::Check, "the outputs were not recorded: those of a killed run were just put back")
            .hint("check the outputs, and run the command again if they are right"));
    }
    workspace.reader.sweep(&selected.named);
    let stale_locks = workspace.stale_locks(&selected.files);
    refuse_other_versions(&mut workspace, selected, force)?;
    let mut jobs = Vec::new();
    let shell = project.shell();
    let head = project.repo.head().ok().flatten();
    let mut committed = CommitOutcome::default();
    if !stale_locks.is_empty() {
        committed.orphans = orphans(project, definitions, &workspace.locks);
    }
    for id in definitions.graph.order().iter().copied().filter(|id| selected.named.contains(id)) {
        let stage = definitions.pipelines.stage(id);
        let facts = workspace.reader.facts(id)?;
        let address = definitions.pipelines.address(id, &project.cwd);
        let old = workspace.locks.of_file(stage.file).stages.get(&stage.name).cloned();
        if let Some((out, _)) = stage.outs.iter().zip(&facts.outs).find(|(_, pin)| pin.is_none()) {
            return Err(Error::missing(format!("the output {} of stage {address} does not exist", out.path))
                .hint(format!("make it: lockstep repro {}", word(&address))));
        }
        if let Some((dep, _)) = stage.deps.iter().zip(&facts.deps).find(|(_, pin)| pin.is_none()) {
            return Err(missing_dep_error(project, definitions, id, &dep.spelled, &dep.place));
        }
        let reasons = judge(stage, &shell, &facts, old.as_ref());
        let doubtful = reasons.iter().any(|r| *r != Reason::Always);
        if doubtful && !force {
            confirm(&ChangedInputs { stage: id, reasons })?;
        }
        let mut entry = reasons::earlier_entry(stage, &shell, &facts, &facts.outs, old.as_ref());
        record_metrics(project, stage, &mut entry);
        // An unchanged entry keeps its spelling.
        if let Some(old) = &old
            && old.key == entry.key
            && old.outs == entry.outs
        {
            entry = old.clone();
        }
        let store = stage.outs.iter().zip(&facts.outs).filter_map(|(o, pin)| Some((o.path.clone(), (*pin)?)));
        let run = entries::is_cacheable(stage)
            .then(|| (Box::new(entry.clone()), entries::record_now(project, 0.0, &head, BTreeMap::new())));
        let path = Project::lock_path(&definitions.pipelines.file(stage.file).path);
        let change = LockChange::Stage { name: stage.name.clone(), old: old.map(Box::new), new: Box::new(entry) };
        let record = Some(Record { lock: path, change });
        jobs.push(RecordJob { stage: Some(id), store: store.collect(), run, record, replaced: vec![], log: None });
        committed.stages.push(id);
    }
    let mut files = gitignore::files_of(definitions, committed.stages.iter().copied());
    for (f, file) in definitions.pipelines.files.iter().enumerate() {
        for entry in &file.data {
            if !is_selected(selected, f, entry) {
                continue;
            }
            let Some(pin) = workspace.reader.out(&entry.path)? else {
                return Err(Error::missing(format!("the data {} does not exist", entry.path)));
            };
            files.insert(FileId(f as u32));
            let old = workspace.locks.all[f].data.get(&entry.spelled).copied();
            let change = LockChange::Data { path: entry.spelled.clone(), old, new: pin };
            let record = Some(Record { lock: Project::lock_path(&file.path), change });
            let store = vec![(entry.path.clone(), pin)];
            jobs.push(RecordJob { stage: None, store, run: None, record, replaced: vec![], log: None });
        }
    }
    committed.written = gitignore::write(project, definitions, &workspace.locks, &files)?.written;
    let records: Vec<Record> = jobs.iter().filter_map(|j| j.record.clone()).collect();
    record_now(&workspace, jobs)?;
    committed.written.extend(workspace.finish(records, &stale_locks)?);
    Ok(committed)
}

fn is_selected(selected: &Selection, file: usize, data: &Data) -> bool {
    let is_whole = selected.files.iter().any(|id| id.0 as usize == file);
    is_whole || is_named(selected, data)
}

fn is_named(selected: &Selection, data: &Data) -> bool {
    selected.data.iter().any(|named| named.is_in(&data.path))
}

/// Data of another version than the lock pins is recorded only with `--force`, and only if it was named: `--force` for
/// a stage does not apply to other data.
fn refuse_other_versions(workspace: &mut Workspace, selected: &Selection, force: bool) -> Result<()> {
    let (project, definitions) = (workspace.project, workspace.definitions);
    let mut others = UnrecordableData::default();
    let mut versions = DataVersions::new(project, definitions);
    for (f, file) in definitions.pipelines.files.iter().enumerate() {
        for data in file.data.iter().filter(|data| is_selected(selected, f, data)) {
            let is_forced = force && is_named(selected, data);
            if let (false, Some(now)) = (is_forced, workspace.reader.out(&data.path)?) {
                let locked = workspace.locks.all[f].data.get(&data.spelled);
                others.note(&data.path, versions.version(&data.path, &now, locked));
            }
        }
    }
    others.error(project).map_or(Ok(()), Err)?;
    versions.warn(workspace.sink);
    Ok(())
}

/// The newest run of a stage whose outputs were kept because an input changed during the run.
pub fn last_refused(project: &Project, definitions: &Definitions, id: StageId) -> Result<RunLog> {
    let stage = definitions.pipelines.stage(id);
    let file = &definitions.pipelines.file(stage.file).path;
    Logs::new(project.logs_dir()).last_refused(file, &stage.name).ok_or_else(|| {
        let address = definitions.pipelines.address(id, &project.cwd);
        Error::missing(format!("no refused run of stage {address} is kept"))
            .hint("outputs are kept when an input changed while the stage ran")
    })
}

/// Records the outputs of the newest run of a stage that was refused because an input changed, with the inputs as they
/// were pinned before it. The outputs move from the log folder to their places.
pub fn commit_kept(
    project: &Project,
    definitions: &Definitions,
    id: StageId,
    options: &CommitOptions,
    sink: &dyn Sink,
) -> Result<CommitOutcome> {
    let mut workspace = Workspace::hold(project, definitions, &options.command, sink)?;
    let stage = definitions.pipelines.stage(id);
    let address = definitions.pipelines.address(id, &project.cwd);
    let file = &definitions.pipelines.file(stage.file).path;
    let log = last_refused(project, definitions, id)?;
    let text = std::fs::read_to_string(log.inputs()).map_err(|e| Error::io("read", log.inputs(), e))?;
    let entry = lock::read("the kept run", &text)?.stages.remove(&stage.name).ok_or_else(|| {
        Error::new(Kind::Missing, format!("the kept run in {} is not one of stage {address}", log.dir.display()))
    })?;
    let mut replaced = Vec::new();
    for out in &stage.outs {
        let kept = log.kept(&out.path);
        if let Some(at) = kept_at(&kept) {
            let now = workspace.reader.out(&out.path)?;
            let precious = now.is_some_and(|now| !project.store().holds(&now));
            let mut backup = workspace.backups.take(&out.path, precious)?;
            // If lockstep is killed after this point, each output returns to where it was, and the command can be
            // repeated.
            if let Some(backup) = &mut backup {
                backup.note_replacement(&kept)?;
            }
            replaced.extend(backup);
            let place = project.writable(&out.path)?;
            place.create_parents()?;
            std::fs::rename(&at, &place).map_err(|e| Error::io("move", &at, e))?;
        }
    }
    let asks: Vec<TrackedPath> = stage.outs.iter().map(|o| TrackedPath::from(&o.path)).collect();
    let now = read_pins(project, definitions, &asks, sink).into_iter().map(|now| now.unwrap_or(None));
    let mut store: Vec<(RepoPath, Pin)> = Vec::new();
    for (out, now) in stage.outs.iter().zip(now) {
        let pin = entry.outs.get(&out.spelled).map(|o| o.pin);
        match (now, pin) {
            (Some(now), Some(pin)) if now.id == pin.id => store.push((out.path.clone(), pin)),
            _ => {
                for backup in replaced {
                    let _ = move_to_log(project, &backup.out, &log);
                    let _ = backup.restore(project.writable_area());
                }
                return Err(Error::missing(format!("{} is not what the refused run of {address} left", out.path))
                    .hint(format!("run the stage again: lockstep repro {}", word(&address))));
            }
        }
    }
    let old = workspace.locks.of_file(stage.file).stages.get(&stage.name).cloned();
    let run = entries::is_cacheable(stage)
        .then(|| (Box::new(entry.clone()), entries::record_now(project, 0.0, &None, BTreeMap::new())));
    let change = LockChange::Stage { name: stage.name.clone(), old: old.map(Box::new), new: Box::new(entry) };
    let record = Record { lock: Project::lock_path(file), change };
    let written = gitignore::write(project, definitions, &workspace.locks, &[stage.file].into())?.written;
    let records = vec![record.clone()];
    // The replaced output came from the folder that kept the new one, so it needs its own log folder.
    let old_log = if replaced.iter().any(|backup| backup.precious) {
        Some(Logs::new(project.logs_dir()).start(file, &stage.name)?)
    } else {
        None
    };
    let job = RecordJob { stage: Some(id), store, run, record: Some(record), replaced, log: old_log };
    record_now(&workspace, vec![job])?;
    let mut committed = CommitOutcome { stages: vec![id], written, orphans: Vec::new() };
    committed.written.extend(workspace.finish(records, &[])?);
    let _ = std::fs::remove_file(log.inputs());
    Ok(committed)
}

/// For a stage's doubt, as text.
pub fn changed_inputs_sentence(changed: &ChangedInputs) -> String {
    changed.reasons.iter().map(sentence).collect::<Vec<_>>().join(", ")
}
