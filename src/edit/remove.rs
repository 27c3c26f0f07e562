//! `remove`: removes stages and data from their pipeline file, their lock and `.gitignore`.

use crate::edit::draft::draft;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::pipeline::edit;
use crate::pipeline::stage::{FileId, StageId};
use crate::plan::facts::{IgnoreRules, read_pins};
use crate::project::{Definitions, Project, write_lock};
use crate::shell::word;
use crate::store::{self, TrackedPath};
use crate::workspace::gitignore;
use crate::workspace::worktree_lock;

/// The options of `remove`.
#[derive(Clone, Debug, Default)]
pub struct RemoveOptions {
    /// Also delete the stages' outputs, and the data.
    pub outs: bool,
    /// Delete even outputs that the store does not have.
    pub force: bool,
}

/// A resolved target of the command line.
#[derive(Clone, Debug, PartialEq)]
pub enum RemoveTarget {
    /// A stage or group: its file, its name there, and all its stages.
    Stage(FileId, String, Vec<StageId>),
    /// An entry of `data`.
    Data(FileId, usize),
}

/// The result of `remove`.
#[derive(Debug, Default)]
pub struct RemoveOutcome {
    /// Names of stages and paths of data, as shown to the user.
    pub targets: Vec<String>,
    /// Outputs that were deleted from the workspace; ignored files in them may be left.
    pub deleted: Vec<RepoPath>,
    /// Outputs that stay in the workspace.
    pub kept: Vec<RepoPath>,
    /// Outputs that stay and that Git ignored until now.
    pub unignored: Vec<RepoPath>,
    /// Changed files that Git tracks.
    pub written: Vec<RepoPath>,
}

/// Removes stages and data. Errors: a target is unknown, or an output would be lost without another copy.
pub fn remove(
    project: &Project,
    targets: &[String],
    options: &RemoveOptions,
    sink: &dyn Sink,
) -> Result<RemoveOutcome> {
    let _lock = worktree_lock::take(project, "lockstep stage remove", sink)?;
    let _edit = worktree_lock::take_for_edit(project, "lockstep stage remove", sink)?;
    let mut removed = RemoveOutcome::default();
    // All targets are resolved before anything is changed.
    let definitions = project.definitions_without_graph()?;
    let mut found: Vec<RemoveTarget> = Vec::new();
    for target in targets {
        let target = resolve(project, &definitions, target)?;
        if !found.contains(&target) {
            found.push(target);
        }
    }
    let outs: Vec<RepoPath> = found.iter().flat_map(|t| paths(&definitions, t)).collect();
    if options.outs && !options.force {
        refuse_unsaved(project, &definitions, &outs, sink)?;
    }
    let mut files: Vec<FileId> = found.iter().map(|t| t.file()).collect();
    files.sort();
    files.dedup();
    let mut left = Vec::new();
    for file in files {
        let of_file: Vec<&RemoveTarget> = found.iter().filter(|t| t.file() == file).collect();
        remove_from(project, &definitions, file, &of_file, &mut left, &mut removed)?;
    }
    for path in outs.iter().filter(|p| !left.contains(p)) {
        let folder = path.parent().unwrap_or_default();
        let was_ignored = gitignore::edit(project, &folder, &[], &[path.name()])?;
        if was_ignored {
            removed.written.extend(folder.join(".gitignore"));
        }
        let on_disk = path.on_disk(project.top());
        let Ok(meta) = on_disk.symlink_metadata() else { continue };
        if !options.outs {
            project.index().release(&TrackedPath::from(path));
            let stay = if was_ignored { &mut removed.unignored } else { &mut removed.kept };
            stay.push(path.clone());
            continue;
        }
        let gone = match options.force || !meta.is_dir() {
            true => store::remove(&on_disk).map(|()| false),
            // Ignored files stay: no stage made them, and no store has them.
            false => store::strip(&on_disk, path.as_str().as_bytes(), &IgnoreRules(&definitions.rules)),
        };
        if gone.map_err(|e| Error::io("delete", &on_disk, e))? {
            let text = format!("files in {path} that lockstep ignores were left where they are");
            sink.event(Event::Note { text: &text });
        }
        removed.deleted.push(path.clone());
    }
    let _ = project.index().save();
    removed.written.sort();
    removed.written.dedup();
    removed.targets = found.iter().map(|t| display_name(project, &definitions, t)).collect();
    Ok(removed)
}

