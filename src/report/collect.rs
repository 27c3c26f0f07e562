//! Collects the content of a report: the last run, the params and metrics of two states of the repository, and the
//! failed conditions.
//!
//! Values are read from the files, as in `metrics diff`. A file that cannot be read, and the metrics of a stage that
//! the last run did not finish, are unknown: never equal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::values::{Directions, ValuesByFile, compare, directions};
use crate::error::{Error, Result};
use crate::git::GitId;
use crate::model::registry::Registry;
use crate::model::registry::gate::{GateScope, Gates};
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, StageId};
use crate::project::values::{self, ParsedFiles, ValueRequest, metrics_of, params_of};
use crate::project::{Definitions, Project, Rev, Snapshot, Snapshots};
use crate::report::last::{LastRun, StageStatus};
use crate::value::{self, Value};
use crate::workspace::stale_metrics::stale_metrics;

/// The version of the report format. A reader refuses another one.
pub const VERSION: u32 = 1;

/// The content of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The root of the project, relative to the root of the repository: each project has a comment of its own.
    pub project: String,
    /// The commit of the report.
    pub commit: Option<String>,
    /// The state that it is compared with.
    pub base: Option<Base>,
    /// The likeliest base, if it was to be one of several candidates and none of them exists.
    pub no_base: Option<String>,
    /// The outcome of the last run; `None` if it is not known.
    pub run: Option<LastRun>,
    /// Params that differ from the base, by file and key.
    pub params: Vec<ValueChange>,
    /// Metrics that differ from the base, by file and key.
    pub metrics: Vec<ValueChange>,
    /// Files that could not be compared.
    #[serde(default)]
    pub unknown: Vec<Unknown>,
    /// Addresses of stages in both states whose commands differ.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Failed conditions.
    #[serde(default)]
    pub checks: Vec<FailedCheck>,
}

/// A params or metrics file that was not compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// The file, relative to the root of the repository.
    pub file: String,
    /// The reason, for people.
    pub why: String,
}

/// A condition of `checks:` that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedCheck {
    /// The condition as written: `accuracy >= 0.9`.
    pub check: String,
    /// The pipeline file that declares it, relative to the root of the repository.
    pub pipeline: String,
    /// The artifact whose versions must meet it; `None` for all artifacts of the file.
    pub artifact: Option<String>,
    /// The value of the metric; `None` if it is unknown.
    pub value: Option<Value>,
    /// The value that the metric is compared with; `None` if it is unknown.
    pub limit: Option<Value>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// The condition and its result in one line.
    pub sentence: String,
}

/// The state that a report compares with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The name given by the user.
    pub name: String,
    /// The full id of the commit.
    pub commit: String,
}

/// A value that differs; `None` for a missing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueChange {
    /// The file, relative to the root of the repository.
    pub file: String,
    /// The dotted key in the file.
    pub key: String,
    /// The value at the base; `None` if it has none.
    pub old: Option<Value>,
    /// The value now; `None` if there is none.
    pub new: Option<Value>,
    /// New minus old, for numbers.
    pub change: Option<Value>,
    /// Set if the pipeline declares which direction is better.
    pub better: Option<bool>,
}

/// The state to compare with.
#[derive(Debug)]
pub enum CompareWith {
    /// A revision given by the user; it has to exist.
    Rev(String),
    /// The first of these that exists; a clone in CI may lack all of them.
    FirstOf(Vec<String>),
}

