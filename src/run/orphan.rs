//! Outputs and data that no pipeline file names any more, since their stage or entry was taken out by hand, and that
//! Git ignores because of lockstep.
//!
//! Their line in `.gitignore` stays while they are there, or the next `git add -A` would commit them. They are reported as
//! long as the lock has their block: until a run of the pipeline file ends well. A line that the user deletes is a decision.

use std::collections::HashSet;
use std::io;

use crate::git::excludes;
use crate::lock::merge::Block;
use crate::lock::{Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{FileId, PipelineFile, Stage};
use crate::project::{Definitions, Locks, Project};
use crate::shell::word;

#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    pub path: RepoPath,
    pub file: FileId,
    /// What the lock has it in.
    pub block: Block,
    /// Outputs or data of today lie in it.
    pub is_shared: bool,
}

/// Which there are. Where every block fits its definition, the disk is not asked.
pub fn orphans(project: &Project, definitions: &Definitions, locks: &Locks) -> Vec<Orphan> {
    let mut found = Vec::new();
    for (n, file) in definitions.pipelines.files.iter().enumerate() {
        let id = FileId(n as u32);
        for (path, block) in unnamed(definitions, locks.of(id), file) {
            let owners = definitions.graph.owners_of(&path);
            let is_shared = !owners.is_empty();
            if !owners.into_iter().any(|owner| path.is_in(owned(definitions, owner)))
                && is_there(project, &path)
                && is_ignored(project, &path)
            {
                found.push(Orphan { path, file: id, block, is_shared });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
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

/// The outputs of a record that lockstep stores, from the top.
fn outs(folder: &RepoPath, entry: &StageLock) -> impl Iterator<Item = RepoPath> {
    let wdir = folder.join(entry.wdir.as_deref().unwrap_or("."));
    let cached = entry.outs.iter().filter(|(_, out)| out.cache);
    cached.filter_map(|(path, _)| wdir.as_ref()?.join(path)).collect::<Vec<_>>().into_iter()
}

/// Is it there, as far as can be seen?
pub(super) fn is_there(project: &Project, path: &RepoPath) -> bool {
    match path.on_disk(project.top()).symlink_metadata() {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Does the folder's own ignore file have the line that lockstep writes?
fn is_ignored(project: &Project, path: &RepoPath) -> bool {
    let Some(file) = path.parent().unwrap_or_default().join(".gitignore") else { return false };
    let text = project.bounds().read(&file.on_disk(project.top()));
    // One that cannot be read may have it.
    text.map_or(true, |text| excludes::plan(&text.unwrap_or_default(), &[], &[path.name()]).is_some())
}

impl Orphan {
    /// A sentence, and what to type.
    pub fn describe(&self, project: &Project, definitions: &Definitions) -> (String, Vec<String>) {
        let path = self.path.relative_to(&project.cwd);
        let file = definitions.pipelines.file(self.file).path.relative_to(&project.cwd);
        let of = match &self.block {
            Block::Stage(name) => format!("{path} is no output of {file} any more (stage {name} made it)"),
            Block::Data(_) => format!("{path} is no data of {file} any more"),
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
