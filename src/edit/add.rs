//! `add`: tracks files and folders as data, or pins their changes.

use crate::edit::draft::{Draft, draft};
use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::pipeline::edit;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::Import;
use crate::plan::select::Selection;
use crate::project::{Definitions, Project};
use crate::run::commit::commit_in;
use crate::run::data;
use crate::shell::word;
use crate::workspace::Workspace;
use crate::workspace::gitignore;
use crate::workspace::worktree_lock::{self, WorkspaceLock};

/// The options of `add`.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// `--desc`: the `desc` of new entries.
    pub desc: Option<String>,
    /// The origin of the new data.
    pub import: Option<Import>,
    /// Write the entry without pinning.
    pub no_commit: bool,
    /// Pin the current version even if the lock pins another one than was last checked out.
    pub force: bool,
}

/// The result of `add`.
#[derive(Debug, Default)]
pub struct AddOutcome {
    /// Data that is now tracked.
    pub new: Vec<RepoPath>,
    /// Data that was already tracked.
    pub known: Vec<RepoPath>,
    /// The pipeline file with the entries of the new data.
    pub file: Option<RepoPath>,
    /// Changed files that Git tracks.
    pub written: Vec<RepoPath>,
}

/// Tracks `paths`, which are relative to the current folder: adds entries in the nearest pipeline file upwards, pins
/// and `.gitignore` lines.
pub fn add(project: &Project, paths: &[String], options: &AddOptions, sink: &dyn Sink) -> Result<AddOutcome> {
    let lock = worktree_lock::take(project, "lockstep add", sink)?;
    add_within(&lock, project, paths, options, sink)
}

/// Like [`add`], for a caller that holds the workspace lock.
pub(crate) fn add_within(
    lock: &WorkspaceLock,
    project: &Project,
    paths: &[String],
    options: &AddOptions,
    sink: &dyn Sink,
) -> Result<AddOutcome> {
    let edit_lock = worktree_lock::take_for_edit(project, "lockstep add", sink)?;
    let mut definitions = project.definitions()?;
    let mut added = AddOutcome::default();
    for written in paths {
        let path = data_path(project, written)?;
        match tracked_at(project, &definitions, &path)? {
            Some(data) if !added.known.contains(&data) => added.known.push(data),
            None if !added.new.contains(&path) => added.new.push(path),
            _ => {}
        }
    }
    let mut new_entries: Option<Draft> = None;
    if !added.new.is_empty() {
        let file = nearest_pipeline(project, &definitions)?;
        let folder = file.parent().unwrap_or_default();
        let name = file.relative_to(&project.cwd);
        let edit = draft(project, &file, &|text| {
            added
                .new
                .iter()
                .try_fold(text.to_string(), |text, path| {
                    let spelled = path.relative_to(&folder);
                    // a literal `${` must not be read as a template
                    let spelled = spelled.replace("${", "\\${");
                    edit::add_data(&name, &text, &spelled, options.desc.as_deref(), options.import.as_ref())
                })
                .map(Some)
        })?;
        if let Some(mut edit) = edit {
            edit.write(project)?;
            std::mem::swap(&mut definitions, &mut edit.definitions);
            added.written.push(edit.path.clone());
            new_entries = Some(edit);
        }
        added.file = Some(file);
    }
    // Storing large data takes long, and other commands may edit during that time.
    drop(edit_lock);
    let done = finish(lock, project, &definitions, &mut added, options, sink);
    match (done, &new_entries) {
        (Ok(()), _) => Ok(added),
        (Err(error), None) => Err(error),
        (Err(error), Some(edit)) => Err(match undo(project, edit, &added.new, sink) {
            Ok(()) => error,
            Err(e) => {
                let file = edit.path.relative_to(&project.cwd);
                error.because(e.message).hint(format!("take the entries that are not pinned out of {file} by hand"))
            }
        }),
    }
}

/// Removes the new entries: restores the old text, or, if the file was edited since, removes each entry.
fn undo(project: &Project, edit: &Draft, new: &[RepoPath], sink: &dyn Sink) -> Result<()> {
    let _edit = worktree_lock::take_for_edit(project, "lockstep add", sink)?;
    if edit.undo(project)? {
        return Ok(());
    }
    for path in new {
        // Indexes change after each removal.
        let definitions = project.definitions_without_graph()?;
        if let Some((_, broken)) = definitions.broken.iter().find(|(path, _)| *path == edit.path) {
            return Err(broken.clone());
        }
        let file = definitions.pipelines.files.iter().find(|file| file.path == edit.path);
        let Some(n) = file.and_then(|file| file.data.iter().position(|data| data.path == *path)) else { continue };
        let name = edit.path.relative_to(&project.cwd);
        if let Some(without) = draft(project, &edit.path, &|text| edit::remove_data(&name, text, n).map(Some))? {
            without.write(project)?;
        }
    }
    Ok(())
}

