//! All pins of all states, with the states that pin them.

use std::collections::HashMap;
use std::rc::Rc;

use crate::cache::entries;
use crate::error::Error;
use crate::git::GitId;
use crate::lock::StageLock;
use crate::project::Project;
use crate::retention::pins::{PinnedPath, of_run};
use crate::retention::scope::{CommitScope, PinSource, PinSources, ScopeRequest, gather, gather_own};
use crate::store::verify::RunFile;
use crate::store::{ObjectId, Pin, Store};

/// The name of the state that stands for the run cache.
const RUN_CACHE: &str = "run cache";

/// The suffix of the name of another project's commit.
const FOREIGN: &str = " of another project";

/// A pinned path, and the states that pin it.
#[derive(Clone, Debug)]
pub struct PinnedBy {
    /// The path and its pin.
    pub pinned: PinnedPath,
    /// Indexes into [`PinIndex::states`].
    pub states: Vec<u32>,
}

/// All pins of all states, each once.
#[derive(Debug, Default)]
pub struct PinIndex {
    /// `workspace`, other worktrees, branches and tags, short ids of commits, `run cache`.
    pub states: Vec<String>,
    /// The distinct pinned paths.
    pub paths: Vec<PinnedBy>,
    /// Errors of locks that could not be read, so that their pins are not known.
    pub unreadable: Vec<Error>,
    /// How many states are worktrees of this project: the first ones.
    workspaces: u32,
}

impl PinIndex {
    /// Reads every lock. An unreadable one does not hide the others.
    pub fn gather(project: &Project) -> PinIndex {
        let which = CommitScope { all_branches: true, all_tags: true, ..CommitScope::everything() };
        let request = ScopeRequest { which, skip_unreadable: true, ..ScopeRequest::default() };
        let mut unreadable = Vec::new();
        let plain = |e: Error| Error { hints: Vec::new(), ..e };
        let found = gather(project, &request).or_else(|e| {
            unreadable.push(plain(e));
            gather_own(project, &request)
        });
        let found = found.unwrap_or_else(|e| {
            unreadable.push(plain(e));
            PinSources::default()
        });
        unreadable.extend(found.unreadable.into_iter().map(plain));
        let mut all = PinIndex::from_sources(&found.states, found.own);
        all.unreadable = unreadable;
        all
    }

    /// The first `own` states are of this project.
    fn from_sources(states: &[PinSource], own: usize) -> PinIndex {
        let mut all = PinIndex::default();
        // Uncommitted states come first, so that they are reported first.
        let is_workspace = |(at, state): &(usize, &PinSource)| *at < own && state.commit.is_none();
        let (workspaces, commits): (Vec<_>, Vec<_>) = states.iter().enumerate().partition(is_workspace);
        all.workspaces = workspaces.len() as u32;
        // Many commits share a lock.
        let mut locks: Vec<(&Rc<Vec<PinnedPath>>, Vec<u32>)> = Vec::new();
        let mut places: HashMap<*const Vec<PinnedPath>, usize> = HashMap::new();
        for (at, state) in workspaces.into_iter().chain(commits) {
            let number = all.states.len() as u32;
            let name = source_name(state);
            let is_foreign = at >= own && state.commit.is_some();
            all.states.push(if is_foreign { format!("{name}{FOREIGN}") } else { name });
            for pinned_paths in &state.pinned_paths {
                let at = *places.entry(Rc::as_ptr(pinned_paths)).or_insert_with(|| {
                    locks.push((pinned_paths, Vec::new()));
                    locks.len() - 1
                });
                locks[at].1.push(number);
            }
        }
        let mut known: HashMap<PinnedPath, usize> = HashMap::new();
        for (pinned_paths, states) in locks {
            pinned_paths.iter().for_each(|pinned| all.add(&mut known, pinned, &states));
        }
        all.paths.iter_mut().for_each(|item| {
            item.states.sort_unstable();
            item.states.dedup();
        });
        all
    }

    fn add(&mut self, known: &mut HashMap<PinnedPath, usize>, pinned: &PinnedPath, states: &[u32]) {
        let at = *known.entry(pinned.clone()).or_insert_with(|| {
            self.paths.push(PinnedBy { pinned: pinned.clone(), states: Vec::new() });
            self.paths.len() - 1
        });
        self.paths[at].states.extend(states);
    }

    /// Adds the outputs of a result that no lock pins, since it may be restored as well.
    pub fn add_run(&mut self, key: &ObjectId, entry: &StageLock, by_pin: &mut HashMap<Pin, usize>) {
        let number = match self.states.last() {
            Some(last) if last == RUN_CACHE => self.states.len() - 1,
            _ => {
                self.states.push(RUN_CACHE.into());
                self.states.len() - 1
            }
        };
        for pinned in of_run(key, entry) {
            let at = *by_pin.entry(pinned.pin).or_insert_with(|| {
                self.paths.push(PinnedBy { pinned, states: Vec::new() });
                self.paths.len() - 1
            });
            if self.paths[at].states.is_empty() {
                self.paths[at].states.push(number as u32);
            }
        }
    }

    /// The indexes of the paths, by their pins.
    pub fn by_pin(&self) -> HashMap<Pin, usize> {
        self.paths.iter().enumerate().map(|(at, item)| (item.pinned.pin, at)).collect()
    }

    /// Returns true if a worktree of this project pins it now.
    pub fn is_in_workspace(&self, item: &PinnedBy) -> bool {
        item.states.first().is_some_and(|first| *first < self.workspaces)
    }

    /// Returns true if only results of the run cache refer to it.
    pub fn is_of_run(&self, item: &PinnedBy) -> bool {
        item.states.iter().all(|state| self.states[*state as usize] == RUN_CACHE)
    }

    /// A commit of this project that pins it, as a revision to type.
    pub fn commit(&self, item: &PinnedBy) -> Option<&str> {
        let is_own = |name: &&str| *name != RUN_CACHE && !name.ends_with(FOREIGN) && !name.starts_with('/');
        self.names(item).find(is_own)?.split(' ').next()
    }

    /// The names of the states that pin it.
    pub fn names(&self, item: &PinnedBy) -> impl Iterator<Item = &str> {
        item.states.iter().map(|state| self.states[*state as usize].as_str())
    }
}

fn source_name(state: &PinSource) -> String {
    match &state.commit {
        Some(id) if !is_short(&state.name, id) => format!("{} ({})", state.name, id.short()),
        _ => state.name.clone(),
    }
}

fn is_short(name: &str, id: &GitId) -> bool {
    name == id.short()
}

/// An entry of the run cache, as far as it can be read.
pub enum RunCacheEntry {
    Good(ObjectId, Box<StageLock>),
    Newer,
    Gone,
    Broken(&'static str),
}

/// Reads and checks an entry of the run cache.
pub fn read_entry(store: &Store, run: &RunFile) -> RunCacheEntry {
    let Some(bytes) = store.read_run(&run.path) else {
        return if run.path.exists() { RunCacheEntry::Broken("its checksum is wrong") } else { RunCacheEntry::Gone };
    };
    let Ok(key) = run.key.parse::<ObjectId>() else {
        return RunCacheEntry::Broken("its folder is not named by a stage key");
    };
    match entries::parse(&bytes, &key) {
        Some((entry, _)) => RunCacheEntry::Good(key, Box::new(entry)),
        None if entries::is_newer(&bytes) => RunCacheEntry::Newer,
        None => RunCacheEntry::Broken("it is not a result of its stage key"),
    }
}
