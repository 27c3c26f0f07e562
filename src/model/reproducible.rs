//! Reproducibility of a commit: reasons why what it pins could not be made again, for `register` to refuse.
//!
//! A commit is judged by itself, independent of the workspace: its definitions, params and files in Git are compared
//! with its locks, by the same function that `status` uses. What the commit does not contain (environment variables,
//! files outside the repository, settings) is taken from the lock, and so is a folder that cannot be composed from Git
//! and the locks alone, because of a symlink or a tree that is not in the store.
//!
//! For the current commit, the workspace is compared as well: a user who registers `HEAD` without committing the last
//! run would otherwise register the previous model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::artifact::Artifact;
use super::origin::{self, ArtifactOrigin};
use crate::environment::PythonVersion;
use crate::environment::interpreter::Pythons;
use crate::environment::resolve::{ResolvedEnvironment, Sources, resolve};
use crate::error::Result;
use crate::event::Sink;
use crate::git::EntryKind;
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::{InputLocation, Stage, StageId};
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{Facts, PathState, Reason, judge};
use crate::project::Project;
use crate::project::{PinnedPath, Snapshot};
use crate::store::trees::{self, Entry, Tree};
use crate::store::{ObjectId, Pin};
use crate::workspace::status::{sentence, status};

/// The stages to check: those that made the artifact, and those of its pipeline file that measured it. Metrics of the
/// previous model, or edited by hand, would pass a gate wrongly.
pub fn stages_to_check(snapshot: &Snapshot<'_>, artifact: &Artifact, origin: &ArtifactOrigin) -> Vec<StageId> {
    let pipelines = &snapshot.definitions.pipelines;
    let mut stages = origin.stages.clone();
    let measures = |id: &&StageId| pipelines.stage(**id).outs.iter().any(|out| out.metric);
    for id in pipelines.file(artifact.file).stages.iter().filter(measures) {
        if !stages.contains(id) {
            stages.push(*id);
        }
    }
    stages
}

/// Why a commit could not be reproduced, a sentence each: `train: param params.yaml:lr 0.1 → 0.2`.
pub fn of_commit(snapshot: &Snapshot<'_>, stages: &[StageId]) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    let pipelines = &snapshot.definitions.pipelines;
    let pinned = snapshot.pinned()?;
    let mut params = ParamsCache::default();
    for id in stages {
        let stage = pipelines.stage(*id);
        let address = pipelines.address(*id, &RepoPath::root());
        let Some(entry) = origin::lock_entry(snapshot, *id)? else {
            doubts.push(format!("{address}: the lock has no entry of it"));
            continue;
        };
        let mut facts = Facts { params: read_params(&AllParams(snapshot), stage, &mut params)?, ..Facts::default() };
        for dep in &stage.deps {
            let locked = entry.deps.get(&dep.spelled).copied();
            facts.deps.push(match &dep.place {
                InputLocation::Repo(path) => match composed(snapshot, &pinned, path)? {
                    Composed::Pin(pin) => Some(pin),
                    Composed::Nothing => None,
                    Composed::Unknown => locked,
                },
                _ => locked,
            });
        }
        facts.environment = match environment(snapshot, &pinned, stage, entry) {
            Some(Err(error)) => {
                doubts.push(format!("{address}: {}", error.message));
                None
            }
            Some(Ok(environment)) => Some(Arc::new(environment)),
            None => None,
        };
        facts.env = stage.env.iter().map(|name| entry.env.get(name).cloned().flatten()).collect();
        for out in &stage.outs {
            let locked = entry.outs.get(&out.spelled).map(|o| o.pin);
            facts.outs.push(if out.cache { locked } else { in_git(snapshot, &out.path, locked)? });
        }
        let reasons = judge(stage, &entry.shell, &facts, Some(entry));
        let counts = |reason: &&Reason| !matches!(reason, Reason::Always);
        doubts.extend(reasons.iter().filter(counts).map(|reason| format!("{address}: {}", sentence(reason))));
    }
    Ok(doubts)
}

