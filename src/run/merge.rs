//! Resolving locks that a merge left with conflicts (`lockstep merge`).
//!
//! The sides are taken from the best place that has them whole: Git's index while the path is unmerged; else the
//! commits that the markers name; else the text between the markers, of which only whole records count (see
//! [`crate::lock::markers`]). The worktree has the merged files by now, so they say what the inputs are, except where
//! they hold conflicts themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::event::Sink;
use crate::git::{self, GitId, Underway, Unmerged};
use crate::lock::merge::{Block, Choice, Known, Sides, merge};
use crate::lock::{self, Lock, StageLock, markers};
use crate::path::RepoPath;
use crate::pipeline::load::Files;
use crate::pipeline::stage::{FileId, Place, StageId};
use crate::project::{Definitions, Project, write_lock};
use crate::run::cache;
use crate::run::fresh;
use crate::run::look::Look;
use crate::run::trust::Trust;
use crate::run::workspace;
use crate::store::{ObjectId, Pin};

/// A lock that was resolved.
#[derive(Debug)]
pub struct Resolved {
    pub path: RepoPath,
    /// The sides, for people: `HEAD, 1a2b3c4 (Train longer)`.
    pub ours: String,
    pub theirs: String,
    pub choices: Vec<Choice>,
    /// Blocks without a record that could be told; the next run makes it.
    pub left_out: BTreeSet<Block>,
}

const LOCK: &str = "pipeline.lock";
const NOTHING: Pin = Pin { id: ObjectId([0; 32]), size: 0, files: None, executable: false };

/// What came of all locks.
#[derive(Debug, Default)]
pub struct Resolution {
    pub resolved: Vec<Resolved>,
    /// Still a conflict to Git, but somebody has settled it: what stands there is neither side's.
    pub settled: Vec<RepoPath>,
}

/// Resolves the locks in and below `within`, or all.
pub fn resolve(project: &Project, within: &[RepoPath], sink: &dyn Sink) -> Result<Resolution> {
    let _lock = workspace::take(project, "lockstep merge", sink)?;
    let is_meant = |path: &RepoPath| within.is_empty() || within.iter().any(|dir| path.is_in(dir));
    let mut conflicts: Vec<(RepoPath, Option<Unmerged>)> = Vec::new();
    let mut resolution = Resolution::default();
    for unmerged in project.repo.unmerged(LOCK)?.into_iter().filter(|u| is_meant(&u.path)) {
        let now = text(project, &unmerged.path)?;
        // Where no driver ran, or one side has no lock, Git leaves the other side's file without markers.
        let sides = [&unmerged.base, &unmerged.ours, &unmerged.theirs];
        let is_gits = now.is_empty() || sides.iter().any(|side| side.as_deref() == Some(now.as_bytes()));
        if is_gits || markers::has_markers(&now) {
            conflicts.push((unmerged.path.clone(), Some(unmerged)));
        } else {
            resolution.settled.push(unmerged.path);
        }
    }
    for pipeline in git::discover(&project.repo, &[])?.pipelines {
        let path = Project::lock_path(&pipeline);
        if is_meant(&path) && conflicts.iter().all(|(p, _)| *p != path) && markers::has_markers(&text(project, &path)?)
        {
            conflicts.push((path, None));
        }
    }
    conflicts.sort_by(|a, b| a.0.cmp(&b.0));
    if conflicts.is_empty() {
        return Ok(resolution);
    }
    let definitions = project.definitions_without_graph()?;
    let mut look = Look::new(project, &definitions, sink);
    for (path, unmerged) in conflicts {
        let found = sides(project, &path, unmerged)?;
        let known = known(project, &definitions, &mut look, &path, &found.sides);
        let merged = merge(&found.sides, &known);
        write_lock(project, &path, &merged.lock)?;
        let markers::Found { ours, theirs, left_out, .. } = found;
        resolution.resolved.push(Resolved { path, ours, theirs, choices: merged.choices, left_out });
    }
    let _ = project.index().save();
    Ok(resolution)
}