/// Collects a report on the workspace.
pub fn collect(project: &Project, against: &CompareWith) -> Result<Report> {
    let mut report = Report {
        version: VERSION,
        project: project.repo.project_root.to_string(),
        commit: project.repo.head()?,
        run: LastRun::read(project),
        ..Report::default()
    };
    let found = match against {
        CompareWith::Rev(name) => Some((name.clone(), project.repo.history_from(&project.cwd)?.resolve(name)?.id)),
        CompareWith::FirstOf(names) => {
            let found = names.iter().find_map(|name| Some((name.clone(), project.repo.resolve(name).ok()?.id)));
            if let (None, Some(name)) = (&found, names.first()) {
                report.no_base = Some(name.clone());
            }
            found
        }
    };
    let snapshots = project.snapshots();
    let new = snapshots.at(&Rev::Worktree)?;
    let mut undone = undone(&report, &new);
    for (file, why) in stale_metrics(&new)? {
        undone.entry(file).or_insert(why);
    }
    if let Some((name, id)) = found {
        let id = common_ancestor(project, id)?;
        report.base = Some(Base { name, commit: id.hex() });
        let old = snapshots.at(&Rev::Commit(id))?;
        let (directions, _) = directions(&new.definitions.pipelines);
        let mut comparison =
            Comparison { old: &old, new: &new, unknown: BTreeMap::new(), parsed: ParsedFiles::default() };
        report.params = comparison.changes(&params_of, &Directions::default());
        comparison.unknown.extend(undone.clone());
        report.metrics = comparison.changes(&metrics_of, &directions);
        report.unknown = comparison.unknown.into_iter().map(|(file, why)| Unknown { file, why }).collect();
        report.commands = commands(&old, &new);
    }
    report.checks = failed_checks(&snapshots, &new, &undone)?;
    Ok(report)
}

/// Metrics of stages that the last run did not finish, each with the reason: the file is from an earlier run.
fn undone(report: &Report, snapshot: &Snapshot<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let pipelines = &snapshot.definitions.pipelines;
    for run in report.run.iter().flat_map(|run| &run.stages) {
        let why = match run.result {
            StageStatus::Failed => "failed",
            StageStatus::Blocked => "was not run",
            StageStatus::Stale => "is stale",
            _ => continue,
        };
        let stage = pipelines.ids().find(|id| pipelines.address(*id, &RepoPath::root()) == run.address);
        let outs = stage.iter().flat_map(|id| &pipelines.stage(*id).outs).filter(|out| out.metric);
        found.extend(outs.map(|out| (out.path.to_string(), format!("stage {} {why}", run.address))));
    }
    found
}

/// Stages in both states with different commands.
fn commands(old: &Snapshot<'_>, new: &Snapshot<'_>) -> Vec<String> {
    let (before, after) = (&old.definitions.pipelines, &new.definitions.pipelines);
    let root = RepoPath::root();
    let known: BTreeMap<String, _> =
        before.ids().map(|id| (before.address(id, &root), &before.stage(id).cmd)).collect();
    let all = after.ids().map(|id| (after.address(id, &root), &after.stage(id).cmd));
    all.filter(|(address, cmd)| known.get(address).is_some_and(|old| old != cmd)).map(|(address, _)| address).collect()
}

/// Two states whose values are compared.
struct Comparison<'a, 'p> {
    old: &'a Snapshot<'p>,
    new: &'a Snapshot<'p>,
    /// Files that are not compared, and why.
    unknown: BTreeMap<String, String>,
    parsed: ParsedFiles,
}

/// Which files of these stages and pipeline files are compared.
type FilesOf = dyn Fn(&Definitions, &[StageId], &[FileId]) -> ValueRequest;

impl Comparison<'_, '_> {
    fn changes(&mut self, files: &FilesOf, directions: &Directions) -> Vec<ValueChange> {
        let (old, new) = (self.old, self.new);
        let (mut before, mut after) = (self.side(old, new, files), self.side(new, old, files));
        before.retain(|file, _| !self.unknown.contains_key(file));
        after.retain(|file, _| !self.unknown.contains_key(file));
        changes(&before, &after, directions)
    }

