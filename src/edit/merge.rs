//! Resolves locks that a merge left with conflicts (`lockstep merge`).
//!
//! The sides are taken from the best complete source: Git's index while the path is unmerged; else the commits that the
//! markers name; else the text between the markers, of which only complete records are used (see
//! [`crate::lock::markers`]). The worktree has the merged files at this point, so they define the inputs, except for
//! files that have conflicts themselves.
//!
//! Data that cannot be merged keeps its markers until the user picks a side.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::cache::entries;
use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::git::{self, GitId, OperationKind, UnmergedFile};
use crate::lock::conflict::{Labels, write_merged};
use crate::lock::merge::{Block, BlockChoice, DataConflict, Merged, MergedInputs, Sides, merge};
use crate::lock::{self, Lock, StageLock, markers};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{FileId, InputLocation, StageId};
use crate::plan::facts::FactsReader;
use crate::plan::reasons;
use crate::project::{Definitions, Project};
use crate::remote::Remote;
use crate::replace::replace_file;
use crate::store::{ObjectId, Pin};
use crate::workspace::join_data::{DataJoiner, Picks};
use crate::workspace::worktree_lock;

/// A lock that was resolved.
#[derive(Debug)]
pub struct ResolvedLock {
    /// The lock, relative to the root of the repository.
    pub path: RepoPath,
    /// Descriptions of the sides: `HEAD, 1a2b3c4 (Train longer)`.
    pub ours: String,
    /// The same of the merged side.
    pub theirs: String,
    /// The decisions for blocks that differ between the sides.
    pub choices: Vec<BlockChoice>,
    /// Blocks for which no record could be chosen; the next run makes it.
    pub left_out: BTreeSet<Block>,
    /// Data that still has a conflict, with markers in the lock.
    pub conflicts: Vec<DataConflict>,
    /// Data that the lock pins and no pipeline file lists.
    pub unlisted: Vec<String>,
}

const LOCK: &str = "pipeline.lock";
const PLACEHOLDER_PIN: Pin = Pin { id: ObjectId([0; 32]), size: 0, files: None, executable: false };

/// The result for all locks.
#[derive(Debug, Default)]
pub struct Resolution {
    /// The locks that were written.
    pub resolved: Vec<ResolvedLock>,
    /// Locks that Git still lists as conflicts, but that the user resolved: their content differs from both sides.
    pub settled: Vec<RepoPath>,
}

/// Resolves the locks in and below `within`, or all.
///
/// Errors: a path of `picks` has no conflict; nothing is written then.
pub fn resolve(project: &Project, within: &[RepoPath], picks: &Picks, sink: &dyn Sink) -> Result<Resolution> {
    let _lock = worktree_lock::take(project, "lockstep merge", sink)?;
    let (conflicts, settled) = conflicting_locks(project, within)?;
    let mut resolution = Resolution { settled, ..Resolution::default() };
    let used = RefCell::new(BTreeSet::new());
    let mut texts = Vec::new();
    if !conflicts.is_empty() {
        let definitions = project.definitions_without_graph()?;
        let mut reader = FactsReader::new(project, &definitions, sink);
        for (path, unmerged) in conflicts {
            let settled = unmerged.as_ref().map_or(Ok(BTreeMap::new()), |_| settled_data(project, &path))?;
            let found = sides(project, &path, unmerged)?;
            if let Some(Block::Data(name)) = found.left_out.iter().find(|block| matches!(block, Block::Data(_))) {
                // A stage without a record is run again, but data without one is lost.
                let shown = path.relative_to(&project.cwd);
                let message = format!("{shown}: the versions of data {name} cannot be read from the conflict markers");
                return Err(Error::usage(message)
                    .hint(format!("bring back Git's conflict: git checkout -m {shown}"))
                    .hint("or edit the file by hand: git log -p has both versions"));
            }
            let merged_inputs = merged_inputs(project, &definitions, &mut reader, &path, &found.sides);
            let folder = path.parent().unwrap_or_default();
            let store = || Ok(project.store());
            let joiner = DataJoiner { folder, picks, used: &used, settled, store: &store, sink };
            let merged = merge(&found.sides, &merged_inputs, &|name, versions| joiner.join(name, versions));
            let labels = Labels { ours: label(&found.ours), theirs: label(&found.theirs) };
            texts.push((path.clone(), write_merged(&merged, labels)));
            let unlisted = unlisted(&merged_inputs, &merged);
            let Merged { choices, conflicts, .. } = merged;
            let markers::SplitSides { ours, theirs, left_out, .. } = found;
            resolution.resolved.push(ResolvedLock { path, ours, theirs, choices, left_out, conflicts, unlisted });
        }
        let _ = project.index().save();
    }
    let used = used.into_inner();
    if let Some((path, _)) = picks.all().find(|(path, _)| !used.contains(path)) {
        return Err(Error::missing(format!("{} has no conflict in a pipeline.lock", path.relative_to(&project.cwd)))
            .hint("see what has one: lockstep merge"));
    }
    for (path, text) in texts {
        replace_file(&project.writable(&path)?, text.as_bytes())?;
    }
    Ok(resolution)
}

