//! What the store holds, for whom, and what of it is safe to drop.
//!
//! Every object is counted once, for the first that leads to it: what the workspace pins, then other worktrees, then
//! commits, the newest first (so an earlier version has what no later one shares with it), then other projects, then
//! results of the run cache; what is left is nobody's, and gc's own plan says what of that goes, and when. Bytes are
//! those of files, so that all sums together are what lies in the folder.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::git::GitId;
use crate::project::Project;
use crate::remote::{Catalog, Remote};
use crate::retention::accounting::{Account, Ledger};
use crate::retention::gc::{DEAD, going_runs, outs, packed, young};
use crate::retention::pins::Claim;
use crate::retention::scope::{Found, Request, State, Which, gather, noted};
use crate::store::gc::{Census, Rules, census, plan};
use crate::store::{ObjectId, Pin, ReachableObjects, Store};

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ask this remote; else all that there are.
    pub remote: Option<String>,
    /// What is younger, gc leaves alone.
    pub min_age: Duration,
}

/// Something that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub claim: Claim,
    /// The newest commit that pins it; `None` for the workspace.
    pub commit: Option<FilesByName>,
    /// Bytes of it in the store. Of an earlier version those that no later one shares.
    pub held: u64,
    /// Of those, what nothing else in the workspace shares.
    pub alone: u64,
    /// Remotes that have all of it.
    pub remotes: Vec<String>,
    pub is_here: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesByName {
    pub id: GitId,
    /// A tag, a branch, or the short id.
    pub name: String,
    /// Seconds since 1970.
    pub time: i64,
}

/// What nobody needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    pub bytes: u64,
    /// What `gc -A` would free now; results of earlier runs that go are in it.
    pub now: u64,
    /// What is too young, and in how many seconds the last of it is not.
    pub young: u64,
    pub until: i64,
    /// What lies in packs that are mostly needed.
    pub spared: u64,
}

/// All that lies in the store.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub workspace: Vec<Line>,
    /// Bytes that several lines of the workspace have.
    pub shared: u64,
    pub earlier: Vec<Line>,
    /// What other worktrees of this project, and other projects, hold beyond that.
    pub worktrees: BTreeMap<String, u64>,
    pub projects: BTreeMap<PathBuf, u64>,
    /// Objects that only results of the run cache lead to; the results themselves, and how many.
    pub runs: u64,
    pub results: u64,
    pub number_of_results: usize,
    pub garbage: Garbage,
    /// Indexes of packs, tombstones, the list of projects.
    pub overhead: u64,
    /// Being written, or left by who was killed.
    pub temporary: u64,
    /// Damaged, set aside.
    pub damaged: u64,
    /// Remotes that could not be asked, locks that could not be read, projects that are not there.
    pub troubles: Vec<Error>,
}

impl Usage {
    /// What the workspace pins.
    pub fn now(&self) -> u64 {
        self.workspace.iter().map(|line| line.alone).sum::<u64>() + self.shared
    }

    /// What only commits pin, and how much of it is at a remote.
    pub fn before(&self) -> (u64, u64) {
        let all = self.earlier.iter().map(|line| line.held).sum();
        let safe = self.earlier.iter().filter(|line| !line.remotes.is_empty()).map(|line| line.held).sum();
        (all, safe)
    }

    /// All of the folder.
    pub fn total(&self) -> u64 {
        let others = self.worktrees.values().chain(self.projects.values()).sum::<u64>();
        let rest = self.overhead + self.temporary + self.damaged;
        self.now() + self.before().0 + others + self.runs + self.results + self.garbage.bytes + rest
    }
}