fn finish(
    lock: &WorkspaceLock,
    project: &Project,
    definitions: &Definitions,
    added: &mut AddOutcome,
    options: &AddOptions,
    sink: &dyn Sink,
) -> Result<()> {
    let all: Vec<RepoPath> = added.new.iter().chain(&added.known).cloned().collect();
    if !options.no_commit {
        let workspace = Workspace::within(lock, project, definitions, sink)?;
        let before: Vec<_> = workspace.locks.all.iter().map(|lock| lock.data.clone()).collect();
        let selected = Selection { data: all.clone(), ..Selection::default() };
        let committed = commit_in(workspace, &selected, options.force, &|_| Ok(()))?;
        added.written.extend(committed.written);
        let after = project.locks(definitions)?;
        for (n, file) in definitions.pipelines.files.iter().enumerate() {
            for entry in file.data.iter().filter(|d| all.contains(&d.path)) {
                let (old, new) = (before[n].get(&entry.spelled), after.all[n].data.get(&entry.spelled));
                let Some(new) = new else { continue };
                let summary =
                    if old == Some(new) { "unchanged".into() } else { data::summary(project, &entry.path, old, new) };
                sink.event(Event::DataPinned { path: &entry.path, summary: &summary });
            }
        }
    }
    for path in &all {
        let folder = path.parent().unwrap_or_default();
        if gitignore::edit(project, &folder, &[path.name()], &[])? {
            added.written.extend(folder.join(".gitignore"));
        }
    }
    added.written.sort();
    added.written.dedup();
    Ok(())
}

/// Resolves a path of the command line, and checks that it can be data.
fn data_path(project: &Project, written: &str) -> Result<RepoPath> {
    let root = &project.repo.project_root;
    let Some(path) = project.typed(written).filter(|p| p.is_in(root)) else {
        return Err(Error::usage(format!(
            "`{written}` is outside the {}",
            if root.is_root() { "repository" } else { "project" }
        ))
        .hint("copy or move it into the repository, then add it")
        .hint("or name it as a dep of a stage: it is hashed and pinned where it is, and never stored"));
    };
    if path == *root || path.is_root() {
        return Err(Error::usage(format!(
            "`{written}` is the whole project; add the files and folders in it that are data"
        )));
    }
    project.writable(&path)?;
    let on_disk = path.on_disk(project.top());
    if on_disk.symlink_metadata().is_err() {
        return Err(Error::missing(format!("there is no file or folder `{written}`")));
    }
    let tracked = project.repo.tracked(std::slice::from_ref(&path))?;
    if !tracked.is_empty() {
        return Err(Error::usage(format!("Git tracks `{written}`, and only one of Git and lockstep can keep it"))
            .hint(format!("take it out of Git, keeping the file: git rm -r --cached {}", word(written))));
    }
    Ok(path)
}

/// The tracked data that is `path` or contains it. Errors: the path overlaps an output.
pub(crate) fn tracked_at(project: &Project, definitions: &Definitions, path: &RepoPath) -> Result<Option<RepoPath>> {
    let shown = |p: &RepoPath| p.relative_to(&project.cwd);
    let owners = definitions.graph.owners_of(path);
    for owner in &owners {
        let Owner::Out(id, n) = *owner else { continue };
        let out = &definitions.pipelines.stage(id).outs[n as usize].path;
        let stage = definitions.pipelines.address(id, &project.cwd);
        let is = if out == path {
            format!("{} is an output of stage {stage}", shown(path))
        } else if path.is_in(out) {
            format!("{} lies in {}, an output of stage {stage}", shown(path), shown(out))
        } else {
            format!("{} holds {}, an output of stage {stage}", shown(path), shown(out))
        };
        return Err(Error::usage(format!("{is}: it cannot be data as well"))
            .hint(format!("record it as it is: lockstep commit {}", word(&stage))));
    }
    let Some(Owner::Data(file, n)) = owners.first() else { return Ok(None) };
    let data = &definitions.pipelines.file(*file).data[*n as usize].path;
    if path.is_in(data) {
        return Ok(Some(data.clone()));
    }
    Err(Error::usage(format!("{} holds {}, which is tracked already", shown(path), shown(data)))
        .hint(format!("track the whole folder instead: lockstep stage remove {}", word(&shown(data)))))
}

/// The nearest pipeline file from the current folder upwards, or a new one in the current folder.
pub(crate) fn nearest_pipeline(project: &Project, definitions: &Definitions) -> Result<RepoPath> {
    let mut folder = Some(project.cwd.clone());
    while let Some(at) = folder.filter(|f| f.is_in(&project.repo.project_root)) {
        let file = at.join("pipeline.yaml").unwrap_or_default();
        if let Some((_, error)) = definitions.broken.iter().find(|(path, _)| *path == file) {
            return Err(error.clone());
        }
        if definitions.pipelines.files.iter().any(|f| f.path == file) {
            return Ok(file);
        }
        folder = at.parent();
    }
    let file = project.cwd.join("pipeline.yaml").unwrap_or_default();
    if file.on_disk(project.top()).symlink_metadata().is_ok() {
        return Err(Error::usage("the pipeline.yaml here is not one of lockstep, or Git ignores its folder")
            .hint("run the command in another folder of the project"));
    }
    Ok(file)
}
