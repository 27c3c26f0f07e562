//! Repair of the store: damaged files are quarantined and restored from other sources.
//!
//! All of it runs under the store's shared lock, like any other write. Everything restored is verified on the way, so
//! an interrupted repair leaves a store that is better than before, and the next one continues.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::{Finding, PinIndex, RepairResult, RepairSource, RunOuts, VerifyReport};
use crate::error::Result;
use crate::event::Sink;
use crate::path::RepoPath;
use crate::plan::facts::IgnoreRules;
use crate::project::Project;
use crate::remote::{Remote, Wanted};
use crate::retention::verify::impact::DamageBelow;
use crate::store::verify::{Damage, DamageKind};
use crate::store::{ObjectId, Pin, Store, TrackedPath};

/// The input of a repair.
pub struct RepairInput<'c> {
    pub damaged: &'c [Damage],
    /// The damage below each pin.
    pub below: &'c [Rc<DamageBelow>],
    /// Missing objects: some of them may be in a broken pack.
    pub lacking: &'c HashSet<ObjectId>,
    /// Pins of the workspace with an object that no source has.
    pub lost: &'c [usize],
    /// Entries of the run cache, with their outputs.
    pub runs: &'c [RunOuts],
}

/// What the repair looks for.
struct RepairTargets {
    /// Objects that were damaged.
    bad: BTreeSet<ObjectId>,
    /// Pins with missing objects that may have been in a pack with unknown content.
    unknown: Vec<usize>,
    /// All pins with missing objects.
    asked: Vec<usize>,
}

/// What was restored, and from where.
#[derive(Default)]
struct RestoredObjects {
    sources: HashMap<ObjectId, RepairSource>,
    /// Pins with missing objects that a remote has, where the damaged objects are not known.
    elsewhere: HashMap<usize, RepairSource>,
}

impl RestoredObjects {
    fn record(&mut self, ids: HashSet<ObjectId>, source: &RepairSource) {
        for id in ids {
            self.sources.entry(id).or_insert_with(|| source.clone());
        }
    }
}

/// Repairs the damage, and sets the result of each finding.
pub fn repair(project: &Project, input: &RepairInput, report: &mut VerifyReport, sink: &dyn Sink) -> Result<()> {
    let store = project.store();
    let _hold = store.lock_shared(sink)?;
    let broken = store.quarantine_damaged(input.damaged)?;
    let bad: BTreeSet<ObjectId> = input.below.iter().flat_map(|below| below.bad.iter().copied()).collect();
    let mut restored = RestoredObjects::default();
    restored.record(salvage(store, input, report, &broken)?, &RepairSource::Pack);
    let unknown = unknown(store, input, report);
    let targets = RepairTargets { asked: asked(input, &unknown), unknown, bad };
    if !targets.asked.is_empty() {
        restored.record(from_workspace(project, &targets, report, sink)?, &RepairSource::Workspace);
        from_remotes(project, input, &targets, report, &mut restored, sink);
    }
    let lost = store.filter_missing(&targets.bad);
    let still: HashSet<usize> =
        (0..input.below.len()).filter(|at| is_affected(store, input, report, *at, &lost)).collect();
    report.dropped = drop_runs(store, input, report, &still)?;
    for (at, damage) in input.damaged.iter().enumerate() {
        let outcome = match &damage.what {
            DamageKind::Projects => RepairResult::Unrepairable,
            DamageKind::Pack { rows, .. } if rows.is_empty() => {
                outcome_of_unknown(store, &report.findings[at], report, &restored)
            }
            _ => outcome(store, damage, (&report.findings[at], &report.pins), (&lost, &still), &restored),
        };
        report.findings[at].outcome = Some(outcome);
    }
    for (pinned, finding) in input.lost.iter().zip(&mut report.findings[input.damaged.len()..]) {
        let is_whole = store.contains(&report.pins.paths[*pinned].pinned.pin);
        finding.outcome = Some(if is_whole {
            RepairResult::Restored(BTreeSet::from([RepairSource::Workspace]))
        } else {
            RepairResult::Lost
        });
    }
    Ok(())
}

