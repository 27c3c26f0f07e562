//! Disk usage: what the store holds, what pins it, and what can be dropped safely.
//!
//! Every object is counted once, for the first that reaches it: pins of the workspace, then of other worktrees, then of
//! commits, the newest first (so an earlier version counts what no later one shares with it), then of other projects,
//! then results of the run cache. The rest is unneeded, and gc's own plan says what of that is removed, and when. Bytes
//! are those of files, so that all sums together are the size of the folder.

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
use crate::retention::accounting::{Account, Accounting};
use crate::retention::gc::{DEAD, keep_young_folders, outs, pack_limit, removable_runs};
use crate::retention::pins::PinnedPath;
use crate::retention::scope::{CommitScope, PinSource, PinSources, ScopeRequest, gather, registered_projects};
use crate::store::gc::{Census, GcRules, census, plan};
use crate::store::{ObjectId, Pin, ReachableObjects, Store};

/// The options of `du`.
#[derive(Clone, Debug, Default)]
pub struct UsageOptions {
    /// The remote to ask; `None` for all remotes.
    pub remote: Option<String>,
    /// gc keeps objects younger than this.
    pub min_age: Duration,
}

/// A pinned path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedUsage {
    /// The path and its pin.
    pub pinned: PinnedPath,
    /// The newest commit that pins it; `None` for the workspace.
    pub commit: Option<NamedCommit>,
    /// Its bytes in the store. For an earlier version, the bytes that no later one shares.
    pub held: u64,
    /// Of those, the bytes that nothing else in the workspace shares.
    pub alone: u64,
    /// Remotes that have all of it.
    pub remotes: Vec<String>,
    /// Whether the store has the object of the pin itself; objects below a folder may still be missing.
    pub is_here: bool,
}

/// A commit with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCommit {
    /// The full id.
    pub id: GitId,
    /// A tag, a branch, or the short id.
    pub name: String,
    /// Seconds since 1970.
    pub time: i64,
}

/// Unneeded data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Bytes of all objects that nothing needs.
    pub bytes: u64,
    /// The bytes that `gc -A` would free now, including results of earlier runs.
    pub now: u64,
    /// The bytes that are too young, and in how many seconds the last of them will not be.
    pub young: u64,
    /// Seconds until the last of `young` is old enough.
    pub until: i64,
    /// The bytes in packs that are mostly needed.
    pub spared: u64,
}

/// The content of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreUsage {
    /// The pins of the workspace, also those without bytes in the store.
    pub workspace: Vec<PinnedUsage>,
    /// Bytes that several lines of the workspace share.
    pub shared: u64,
    /// Pins of earlier commits, as far as the store has bytes that no later one shares.
    pub earlier: Vec<PinnedUsage>,
    /// The additional bytes of other worktrees of this project, and of other projects.
    pub worktrees: BTreeMap<String, u64>,
    /// The same of other projects, by the root of each.
    pub projects: BTreeMap<PathBuf, u64>,
    /// The bytes of objects that only results of the run cache reach; the bytes and the number of the results.
    pub runs: u64,
    /// Bytes of the results themselves.
    pub results: u64,
    /// The number of results in the run cache.
    pub number_of_results: usize,
    /// Objects that nothing needs.
    pub garbage: Garbage,
    /// Indexes of packs, tombstones, the list of projects.
    pub overhead: u64,
    /// Temporary files of running or killed processes.
    pub temporary: u64,
    /// Damaged files in quarantine.
    pub damaged: u64,
    /// Errors: remotes that do not answer, locks that cannot be read, projects that are missing.
    pub troubles: Vec<Error>,
}

impl StoreUsage {
    /// The bytes that the workspace pins.
    pub fn now(&self) -> u64 {
        self.workspace.iter().map(|line| line.alone).sum::<u64>() + self.shared
    }

    /// The bytes that only commits pin, and how many of them a remote has.
    pub fn before(&self) -> (u64, u64) {
        let all = self.earlier.iter().map(|line| line.held).sum();
        let safe = self.earlier.iter().filter(|line| !line.remotes.is_empty()).map(|line| line.held).sum();
        (all, safe)
    }

    /// The bytes of the folder.
    pub fn total(&self) -> u64 {
        let others = self.worktrees.values().chain(self.projects.values()).sum::<u64>();
        let rest = self.overhead + self.temporary + self.damaged;
        self.now() + self.before().0 + others + self.runs + self.results + self.garbage.bytes + rest
    }
}

