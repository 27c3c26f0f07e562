//! The gates of a project: its conditions at a state of the repository, and their metrics.

use std::collections::{BTreeSet, HashMap};

use super::signed;
use crate::error::{Error, Kind, Result};
use crate::model::artifact::Artifact;
use crate::model::checks::{CheckOutcome, Metrics, evaluate};
use crate::model::registry::Registry;
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, InputLocation};
use crate::project::values::{ValueRequest, metrics_of};
use crate::project::{FileSource, Rev, Snapshot, Snapshots};
use crate::tag::{self, ModelName, ModelRequest as Model, Which};
use crate::value;

/// Evaluates conditions, reading the metrics of a revision once.
pub struct Gates<'a, 'p> {
    snapshots: &'a Snapshots<'p>,
    registry: &'a Registry,
    read: HashMap<(String, RepoPath), Result<Option<Metrics>>>,
}

/// The selected conditions.
#[derive(Clone, Copy)]
pub enum GateScope<'a> {
    /// The conditions of all pipeline files.
    All,
    /// Conditions of one pipeline file.
    Pipeline(&'a RepoPath),
    /// Conditions of an artifact.
    Artifact(&'a Artifact),
}

impl<'a, 'p> Gates<'a, 'p> {
    /// Reads nothing: revisions are read when a condition names them.
    pub fn new(snapshots: &'a Snapshots<'p>, registry: &'a Registry) -> Gates<'a, 'p> {
        Gates { snapshots, registry, read: HashMap::new() }
    }

    /// Evaluates the conditions in the pipeline files of `snapshot`, by its metrics.
    pub fn evaluate(&mut self, snapshot: &Snapshot<'p>, meant: GateScope<'_>) -> Vec<CheckOutcome> {
        let mut judged = Vec::new();
        for (n, file) in snapshot.definitions.pipelines.files.iter().enumerate() {
            let id = FileId(n as u32);
            let counts = |of: &Option<String>| match meant {
                GateScope::All => true,
                GateScope::Pipeline(path) => file.path == *path,
                GateScope::Artifact(a) => a.file == id && of.as_ref().is_none_or(|name| name == a.name.short()),
            };
            let checks: Vec<_> = file.checks.iter().filter(|check| counts(&check.artifact)).collect();
            if checks.is_empty() {
                continue;
            }
            let here = metrics(snapshot, id);
            for check in checks {
                judged.push(evaluate(check, &file.path, &here, &mut |rev| self.metrics_at(rev, &file.path)));
            }
        }
        judged
    }

    fn metrics_at(&mut self, rev: &str, pipeline: &RepoPath) -> Result<Option<Metrics>> {
        let key = (rev.to_string(), pipeline.clone());
        if let Some(known) = self.read.get(&key) {
            return known.clone();
        }
        let found = self.read_at(rev, pipeline);
        self.read.insert(key, found.clone());
        found
    }

    fn read_at(&self, rev: &str, pipeline: &RepoPath) -> Result<Option<Metrics>> {
        let folder = pipeline.parent().unwrap_or_default();
        let at = match model_asked(rev, self.registry, &folder)? {
            None => self.snapshots.at(&Rev::Named(rev.to_string()))?,
            Some(asked) => match self.registry.find(&asked) {
                Ok((model, event, _)) => {
                    let repo = self.snapshots.repo();
                    if repo.require_signed {
                        signed::require(repo, model, Some(&asked.which), model.index_of(event))?;
                    }
                    self.snapshots.at(&Rev::Commit(event.commit))?
                }
                Err(e) if e.kind == Kind::Missing && !matches!(asked.which, Which::Version(_)) => return Ok(None),
                Err(e) => return Err(e),
            },
        };
        let files = at.definitions.pipelines.files.iter();
        match files.clone().position(|file| file.path == *pipeline) {
            Some(n) => Ok(Some(metrics(&at, FileId(n as u32)))),
            None => Err(Error::missing(format!("{rev} has no {pipeline}"))),
        }
    }
}

/// The version or label of a model, if a revision is spelled as one.
fn model_asked(rev: &str, registry: &Registry, folder: &RepoPath) -> Result<Option<Model>> {
    // `@{upstream}` and `HEAD@{1}` are Git's.
    let Some(asked) = rev.parse::<Model>().ok().filter(|_| rev.contains(['@', '#'])) else { return Ok(None) };
    let known: BTreeSet<ModelName> = registry.models.keys().cloned().collect();
    let name = tag::resolve_name(&asked.name, &known, folder)?;
    Ok(Some(Model { name, ..asked }))
}

/// The numbers of one pipeline's metrics: outputs under `metrics:` of its stages, and files under `metrics:` at its
/// top. A pinned metrics file that is not available is taken from the lock, which has the scalars of small ones.
pub fn metrics(snapshot: &Snapshot<'_>, file: FileId) -> Metrics {
    let definitions = &snapshot.definitions;
    let pipeline = definitions.pipelines.file(file);
    let asked: ValueRequest = metrics_of(definitions, &pipeline.stages, &[file]);
    let mut found = Metrics::default();
    for (place, _) in asked.into_values() {
        let InputLocation::Repo(path) = place else { continue };
        let read = snapshot.read_file(&path).and_then(|bytes| match bytes {
            Some(bytes) => value::read(path.as_str(), &bytes),
            None => Err(Error::missing(format!("{path} does not exist"))),
        });
        match read {
            Ok(values) => found.add(path, &values),
            // An existing but unusable file (a Git LFS pointer) is an error.
            Err(error) => match locked(snapshot, &path).filter(|_| error.kind == Kind::Missing) {
                Some(values) if !matches!(snapshot.locate(&path), Ok(Some(FileSource::Disk))) => {
                    found.add(path, &values)
                }
                _ => found.unread.push((path, error)),
            },
        }
    }
    found
}

/// The scalars of a metrics file in the lock.
fn locked(snapshot: &Snapshot<'_>, path: &RepoPath) -> Option<value::Value> {
    let pipelines = &snapshot.definitions.pipelines;
    let locks = snapshot.locks().ok()?;
    let stage = pipelines.stages.iter().find(|stage| stage.outs.iter().any(|out| out.path == *path))?;
    let out = stage.outs.iter().find(|out| out.path == *path)?;
    let metrics = &locks.of_file(stage.file).stages.get(&stage.name)?.outs.get(&out.spelled)?.metrics;
    let values: Vec<_> = metrics.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    (!values.is_empty()).then_some(value::Value::Map(values))
}
