//! `verify`: checks that everything stored is intact, and if not, which outputs are affected.
//!
//! By default it checks everything that does not require reading gigabytes: names and sizes, the indexes of packs, the
//! run cache, every tree that is reachable from any lock of any commit, and those objects whose files were written to
//! since they were verified (a broken seal). Silent damage, which leaves no time stamp, is found by reading only:
//! `part` says how much to read.
//!
//! A missing object is not damage: a clone fetches what it needs. But what the workspace pins and neither the store nor
//! a remote has is reported as lost.
//!
//! Nothing is changed without `repair`. A repair moves damaged files into quarantine and restores them from where they
//! are available: from a pack with only a broken index, from the workspace, from the remotes in order. A result of the
//! run cache with an output that is lost is dropped, too.

mod impact;
mod pins;
mod remote;
mod repair;
mod subset;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

pub use pins::{PinIndex, PinnedBy};
pub use remote::verify_remote;
pub use subset::ReadSubset;

use crate::error::{Error, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::Project;
use crate::retention::scope;
use crate::store::verify::{Damage, DamageKind, Inventory, ObjectCopy, RunFile, read, take_inventory};
use crate::store::{ObjectId, Pin, Store};
use impact::{DamageBelow, ImpactAnalysis, sorted};
use pins::RunCacheEntry;

/// The options of `verify`.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Which part of the objects to read.
    pub part: Option<ReadSubset>,
    /// The seed of the random choice, to repeat an earlier one; otherwise the clock is used.
    pub seed: Option<u64>,
    /// Moves damaged files to quarantine, and stores their objects again where a source has them.
    pub repair: bool,
}

/// The result of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairResult {
    /// Moved to quarantine; there is another copy, or nothing needs it.
    Quarantined,
    /// Restored from these sources.
    Restored(BTreeSet<RepairSource>),
    /// No source has it.
    Lost,
    /// Cannot be repaired automatically.
    Unrepairable,
}

/// Where an object was restored from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairSource {
    /// A pack with only a broken index.
    Pack,
    /// The file in the workspace, whose content still has the id.
    Workspace,
    /// The remote of this name.
    Remote(String),
    /// The local store, if a remote was repaired.
    Store,
}

/// A damaged file or object.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The object, if the damage concerns exactly one.
    pub id: Option<ObjectId>,
    /// The path in the store or at the remote.
    pub place: String,
    /// A sentence without its subject: `its bytes do not match its id`.
    pub problem: String,
    /// The affected outputs: indexes into [`PinIndex::paths`].
    pub affected: Vec<usize>,
    /// `None` if no repair was requested.
    pub outcome: Option<RepairResult>,
}

impl Finding {
    /// Returns true if nothing is left to do for it.
    pub fn is_repaired(&self) -> bool {
        matches!(self.outcome, Some(RepairResult::Quarantined | RepairResult::Restored(_)))
    }
}

/// The result of `verify`.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// All pins of all states.
    pub pins: PinIndex,
    /// All damage; empty for an intact store.
    pub findings: Vec<Finding>,
    /// Outputs that are partly or completely missing in the store: indexes into [`PinIndex::paths`].
    pub missing: Vec<usize>,
    /// Files that hold an object.
    pub objects: usize,
    /// The number of packs with a usable index.
    pub packs: usize,
    /// The number of results in the run cache.
    pub runs: usize,
    /// Bytes of the files of the store.
    pub bytes: u64,
    /// Objects that were read, and their bytes.
    pub read: (usize, u64),
    /// The seed of the random choice.
    pub seed: Option<u64>,
    /// Files of a newer format.
    pub newer: usize,
    /// Results of the run cache that were dropped.
    pub dropped: usize,
    /// The errors of remotes that could not help, and of objects that could not be sent again.
    pub unasked: Vec<Error>,
    /// The remote that was verified instead of the store.
    pub remote: Option<String>,
}