pub fn usage(project: &Project, options: &Options) -> Result<Usage> {
    let store = &project.store().read_only();
    let census = census(store)?;
    let mut usage = Usage::default();
    let found = claimed(project, &mut usage.troubles)?;
    let catalogs = ask(project, options, &mut usage.troubles)?;
    let remotes = |pin: &Pin| -> Vec<String> {
        catalogs.iter().filter(|(_, all)| all.lasting_root(pin).is_some()).map(|(name, _)| name.clone()).collect()
    };
    let mut ledger = enter(store, &census, &mut usage)?;
    let missing = std::cell::RefCell::new(HashSet::new());
    let below = |id: &ObjectId| {
        if store.size(id).is_none() {
            missing.borrow_mut().insert(*id);
            return Ok(None);
        }
        match store.read_tree(id, 0) {
            Ok(tree) => Ok(Some(tree.entries.iter().map(|e| (e.id, e.pin().is_dir())).collect())),
            // A damaged one is told of by `verify`; here it holds nothing.
            Err(_) => Ok(None),
        }
    };
    let line = |claim: Claim, commit| Line {
        remotes: remotes(&claim.pin),
        is_here: store.size(&claim.pin.id).is_some(),
        commit,
        held: 0,
        alone: 0,
        claim,
    };

    let states = sorted(project, &found)?;
    for claim in distinct(states.workspace.iter().copied()) {
        let account = ledger.open();
        ledger.share(account, claim.pin.id, claim.pin.is_dir(), &below)?;
        usage.workspace.push(line(claim, None));
    }
    let take = |ledger: &mut Ledger, state: &State| -> Result<Account> {
        let account = ledger.open();
        for claim in state.claims.iter().flat_map(|claims| claims.iter()) {
            ledger.take(account, claim.pin.id, claim.pin.is_dir(), &below)?;
        }
        Ok(account)
    };
    let mut whose = Vec::new();
    for state in &states.worktrees {
        take(&mut ledger, state)?;
        whose.push(Whose::Worktree(state.name.clone()));
    }
    // Most commits pin what a later one pins: each pin is looked at once, each lock once.
    let mut seen: HashSet<(ObjectId, bool)> =
        usage.workspace.iter().map(|line| (line.claim.pin.id, line.claim.pin.is_dir())).collect();
    let mut read = HashSet::new();
    for (state, commit) in &states.commits {
        for claims in state.claims.iter().filter(|claims| read.insert(Rc::as_ptr(claims))) {
            for claim in claims.iter().filter(|claim| seen.insert((claim.pin.id, claim.pin.is_dir()))) {
                let account = ledger.open();
                ledger.take(account, claim.pin.id, claim.pin.is_dir(), &below)?;
                whose.push(Whose::Earlier(Box::new(line(claim.clone(), Some(commit.clone())))));
            }
        }
    }
    for state in &states.others {
        take(&mut ledger, state)?;
        whose.push(Whose::Project(state.other.clone().unwrap_or_default()));
    }
    let runs = ledger.open();
    for run in &census.runs {
        usage.results += run.size;
        usage.number_of_results += 1;
        for pin in outs(store, run).into_iter().flatten() {
            ledger.take(runs, pin.id, pin.is_dir(), &below)?;
        }
    }

    let (sums, shared) = ledger.sums();
    usage.shared = shared;
    let (first, rest) = sums.split_at(usage.workspace.len());
    for (line, sum) in usage.workspace.iter_mut().zip(first) {
        (line.held, line.alone) = (sum.held, sum.alone);
    }
    for (whose, sum) in whose.into_iter().zip(rest) {
        match whose {
            Whose::Worktree(name) => *usage.worktrees.entry(name).or_default() += sum.held,
            Whose::Project(home) => *usage.projects.entry(home).or_default() += sum.held,
            Whose::Earlier(line) => usage.earlier.push(Line { held: sum.held, alone: sum.held, ..*line }),
        }
    }
    usage.runs = rest.last().map_or(0, |sum| sum.held);
    // Versions that cost nothing are no news: not here, or all of it lies in later ones.
    usage.earlier.retain(|line| line.held > 0);
    let reach = ReachableObjects {
        objects: ledger.owned_before(runs).collect(),
        missing: missing.into_inner().into_iter().collect(),
    };
    garbage(project, options, (store, &census, &found), &ledger, reach).map(|garbage| usage.garbage = garbage)?;
    Ok(usage)
}

enum Whose {
    Worktree(String),
    Earlier(Box<Line>),
    Project(PathBuf),
}

/// All claims; who cannot be heard is told of and counts as nobody.
fn claimed(project: &Project, troubles: &mut Vec<Error>) -> Result<Found> {
    let gone: Vec<PathBuf> = noted(project)?.into_iter().map(|user| user.home).filter(|home| !home.exists()).collect();
    for home in &gone {
        let message = format!("the project at {} is not there: what it needs counts as nobody's", home.display());
        troubles.push(Error::missing(message));
    }
    let request = Request { which: Which::everything(), skip_unreadable: true, forgotten: gone };
    let mut found = gather(project, &request)?;
    troubles.append(&mut found.unreadable);
    Ok(found)
}

/// What each remote has. One that is named must answer.
fn ask(project: &Project, options: &Options, troubles: &mut Vec<Error>) -> Result<Vec<(String, Arc<Catalog>)>> {
    let mut catalogs = Vec::new();
    let names = match &options.remote {
        Some(name) => vec![name.as_str()],
        None => project.config.remotes(),
    };
    for name in names {
        let read = |remote: Remote| if options.remote.is_some() { remote.contents() } else { remote.known() };
        match Remote::open(project, Some(name), None).and_then(read) {
            Ok(catalog) => catalogs.push((name.to_string(), catalog)),
            Err(e) if options.remote.is_some() => return Err(e),
            Err(e) => troubles.push(e),
        }
    }
    Ok(catalogs)
}

