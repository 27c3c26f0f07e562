//! The facts at the top of a page: the repository, the commits of the revisions, their params and metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::value_table::ValueTable;
use crate::compare::values::{ValuesByFile, directions};
use crate::git::Commit;
use crate::model::registry::tag_write::rfc3339;
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, StageId};
use crate::project::values::{self, ParsedFiles, ValueRequest, metrics_of, params_of};
use crate::project::{Definitions, Project, Snapshot};

/// The facts at the top of a page.
#[derive(Debug, Default)]
pub struct Overview {
    /// The name of the repository, and the folder of the project in it.
    pub repository: String,
    /// In the order of the revisions; `None` for the workspace.
    pub commits: Vec<Option<CommitSummary>>,
    pub values: ValueTable,
}

/// A commit in a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitSummary {
    /// The beginning of its id.
    pub id: String,
    /// `2026-01-31`, in UTC; empty if the commit cannot be read.
    pub date: String,
    pub subject: String,
}

/// Selects the files of stages and pipeline files.
type FilesOf = dyn Fn(&Definitions, &[StageId], &[FileId]) -> ValueRequest;

impl Overview {
    /// Reads the facts. What cannot be read is left out, and a file of values is named.
    pub fn of(project: &Project, snapshots: &[Snapshot<'_>]) -> Overview {
        let mut repository = project.repo.name();
        if !project.repo.project_root.is_root() {
            repository = format!("{repository}/{}", project.repo.project_root);
        }
        let commits = snapshots.iter().map(|snapshot| snapshot.git().map(summary)).collect();
        Overview { repository, commits, values: value_table(project, snapshots) }
    }
}

fn summary(commit: &Commit) -> CommitSummary {
    let id = commit.id.short();
    let Ok(info) = commit.info() else { return CommitSummary { id, ..CommitSummary::default() } };
    let date = rfc3339(info.time).split('T').next().unwrap_or_default().to_string();
    CommitSummary { id, date, subject: info.subject }
}

fn value_table(project: &Project, snapshots: &[Snapshot<'_>]) -> ValueTable {
    let Some(last) = snapshots.last() else { return ValueTable::default() };
    let mut reader = ValueReader { snapshots, unread: BTreeMap::new(), parsed: ParsedFiles::default() };
    let (mut metrics, mut params) = (reader.sides(&metrics_of), reader.sides(&params_of));
    for side in metrics.iter_mut().chain(&mut params) {
        side.retain(|file, _| !reader.unread.contains_key(file));
    }
    let (directions, _) = directions(&last.definitions.pipelines);
    let mut table = ValueTable::new(&metrics, &params, &directions, &project.cwd);
    let unread = reader.unread.iter().map(|(file, revision)| format!("{file} (in {revision})"));
    table.unread = unread.collect();
    table
}

/// Reads the values of several snapshots, each file with the same content once.
struct ValueReader<'a, 'p> {
    snapshots: &'a [Snapshot<'p>],
    /// Files that cannot be read, with the first such revision. Their values are unknown, so none is shown as changed.
    unread: BTreeMap<String, String>,
    parsed: ParsedFiles,
}

impl ValueReader<'_, '_> {
    /// One side for each snapshot. Values of a pipeline file that one of the snapshots cannot read are left out.
    fn sides(&mut self, files: &FilesOf) -> Vec<ValuesByFile> {
        let mut broken: BTreeSet<&RepoPath> = BTreeSet::new();
        for snapshot in self.snapshots {
            for (path, _) in &snapshot.definitions.broken {
                broken.insert(path);
                self.unread.entry(path.to_string()).or_insert_with(|| snapshot.name.clone());
            }
        }
        let mut sides = Vec::new();
        for snapshot in self.snapshots {
            let pipelines = &snapshot.definitions.pipelines;
            let is_whole = |id: &FileId| !broken.contains(&pipelines.file(*id).path);
            let stages: Vec<StageId> = pipelines.ids().filter(|id| is_whole(&pipelines.stage(*id).file)).collect();
            let tops: Vec<FileId> = (0..pipelines.files.len() as u32).map(FileId).filter(is_whole).collect();
            let mut side = ValuesByFile::new();
            for file in values::read(snapshot, &files(&snapshot.definitions, &stages, &tops), &mut self.parsed) {
                if file.is_absent(snapshot) {
                    continue;
                }
                let name = file.place.to_string();
                match file.values {
                    Ok(values) => drop(side.insert(name, values)),
                    Err(_) => drop(self.unread.entry(name).or_insert_with(|| snapshot.name.clone())),
                }
            }
            sides.push(side);
        }
        sides
    }
}