impl VerifyReport {
    /// Returns true if there was no damage, or all of it was repaired.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(Finding::is_repaired)
    }

    /// Records the error of a remote, once.
    fn could_not(&mut self, error: Error) {
        if self.unasked.iter().all(|known| known.message != error.message) {
            self.unasked.push(error);
        }
    }
}

/// Verifies the store, and repairs it if requested.
pub fn verify(project: &Project, options: &VerifyOptions, sink: &dyn Sink) -> Result<VerifyReport> {
    let store = &project.store().read_only();
    if !store.dir().is_dir() {
        return Err(Error::missing(format!("there is no store yet at {}: nothing to verify", store.dir().display()))
            .hint("lockstep repro fills it, and so does lockstep pull from a remote"));
    }
    // The pins are read first: their objects were stored before they were pinned.
    let mut pins = PinIndex::gather(project);
    let mut inventory = take_inventory(store)?;
    let (notes, of_commit) = scope::notes(project)?;
    if let Err(e) = store.projects(&notes) {
        inventory.damaged.push(Damage { what: DamageKind::Projects, problem: e.message });
    }
    let ignored = |note: &RepoPath| {
        Error::usage(format!("{note} came with a commit, and does not name a project that uses the store"))
    };
    pins.unreadable.extend(of_commit.iter().map(ignored));
    let (runs, mut damaged, newer) = entries(store, &inventory, &mut pins);
    let seed =
        options.seed.unwrap_or_else(|| (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()));
    let done = read(store, &chosen(&inventory, options.part, seed), sink)?;
    damaged.extend(inventory.damaged.iter().cloned());
    damaged.extend(done.damaged);
    let mut impact = ImpactAnalysis::new(store, &inventory, &damaged);
    let below: Vec<Rc<DamageBelow>> =
        pins.paths.iter().map(|item| impact.damage_below(&item.pinned.pin)).collect::<Result<_>>()?;
    damaged.extend(impact.finish());
    let is_kept = |at: usize| pins.paths[at].pinned.cache && !pins.is_of_run(&pins.paths[at]);
    let lacking: Vec<usize> = (0..below.len()).filter(|at| below[*at].lacks && is_kept(*at)).collect();
    let no_remote = project.config.remotes().is_empty();
    let (lost, missing): (Vec<usize>, Vec<usize>) =
        lacking.into_iter().partition(|at| no_remote && pins.is_in_workspace(&pins.paths[*at]));
    let damaged = sorted(store, damaged);
    let mut findings = findings(store, &impact, &damaged, &below);
    let told: HashSet<usize> = findings.iter().flat_map(|finding| finding.affected.iter().copied()).collect();
    let lost = lost.into_iter().filter(|at| !told.contains(at)).collect();
    let lost = still_lost(project, store, &pins, lost);
    findings.extend(lost.iter().map(|at| lost_finding(&pins.paths[*at], *at)));
    let mut report = VerifyReport {
        findings,
        missing,
        objects: inventory.copies.len(),
        packs: inventory.packs.len(),
        runs: inventory.runs.len(),
        bytes: inventory.bytes,
        read: (done.objects, done.bytes),
        seed: options.part.filter(ReadSubset::is_random).map(|_| seed),
        newer,
        pins,
        ..VerifyReport::default()
    };
    if options.repair {
        let input = repair::RepairInput {
            damaged: &damaged,
            below: &below,
            lacking: &impact.lacking,
            lost: &lost,
            runs: &runs,
        };
        repair::repair(project, &input, &mut report, sink)?;
    }
    Ok(report)
}

/// An entry of the run cache with its outputs.
type RunOuts = (RunFile, Vec<Pin>);