/// Everything that lies in the folder: objects into the ledger, the rest into its sums.
fn enter(store: &Store, census: &Census, usage: &mut Usage) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    census.loose.iter().for_each(|loose| ledger.enter(loose.id, loose.size));
    for found in &census.packs {
        let mut objects = 0;
        for row in found.pack.index.iter() {
            objects += row.length;
            if found.pack.tombstoned.contains(&row.id) {
                usage.damaged += row.length;
            } else {
                ledger.enter(row.id, row.length);
            }
        }
        usage.overhead += found.size.saturating_sub(objects);
    }
    usage.temporary = census.temporary.iter().map(|file| file.size).sum();
    usage.damaged += census.quarantine.iter().map(|file| file.size).sum::<u64>();
    // Small files of its own: generation, lock, list of projects, tombstones; packs that nobody can read.
    let known: HashSet<&Path> = census.packs.iter().map(|found| found.pack.path.as_path()).collect();
    for folder in [store.dir().to_path_buf(), store.dir().join("projects"), store.dir().join("packs")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let size = entry.metadata().ok().filter(fs::Metadata::is_file).map_or(0, |meta| meta.len());
            if !known.contains(entry.path().as_path()) {
                usage.overhead += size;
            }
        }
    }
    Ok(ledger)
}

#[derive(Default)]
struct States<'f> {
    workspace: Vec<&'f State>,
    worktrees: Vec<&'f State>,
    /// The newest first.
    commits: Vec<(&'f State, FilesByName)>,
    others: Vec<&'f State>,
}

fn sorted<'f>(project: &Project, found: &'f Found) -> Result<States<'f>> {
    let mut states = States::default();
    let history = if project.repo.is_git() { Some(project.repo.history()?) } else { None };
    for state in &found.states {
        match (state.other.is_some(), state.commit, &history) {
            (true, ..) => states.others.push(state),
            (false, Some(id), Some(history)) => {
                let time = history.commit(id).and_then(|commit| commit.info()).map_or(0, |about| about.time);
                states.commits.push((state, FilesByName { id, name: state.name.clone(), time }));
            }
            _ if state.name == "workspace" => states.workspace.push(state),
            _ => states.worktrees.push(state),
        }
    }
    states.commits.sort_by_key(|(_, named)| std::cmp::Reverse(named.time));
    Ok(states)
}

/// Each pinned path once, by stage and path.
fn distinct<'s>(states: impl Iterator<Item = &'s State>) -> Vec<Claim> {
    let mut seen = HashSet::new();
    let mut claims: Vec<Claim> = Vec::new();
    for claim in states.flat_map(|state| &state.claims).flat_map(|claims| claims.iter()) {
        if seen.insert(claim) {
            claims.push(claim.clone());
        }
    }
    claims.sort_by(|a, b| (&a.stage, &a.path, a.pin.id).cmp(&(&b.stage, &b.path, b.pin.id)));
    claims
}

/// What `gc -A` would do, by its own rules.
fn garbage(
    project: &Project,
    options: &Options,
    (store, census, found): (&Store, &Census, &Found),
    ledger: &Ledger,
    mut reach: ReachableObjects,
) -> Result<Garbage> {
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs() as i64;
    let going = going_runs(store, census, &mut reach, old)?;
    let needed = reach.objects.clone();
    young(store, census, &mut reach, old)?;
    let dead = now.saturating_sub(DEAD).as_secs() as i64;
    let plan = plan(census, &reach.objects, Rules { old, dead, packed: packed(store, found) });
    let gone: HashSet<&ObjectId> = plan.gone.iter().map(|(id, _)| id).collect();
    let mut garbage = Garbage { spared: plan.spared.1, ..Garbage::default() };
    for (id, bytes) in ledger.unowned() {
        garbage.bytes += bytes;
        garbage.young += if gone.contains(id) { 0 } else { bytes };
    }
    garbage.young = garbage.young.saturating_sub(garbage.spared);
    garbage.now = plan.bytes + going.iter().map(|run| run.size).sum::<u64>();
    let loose = census.loose.iter().filter(|loose| !needed.contains(&loose.id)).map(|loose| loose.time);
    let is_garbage = |id: &ObjectId| !needed.contains(id);
    let packs = census.packs.iter().filter(|found| found.pack.index.iter().any(|row| is_garbage(&row.id)));
    let last = loose.chain(packs.map(|found| found.time)).filter(|time| *time > old).max();
    garbage.until = last.map_or(0, |last| last - old);
    Ok(garbage)
}