/// Locks that have conflicts, and those that only Git lists as conflicts.
type ConflictingLocks = (Vec<(RepoPath, Option<UnmergedFile>)>, Vec<RepoPath>);

fn conflicting_locks(project: &Project, within: &[RepoPath]) -> Result<ConflictingLocks> {
    let is_meant = |path: &RepoPath| within.is_empty() || within.iter().any(|dir| path.is_in(dir));
    let (mut conflicts, mut settled): ConflictingLocks = Default::default();
    for unmerged in project.repo.unmerged(LOCK)?.into_iter().filter(|u| is_meant(&u.path)) {
        let now = text(project, &unmerged.path)?;
        // If no driver ran, or one side has no lock, Git leaves the other side's file without markers.
        let sides = [&unmerged.base, &unmerged.ours, &unmerged.theirs];
        let is_gits = now.is_empty() || sides.iter().any(|side| side.as_deref() == Some(now.as_bytes()));
        if is_gits || markers::has_markers(&now) {
            conflicts.push((unmerged.path.clone(), Some(unmerged)));
        } else {
            settled.push(unmerged.path);
        }
    }
    for path in git::discover(&project.repo, &[])?.locks {
        if is_meant(&path) && conflicts.iter().all(|(p, _)| *p != path) && markers::has_markers(&text(project, &path)?)
        {
            conflicts.push((path, None));
        }
    }
    conflicts.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((conflicts, settled))
}

/// Data outside of the markers, equal on both sides of the text: if the sides in Git's index differ, an earlier merge
/// settled it.
fn settled_data(project: &Project, path: &RepoPath) -> Result<BTreeMap<String, Option<Pin>>> {
    let text = text(project, path)?;
    if !markers::has_markers(&text) {
        return Ok(BTreeMap::new());
    }
    let markers::SplitSides { sides, left_out, .. } = markers::split(&text, &|_| false);
    let Some(unmerged) = project.repo.unmerged(LOCK)?.into_iter().find(|unmerged| unmerged.path == *path) else {
        return Ok(BTreeMap::new());
    };
    let mut names = BTreeSet::new();
    for bytes in [unmerged.ours, unmerged.theirs].into_iter().flatten() {
        // A lock that cannot be read is reported where the sides are taken.
        names.extend(parse(path, "one", &bytes).unwrap_or_default().data.into_keys());
    }
    names.retain(|name| !left_out.contains(&Block::Data(name.clone())));
    let pins = names.into_iter().map(|name| {
        let (ours, theirs) = (sides.ours.data.get(&name).copied(), sides.theirs.data.get(&name).copied());
        (name, ours, theirs)
    });
    Ok(pins.filter(|(_, ours, theirs)| ours == theirs).map(|(name, ours, _)| (name, ours)).collect())
}

/// Returns `HEAD` from `HEAD, 1a2b3c4 (Train longer)`; the next merge can resolve it again.
fn label(side: &str) -> &str {
    side.split(',').next().unwrap_or(side)
}