impl RemoveTarget {
    fn file(&self) -> FileId {
        match self {
            RemoveTarget::Stage(file, ..) | RemoveTarget::Data(file, _) => *file,
        }
    }
}

fn display_name(project: &Project, definitions: &Definitions, target: &RemoveTarget) -> String {
    match target {
        RemoveTarget::Stage(_, name, ids) if ids.iter().all(|id| definitions.pipelines.stage(*id).name == *name) => {
            format!("stage {name}")
        }
        RemoveTarget::Stage(_, name, ids) => format!("stage {name}, from which {} were generated", ids.len()),
        RemoveTarget::Data(file, n) => {
            format!("data {}", definitions.pipelines.file(*file).data[*n].path.relative_to(&project.cwd))
        }
    }
}

/// The workspace paths of the target.
fn paths(definitions: &Definitions, target: &RemoveTarget) -> Vec<RepoPath> {
    match target {
        RemoveTarget::Stage(_, _, ids) => {
            let stages = ids.iter().map(|id| definitions.pipelines.stage(*id));
            stages
                .flat_map(|s| s.outs.iter().map(|o| &o.path).chain(s.scratch.iter().map(|s| &s.path)))
                .cloned()
                .collect()
        }
        RemoveTarget::Data(file, n) => vec![definitions.pipelines.file(*file).data[*n].path.clone()],
    }
}

fn remove_from(
    project: &Project,
    definitions: &Definitions,
    file: FileId,
    targets: &[&RemoveTarget],
    left: &mut Vec<RepoPath>,
    removed: &mut RemoveOutcome,
) -> Result<()> {
    let of = definitions.pipelines.file(file);
    let name = of.path.relative_to(&project.cwd);
    // later entries of `data` first, so that indexes stay valid
    let mut data: Vec<usize> =
        targets.iter().filter_map(|t| if let RemoveTarget::Data(_, n) = t { Some(*n) } else { None }).collect();
    data.sort_unstable_by(|a, b| b.cmp(a));
    let edit = draft(project, &of.path, &|text| {
        let mut text = text.to_string();
        for target in targets {
            if let RemoveTarget::Stage(_, stage, _) = target {
                text = edit::remove_stage(&name, &text, stage)?;
            }
        }
        for n in &data {
            text = edit::remove_data(&name, &text, *n)?;
        }
        Ok(Some(text))
    })?;
    let Some(edit) = edit else { return Ok(()) };
    // The lock first: an entry without a definition is dropped by a later command, a definition without an entry is
    // not.
    let lock_path = Project::lock_path(&of.path);
    if let Some(mut lock) = project.read_lock(&lock_path)? {
        let before = lock.clone();
        for target in targets {
            match target {
                RemoveTarget::Stage(_, _, ids) => {
                    for id in ids {
                        lock.stages.remove(&definitions.pipelines.stage(*id).name);
                    }
                }
                RemoveTarget::Data(_, n) => {
                    lock.data.remove(&of.data[*n].spelled);
                }
            }
        }
        if lock != before {
            if lock.data.is_empty() && lock.stages.is_empty() {
                let on_disk = lock_path.on_disk(project.top());
                std::fs::remove_file(&on_disk).map_err(|e| Error::io("remove", &on_disk, e))?;
            } else {
                write_lock(project, &lock_path, &lock)?;
            }
            removed.written.push(lock_path);
        }
    }
    edit.write(project)?;
    removed.written.push(of.path.clone());
    let after = &edit.definitions.pipelines;
    left.extend(after.stages.iter().flat_map(|s| &s.outs).map(|o| o.path.clone()));
    left.extend(after.files.iter().flat_map(|f| &f.data).map(|d| d.path.clone()));
    Ok(())
}

