//! The pins of locks, by the names of stages and paths. Each distinct lock is read once.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::git::{Commit, FilesByName, GitId, History, OperationObjects, Repo};
use crate::lock::{self, Lock, StageLock};
use crate::path::RepoPath;
use crate::retention::fragment;
use crate::store::{ObjectId, Pin, Store};
use crate::workspace::journal::{self, LockChange};

pub(super) const LOCK: &str = "pipeline.lock";

/// One pinned path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PinnedPath {
    /// The content that the lock pins.
    pub pin: Pin,
    /// The address of its stage from the root; for data its path.
    pub stage: String,
    /// Relative to the root of the repository.
    pub path: String,
    /// Whether lockstep stores it; otherwise Git does.
    pub cache: bool,
}

/// The pins of one lock; many commits share them.
pub type LockPins = Rc<Vec<PinnedPath>>;

/// Reads locks, and caches them.
pub struct PinReader<'s> {
    store: &'s Store,
    /// Whether a lock of a commit may be empty. What it pinned before is not known, unless earlier commits are in scope
    /// as well.
    pub allows_empty: bool,
    blobs: HashMap<(RepoPath, GitId), LockPins>,
    named: Option<FilesByName>,
}

impl<'s> PinReader<'s> {
    pub fn new(store: &'s Store) -> PinReader<'s> {
        PinReader { store, allows_empty: false, blobs: HashMap::new(), named: None }
    }

    /// Fetches what [`PinReader::commit`] reads of these commits, if the clone lacks it.
    pub fn fetch_ahead(&mut self, history: &History, commits: &[Commit]) -> Result<()> {
        self.named.get_or_insert_with(|| FilesByName::new(history, LOCK)).prefetch(commits)
    }

    /// The pins of a commit's locks.
    pub fn commit(&mut self, history: &History, commit: &Commit) -> Result<Vec<LockPins>> {
        let named = self.named.get_or_insert_with(|| FilesByName::new(history, LOCK));
        let files = named.find_in_commit(commit)?;
        let of = |e: Error| Error { message: format!("{} (of the commit {})", e.message, commit.id.short()), ..e };
        let is_empty = |id: &GitId| self.allows_empty && history.blob_size(*id).is_ok_and(|size| size == 0);
        let files: Vec<_> = files.into_iter().filter(|(_, id)| !is_empty(id)).collect();
        files.into_iter().map(|(path, id)| self.blob(history, path, id).map_err(of)).collect()
    }

    /// What an unfinished operation of Git needs besides commits.
    pub fn unfinished(&mut self, history: &History, unfinished: &OperationObjects) -> Result<LockPins> {
        let mut pinned_paths = Vec::new();
        for (file, text) in &unfinished.patches {
            self.add_fragments(&file.display().to_string(), text, true, &mut pinned_paths);
        }
        let mut named = FilesByName::new(history, LOCK);
        for tree in &unfinished.trees {
            for (path, blob) in named.find_in_tree(*tree)? {
                self.add_fragments(&path, &history.blob(blob)?, false, &mut pinned_paths);
            }
        }
        for blob in &unfinished.blobs {
            self.add_fragments(LOCK, &history.blob(*blob)?, false, &mut pinned_paths);
        }
        Ok(Rc::new(pinned_paths))
    }

    /// The pins of the locks in a tree or a file that a ref points to.
    pub fn without_commit(&mut self, history: &History, id: GitId, is_tree: bool) -> Result<LockPins> {
        let mut found = OperationObjects::default();
        if is_tree { &mut found.trees } else { &mut found.blobs }.insert(id);
        self.unfinished(history, &found)
    }

    fn add_fragments(&self, path: &str, text: &[u8], is_patch: bool, pinned_paths: &mut Vec<PinnedPath>) {
        for one in fragment::parse(text, is_patch) {
            let pins = match self.store.size(&one.id).filter(|_| one.files.is_none()) {
                Some(size) => {
                    let files = self.store.is_tree(&one.id, size).then_some(0);
                    vec![Pin { id: one.id, size, files, executable: false }]
                }
                None => one.pins(),
            };
            // It may be a pin of a dep, which does not have to be stored.
            pinned_paths.extend(pins.into_iter().map(|pin| PinnedPath {
                pin,
                stage: path.into(),
                path: path.into(),
                cache: false,
            }));
        }
    }

    /// The pins of the locks in the index of a worktree.
    pub fn index(&mut self, history: &History, repo: &Repo) -> Result<Vec<LockPins>> {
        let files = repo.index_named(history, LOCK)?;
        let of = |e: Error| Error { message: format!("{} (of Git's index)", e.message), ..e };
        files.into_iter().map(|(path, id)| self.blob(history, path, id).map_err(of)).collect()
    }

    fn blob(&mut self, history: &History, path: RepoPath, id: GitId) -> Result<LockPins> {
        let key = (path, id);
        if let Some(known) = self.blobs.get(&key) {
            return Ok(known.clone());
        }
        let pinned_paths = Rc::new(parse(&key.0, &history.blob(id)?)?);
        self.blobs.insert(key, pinned_paths.clone());
        Ok(pinned_paths)
    }

    /// The pins of the locks on disk.
    pub fn disk(&mut self, repo: &Repo) -> Result<Vec<LockPins>> {
        let (mut all, bounds) = (Vec::new(), repo.bounds());
        for path in repo.files_named(LOCK)? {
            let file = path.on_disk(&repo.top);
            if let Some(bytes) = bounds.read(&file)? {
                all.push(Rc::new(parse(&path, &bytes)?));
            }
        }
        Ok(all)
    }

    /// The records of runs that are running or were killed; of all projects of a worktree.
    pub fn journals(&mut self, repo: &Repo) -> Result<LockPins> {
        let mut pinned_paths = Vec::new();
        let states = repo.worktree_dir().join("state");
        let entries = match std::fs::read_dir(&states) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(LockPins::default()),
            entries => entries.map_err(|e| Error::io("read", &states, e))?,
        };
        for state in entries {
            let state = state.map_err(|e| Error::io("read", &states, e))?;
            for record in journal::read(&state.path().join("journal"))? {
                let folder = record.lock.parent().unwrap_or_default();
                match record.change {
                    LockChange::Stage { name, old, new } => {
                        [Some(new), old]
                            .into_iter()
                            .flatten()
                            .for_each(|s| of_stage(&folder, &name, &s, &mut pinned_paths));
                    }
                    LockChange::Data { path, old, new } => {
                        [Some(new), old]
                            .into_iter()
                            .flatten()
                            .for_each(|p| of_data(&folder, &path, p, &mut pinned_paths));
                    }
                }
            }
        }
        Ok(Rc::new(pinned_paths))
    }
}