fn unlisted(merged_inputs: &MergedInputs, merged: &Merged) -> Vec<String> {
    let Some(declared) = &merged_inputs.declared else { return Vec::new() };
    let is_listed = |name: &&String| declared.contains(&Block::Data((*name).clone()));
    merged.lock.data.keys().filter(|name| !is_listed(name)).cloned().collect()
}

/// Fetches the listings of folders with a conflict, so that they can be merged. `None` if no lock has a conflict; else
/// the number of folders, and those whose listings are still missing.
pub fn fetch_listings(
    project: &Project,
    remote: Option<&str>,
    jobs: Option<usize>,
    sink: &dyn Sink,
) -> Result<Option<(usize, Vec<RepoPath>)>> {
    let (conflicts, _) = conflicting_locks(project, &[])?;
    if conflicts.is_empty() {
        return Ok(None);
    }
    let definitions = project.definitions_without_graph()?;
    let (mut count, mut missing) = (0, BTreeSet::new());
    for (path, unmerged) in conflicts {
        let sides = sides(project, &path, unmerged)?.sides;
        let folder = path.parent().unwrap_or_default();
        for name in sides.ours.data.keys().filter(|name| sides.ours.data.get(*name) != sides.theirs.data.get(*name)) {
            let Some(path) = folder.join(name) else { continue };
            let mut all = definitions.pipelines.files.iter().flat_map(|file| &file.data);
            let own = all.find(|data| data.path == path).and_then(|data| data.remote.as_deref());
            let versions = [sides.base.as_ref(), Some(&sides.ours), Some(&sides.theirs)];
            let pins = versions.into_iter().flatten().filter_map(|lock| lock.data.get(name));
            for pin in pins.filter(|pin| pin.is_dir()) {
                let is_missing = || Ok::<bool, Error>(!project.store().missing_objects(pin)?.trees.is_empty());
                count += 1;
                if is_missing()? {
                    Remote::open(project, own.or(remote), jobs)?.fetch_listing(project.store(), pin, sink)?;
                }
                if is_missing()? {
                    missing.insert(path.clone());
                }
            }
        }
    }
    Ok(Some((count, missing.into_iter().collect())))
}

fn text(project: &Project, path: &RepoPath) -> Result<String> {
    let bytes = project.files().read(&InputLocation::Repo(path.clone()))?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn sides(project: &Project, path: &RepoPath, unmerged: Option<UnmergedFile>) -> Result<markers::SplitSides> {
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
            base: match &unmerged.base {
                Some(bytes) if markers::has_markers(&String::from_utf8_lossy(bytes)) => None,
                base => Some(side(base, "the common ancestor's")?),
            },
            ours: side(&unmerged.ours, "our")?,
            theirs: side(&unmerged.theirs, "their")?,
        };
        let theirs = match repo.current_operation() {
            Some(OperationKind::Rebase) => "REBASE_HEAD",
            Some(OperationKind::CherryPick) => "CHERRY_PICK_HEAD",
            Some(OperationKind::Revert) => "REVERT_HEAD",
            Some(OperationKind::Merge) => "MERGE_HEAD",
            None => "theirs",
        };
        return Ok(markers::SplitSides {
            sides,
            ours: named("HEAD")?,
            theirs: named(theirs)?,
            left_out: BTreeSet::new(),
        });
    }
    let text = text(project, path)?;
    let trust = TrustPolicy::from_settings(project)?;
    let earlier = |key: &_| entries::get(project.store(), key, &trust);
    let vouched = |entry: &StageLock| earlier(&entry.key).iter().any(|(merged_inputs, _)| merged_inputs == entry);
    let mut found = markers::split(&text, &vouched);
    // A rebase writes the short hash, followed by the subject.
    let revision = |label: &str| label.split(' ').next().unwrap_or_default().to_string();
    let (mut ours, mut theirs) = (revision(&found.ours), revision(&found.theirs));
    let committed = repo.resolve("HEAD").and_then(|head| head.read(path)).ok().flatten().unwrap_or_default();
    if markers::has_markers(&String::from_utf8_lossy(&committed)) {
        // The markers were committed: the sides are the parents of that merge.
        (ours, theirs) = ("HEAD^1".into(), "HEAD^2".into());
    }
    if let (Some((one, ours)), Some((other, theirs))) = (lock_at(project, &ours, path), lock_at(project, &theirs, path))
    {
        let base = repo.merge_base(one, other)?;
        let base = base.map(|id| lock_at(project, &id.hex(), path).map(|(_, lock)| lock).unwrap_or_default());
        found.sides = Sides { base, ours, theirs };
        found.left_out.clear();
    }
    found.ours = named(&found.ours)?;
    found.theirs = if found.theirs.contains(' ') { found.theirs } else { named(&found.theirs)? };
    Ok(found)
}

