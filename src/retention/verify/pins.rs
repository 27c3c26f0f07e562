//! Everything that somebody keeps, with who that is.

use std::collections::HashMap;
use std::rc::Rc;

use crate::cache::entries;
use crate::error::Error;
use crate::git::GitId;
use crate::lock::StageLock;
use crate::project::Project;
use crate::retention::pins::{Claim, of_run};
use crate::retention::scope::{Found, Request, State, Which, gather, gather_own};
use crate::store::verify::RunFile;
use crate::store::{ObjectId, Pin, Store};

/// What a state that is the run cache is called.
const RUN_CACHE: &str = "run cache";

/// And what stands after the name of a commit of somebody else.
const FOREIGN: &str = " of another project";

/// A pinned path, and the states that pin it.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub claim: Claim,
    /// Places in [`Everybody::states`].
    pub states: Vec<u32>,
}

/// All claims of all states, each once.
#[derive(Debug, Default)]
pub struct Everybody {
    /// `workspace`, other worktrees, branches and tags, short ids of commits, `run cache`.
    pub states: Vec<String>,
    pub claimed: Vec<Claimed>,
    /// What could not be read, so that its claims are not known.
    pub unreadable: Vec<Error>,
    /// How many states are worktrees of this project: the first ones.
    workspaces: u32,
}

impl Everybody {
    /// Reads every lock that there is. One that cannot be read hides nothing of the others.
    pub fn gather(project: &Project) -> Everybody {
        let which = Which { all_branches: true, all_tags: true, ..Which::everything() };
        let request = Request { which, skip_unreadable: true, ..Request::default() };
        let mut unreadable = Vec::new();
        let plain = |e: Error| Error { hints: Vec::new(), ..e };
        let found = gather(project, &request).or_else(|e| {
            unreadable.push(plain(e));
            gather_own(project, &request)
        });
        let found = found.unwrap_or_else(|e| {
            unreadable.push(plain(e));
            Found::default()
        });
        unreadable.extend(found.unreadable.into_iter().map(plain));
        let mut all = Everybody::of(&found.states, found.own);
        all.unreadable = unreadable;
        all
    }

    /// The first `own` states are of this project.
    fn of(states: &[State], own: usize) -> Everybody {
        let mut all = Everybody::default();
        // What is not committed comes first, so that it is told first.
        let is_workspace = |(at, state): &(usize, &State)| *at < own && state.commit.is_none();
        let (workspaces, commits): (Vec<_>, Vec<_>) = states.iter().enumerate().partition(is_workspace);
        all.workspaces = workspaces.len() as u32;
        // Many commits share a lock.
        let mut locks: Vec<(&Rc<Vec<Claim>>, Vec<u32>)> = Vec::new();
        let mut places: HashMap<*const Vec<Claim>, usize> = HashMap::new();
        for (at, state) in workspaces.into_iter().chain(commits) {
            let number = all.states.len() as u32;
            let name = called(state);
            let is_foreign = at >= own && state.commit.is_some();
            all.states.push(if is_foreign { format!("{name}{FOREIGN}") } else { name });
            for claims in &state.claims {
                let at = *places.entry(Rc::as_ptr(claims)).or_insert_with(|| {
                    locks.push((claims, Vec::new()));
                    locks.len() - 1
                });
                locks[at].1.push(number);
            }
        }
        let mut known: HashMap<Claim, usize> = HashMap::new();
        for (claims, states) in locks {
            claims.iter().for_each(|claim| all.add(&mut known, claim, &states));
        }
        all.claimed.iter_mut().for_each(|claimed| {
            claimed.states.sort_unstable();
            claimed.states.dedup();
        });
        all
    }

    fn add(&mut self, known: &mut HashMap<Claim, usize>, claim: &Claim, states: &[u32]) {
        let at = *known.entry(claim.clone()).or_insert_with(|| {
            self.claimed.push(Claimed { claim: claim.clone(), states: Vec::new() });
            self.claimed.len() - 1
        });
        self.claimed[at].states.extend(states);
    }

    /// Adds the outputs of a result that no lock pins, since it may be restored all the same.
    pub fn add_run(&mut self, key: &ObjectId, entry: &StageLock, pinned: &mut HashMap<Pin, usize>) {
        let number = match self.states.last() {
            Some(last) if last == RUN_CACHE => self.states.len() - 1,
            _ => {
                self.states.push(RUN_CACHE.into());
                self.states.len() - 1
            }
        };
        for claim in of_run(key, entry) {
            let at = *pinned.entry(claim.pin).or_insert_with(|| {
                self.claimed.push(Claimed { claim, states: Vec::new() });
                self.claimed.len() - 1
            });
            if self.claimed[at].states.is_empty() {
                self.claimed[at].states.push(number as u32);
            }
        }
    }

    /// By their pins.
    pub fn pinned(&self) -> HashMap<Pin, usize> {
        self.claimed.iter().enumerate().map(|(at, claimed)| (claimed.claim.pin, at)).collect()
    }

    pub fn is_in_workspace(&self, claimed: &Claimed) -> bool {
        claimed.states.first().is_some_and(|first| *first < self.workspaces)
    }

    /// Does nothing but a result of the run cache refer to it?
    pub fn is_of_run(&self, claimed: &Claimed) -> bool {
        claimed.states.iter().all(|state| self.states[*state as usize] == RUN_CACHE)
    }

    /// A commit of this project that pins it, as one would type it.
    pub fn commit(&self, claimed: &Claimed) -> Option<&str> {
        let is_own = |name: &&str| *name != RUN_CACHE && !name.ends_with(FOREIGN) && !name.starts_with('/');
        self.names(claimed).find(is_own)?.split(' ').next()
    }

    pub fn names(&self, claimed: &Claimed) -> impl Iterator<Item = &str> {
        claimed.states.iter().map(|state| self.states[*state as usize].as_str())
    }
}

fn called(state: &State) -> String {
    match &state.commit {
        Some(id) if !is_short(&state.name, id) => format!("{} ({})", state.name, id.short()),
        _ => state.name.clone(),
    }
}

fn is_short(name: &str, id: &GitId) -> bool {
    name == id.short()
}

/// An entry of the run cache, as far as it can be read.
pub enum Entry {
    Good(ObjectId, Box<StageLock>),
    Newer,
    Gone,
    Broken(&'static str),
}

pub fn entry(store: &Store, run: &RunFile) -> Entry {
    let Some(bytes) = store.read_run(&run.path) else {
        return if run.path.exists() { Entry::Broken("its checksum is wrong") } else { Entry::Gone };
    };
    let Ok(key) = run.key.parse::<ObjectId>() else { return Entry::Broken("its folder is not named by a stage key") };
    match entries::parse(&bytes, &key) {
        Some((entry, _)) => Entry::Good(key, Box::new(entry)),
        None if entries::is_newer(&bytes) => Entry::Newer,
        None => Entry::Broken("it is no result of its stage key"),
    }
}
