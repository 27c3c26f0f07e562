//! Repairing the store: what is damaged is put aside, and taken again from where it can be had.
//!
//! All of it is done under the store's lock, held as by anybody who stores. Whatever is taken is verified on its way, so
//! a repair that was cut off leaves a store that is better than before, and the next one goes on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::judge::Under;
use super::{Cure, Everybody, Finding, Report, Source};
use crate::error::Result;
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::Project;
use crate::remote::{Remote, Wanted};
use crate::run::look::IgnoreRules;
use crate::store::verify::{Damage, RunFile, What};
use crate::store::{ObjectId, Pin, Place, Store};

/// What is to be repaired.
pub struct Case<'c> {
    pub damaged: &'c [Damage],
    /// What is wrong below each claim.
    pub under: &'c [Rc<Under>],
    /// Claims of the workspace of which something is nowhere.
    pub lost: &'c [usize],
    /// Entries of the run cache, with their outputs.
    pub runs: &'c [(RunFile, Vec<Pin>)],
}

pub fn repair(project: &Project, case: &Case, report: &mut Report, sink: &dyn Sink) -> Result<()> {
    let store = project.store();
    let _hold = store.hold();
    let broken = store.set_aside(case.damaged)?;
    let bad: BTreeSet<ObjectId> = case.under.iter().flat_map(|under| under.bad.iter().copied()).collect();
    let mut sources: HashMap<ObjectId, Source> = HashMap::new();
    let mut found = |ids: HashSet<ObjectId>, source: Source| {
        for id in ids {
            sources.entry(id).or_insert_with(|| source.clone());
        }
    };
    found(store.salvage(&broken)?, Source::Pack);
    if !bad.is_empty() || !case.lost.is_empty() {
        let asked: Vec<usize> = asked(case);
        found(from_workspace(project, &asked, &bad, report, sink)?, Source::Workspace);
        from_remotes(project, case, &asked, &bad, report, &mut found, sink);
    }
    let lost: BTreeSet<ObjectId> = bad.iter().filter(|id| store.size(id).is_none()).copied().collect();
    report.dropped = drop_runs(store, case, report, &lost)?;
    let mut at = 0;
    for damage in case.damaged {
        report.findings[at].cure = Some(cure(damage, &report.findings[at], &report.everybody, &bad, &lost, &sources));
        at += 1;
    }
    for claim in case.lost {
        let is_whole = store.contains(&report.everybody.claimed[*claim].claim.pin);
        report.findings[at].cure =
            Some(if is_whole { Cure::Again(BTreeSet::from([Source::Workspace])) } else { Cure::Lost });
        at += 1;
    }
    Ok(())
}

/// The claims that are hurt, those first of which nothing else is missing.
fn asked(case: &Case) -> Vec<usize> {
    let mut asked: Vec<usize> = (0..case.under.len()).filter(|at| !case.under[*at].bad.is_empty()).collect();
    asked.sort_by_key(|at| (case.under[*at].lacks, *at));
    asked.extend(case.lost);
    asked
}

/// Whatever the workspace has at the paths that are hurt, if it is the very same.
fn from_workspace(
    project: &Project,
    asked: &[usize],
    bad: &BTreeSet<ObjectId>,
    report: &Report,
    sink: &dyn Sink,
) -> Result<HashSet<ObjectId>> {
    let Ok(definitions) = project.definitions_without_graph() else { return Ok(HashSet::new()) };
    let paths: BTreeSet<RepoPath> = asked
        .iter()
        .filter_map(|at| RepoPath::root().join(&report.everybody.claimed[*at].claim.path))
        .filter(|path| crate::store::inside(project.top(), path).is_ok_and(|path| path.exists()))
        .collect();
    let places: Vec<Place> = paths.iter().map(Place::from).collect();
    let pins = project.index().look(&places, &IgnoreRules(&definitions.rules), sink);
    let pinned: HashSet<ObjectId> = asked.iter().map(|at| report.everybody.claimed[*at].claim.pin.id).collect();
    let mut taken = HashSet::new();
    for (place, pin) in places.iter().zip(pins) {
        let Ok(Some(pin)) = pin else { continue };
        // Of a damaged folder nobody knows what it holds: all of it may be missed.
        let is_pinned = pinned.contains(&pin.id);
        let wanted = |id: &ObjectId| is_pinned || bad.contains(id);
        taken.extend(project.store().take_again(project.index(), place, &pin, &wanted, sink)?);
    }
    Ok(taken)
}