/// Computes the usage of the store. Errors: the store, or the named remote, cannot be read.
pub fn usage(project: &Project, options: &UsageOptions) -> Result<StoreUsage> {
    let store = &project.store().read_only();
    let census = census(store)?;
    let mut usage = StoreUsage::default();
    let found = gather_pins(project, &mut usage.troubles)?;
    let catalogs = ask(project, options, &mut usage.troubles)?;
    let remotes = |pin: &Pin| -> Vec<String> {
        catalogs.iter().filter(|(_, all)| all.lasting_root(pin).is_some()).map(|(name, _)| name.clone()).collect()
    };
    let mut accounting = add_files(store, &census, &mut usage)?;
    let missing = std::cell::RefCell::new(HashSet::new());
    let below = |id: &ObjectId| {
        if store.size(id).is_none() {
            missing.borrow_mut().insert(*id);
            return Ok(None);
        }
        match store.read_tree(id, 0) {
            Ok(tree) => Ok(Some(tree.entries.iter().map(|e| (e.id, e.pin().is_dir())).collect())),
            // `verify` reports a damaged tree; here it counts as empty.
            Err(_) => Ok(None),
        }
    };
    let line = |pinned: PinnedPath, commit| PinnedUsage {
        remotes: remotes(&pinned.pin),
        is_here: store.size(&pinned.pin.id).is_some(),
        commit,
        held: 0,
        alone: 0,
        pinned,
    };

    let states = sorted(project, &found)?;
    for pinned in distinct(states.workspace.iter().copied()) {
        let account = accounting.open_account();
        accounting.share(account, pinned.pin.id, pinned.pin.is_dir(), &below)?;
        usage.workspace.push(line(pinned, None));
    }
    let take = |accounting: &mut Accounting, state: &PinSource| -> Result<Account> {
        let account = accounting.open_account();
        for pinned in state.pinned_paths.iter().flat_map(|pinned_paths| pinned_paths.iter()) {
            accounting.take(account, pinned.pin.id, pinned.pin.is_dir(), &below)?;
        }
        Ok(account)
    };
    let mut owners = Vec::new();
    for state in &states.worktrees {
        take(&mut accounting, state)?;
        owners.push(AccountOwner::Worktree(state.name.clone()));
    }
    // Most commits pin what a later one pins: each pin and each lock is processed once.
    let mut seen: HashSet<(ObjectId, bool)> =
        usage.workspace.iter().map(|line| (line.pinned.pin.id, line.pinned.pin.is_dir())).collect();
    let mut read = HashSet::new();
    for (state, commit) in &states.commits {
        for pinned_paths in state.pinned_paths.iter().filter(|pinned_paths| read.insert(Rc::as_ptr(pinned_paths))) {
            for pinned in pinned_paths.iter().filter(|pinned| seen.insert((pinned.pin.id, pinned.pin.is_dir()))) {
                let account = accounting.open_account();
                accounting.take(account, pinned.pin.id, pinned.pin.is_dir(), &below)?;
                owners.push(AccountOwner::Earlier(Box::new(line(pinned.clone(), Some(commit.clone())))));
            }
        }
    }
    for state in &states.others {
        take(&mut accounting, state)?;
        owners.push(AccountOwner::Project(state.other.clone().unwrap_or_default()));
    }
    let runs = accounting.open_account();
    for run in &census.runs {
        usage.results += run.size;
        usage.number_of_results += 1;
        for pin in outs(store, run).into_iter().flatten() {
            accounting.take(runs, pin.id, pin.is_dir(), &below)?;
        }
    }

    let (sums, shared) = accounting.sums();
    usage.shared = shared;
    let (first, rest) = sums.split_at(usage.workspace.len());
    for (line, sum) in usage.workspace.iter_mut().zip(first) {
        (line.held, line.alone) = (sum.held, sum.alone);
    }
    for (owner, sum) in owners.into_iter().zip(rest) {
        match owner {
            AccountOwner::Worktree(name) => *usage.worktrees.entry(name).or_default() += sum.held,
            AccountOwner::Project(home) => *usage.projects.entry(home).or_default() += sum.held,
            AccountOwner::Earlier(line) => usage.earlier.push(PinnedUsage { held: sum.held, alone: sum.held, ..*line }),
        }
    }
    usage.runs = rest.last().map_or(0, |sum| sum.held);
    // Versions without bytes of their own are left out: they are not in the store, or later ones share all of them.
    usage.earlier.retain(|line| line.held > 0);
    let owned = accounting.owned_before(runs).collect();
    let reach = ReachableObjects::walked(owned, missing.into_inner().into_iter().collect());
    garbage(project, options, (store, &census, &found), &accounting, reach).map(|garbage| usage.garbage = garbage)?;
    Ok(usage)
}

enum AccountOwner {
    Worktree(String),
    Earlier(Box<PinnedUsage>),
    Project(PathBuf),
}

/// All pins. Errors of other projects are recorded, and their pins are left out.
fn gather_pins(project: &Project, troubles: &mut Vec<Error>) -> Result<PinSources> {
    let gone: Vec<PathBuf> =
        registered_projects(project)?.into_iter().map(|user| user.home).filter(|home| !home.exists()).collect();
    for home in &gone {
        let message = format!("the project at {} is not there: its data is counted as unneeded", home.display());
        troubles.push(Error::missing(message));
    }
    let request = ScopeRequest { which: CommitScope::everything(), skip_unreadable: true, forgotten: gone };
    let mut found = gather(project, &request)?;
    troubles.append(&mut found.unreadable);
    Ok(found)
}