/// Errors: an output would be lost without another copy.
fn refuse_unsaved(project: &Project, definitions: &Definitions, outs: &[RepoPath], sink: &dyn Sink) -> Result<()> {
    let asks: Vec<TrackedPath> = outs.iter().map(TrackedPath::from).collect();
    let mut unsaved = Vec::new();
    for (path, pin) in outs.iter().zip(read_pins(project, definitions, &asks, sink)) {
        if let Some(pin) = pin?
            && !project.store().holds(&pin)
        {
            unsaved.push(path.relative_to(&project.cwd));
        }
    }
    if unsaved.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Check, format!("not in the store, so that deleting would lose it: {}", unsaved.join(", ")))
        .hint("keep the files: lockstep stage remove without --outs")
        .hint("delete them nevertheless: lockstep stage remove --outs --force"))
}

fn resolve(project: &Project, definitions: &Definitions, target: &str) -> Result<RemoveTarget> {
    let pipelines = &definitions.pipelines;
    let (file, name) = match target.find("pipeline.yaml:") {
        Some(at) => {
            let (file, name) = target.split_at(at + "pipeline.yaml".len());
            (project.typed(file), &name[1..])
        }
        None => (project.cwd.join("pipeline.yaml"), target),
    };
    if let Some((_, error)) = definitions.broken.iter().find(|(path, _)| Some(path) == file.as_ref()) {
        return Err(error.clone());
    }
    if let Some(at) = pipelines.files.iter().position(|f| Some(&f.path) == file.as_ref()) {
        let (id, of) = (FileId(at as u32), &pipelines.files[at]);
        if let Some((group, ids)) = of.groups.iter().find(|(group, _)| group == name) {
            return Ok(RemoveTarget::Stage(id, group.clone(), ids.clone()));
        }
        if let Some(stage) = of.stages.iter().find(|s| pipelines.stage(**s).name == name) {
            if let Some((group, ids)) = of.groups.iter().find(|(_, ids)| ids.contains(stage)) {
                let mark = pipelines.stage(*stage).mark;
                let place = format!("{}:{}", of.path.relative_to(&project.cwd), mark.line);
                return Err(Error::usage(format!(
                    "stage {name} is generated from {group} and cannot be removed alone"
                ))
                .hint(format!("take its item out of the list at {place}"))
                .hint(format!(
                    "or remove all {} of them: lockstep stage remove {}",
                    ids.len(),
                    word(group)
                )));
            }
            return Ok(RemoveTarget::Stage(id, name.to_string(), vec![*stage]));
        }
    }
    let path = project.typed(target);
    for (n, file) in pipelines.files.iter().enumerate() {
        if let Some(at) = file.data.iter().position(|d| Some(&d.path) == path.as_ref()) {
            return Ok(RemoveTarget::Data(FileId(n as u32), at));
        }
    }
    let maker = pipelines.ids().find(|id| pipelines.stage(*id).outs.iter().any(|o| Some(&o.path) == path.as_ref()));
    if let Some(id) = maker {
        let file = pipelines.file(pipelines.stage(id).file);
        let address = pipelines.address(id, &project.cwd);
        // The stages of a group are removed together.
        let group = file.groups.iter().find(|(_, ids)| ids.contains(&id)).map(|(group, _)| group);
        let stage = match group {
            Some(group) => address.replace(&pipelines.stage(id).name, group),
            None => address,
        };
        let place = file.path.relative_to(&project.cwd);
        return Err(Error::usage(format!("{target} is an output of stage {stage}"))
            .hint(format!("remove the stage: lockstep stage remove {}", word(&stage)))
            .hint(format!("or take the output out of the stage's `outs` in {place}")));
    }
    Err(Error::missing(format!("`{target}` is neither a stage nor tracked data"))
        .hint("see the stages: lockstep stage list --all"))
}
