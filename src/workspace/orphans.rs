//! Orphans: outputs and data that no pipeline file names any more, because the user removed their stage or entry by
//! hand, and that Git still ignores because of lockstep.
//!
//! Their line in `.gitignore` stays while the files exist, or the next `git add -A` would commit them. A run reports
//! them while the lock has their block, that is, until a run succeeds. After that `status` reports them, because the
//! stat index remembers that lockstep stored them. If the index is lost, such a line cannot be told apart from a line
//! that the user wrote. If the user deletes the line, nothing is reported.

use std::collections::HashSet;
use std::io;

use crate::git::ignore::excludes;
use crate::lock::merge::Block;
use crate::lock::{Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{FileId, PipelineFile, Stage};
use crate::project::{Definitions, Locks, Project};
use crate::shell::word;
use crate::workspace::leftovers::{KnownPaths, is_ours};

/// An output or data that no pipeline file names and that Git still ignores.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    pub path: RepoPath,
    /// The pipeline file that named it, which may be deleted, and the lock block that pins it; `None` if no lock pins
    /// it.
    pub origin: Option<(RepoPath, Block)>,
    /// Current outputs or data are inside it.
    pub is_shared: bool,
}

/// All orphans that a lock still pins. Reads the disk only if a block has no matching definition.
pub fn orphans(project: &Project, definitions: &Definitions, locks: &Locks) -> Vec<Orphan> {
    let mut found = Vec::new();
    for (n, file) in definitions.pipelines.files.iter().enumerate() {
        let paths = unnamed(definitions, locks.of_file(FileId(n as u32)), file);
        found.extend(paths.into_iter().filter_map(|found| orphan(project, definitions, &file.path, found)));
    }
    for (lock, text) in &locks.alone {
        let folder = lock.parent().unwrap_or_default();
        let Some(pipeline) = folder.join("pipeline.yaml") else { continue };
        let blocks = text.stages.iter().flat_map(|(name, entry)| outs(&folder, entry).map(|path| (path, name.clone())));
        let paths = blocks.map(|(path, name)| (path, Block::Stage(name)));
        found.extend(paths.filter_map(|found| orphan(project, definitions, &pipeline, found)));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

fn orphan(
    project: &Project,
    definitions: &Definitions,
    pipeline: &RepoPath,
    (path, block): (RepoPath, Block),
) -> Option<Orphan> {
    is_orphan(project, definitions, &path).then(|| {
        let is_shared = !definitions.graph.owners_of(&path).is_empty();
        Orphan { path, origin: Some((pipeline.clone(), block)), is_shared }
    })
}

fn is_orphan(project: &Project, definitions: &Definitions, path: &RepoPath) -> bool {
    let owners = definitions.graph.owners_of(path);
    let is_owned = owners.into_iter().any(|owner| path.is_in(owned(definitions, owner)));
    !is_owned && exists(project, path) && is_ignored(project, path)
}

/// The orphans that no lock pins any more.
pub fn released_orphans(project: &Project, definitions: &Definitions, locks: &Locks) -> Vec<Orphan> {
    let released = project.index().released_places();
    // A file that cannot be read may list any path.
    if released.is_empty() || !definitions.broken.is_empty() {
        return Vec::new();
    }
    let known = KnownPaths::collect(definitions, locks);
    let is_left =
        |path: &RepoPath| !known.overlaps(path) && is_ours(project, path) && is_orphan(project, definitions, path);
    let unlisted = released.into_iter().filter(is_left);
    unlisted.map(|path| Orphan { path, origin: None, is_shared: false }).collect()
}

/// Data that a lock pins and no pipeline file lists, such as an entry that one branch took out by hand while another
/// recorded a new version.
#[derive(Clone, Debug, PartialEq)]
pub struct UnlistedData {
    pub lock: RepoPath,
    /// The name in the lock.
    pub name: String,
    /// The lock has no pipeline file beside it.
    pub is_alone: bool,
}

/// Unlisted data that is not among the orphans.
pub fn unlisted_data(definitions: &Definitions, locks: &Locks, orphans: &[Orphan]) -> Vec<UnlistedData> {
    // A file that cannot be read may list any path.
    if !definitions.broken.is_empty() {
        return Vec::new();
    }
    let files = definitions.pipelines.files.iter().zip(&locks.all);
    let beside = files.map(|(file, lock)| (Project::lock_path(&file.path), lock, Some(file)));
    let alone = locks.alone.iter().map(|(path, lock)| (path.clone(), lock, None));
    let mut found = Vec::new();
    for (path, lock, file) in beside.chain(alone).filter(|(_, lock, _)| !lock.data.is_empty()) {
        let folder = path.parent().unwrap_or_default();
        let listed: HashSet<&String> = file.iter().flat_map(|file| &file.data).map(|data| &data.spelled).collect();
        for name in lock.data.keys().filter(|name| !listed.contains(name)) {
            let Some(data) = folder.join(name) else { continue };
            let owners = definitions.graph.owners_of(&data);
            if !owners.into_iter().any(|owner| data.is_in(owned(definitions, owner)))
                && orphans.iter().all(|orphan| orphan.path != data)
            {
                found.push(UnlistedData { lock: path.clone(), name: name.clone(), is_alone: file.is_none() });
            }
        }
    }
    found
}

impl UnlistedData {
    /// A sentence, and the command to type.
    pub fn describe(&self, project: &Project) -> (String, String) {
        let (lock, name) = (self.lock.relative_to(&project.cwd), &self.name);
        let text = format!("{lock} pins {name}, which no pipeline file lists as data");
        let file = self.lock.parent().unwrap_or_default().join("pipeline.yaml").unwrap_or_default();
        let file = file.relative_to(&project.cwd);
        let hint = match self.is_alone {
            true => format!("bring back {file}, or delete {lock} if its data is not needed any more"),
            false => format!("list it under `data` in {file}, as `- path: {name}`, or the next repro drops the pin"),
        };
        (text, hint)
    }
}

fn owned(definitions: &Definitions, owner: Owner) -> &RepoPath {
    match owner {
        Owner::Out(id, n) => &definitions.pipelines.stage(id).outs[n as usize].path,
        Owner::Data(file, n) => &definitions.pipelines.file(file).data[n as usize].path,
    }
}

/// The paths that a lock pins and its pipeline file does not name.
fn unnamed(definitions: &Definitions, lock: &Lock, file: &PipelineFile) -> Vec<(RepoPath, Block)> {
    let folder = file.path.parent().unwrap_or_default();
    let stages = || file.stages.iter().map(|id| definitions.pipelines.stage(*id));
    let is_known = |stage: &Stage| {
        lock.stages.get(&stage.name).map(|entry| {
            stage.outs.iter().filter(|out| entry.outs.contains_key(&out.spelled)).count() == entry.outs.len()
        })
    };
    let known = stages().filter_map(is_known);
    let is_fitting = known.clone().all(|fits| fits) && known.count() == lock.stages.len();
    let mut found = Vec::new();
    if !is_fitting {
        let named: HashSet<RepoPath> = stages().flat_map(|stage| &stage.outs).map(|out| out.path.clone()).collect();
        for (name, entry) in &lock.stages {
            let paths = outs(&folder, entry).filter(|path| !named.contains(path));
            found.extend(paths.map(|path| (path, Block::Stage(name.clone()))));
        }
    }
    if !lock.data.is_empty() {
        let named: HashSet<&String> = file.data.iter().map(|data| &data.spelled).collect();
        let gone = lock.data.keys().filter(|name| !named.contains(name));
        found.extend(gone.filter_map(|name| Some((folder.join(name)?, Block::Data(name.clone())))));
    }
    found
}

/// The outputs of a record that lockstep stores, as paths from the top folder.
fn outs(folder: &RepoPath, entry: &StageLock) -> impl Iterator<Item = RepoPath> {
    let wdir = folder.join(entry.wdir.as_deref().unwrap_or("."));
    let cached = entry.outs.iter().filter(|(_, out)| out.cache);
    cached.filter_map(|(path, _)| wdir.as_ref()?.join(path)).collect::<Vec<_>>().into_iter()
}

/// Whether the path exists, as far as its folder can be read.
pub(crate) fn exists(project: &Project, path: &RepoPath) -> bool {
    match path.on_disk(project.top()).symlink_metadata() {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Whether the folder's own ignore file has the line that lockstep writes.
fn is_ignored(project: &Project, path: &RepoPath) -> bool {
    let Some(file) = path.parent().unwrap_or_default().join(".gitignore") else { return false };
    let text = project.bounds().read(&file.on_disk(project.top()));
    // An ignore file that cannot be read may have the line.
    text.map_or(true, |text| excludes::plan(&text.unwrap_or_default(), &[], &[path.name()]).is_some())
}

impl Orphan {
    /// A sentence, and the commands to type.
    pub fn describe(&self, project: &Project) -> (String, Vec<String>) {
        let path = self.path.relative_to(&project.cwd);
        let of = match &self.origin {
            Some((file, Block::Stage(name))) => {
                let file = file.relative_to(&project.cwd);
                format!("{path} is not an output of {file} any more (stage {name} made it)")
            }
            Some((file, Block::Data(_))) => {
                format!("{path} is not data of {} any more", file.relative_to(&project.cwd))
            }
            None => format!("{path} is neither an output nor data any more"),
        };
        let folder = self.path.parent().unwrap_or_default();
        let ignore = folder.join(".gitignore").unwrap_or_default().relative_to(&project.cwd);
        let typed = word(&path);
        let line = excludes::line(self.path.name());
        let git = format!("or leave it to Git: delete the line {line} in {ignore}");
        let hints = match self.is_shared {
            true => vec![format!("delete the files in {path} that no stage makes any more"), git],
            false => {
                vec![format!("track it as data: lockstep add {typed}"), format!("or delete it: rm -r {typed}"), git]
            }
        };
        (format!("{of}; Git still ignores it"), hints)
    }
}