/// The contents of each remote. A remote that the user named has to answer.
fn ask(project: &Project, options: &UsageOptions, troubles: &mut Vec<Error>) -> Result<Vec<(String, Arc<Catalog>)>> {
    let mut catalogs = Vec::new();
    let names = match &options.remote {
        Some(name) => vec![name.as_str()],
        None => project.config.remotes(),
    };
    for name in names {
        let read = |remote: Remote| if options.remote.is_some() { remote.contents() } else { remote.catalog() };
        match Remote::open(project, Some(name), None).and_then(read) {
            Ok(catalog) => catalogs.push((name.to_string(), catalog)),
            Err(e) if options.remote.is_some() => return Err(e),
            Err(e) => troubles.push(e),
        }
    }
    Ok(catalogs)
}

/// Adds every file of the folder: objects to the accounting, other files to their sums.
fn add_files(store: &Store, census: &Census, usage: &mut StoreUsage) -> Result<Accounting> {
    let mut accounting = Accounting::default();
    census.loose.iter().for_each(|loose| accounting.add_copy(loose.id, loose.size));
    for found in &census.packs {
        let mut objects = 0;
        for row in found.pack.index.iter() {
            objects += row.length;
            if found.pack.tombstoned.contains(&row.id) {
                usage.damaged += row.length;
            } else {
                accounting.add_copy(row.id, row.length);
            }
        }
        usage.overhead += found.size.saturating_sub(objects);
    }
    usage.temporary = census.temporary.iter().map(|file| file.size).sum();
    usage.damaged += census.quarantine.iter().map(|file| file.size).sum::<u64>();
    // Small files of the store itself: generation, lock, list of projects, tombstones; packs that cannot be read.
    let known: HashSet<&Path> = census.packs.iter().map(|found| found.pack.path.as_path()).collect();
    for folder in [store.dir().to_path_buf(), store.dir().join("projects"), store.dir().join("packs")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let size = entry.metadata().ok().filter(fs::Metadata::is_file).map_or(0, |meta| meta.len());
            if !known.contains(entry.path().as_path()) {
                usage.overhead += size;
            }
        }
    }
    Ok(accounting)
}

#[derive(Default)]
struct States<'f> {
    workspace: Vec<&'f PinSource>,
    worktrees: Vec<&'f PinSource>,
    /// The newest first.
    commits: Vec<(&'f PinSource, NamedCommit)>,
    others: Vec<&'f PinSource>,
}

fn sorted<'f>(project: &Project, found: &'f PinSources) -> Result<States<'f>> {
    let mut states = States::default();
    let history = if project.repo.is_git() { Some(project.repo.history()?) } else { None };
    for state in &found.states {
        match (state.other.is_some(), state.commit, &history) {
            (true, ..) => states.others.push(state),
            (false, Some(id), Some(history)) => {
                let time = history.commit(id).and_then(|commit| commit.info()).map_or(0, |about| about.time);
                states.commits.push((state, NamedCommit { id, name: state.name.clone(), time }));
            }
            _ if state.name == "workspace" => states.workspace.push(state),
            _ => states.worktrees.push(state),
        }
    }
    states.commits.sort_by_key(|(_, named)| std::cmp::Reverse(named.time));
    Ok(states)
}

/// Each pinned path once, by stage and path.
fn distinct<'s>(states: impl Iterator<Item = &'s PinSource>) -> Vec<PinnedPath> {
    let mut seen = HashSet::new();
    let mut pinned_paths: Vec<PinnedPath> = Vec::new();
    for pinned in states.flat_map(|state| &state.pinned_paths).flat_map(|pinned_paths| pinned_paths.iter()) {
        if seen.insert(pinned) {
            pinned_paths.push(pinned.clone());
        }
    }
    pinned_paths.sort_by(|a, b| (&a.stage, &a.path, a.pin.id).cmp(&(&b.stage, &b.path, b.pin.id)));
    pinned_paths
}

/// What `gc -A` would do, by its own rules.
fn garbage(
    project: &Project,
    options: &UsageOptions,
    (store, census, found): (&Store, &Census, &PinSources),
    accounting: &Accounting,
    mut reach: ReachableObjects,
) -> Result<Garbage> {
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs() as i64;
    let going = removable_runs(store, census, &mut reach, old)?.removable;
    let needed = reach.objects.clone();
    keep_young_folders(store, census, &mut reach, old)?;
    let dead = now.saturating_sub(DEAD).as_secs() as i64;
    let plan = plan(census, &reach.objects, GcRules { old, dead, packed: pack_limit(store, found) });
    let gone: HashSet<&ObjectId> = plan.gone.iter().map(|(id, _)| id).collect();
    let mut garbage = Garbage { spared: plan.spared.1, ..Garbage::default() };
    for (id, bytes) in accounting.unowned() {
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