/// Asks the remotes in their order for what is missed still.
fn from_remotes(
    project: &Project,
    case: &Case,
    asked: &[usize],
    bad: &BTreeSet<ObjectId>,
    report: &mut Report,
    found: &mut dyn FnMut(HashSet<ObjectId>, Source),
    sink: &dyn Sink,
) {
    let store = project.store();
    let missed = || -> HashSet<ObjectId> { bad.iter().filter(|id| store.size(id).is_none()).copied().collect() };
    for name in project.config.remotes() {
        let mut left = missed();
        if left.is_empty() {
            return;
        }
        let remote = match Remote::open(project, Some(name), None) {
            Ok(remote) => remote,
            Err(e) => {
                report.unasked.push(e);
                continue;
            }
        };
        // Each missed object for the sake of one that misses it, first of those that are whole but for that.
        for at in asked {
            if case.under[*at].bad.is_disjoint(&left.iter().copied().collect()) {
                continue;
            }
            let claim = &report.everybody.claimed[*at].claim;
            let wanted = Wanted { name: claim.path.clone(), pin: claim.pin };
            match remote.fetch(store, &[wanted], sink) {
                Ok(_) => {
                    let now = missed();
                    found(left.difference(&now).copied().collect(), Source::Remote(name.to_string()));
                    left = now;
                }
                Err(e) => {
                    report.unasked.push(e);
                    if !remote.is_known() {
                        break;
                    }
                }
            }
        }
    }
}

/// Results that lead to what is lost would be hits that fail.
fn drop_runs(store: &Store, case: &Case, report: &Report, lost: &BTreeSet<ObjectId>) -> Result<usize> {
    let pinned = report.everybody.pinned();
    let leads = |pin: &Pin| pinned.get(pin).is_some_and(|at| !case.under[*at].bad.is_disjoint(lost));
    let runs = case.runs.iter().filter(|(_, pins)| pins.iter().any(leads));
    let going: Vec<Damage> = runs
        .map(|(run, _)| Damage {
            what: What::Run { key: run.key.clone(), path: run.path.clone() },
            problem: "what it leads to is lost".into(),
        })
        .collect();
    store.set_aside(&going)?;
    Ok(going.len())
}

fn cure(
    damage: &Damage,
    finding: &Finding,
    everybody: &Everybody,
    bad: &BTreeSet<ObjectId>,
    lost: &BTreeSet<ObjectId>,
    sources: &HashMap<ObjectId, Source>,
) -> Cure {
    if matches!(damage.what, What::Projects) {
        return Cure::Left;
    }
    // What nothing but results of the run cache led to went with them.
    let is_needed = finding.hurts.iter().any(|at| !everybody.is_of_run(&everybody.claimed[*at]));
    let ids: Vec<ObjectId> = damage.what.ids().into_iter().filter(|id| bad.contains(id)).collect();
    let is_lost = is_needed && ids.iter().any(|id| lost.contains(id));
    let from: BTreeSet<Source> = ids.iter().filter_map(|id| sources.get(id).cloned()).collect();
    match (is_lost, from.is_empty()) {
        (true, _) => Cure::Lost,
        (false, false) => Cure::Again(from),
        // A pack of which nobody knows what was in it.
        (false, true) if ids.is_empty() && is_needed => Cure::Lost,
        (false, true) => Cure::Aside,
    }
}