/// What the environment of a stage resolves to at the commit. If no version of Python is declared, it is that of the
/// lock: the commit does not contain the interpreter. `None` also if the content of a package is unknown.
fn environment(
    snapshot: &Snapshot<'_>,
    pinned: &[PinnedPath],
    stage: &Stage,
    entry: &StageLock,
) -> Option<Result<ResolvedEnvironment>> {
    let spec = snapshot.definitions.pipelines.environment(stage.environment.as_ref()?)?;
    let mut is_unknown = false;
    let mut pin = |path: &RepoPath| {
        Ok(match composed(snapshot, pinned, path)? {
            Composed::Pin(pin) => Some(pin),
            Composed::Nothing => None,
            Composed::Unknown => {
                is_unknown = true;
                None
            }
        })
    };
    let locked =
        entry.environment.as_ref().and_then(|environment| PythonVersion::parse(environment.python.as_deref()?));
    let around = &snapshot.project.around;
    let mut sources = Sources {
        files: &AllParams(snapshot),
        pin: &mut pin,
        pythons: &Pythons::new(&around.env, around.home.as_deref()),
        environments: snapshot.project.repo.environments_dir(),
        undeclared: locked.map(|version| PythonVersion { patch: None, ..version }),
    };
    let found = resolve(spec, &mut sources);
    (!is_unknown).then_some(found)
}

/// What the workspace has and the checked-out commit lacks.
pub fn of_workspace(
    project: &Project,
    commit: &Snapshot<'_>,
    stages: &[StageId],
    sink: &dyn Sink,
) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    let pipelines = &commit.definitions.pipelines;
    let mut files: Vec<&RepoPath> = stages.iter().map(|id| &pipelines.file(pipelines.stage(*id).file).path).collect();
    files.sort();
    files.dedup();
    for path in files.into_iter().flat_map(|path| [path.clone(), Project::lock_path(path)]) {
        let place = InputLocation::Repo(path.clone());
        if project.files().read(&place)? != commit.files().read(&place)? {
            doubts.push(format!("{path} has changes that are not committed"));
        }
    }
    let definitions = project.definitions_without_graph()?;
    let names: Vec<(&RepoPath, &str)> = stages
        .iter()
        .map(|id| (&pipelines.file(pipelines.stage(*id).file).path, pipelines.stage(*id).name.as_str()))
        .collect();
    let here = |id: &StageId| {
        let stage = definitions.pipelines.stage(*id);
        names.contains(&(&definitions.pipelines.file(stage.file).path, stage.name.as_str()))
    };
    let ids: Vec<StageId> = definitions.pipelines.ids().filter(here).collect();
    let mut reader = FactsReader::new(project, &definitions, sink);
    let (found, _) = status(project, &definitions, &ids, &[], &mut reader)?;
    for (id, reasons) in &found.stages {
        let address = definitions.pipelines.address(*id, &RepoPath::root());
        // What is missing locally may be available elsewhere: a clone without pulled data is not a reason to refuse.
        let counts = |reason: &&Reason| match reason {
            Reason::Out { state, .. } | Reason::Dep { state, .. } => {
                !matches!(state, PathState::Deleted | PathState::NotInCache)
            }
            other => !matches!(other, Reason::Always),
        };
        doubts.extend(reasons.iter().filter(counts).map(|r| format!("{address}, in the workspace: {}", sentence(r))));
    }
    Ok(doubts)
}

/// Params files of a commit: in Git, or pinned.
struct AllParams<'a, 'p>(&'a Snapshot<'p>);

impl Files for AllParams<'_, '_> {
    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
        match place {
            InputLocation::Repo(path) => self.0.read_file(path),
            other => self.0.files().read(other),
        }
    }

    fn top(&self) -> &std::path::Path {
        self.0.files().top()
    }
}

