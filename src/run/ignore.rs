//! Keeps `.gitignore` files in step with outs and data: what lockstep stores, Git does not.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, Kind, Result};
use crate::git::excludes;
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, Stage, StageId};
use crate::project::{Definitions, Locks, Project};

/// Names to be listed in, and dropped from, the ignore file of a folder.
type Lines = BTreeMap<RepoPath, (Vec<String>, Vec<String>)>;

/// Ignore files of folders that are not there yet: a stage makes them.
#[derive(Default)]
pub struct Later(Lines);

/// Writes the ignore files beside the outs and data of every file that has a chosen stage, each at most once; says which
/// were written, and which could not be yet. An out that Git tracks is an error, before anything is written.
pub fn write(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    chosen: &HashSet<StageId>,
) -> Result<(Vec<RepoPath>, Later)> {
    let mut lines = Lines::new();
    let mut cached = Vec::new();
    let files: HashSet<FileId> = chosen.iter().map(|id| definitions.pipelines.stage(*id).file).collect();
    let mut files: Vec<FileId> = files.into_iter().collect();
    files.sort();
    for id in files {
        collect(definitions, locks, id, &mut lines, &mut cached);
    }
    refuse_tracked(project, &cached)?;
    let (now, later): (Lines, Lines) =
        lines.into_iter().partition(|(folder, _)| folder.on_disk(project.top()).is_dir());
    let mut written = Vec::new();
    for (folder, names) in now {
        written.extend(write_one(project, &folder, &names)?);
    }
    Ok((written, Later(later)))
}

/// After a stage: the folders that it made get their lines, before a stage that depends on a folder above them looks at
/// it, and before anybody types `git add`.
pub fn catch_up(project: &Project, stage: &Stage, later: &mut Later) -> Result<Vec<RepoPath>> {
    let paths = stage.outs.iter().map(|o| &o.path).chain(stage.scratch.iter().map(|s| &s.path));
    let mut written = Vec::new();
    for folder in paths.filter_map(RepoPath::parent) {
        if !later.0.is_empty()
            && folder.on_disk(project.top()).is_dir()
            && let Some(names) = later.0.remove(&folder)
        {
            written.extend(write_one(project, &folder, &names)?);
        }
    }
    Ok(written)
}

fn write_one(
    project: &Project,
    folder: &RepoPath,
    (wanted, unwanted): &(Vec<String>, Vec<String>),
) -> Result<Option<RepoPath>> {
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let unwanted: Vec<&str> = unwanted.iter().map(String::as_str).collect();
    crate::store::inside(project.top(), folder)?;
    let changed = excludes::apply(&folder.on_disk(project.top()), &wanted, &unwanted)?;
    Ok(if changed { folder.join(".gitignore") } else { None })
}

fn collect(definitions: &Definitions, locks: &Locks, id: FileId, lines: &mut Lines, cached: &mut Vec<RepoPath>) {
    let file = definitions.pipelines.file(id);
    let mut want = |path: &RepoPath, wanted: bool| {
        let (Some(folder), name) = (path.parent(), path.name()) else { return };
        let (yes, no) = lines.entry(folder).or_default();
        if wanted { yes.push(name.into()) } else { no.push(name.into()) }
    };
    let mut current = HashSet::new();
    for stage in file.stages.iter().map(|id| definitions.pipelines.stage(*id)) {
        for out in &stage.outs {
            want(&out.path, out.cache);
            current.insert(&out.path);
            if out.cache {
                cached.push(out.path.clone());
            }
        }
        for scratch in &stage.scratch {
            want(&scratch.path, true);
        }
    }
    for data in &file.data {
        want(&data.path, true);
        current.insert(&data.path);
        cached.push(data.path.clone());
    }
    // Outs that were: their lines go with them.
    let dir = file.path.parent().unwrap_or_default();
    for entry in locks.of(id).stages.values() {
        let wdir = dir.join(entry.wdir.as_deref().unwrap_or("."));
        for path in entry.outs.keys().filter_map(|p| wdir.as_ref()?.join(p)) {
            if !current.contains(&path) && definitions.graph.producer(&path).is_none() {
                want(&path, false);
            }
        }
    }
}

/// Two masters of one file: Git would show every run as a change, and lockstep replaces what Git checked out.
fn refuse_tracked(project: &Project, cached: &[RepoPath]) -> Result<()> {
    let tracked = project.repo.tracked(cached)?;
    if tracked.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = tracked.iter().map(RepoPath::as_str).collect();
    Err(Error::new(Kind::Usage, format!("Git tracks {}, which lockstep stores as an output or data", names.join(", ")))
        .hint(format!("take it out of Git, keeping the file: git rm -r --cached {}", names.join(" ")))
        .hint("or leave it to Git: give the output the flag `cache: false`"))
}