/// The lock of a revision; `None` if it has no readable lock.
fn lock_at(project: &Project, revision: &str, path: &RepoPath) -> Option<(GitId, Lock)> {
    let commit = project.repo.resolve(revision).ok()?;
    let lock = parse(path, "a", &commit.read(path).ok()??).ok()?;
    Some((commit.id, lock))
}

fn parse(path: &RepoPath, whose: &str, bytes: &[u8]) -> Result<Lock> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::usage(format!("{whose} version of {path} is not text")))?;
    lock::read(path.as_str(), text).map_err(|error| Error {
        message: format!("{whose} version of {path} cannot be merged"),
        causes: std::iter::once(error.message).chain(error.causes).collect(),
        hints: vec![format!("take the other one: git checkout --ours {path}, or --theirs")],
        ..error
    })
}

/// The inputs of the merged files for the blocks on which the sides differ.
fn merged_inputs<'a>(
    project: &Project,
    definitions: &'a Definitions,
    reader: &mut FactsReader<'a>,
    path: &RepoPath,
    sides: &Sides,
) -> MergedInputs {
    let mut merged_inputs = MergedInputs::default();
    let file = definitions.pipelines.files.iter().position(|f| Project::lock_path(&f.path) == *path);
    let Some(file) = file.map(|at| FileId(at as u32)) else { return merged_inputs };
    let pipelines = &definitions.pipelines;
    let stages = || pipelines.file(file).stages.iter().map(|id| (*id, pipelines.stage(*id)));
    let data = &pipelines.file(file).data;
    let names = stages().map(|(_, s)| Block::Stage(s.name.clone()));
    merged_inputs.declared = Some(names.chain(data.iter().map(|d| Block::Data(d.spelled.clone()))).collect());
    let differs = |name: &String| sides.ours.stages.get(name) != sides.theirs.stages.get(name);
    for (id, stage) in stages().filter(|(_, stage)| differs(&stage.name)) {
        if let Some(entry) = inputs(project, definitions, reader, id) {
            merged_inputs.inputs.insert(stage.name.clone(), entry);
        }
    }
    merged_inputs
}

/// The current inputs of a stage; outputs of another pipeline are taken from that pipeline's lock. `None` if an input
/// is missing or cannot be read.
fn inputs<'a>(
    project: &Project,
    definitions: &'a Definitions,
    reader: &mut FactsReader<'a>,
    id: StageId,
) -> Option<StageLock> {
    let stage = definitions.pipelines.stage(id);
    let mut facts = reader.facts(id).ok()?;
    for (dep, pin) in stage.deps.iter().zip(&mut facts.deps) {
        let InputLocation::Repo(path) = &dep.place else { continue };
        let Some(maker) = definitions.graph.producer(path).map(|id| definitions.pipelines.stage(id)) else { continue };
        if maker.file == stage.file {
            // The merged block of the producer decides the pin; here it only has to exist.
            pin.get_or_insert(PLACEHOLDER_PIN);
            continue;
        }
        let lock = project.read_lock(&Project::lock_path(&definitions.pipelines.file(maker.file).path)).ok()??;
        let made: BTreeMap<&RepoPath, &String> = maker.outs.iter().map(|out| (&out.path, &out.spelled)).collect();
        *pin = Some(lock.stages.get(&maker.name)?.outs.get(made.get(path)?.as_str())?.pin);
    }
    let is_whole = facts.deps.iter().all(Option::is_some) && facts.params.values().all(Option::is_some);
    is_whole.then(|| reasons::entry(stage, &project.shell(), &facts, &[]))
}