fn parse(path: &RepoPath, bytes: &[u8]) -> Result<Vec<PinnedPath>> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::usage(format!("{path} is not UTF-8 text")))?;
    Ok(of_lock(&path.parent().unwrap_or_default(), &lock::read(path.as_str(), text)?))
}

/// All pins of a lock in this folder.
fn of_lock(folder: &RepoPath, lock: &Lock) -> Vec<PinnedPath> {
    let mut pinned_paths = Vec::new();
    lock.stages.iter().for_each(|(name, entry)| of_stage(folder, name, entry, &mut pinned_paths));
    lock.data.iter().for_each(|(path, pin)| of_data(folder, path, *pin, &mut pinned_paths));
    pinned_paths
}

pub(super) fn of_stage(folder: &RepoPath, name: &str, entry: &StageLock, pinned_paths: &mut Vec<PinnedPath>) {
    let stage = if folder.is_root() { name.to_string() } else { format!("{folder}/pipeline.yaml:{name}") };
    let wdir = entry.wdir.as_deref().map_or(Some(folder.clone()), |wdir| folder.join(wdir)).unwrap_or_default();
    for (path, out) in entry.outs.iter() {
        let path = wdir.join(path).map_or_else(|| path.to_string(), |path| path.to_string());
        pinned_paths.push(PinnedPath { pin: out.pin, stage: stage.clone(), path, cache: out.cache });
    }
}

fn of_data(folder: &RepoPath, path: &str, pin: Pin, pinned_paths: &mut Vec<PinnedPath>) {
    let path = folder.join(path).map_or_else(|| path.to_string(), |path| path.to_string());
    pinned_paths.push(PinnedPath { pin, stage: path.clone(), path, cache: true });
}

/// The outputs of an entry of the run cache. The entry does not name its stage: a stage with the same key is used, if
/// there is one.
pub(super) fn of_run(key: &ObjectId, entry: &StageLock) -> Vec<PinnedPath> {
    let mut pinned_paths = Vec::new();
    of_stage(&RepoPath::root(), &format!("run {}", &key.hex()[..12]), entry, &mut pinned_paths);
    pinned_paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_from_the_root() {
        let id = "11".repeat(32);
        let text = format!(
            "schema: 1\ndata:\n  raw:\n    blake3: {id}\n    size: 1\nstages:\n  train:\n    key: {id}\n    cmd: x\n    \
             wdir: w\n    outs:\n      ../m:\n        blake3: {id}\n        size: 2\n"
        );
        let shown = |path: &str| {
            let pinned_paths = parse(&RepoPath::root().join(path).unwrap(), text.as_bytes()).unwrap();
            pinned_paths.iter().map(|c| format!("{} {} {}", c.stage, c.path, c.pin.size)).collect::<Vec<_>>()
        };
        assert_eq!(shown("pipeline.lock"), ["train m 2", "raw raw 1"]);
        assert_eq!(shown("a/b/pipeline.lock"), ["a/b/pipeline.yaml:train a/b/m 2", "a/b/raw a/b/raw 1"]);
        let broken = parse(&RepoPath::root().join("pipeline.lock").unwrap(), b"<<<<<<< ours\n");
        assert!(broken.is_err());
    }
}