/// Returns true if an output is still affected. The missing objects below a damaged folder are not known, so all of it
/// has to be in the store.
fn is_affected(store: &Store, input: &RepairInput, report: &VerifyReport, at: usize, left: &HashSet<ObjectId>) -> bool {
    let below = &input.below[at];
    match (below.bad.is_empty(), below.lacks) {
        (true, _) => false,
        (false, true) => below.bad.iter().any(|id| left.contains(id)),
        (false, false) => !store.contains(&report.pins.paths[at].pinned.pin),
    }
}

/// Takes intact objects out of broken packs. A restored folder may reveal more missing objects, so this repeats until
/// nothing more is found.
fn salvage(store: &Store, input: &RepairInput, report: &VerifyReport, broken: &[PathBuf]) -> Result<HashSet<ObjectId>> {
    if broken.is_empty() {
        return Ok(HashSet::new());
    }
    let mut saved = store.salvage(broken, &HashSet::new())?;
    loop {
        let mut missed = input.lacking.clone();
        for (at, _) in input.below.iter().enumerate().filter(|(_, below)| !below.bad.is_empty()) {
            let lacking = store.missing_objects(&report.pins.paths[at].pinned.pin)?;
            missed.extend(lacking.trees);
            missed.extend(lacking.contents.iter().map(|object| object.id));
        }
        let more = store.salvage(broken, &missed)?;
        if more.is_empty() {
            return Ok(saved);
        }
        saved.extend(more);
    }
}

/// The pins with missing objects that may have been in a pack with unknown content.
fn unknown(store: &Store, input: &RepairInput, report: &VerifyReport) -> Vec<usize> {
    let is_unknown = |damage: &Damage| matches!(&damage.what, DamageKind::Pack { rows, .. } if rows.is_empty());
    let of = input.damaged.iter().zip(&report.findings).filter(|(damage, _)| is_unknown(damage));
    let affected: BTreeSet<usize> = of.flat_map(|(_, finding)| finding.affected.iter().copied()).collect();
    affected.into_iter().filter(|at| !store.contains(&report.pins.paths[*at].pinned.pin)).collect()
}

/// The affected pins; those without other missing objects come first.
fn asked(input: &RepairInput, unknown: &[usize]) -> Vec<usize> {
    let mut asked: Vec<usize> = (0..input.below.len()).filter(|at| !input.below[*at].bad.is_empty()).collect();
    asked.sort_by_key(|at| (input.below[*at].lacks, *at));
    asked.extend(unknown.iter().chain(input.lost));
    asked
}

/// Restores from the workspace: files at the affected paths with exactly the pinned content.
fn from_workspace(
    project: &Project,
    targets: &RepairTargets,
    report: &VerifyReport,
    sink: &dyn Sink,
) -> Result<HashSet<ObjectId>> {
    let RepairTargets { bad, asked, .. } = targets;
    let Ok(definitions) = project.definitions_without_graph() else { return Ok(HashSet::new()) };
    let paths: BTreeSet<RepoPath> = asked
        .iter()
        .filter_map(|at| RepoPath::root().join(&report.pins.paths[*at].pinned.path))
        .filter(|path| project.writable(path).is_ok_and(|path| path.exists()))
        .collect();
    let places: Vec<TrackedPath> = paths.iter().map(TrackedPath::from).collect();
    let pins = project.index().scan(&places, &IgnoreRules(&definitions.rules), sink);
    let pinned_ids: HashSet<ObjectId> = asked.iter().map(|at| report.pins.paths[*at].pinned.pin.id).collect();
    let mut taken = HashSet::new();
    for (place, pin) in places.iter().zip(pins) {
        let Ok(Some(pin)) = pin else { continue };
        // The content of a damaged folder is not known: all of it may be missing.
        let is_pinned = pinned_ids.contains(&pin.id);
        let wanted = |id: &ObjectId| is_pinned || bad.contains(id);
        taken.extend(project.store().store_from_workspace(project.index(), place, &pin, &wanted, sink)?);
    }
    Ok(taken)
}