/// The entries of the run cache: the readable ones, the damaged ones, and the number of files of a newer format.
fn entries(store: &Store, inventory: &Inventory, pins: &mut PinIndex) -> (Vec<RunOuts>, Vec<Damage>, usize) {
    let (mut runs, mut damaged, mut newer) = (Vec::new(), Vec::new(), inventory.newer);
    let mut by_pin = pins.by_pin();
    for run in &inventory.runs {
        match pins::read_entry(store, run) {
            RunCacheEntry::Good(key, entry) => {
                pins.add_run(&key, &entry, &mut by_pin);
                runs.push((run.clone(), entry.outs.values().map(|out| out.pin).collect()));
            }
            RunCacheEntry::Newer => newer += 1,
            RunCacheEntry::Gone => {}
            RunCacheEntry::Broken(why) => {
                let what = DamageKind::Run { key: run.key.clone(), path: run.path.clone() };
                damaged.push(Damage { what, problem: why.to_string() });
            }
        }
    }
    (runs, damaged, newer)
}

/// The copies to read: the requested part, and all that were written to since they were verified.
fn chosen(inventory: &Inventory, part: Option<ReadSubset>, seed: u64) -> Vec<&ObjectCopy> {
    let all: Vec<(ObjectId, u64)> = inventory.copies.iter().map(|copy| (copy.id, copy.size)).collect();
    let asked: HashSet<usize> = part.map(|part| part.choose(&all, seed)).unwrap_or_default().into_iter().collect();
    let is_chosen = |(at, copy): &(usize, &ObjectCopy)| asked.contains(at) || !copy.sealed;
    inventory.copies.iter().enumerate().filter(is_chosen).map(|(_, copy)| copy).collect()
}

fn findings(store: &Store, impact: &ImpactAnalysis, damaged: &[Damage], below: &[Rc<DamageBelow>]) -> Vec<Finding> {
    let mut affected_by: HashMap<ObjectId, Vec<usize>> = HashMap::new();
    for (at, below) in below.iter().enumerate() {
        below.bad.iter().for_each(|id| affected_by.entry(*id).or_default().push(at));
    }
    let one = |damage: &Damage| {
        let mut affected: Vec<usize> = match &damage.what {
            // The content of the pack is not known, so every missing object may have been in it.
            DamageKind::Pack { rows, .. } if rows.is_empty() => {
                (0..below.len()).filter(|at| below[*at].lacks).collect()
            }
            what => {
                let ids = what.ids().into_iter().filter(|id| impact.is_bad(id));
                ids.flat_map(|id| affected_by.get(&id).into_iter().flatten().copied()).collect()
            }
        };
        affected.sort_unstable();
        affected.dedup();
        Finding {
            id: damage.what.id(),
            place: damage.what.place(store),
            problem: damage.problem.clone(),
            affected,
            outcome: None,
        }
    };
    damaged.iter().map(one).collect()
}

/// Those of the lost outputs that a workspace still pins and the store still lacks. Meanwhile a run may have replaced
/// them and gc deleted them.
fn still_lost(project: &Project, store: &Store, pins: &PinIndex, lost: Vec<usize>) -> Vec<usize> {
    if lost.is_empty() {
        return lost;
    }
    let now = PinIndex::gather(project);
    if !now.unreadable.is_empty() {
        // What a lock that cannot be read pins is unknown.
        return lost;
    }
    let is_pinned = |item: &&PinnedBy| now.is_in_workspace(item);
    let pinned: HashSet<Pin> = now.paths.iter().filter(is_pinned).map(|item| item.pinned.pin).collect();
    let is_lost = |at: &usize| {
        let pin = &pins.paths[*at].pinned.pin;
        pinned.contains(pin) && !store.contains(pin)
    };
    lost.into_iter().filter(is_lost).collect()
}

/// A finding for an object that the workspace pins and that no source has.
fn lost_finding(item: &PinnedBy, at: usize) -> Finding {
    Finding {
        id: Some(item.pinned.pin.id),
        place: "nowhere".into(),
        problem: "it is not in the store, and there is no remote that may have it".into(),
        affected: vec![at],
        outcome: None,
    }
}