/// The content of a commit at a path, from Git's files and the locks' pins.
enum Composed {
    Pin(Pin),
    Nothing,
    Unknown,
}

fn composed(snapshot: &Snapshot<'_>, pinned: &[PinnedPath], path: &RepoPath) -> Result<Composed> {
    let Some(commit) = snapshot.git() else { return Ok(Composed::Unknown) };
    if pinned.iter().any(|p| p.cache && path.is_in(&p.path)) {
        // The content of a folder whose tree is not in the store is unknown.
        return Ok(snapshot.pin(path).map_or(Composed::Unknown, |pin| pin.map_or(Composed::Nothing, Composed::Pin)));
    }
    let below: Vec<_> = pinned.iter().filter(|p| p.cache && p.path.is_in(path)).collect();
    match commit.find(path)? {
        None if below.is_empty() => return Ok(Composed::Nothing),
        None | Some((EntryKind::Folder, _)) => {}
        Some((EntryKind::Symlink | EntryKind::Submodule, _)) => return Ok(Composed::Unknown),
        Some((kind, id)) => {
            let bytes = commit.history().blob(id)?;
            return Ok(Composed::Pin(file(&bytes, kind == EntryKind::Executable)));
        }
    }
    let mut entries: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
    let mut names: BTreeMap<Vec<u8>, RepoPath> = BTreeMap::new();
    for entry in commit.list(path)?.iter().flat_map(|list| list.iter()) {
        let child = std::str::from_utf8(&entry.name).ok().and_then(|name| path.join(name));
        let Some(child) = child.filter(|_| !matches!(entry.kind, EntryKind::Symlink | EntryKind::Submodule)) else {
            return Ok(Composed::Unknown);
        };
        names.insert(entry.name.clone(), child);
    }
    for p in below {
        let Some(name) = p.path.relative_to(path).split('/').next().map(str::to_string) else { continue };
        let child = path.join(&name).unwrap_or_default();
        names.insert(name.into_bytes(), child);
    }
    for (name, child) in names {
        let is_dir = matches!(commit.find(&child)?, None | Some((EntryKind::Folder, _)))
            && !pinned.iter().any(|p| p.path == child && !p.pin.is_dir());
        if snapshot.definitions.rules.ignored(child.as_str().as_bytes(), is_dir) {
            continue;
        }
        match composed(snapshot, pinned, &child)? {
            Composed::Unknown => return Ok(Composed::Unknown),
            Composed::Nothing => {}
            Composed::Pin(pin) if pin.files == Some(0) => {}
            Composed::Pin(pin) => {
                let kind = match pin {
                    Pin { files: Some(_), .. } => trees::EntryKind::Tree,
                    Pin { executable: true, .. } => trees::EntryKind::Executable,
                    _ => trees::EntryKind::File,
                };
                let files = pin.files.unwrap_or(1);
                entries.insert(name.clone(), Entry { name, kind, id: pin.id, size: pin.size, files });
            }
        }
    }
    Ok(Composed::Pin(Tree { entries: entries.into_values().collect() }.pin()))
}

/// The content of an out that Git stores; folders are not read.
fn in_git(snapshot: &Snapshot<'_>, path: &RepoPath, locked: Option<Pin>) -> Result<Option<Pin>> {
    if locked.is_some_and(|pin| pin.is_dir()) {
        return Ok(locked);
    }
    let Some(commit) = snapshot.git() else { return Ok(locked) };
    Ok(match commit.find(path)? {
        Some((kind @ (EntryKind::File | EntryKind::Executable), id)) => {
            Some(file(&commit.history().blob(id)?, kind == EntryKind::Executable))
        }
        _ => None,
    })
}

fn file(bytes: &[u8], executable: bool) -> Pin {
    Pin { id: ObjectId::of(bytes), size: bytes.len() as u64, files: None, executable }
}