/// Asks the remotes in order for what is still missing.
fn from_remotes(
    project: &Project,
    input: &RepairInput,
    targets: &RepairTargets,
    report: &mut VerifyReport,
    restored: &mut RestoredObjects,
    sink: &dyn Sink,
) {
    let store = project.store();
    let RepairTargets { bad, unknown, asked } = targets;
    let missed = || store.filter_missing(bad);
    for name in project.config.remotes() {
        let mut left = missed();
        let source = RepairSource::Remote(name.to_string());
        let is_whole = asked.iter().all(|at| !is_affected(store, input, report, *at, &left));
        if is_whole && unknown.iter().all(|at| restored.elsewhere.contains_key(at)) {
            return;
        }
        let opened = Remote::open(project, Some(name), None).and_then(|remote| Ok((remote.contents()?, remote)));
        let (catalog, remote) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                report.could_not(e);
                continue;
            }
        };
        // Each missing object is fetched for one pin that needs it, first for pins without other missing objects. From
        // a pack with unknown content, only what the workspace needs is fetched; the rest stays at the remote.
        for at in asked {
            let item = &report.pins.paths[*at];
            let pin = item.pinned.pin;
            let is_missed = is_affected(store, input, report, *at, &left);
            let is_unknown = unknown.contains(at) && catalog.root(&pin).is_some();
            if is_unknown {
                restored.elsewhere.entry(*at).or_insert_with(|| source.clone());
            }
            let is_wanted = is_missed || is_unknown && report.pins.is_in_workspace(item);
            if !is_wanted {
                continue;
            }
            let wanted = Wanted { name: item.pinned.path.clone(), pin };
            match remote.fetch(store, &[wanted], sink) {
                Ok(fetched) => fetched.lost.into_iter().for_each(|loss| report.could_not(loss.error)),
                Err(e) => report.could_not(e),
            }
            let now = missed();
            restored.record(left.difference(&now).copied().collect(), &source);
            left = now;
        }
    }
}

/// Drops results with lost outputs, since they would be hits that fail.
fn drop_runs(store: &Store, input: &RepairInput, report: &VerifyReport, still: &HashSet<usize>) -> Result<usize> {
    let by_pin = report.pins.by_pin();
    let leads = |pin: &Pin| by_pin.get(pin).is_some_and(|at| still.contains(at));
    let runs = input.runs.iter().filter(|(_, pins)| pins.iter().any(leads));
    let going: Vec<Damage> = runs
        .map(|(run, _)| Damage {
            what: DamageKind::Run { key: run.key.clone(), path: run.path.clone() },
            problem: "what it leads to is lost".into(),
        })
        .collect();
    store.quarantine_damaged(&going)?;
    Ok(going.len())
}

fn outcome(
    store: &Store,
    damage: &Damage,
    (finding, pins): (&Finding, &PinIndex),
    (lost, still): (&HashSet<ObjectId>, &HashSet<usize>),
    restored: &RestoredObjects,
) -> RepairResult {
    // Objects that only results of the run cache referred to were removed with them.
    let needed = || finding.affected.iter().filter(|at| !pins.is_of_run(&pins.paths[**at]));
    let ids = damage.what.ids();
    let may_hold_more = match &damage.what {
        DamageKind::Object(copy) => store.is_tree(&copy.id, copy.size),
        what => !matches!(what, DamageKind::Quarantined(..)),
    };
    let is_lost = needed().count() > 0 && ids.iter().any(|id| lost.contains(id))
        || may_hold_more && needed().any(|at| still.contains(at));
    let from: BTreeSet<RepairSource> = ids.iter().filter_map(|id| restored.sources.get(id).cloned()).collect();
    match (is_lost, from.is_empty()) {
        (true, _) => RepairResult::Lost,
        (false, false) => RepairResult::Restored(from),
        (false, true) => RepairResult::Quarantined,
    }
}

/// The result for a pack with unknown content: whether the pins with missing objects are complete now, or can be.
fn outcome_of_unknown(
    store: &Store,
    finding: &Finding,
    report: &VerifyReport,
    restored: &RestoredObjects,
) -> RepairResult {
    let is_had = |at: &usize| restored.elsewhere.contains_key(at) || store.contains(&report.pins.paths[*at].pinned.pin);
    if !finding.affected.iter().all(is_had) {
        return RepairResult::Lost;
    }
    let from: BTreeSet<RepairSource> =
        finding.affected.iter().filter_map(|at| restored.elsewhere.get(at).cloned()).collect();
    match (from.is_empty(), finding.affected.is_empty()) {
        (_, true) => RepairResult::Quarantined,
        (true, _) => RepairResult::Restored(BTreeSet::from([RepairSource::Workspace])),
        (false, _) => RepairResult::Restored(from),
    }
}
