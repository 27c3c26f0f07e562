//! Keeps `.gitignore` files in step with outs and data, so that Git ignores what lockstep stores.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Error, Kind, Result};
use crate::git::ignore::excludes;
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, Stage, StageId};
use crate::project::{Definitions, Locks, Project};
use crate::shell::words;
use crate::workspace::orphans::exists;

/// Per folder: names to add to, and to drop from, its ignore file.
pub type IgnoreLines = BTreeMap<RepoPath, (Vec<String>, Vec<String>)>;

/// The result of [`write`].
#[derive(Debug, Default)]
pub struct IgnoreUpdate {
    pub written: Vec<RepoPath>,
    /// Lines for folders that do not exist yet. A stage makes its folder itself, and its `mkdir` may fail if the folder
    /// exists.
    pub missing: IgnoreLines,
}

/// The pipeline files of stages.
pub fn files_of(definitions: &Definitions, stages: impl IntoIterator<Item = StageId>) -> BTreeSet<FileId> {
    stages.into_iter().map(|id| definitions.pipelines.stage(id).file).collect()
}

/// Writes the ignore files beside the outs and data of pipeline files, each at most once. Returns the written files.
/// Errors: Git tracks an out; nothing is written then.
pub fn write(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    files: &BTreeSet<FileId>,
) -> Result<IgnoreUpdate> {
    let mut lines = IgnoreLines::new();
    let mut cached = Vec::new();
    for id in files {
        collect(project, definitions, locks, *id, &mut lines, &mut cached);
    }
    refuse_tracked(project, &cached)?;
    let mut ignored = IgnoreUpdate::default();
    for (folder, names) in lines {
        if !folder.on_disk(project.top()).is_dir() {
            ignored.missing.insert(folder, names);
        } else if write_one(project, &folder, &names)? {
            ignored.written.extend(folder.join(".gitignore"));
        }
    }
    Ok(ignored)
}

/// Writes the ignore line of data that is about to be pinned. Returns the written file. Errors: Git tracks the data.
pub fn write_data(project: &Project, path: &RepoPath) -> Result<Option<RepoPath>> {
    refuse_tracked(project, std::slice::from_ref(path))?;
    let folder = path.parent().unwrap_or_default();
    Ok(if edit(project, &folder, &[path.name()], &[])? { folder.join(".gitignore") } else { None })
}

/// Writes the ignore files beside the outs and the scratch folders of a stage that just made their folders.
pub fn write_missing(project: &Project, missing: &mut IgnoreLines, stage: &Stage) -> Result<Vec<RepoPath>> {
    let mut written = Vec::new();
    let paths = stage.outs.iter().map(|o| &o.path).chain(stage.scratch.iter().map(|s| &s.path));
    for folder in paths.filter_map(RepoPath::parent) {
        // Another stage may make it later.
        if missing.contains_key(&folder)
            && folder.on_disk(project.top()).is_dir()
            && let Some(names) = missing.remove(&folder)
            && write_one(project, &folder, &names)?
        {
            written.extend(folder.join(".gitignore"));
        }
    }
    Ok(written)
}

fn write_one(project: &Project, folder: &RepoPath, names: &(Vec<String>, Vec<String>)) -> Result<bool> {
    fn strs(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }
    edit(project, folder, &strs(&names.0), &strs(&names.1))
}

/// Changes the ignore file of one folder, without following symlinks. Returns whether it changed. A missing folder is
/// not created, since the `mkdir` of a stage would then fail: its lines are written after the stage made it.
pub fn edit(project: &Project, folder: &RepoPath, wanted: &[&str], unwanted: &[&str]) -> Result<bool> {
    let Some(file) = folder.join(".gitignore").filter(|_| folder.on_disk(project.top()).is_dir()) else {
        return Ok(false);
    };
    let file = project.writable(&file)?;
    excludes::apply(project.bounds(), file.open_parent()?, &file, wanted, unwanted)
}

fn collect(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    id: FileId,
    lines: &mut IgnoreLines,
    cached: &mut Vec<RepoPath>,
) {
    let file = definitions.pipelines.file(id);
    let mut want = |path: &RepoPath, wanted: bool| {
        let (Some(folder), name) = (path.parent(), path.name()) else { return };
        let (yes, no) = lines.entry(folder).or_default();
        if wanted { yes.push(name.into()) } else { no.push(name.into()) }
    };
    let mut current = HashSet::new();
    let mut gits: Vec<&RepoPath> = Vec::new();
    for stage in file.stages.iter().map(|id| definitions.pipelines.stage(*id)) {
        for out in &stage.outs {
            want(&out.path, out.cache);
            current.insert(&out.path);
            if out.cache {
                cached.push(out.path.clone());
            } else {
                gits.push(&out.path);
            }
        }
        for scratch in &stage.scratch {
            cached.push(scratch.path.clone());
            want(&scratch.path, true);
        }
    }
    for data in &file.data {
        want(&data.path, true);
        current.insert(&data.path);
        cached.push(data.path.clone());
    }
    // Lines of former outs in a folder that became an out; they stay while the files exist (see `orphans`).
    let dir = file.path.parent().unwrap_or_default();
    for entry in locks.of_file(id).stages.values() {
        let wdir = dir.join(entry.wdir.as_deref().unwrap_or("."));
        for path in entry.outs.keys().filter_map(|p| wdir.as_ref()?.join(p)) {
            if current.contains(&path) || definitions.graph.producer(&path).is_some() {
                continue;
            }
            if !exists(project, &path) {
                want(&path, false);
            } else if gits.iter().any(|out| out.is_in(&path)) {
                // The folder itself is now tracked by Git, except for its former content.
                want(&path, false);
                for left in leftovers(project, &path, &current) {
                    want(&left, true);
                }
            }
        }
    }
}

/// The entries of a folder that no definition names.
fn leftovers(project: &Project, folder: &RepoPath, named: &HashSet<&RepoPath>) -> Vec<RepoPath> {
    let mut found = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder.on_disk(project.top())).into_iter().flatten().flatten();
        for path in entries.filter_map(|entry| folder.join(entry.file_name().to_str()?)) {
            if named.contains(&path) || path.name() == ".gitignore" {
                continue;
            }
            if named.iter().any(|named| named.is_in(&path)) {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Errors: Git tracks an out. With two owners of one file, Git would show every run as a change, and lockstep would
/// replace what Git checked out.
fn refuse_tracked(project: &Project, cached: &[RepoPath]) -> Result<()> {
    let tracked = project.repo.tracked(cached)?;
    if tracked.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tracked.iter().map(|path| path.relative_to(&project.cwd)).collect();
    Err(Error::new(Kind::Usage, format!("Git tracks {}, which lockstep stores as an output or data", names.join(", ")))
        .hint(format!("take it out of Git, keeping the file: git rm -r --cached {}", words(names)))
        .hint("or leave it to Git: give the output the flag `cache: false`"))
}
