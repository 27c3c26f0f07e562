//! Everything that a report tells, gathered: the last run, and the params and metrics of two locks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::values::{Directions, Side, compare, directions};
use crate::error::{Error, Result};
use crate::git::GitId;
use crate::lock::ByName;
use crate::path::RepoPath;
use crate::project::{Project, Rev, Snapshot};
use crate::report::last::LastRun;
use crate::value::{self, Value};

/// The version of a report as a file. A reader refuses another one.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    /// The root of the project, from the root of the repository: several projects have a comment each.
    pub project: String,
    /// What is reported on.
    pub commit: Option<String>,
    /// What it is compared with.
    pub base: Option<Base>,
    /// Why there is no base, where one was to be expected.
    pub no_base: Option<String>,
    pub run: Option<LastRun>,
    pub params: Vec<Change>,
    pub metrics: Vec<Change>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// As somebody called it.
    pub name: String,
    pub commit: String,
}

/// A value that differs. `None`: there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub file: String,
    pub key: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
    /// New minus old, of numbers.
    pub change: Option<Value>,
    /// Where the pipeline says which way is better.
    pub better: Option<bool>,
}

/// What to compare with.
#[derive(Debug)]
pub enum Against {
    /// A revision that somebody typed; it must be there.
    Rev(String),
    /// The first of these that is there; a clone in CI may lack all of them.
    FirstOf(Vec<String>),
}

/// Gathers a report on the workspace.
pub fn collect(project: &Project, against: &Against) -> Result<Report> {
    let mut report = Report {
        version: VERSION,
        project: project.repo.project_root.to_string(),
        commit: project.repo.head()?,
        run: LastRun::read(project),
        ..Report::default()
    };
    let found = match against {
        Against::Rev(name) => Some((name.clone(), project.repo.history_from(&project.cwd)?.resolve(name)?.id)),
        Against::FirstOf(names) => {
            let found = names.iter().find_map(|name| Some((name.clone(), project.repo.resolve(name).ok()?.id)));
            if let (None, Some(name)) = (&found, names.first()) {
                report.no_base = Some(name.clone());
            }
            found
        }
    };
    if let Some((name, id)) = found {
        let id = common_ancestor(project, id)?;
        report.base = Some(Base { name, commit: id.hex() });
        let snapshots = project.snapshots();
        let (old, new) = (snapshots.at(&Rev::Commit(id))?, snapshots.at(&Rev::Worktree)?);
        let (before, after) = (values(&old, &new)?, values(&new, &old)?);
        let (directions, _) = directions(&new.definitions.pipelines);
        report.params = changes(&before.params, &after.params, &Directions::default());
        report.metrics = changes(&before.metrics, &after.metrics, &directions);
    }
    Ok(report)
}

/// What went on in the target branch since this one left it is no change of this one.
fn common_ancestor(project: &Project, base: GitId) -> Result<GitId> {
    let Ok(head) = project.repo.resolve("HEAD") else { return Ok(base) };
    Ok(project.repo.merge_base(base, head.id)?.unwrap_or(base))
}

#[derive(Default)]
struct Locked {
    params: Side,
    metrics: Side,
}

/// Params and metrics as the locks of a snapshot have them, files from the root of the repository. What the other side
/// has of a pipeline file that it cannot read is not known, so nothing of it is new or gone.
fn values(snapshot: &Snapshot, other: &Snapshot) -> Result<Locked> {
    let is_broken = |path: &RepoPath| other.definitions.broken.iter().any(|(broken, _)| broken == path);
    let (mut params, mut metrics) = (Keys::new(), Keys::new());
    let files = snapshot.definitions.pipelines.files.iter().zip(&snapshot.locks()?.all);
    for (file, lock) in files.filter(|(file, _)| !is_broken(&file.path)) {
        let folder = file.path.parent().unwrap_or_default();
        for entry in lock.stages.values() {
            let wdir = folder.join(entry.wdir.as_deref().unwrap_or(".")).unwrap_or_default();
            let place = |path: &String| wdir.join(path).as_ref().map_or(path.clone(), RepoPath::to_string);
            let take = |found: &mut Keys, path: &String, keys: &ByName<Value>| {
                let keys = keys.iter().map(|(key, value)| (key.clone(), value.clone()));
                found.entry(place(path)).or_default().extend(keys);
            };
            entry.params.iter().for_each(|(path, keys)| take(&mut params, path, keys));
            entry.outs.iter().for_each(|(path, out)| take(&mut metrics, path, &out.metrics));
        }
    }
    let side =
        |keys: Keys| keys.into_iter().map(|(file, keys)| (file, Value::Map(keys.into_iter().collect()))).collect();
    Ok(Locked { params: side(params), metrics: side(metrics) })
}

/// By file, then key.
type Keys = BTreeMap<String, BTreeMap<String, Value>>;

fn changes(old: &Side, new: &Side, directions: &Directions) -> Vec<Change> {
    compare(old, new, directions)
        .iter()
        .filter(|row| !row.is_same())
        .map(|row| Change {
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
    /// Reads a report that another job wrote. Nothing in it is to be trusted.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Report> {
        let wrong = |why: String| {
            Error::usage(format!("{name} is no report: {why}")).hint("make one: lockstep ci report --json > FILE")
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

/// A larger file is no report, in bytes.
pub const LARGEST: usize = 8_000_000;