    /// The values of one side. Values of a pipeline file that the other side cannot read are left out, so none of them
    /// appears as added or removed.
    fn side(&mut self, snapshot: &Snapshot<'_>, other: &Snapshot<'_>, files: &FilesOf) -> ValuesByFile {
        let pipelines = &snapshot.definitions.pipelines;
        let is_broken =
            |file: FileId| other.definitions.broken.iter().any(|(path, _)| *path == pipelines.file(file).path);
        for (path, _) in &snapshot.definitions.broken {
            self.unknown.insert(path.to_string(), format!("it cannot be read in {}", snapshot.name));
        }
        let stages: Vec<StageId> = pipelines.ids().filter(|id| !is_broken(pipelines.stage(*id).file)).collect();
        let tops: Vec<FileId> = (0..pipelines.files.len() as u32).map(FileId).filter(|id| !is_broken(*id)).collect();
        let asked = files(&snapshot.definitions, &stages, &tops);
        let mut side = ValuesByFile::new();
        for file in values::read(snapshot, &asked, &mut self.parsed) {
            // A file that only one side has is a difference; a stage that never ran has no metrics.
            if file.is_absent(snapshot) {
                continue;
            }
            let name = file.place.to_string();
            match file.values {
                Ok(values) => drop(side.insert(name, values)),
                Err(e) => drop(self.unknown.insert(name, e.message)),
            }
        }
        side
    }
}

/// The conditions that fail in the workspace, or cannot be evaluated.
fn failed_checks<'p>(
    snapshots: &Snapshots<'p>,
    snapshot: &Snapshot<'p>,
    undone: &BTreeMap<String, String>,
) -> Result<Vec<FailedCheck>> {
    if snapshot.definitions.pipelines.files.iter().all(|file| file.checks.is_empty()) {
        return Ok(Vec::new());
    }
    let registry = Registry::read(&snapshot.project.repo)?;
    let judged = Gates::new(snapshots, &registry).evaluate(snapshot, GateScope::All);
    let failed = judged.into_iter().map(|judged| judged.unless_undone(undone)).filter(|judged| !judged.ok);
    let failed = failed.map(|judged| FailedCheck {
        check: judged.check.text.clone(),
        pipeline: judged.pipeline.to_string(),
        artifact: judged.check.artifact.clone(),
        value: judged.value.map(Value::from),
        limit: judged.limit.map(Value::from),
        error: judged.error.as_ref().map(Error::full_message),
        sentence: judged.sentence(),
    });
    Ok(failed.collect())
}

/// The merge base: later commits of the target branch are not changes of this branch.
fn common_ancestor(project: &Project, base: GitId) -> Result<GitId> {
    let Ok(head) = project.repo.resolve("HEAD") else { return Ok(base) };
    Ok(project.repo.merge_base(base, head.id)?.unwrap_or(base))
}

fn changes(old: &ValuesByFile, new: &ValuesByFile, directions: &Directions) -> Vec<ValueChange> {
    compare(old, new, directions)
        .iter()
        .filter(|row| !row.is_same())
        .map(|row| ValueChange {
            file: row.file.clone(),
            key: row.key.clone(),
            old: row.old.clone(),
            new: row.new.clone(),
            change: row.change.filter(|change| change.is_finite()).map(Value::from),
            better: row.better,
        })
        .collect()
}

impl Report {
    /// Reads a report that another job wrote. Its content is untrusted.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Report> {
        let wrong = |why: String| {
            Error::usage(format!("{name} is not a report: {why}")).hint("make one: lockstep ci report --json > FILE")
        };
        if bytes.len() > LARGEST {
            return Err(wrong(format!("it is larger than {} MB", LARGEST / 1_000_000)));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
        let report: Report = value::read_record(text).map_err(wrong)?;
        match report.version {
            VERSION => Ok(report),
            other => Err(wrong(format!("it has version {other}, this lockstep knows version {VERSION}"))
                .hint("use the same lockstep in both jobs")),
        }
    }
}

/// The maximum size of a report, in bytes.
pub const LARGEST: usize = 8_000_000;
