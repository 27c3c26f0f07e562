//! A cache of definitions and locks of commits, keyed by the contents that they were loaded from: most commits of a
//! history share them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::CommitFiles;
use crate::error::{Error, Result};
use crate::git::{Commit, DiscoveredFiles, EntryKind, GitId};
use crate::lock::Lock;
use crate::path::RepoPath;
use crate::pipeline::graph::{self, Graph};
use crate::pipeline::load::{self, Loaded};
use crate::pipeline::stage::InputLocation;
use crate::project::locks::parse_lock;
use crate::project::{Definitions, skipped};

/// The cache holds at most this many different definitions.
const REMEMBERED: usize = 64;

/// The paths and ids of all pipeline files of a commit.
type Fingerprint = Vec<(String, GitId)>;

/// The loaded definitions and locks, by the contents that they were loaded from.
#[derive(Default)]
pub(super) struct SnapshotCache {
    definitions: RefCell<HashMap<Fingerprint, Vec<CachedDefinitions>>>,
    locks: RefCell<HashMap<GitId, Lock>>,
    /// Locks that were read ahead. A lock that cannot be read is left out, and reported when it is requested.
    ahead: RefCell<HashMap<GitId, Lock>>,
}

#[derive(Clone)]
pub(super) struct CachedDefinitions {
    /// The files that templates read, with the ids of their contents.
    vars: Vec<(RepoPath, Option<GitId>)>,
    pub definitions: Rc<Definitions>,
    pub wrong: Option<Error>,
}

impl SnapshotCache {
    /// The definitions of a commit, loaded unless a commit with the same contents was loaded before.
    pub fn load(&self, files: &CommitFiles<'_>, root: &RepoPath) -> Result<CachedDefinitions> {
        let mut key = files.commit.fingerprint()?;
        key.retain(|(path, _)| !path.ends_with("dvc.yaml"));
        let id_of = |path: &RepoPath| Ok(files.commit.find(path)?.map(|(_, id)| id));
        if let Some(cached) = self.definitions.borrow().get(&key) {
            for one in cached.iter().rev() {
                let same = |(path, id): &(RepoPath, Option<GitId>)| id_of(path).is_ok_and(|now| now == *id);
                if one.vars.iter().all(same) {
                    return Ok(one.clone());
                }
            }
        }
        let (found, loaded) = load_at(files, root)?;
        let mut vars = Vec::new();
        if uses_templates(files, &found)? {
            for (place, _) in &loaded.inputs {
                if let InputLocation::Repo(path) = place
                    && !found.pipelines.contains(path)
                {
                    vars.push((path.clone(), id_of(path)?));
                }
            }
        }
        let (graph, wrong) = match graph::build(&loaded.pipelines) {
            Ok(graph) => (graph, None),
            Err(error) => (Graph::default(), Some(error)),
        };
        let definitions = Rc::new(Definitions::of(loaded, found, graph));
        let cached = CachedDefinitions { vars, definitions, wrong };
        let mut all = self.definitions.borrow_mut();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let same_key = all.entry(key).or_default();
        if same_key.len() >= REMEMBERED {
            same_key.clear();
        }
        same_key.push(cached.clone());
        Ok(cached)
    }

    /// Reads locks ahead; replaces those of the previous call.
    pub fn read_ahead(&self, wanted: &[(&Commit, RepoPath)]) -> Result<()> {
        let mut ids = HashMap::new();
        for (commit, path) in wanted {
            if let Some((EntryKind::File | EntryKind::Executable, id)) = commit.find(path)? {
                ids.insert(id, path);
            }
        }
        let Some((commit, _)) = wanted.first() else { return Ok(()) };
        let read = commit.history().prefetch_blobs(ids.keys().copied(), &|id, bytes| parse_lock(ids[&id], &bytes).ok());
        *self.ahead.borrow_mut() = read.into_iter().filter_map(|(id, lock)| Some((id, lock?))).collect();
        Ok(())
    }

    /// The lock at a path of a commit. Errors: it is damaged.
    pub fn lock(&self, commit: &Commit, path: &RepoPath) -> Result<Lock> {
        let Some((_, id)) = commit.find(path)? else { return Ok(Lock::default()) };
        if let Some(lock) = self.ahead.borrow().get(&id) {
            return Ok(lock.clone());
        }
        if let Some(lock) = self.locks.borrow().get(&id) {
            return Ok(lock.clone());
        }
        let lock = parse_lock(path, &commit.read(path)?.unwrap_or_default())?;
        let mut all = self.locks.borrow_mut();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(id, lock.clone());
        Ok(lock)
    }
}

fn load_at(files: &CommitFiles<'_>, root: &RepoPath) -> Result<(DiscoveredFiles, Loaded)> {
    let found = files.commit.discover(root, &[])?;
    let loaded = load::load(files, &found.pipelines, root);
    let skip = skipped(&loaded.pipelines);
    if skip.is_empty() {
        return Ok((found, loaded));
    }
    let again = files.commit.discover(root, &skip)?;
    if again.pipelines == found.pipelines {
        return Ok((again, loaded));
    }
    let loaded = load::load(files, &again.pipelines, root);
    Ok((again, loaded))
}

/// Whether the pipeline files use templates: otherwise the content of `params.yaml` is irrelevant.
fn uses_templates(files: &CommitFiles<'_>, found: &DiscoveredFiles) -> Result<bool> {
    for path in &found.pipelines {
        let bytes = files.commit.read(path)?.unwrap_or_default();
        if bytes.windows(2).any(|w| w == b"${") {
            return Ok(true);
        }
    }
    Ok(false)
}