fn text(project: &Project, path: &RepoPath) -> Result<String> {
    let bytes = project.files().read(&Place::Repo(path.clone()))?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn sides(project: &Project, path: &RepoPath, unmerged: Option<Unmerged>) -> Result<markers::Found> {
    let repo = &project.repo;
    let named = |name: &str| -> Result<String> {
        Ok(repo.describe(name)?.map_or(name.to_string(), |commit| format!("{name}, {commit}")))
    };
    if let Some(unmerged) = unmerged {
        let side = |bytes: &Option<Vec<u8>>, whose: &str| match bytes {
            Some(bytes) => parse(path, whose, bytes),
            None => Ok(Lock::default()),
        };
        let sides = Sides {
            base: Some(side(&unmerged.base, "the common ancestor's")?),
            ours: side(&unmerged.ours, "our")?,
            theirs: side(&unmerged.theirs, "their")?,
        };
        let theirs = match repo.underway() {
            Some(Underway::Rebase) => "REBASE_HEAD",
            Some(Underway::CherryPick) => "CHERRY_PICK_HEAD",
            Some(Underway::Revert) => "REVERT_HEAD",
            Some(Underway::Merge) => "MERGE_HEAD",
            None => "theirs",
        };
        return Ok(markers::Found { sides, ours: named("HEAD")?, theirs: named(theirs)?, left_out: BTreeSet::new() });
    }
    let text = text(project, path)?;
    let trust = Trust::of(project)?;
    let earlier = |key: &_| cache::get(project.store(), key, &trust);
    let vouched = |entry: &StageLock| earlier(&entry.key).iter().any(|(known, _)| known == entry);
    let mut found = markers::split(&text, &vouched);
    // A rebase writes the short hash, with the subject behind it.
    let revision = |label: &str| label.split(' ').next().unwrap_or_default().to_string();
    let (mut ours, mut theirs) = (revision(&found.ours), revision(&found.theirs));
    let committed = repo.resolve("HEAD").and_then(|head| head.read(path)).ok().flatten().unwrap_or_default();
    if markers::has_markers(&String::from_utf8_lossy(&committed)) {
        // Somebody committed the markers: the sides are that merge's parents.
        (ours, theirs) = ("HEAD^1".into(), "HEAD^2".into());
    }
    if let (Some((one, ours)), Some((other, theirs))) = (at(project, &ours, path), at(project, &theirs, path)) {
        let base = repo.merge_base(one, other)?;
        let base = base.map(|id| at(project, &id.hex(), path).map(|(_, lock)| lock).unwrap_or_default());
        found.sides = Sides { base, ours, theirs };
        found.left_out.clear();
    }
    found.ours = named(&found.ours)?;
    found.theirs = if found.theirs.contains(' ') { found.theirs } else { named(&found.theirs)? };
    Ok(found)
}

/// The lock that a revision has; `None` where it has none that can be read.
fn at(project: &Project, revision: &str, path: &RepoPath) -> Option<(GitId, Lock)> {
    let commit = project.repo.resolve(revision).ok()?;
    let lock = parse(path, "a", &commit.read(path).ok()??).ok()?;
    Some((commit.id, lock))
}

fn parse(path: &RepoPath, whose: &str, bytes: &[u8]) -> Result<Lock> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::usage(format!("{whose} version of {path} is no text")))?;
    lock::read(path.as_str(), text).map_err(|error| Error {
        message: format!("{whose} version of {path} cannot be merged"),
        causes: std::iter::once(error.message).chain(error.causes).collect(),
        hints: vec![format!("take the other one: git checkout --ours {path}, or --theirs")],
        ..error
    })
}

/// What the merged files say about the blocks of a lock on which the sides differ.
fn known<'a>(
    project: &Project,
    definitions: &'a Definitions,
    look: &mut Look<'a>,
    path: &RepoPath,
    sides: &Sides,
) -> Known {
    let mut known = Known::default();
    let file = definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == *path);
    let Some(file) = file.map(|at| FileId(at as u32)) else { return known };
    let pipelines = &definitions.pipelines;
    let stages = || pipelines.file(file).stages.iter().map(|id| (*id, pipelines.stage(*id)));
    let data = &pipelines.file(file).data;
    let names = stages().map(|(_, s)| Block::Stage(s.name.clone()));
    known.declared = Some(names.chain(data.iter().map(|d| Block::Data(d.spelled.clone()))).collect());
    let differs = |name: &String| sides.ours.stages.get(name) != sides.theirs.stages.get(name);
    for (id, stage) in stages().filter(|(_, stage)| differs(&stage.name)) {
        if let Some(entry) = inputs(project, definitions, look, id) {
            known.inputs.insert(stage.name.clone(), entry);
        }
    }
    for data in data.iter().filter(|d| sides.ours.data.get(&d.spelled) != sides.theirs.data.get(&d.spelled)) {
        if let Ok(Some(pin)) = look.out(&data.path) {
            known.data.insert(data.spelled.clone(), pin);
        }
    }
    known
}

/// The inputs of a stage as they are now; what another pipeline makes counts as that one's lock has it. `None` where
/// something is missing or cannot be read.
fn inputs<'a>(project: &Project, definitions: &'a Definitions, look: &mut Look<'a>, id: StageId) -> Option<StageLock> {
    let stage = definitions.pipelines.stage(id);
    let mut facts = look.facts(id).ok()?;
    for (dep, pin) in stage.deps.iter().zip(&mut facts.deps) {
        let Place::Repo(path) = &dep.place else { continue };
        let Some(maker) = definitions.graph.producer(path).map(|id| definitions.pipelines.stage(id)) else { continue };
        if maker.file == stage.file {
            // Decided by the merged block of the maker; here it only has to be something.
            pin.get_or_insert(NOTHING);
            continue;
        }
        let lock = project.read_lock(&Project::lock_path(&definitions.pipelines.file(maker.file).path)).ok()??;
        let made: BTreeMap<&RepoPath, &String> = maker.outs.iter().map(|out| (&out.path, &out.spelled)).collect();
        *pin = Some(lock.stages.get(&maker.name)?.outs.get(made.get(path)?.as_str())?.pin);
    }
    let is_whole = facts.deps.iter().all(Option::is_some) && facts.params.values().all(Option::is_some);
    is_whole.then(|| fresh::entry(stage, &project.shell(), &facts, &[]))
}
