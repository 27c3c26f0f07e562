//! Repairing the store: what is damaged is put aside, and taken again from where it can be had.
//!
//! All of it is done under the store's lock, held as by anybody who stores. Whatever is taken is verified on its way, so
//! a repair that was cut off leaves a store that is better than before, and the next one goes on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::{Cure, Everybody, Finding, Report, RunOuts, Source};
use crate::error::Result;
use crate::event::Sink;
use crate::path::RepoPath;
use crate::plan::facts::IgnoreRules;
use crate::project::Project;
use crate::remote::{Remote, Wanted};
use crate::retention::verify::impact::Under;
use crate::store::verify::{Damage, DamageKind};
use crate::store::{ObjectId, Pin, Store, TrackedPath};

/// What is to be repaired.
pub struct Case<'c> {
    pub damaged: &'c [Damage],
    /// What is wrong below each claim.
    pub under: &'c [Rc<Under>],
    /// Objects that are not here: some of them may lie in a broken pack.
    pub lacking: &'c HashSet<ObjectId>,
    /// Claims of the workspace of which something is nowhere.
    pub lost: &'c [usize],
    /// Entries of the run cache, with their outputs.
    pub runs: &'c [RunOuts],
}

/// What is looked for.
struct Sought {
    /// Objects that were damaged.
    bad: BTreeSet<ObjectId>,
    /// Claims that may have lain in a pack of which nobody knows what was in it.
    unknown: Vec<usize>,
    /// All claims that miss something.
    asked: Vec<usize>,
}

/// What came back, and from where.
#[derive(Default)]
struct Back {
    sources: HashMap<ObjectId, Source>,
    /// Claims that nobody can say more of than that something is missing, and that a remote has.
    elsewhere: HashMap<usize, Source>,
}

impl Back {
    fn took(&mut self, ids: HashSet<ObjectId>, source: &Source) {
        for id in ids {
            self.sources.entry(id).or_insert_with(|| source.clone());
        }
    }
}

pub fn repair(project: &Project, case: &Case, report: &mut Report, sink: &dyn Sink) -> Result<()> {
    let store = project.store();
    let _hold = store.lock_shared(sink)?;
    let broken = store.quarantine_damaged(case.damaged)?;
    let bad: BTreeSet<ObjectId> = case.under.iter().flat_map(|under| under.bad.iter().copied()).collect();
    let mut back = Back::default();
    back.took(salvage(store, case, report, &broken)?, &Source::Pack);
    let unknown = unknown(store, case, report);
    let sought = Sought { asked: asked(case, &unknown), unknown, bad };
    if !sought.asked.is_empty() {
        back.took(from_workspace(project, &sought, report, sink)?, &Source::Workspace);
        from_remotes(project, case, &sought, report, &mut back, sink);
    }
    let lost = store.filter_missing(&sought.bad);
    let still: HashSet<usize> = (0..case.under.len()).filter(|at| is_hurt(store, case, report, *at, &lost)).collect();
    report.dropped = drop_runs(store, case, report, &still)?;
    for (at, damage) in case.damaged.iter().enumerate() {
        let cure = match &damage.what {
            DamageKind::Projects => Cure::Left,
            DamageKind::Pack { rows, .. } if rows.is_empty() => {
                cure_of_unknown(store, &report.findings[at], report, &back)
            }
            _ => cure(store, damage, (&report.findings[at], &report.everybody), (&lost, &still), &back),
        };
        report.findings[at].cure = Some(cure);
    }
    for (claim, finding) in case.lost.iter().zip(&mut report.findings[case.damaged.len()..]) {
        let is_whole = store.contains(&report.everybody.claimed[*claim].claim.pin);
        finding.cure = Some(if is_whole { Cure::Again(BTreeSet::from([Source::Workspace])) } else { Cure::Lost });
    }
    Ok(())
}

/// Is an output hurt still? Below a folder that was damaged nobody knew what was missed, so all of it has to be here.
fn is_hurt(store: &Store, case: &Case, report: &Report, at: usize, left: &HashSet<ObjectId>) -> bool {
    let under = &case.under[at];
    match (under.bad.is_empty(), under.lacks) {
        (true, _) => false,
        (false, true) => under.bad.iter().any(|id| left.contains(id)),
        (false, false) => !store.contains(&report.everybody.claimed[at].claim.pin),
    }
}

/// Takes what is whole out of broken packs. A folder that comes back tells what else is missed, so this goes on while
/// something comes.
fn salvage(store: &Store, case: &Case, report: &Report, broken: &[PathBuf]) -> Result<HashSet<ObjectId>> {
    if broken.is_empty() {
        return Ok(HashSet::new());
    }
    let mut saved = store.salvage(broken, &HashSet::new())?;
    loop {
        let mut missed = case.lacking.clone();
        for (at, _) in case.under.iter().enumerate().filter(|(_, under)| !under.bad.is_empty()) {
            let lacking = store.missing_objects(&report.everybody.claimed[at].claim.pin)?;
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

/// The claims that may have lain in a pack of which nobody knows what was in it.
fn unknown(store: &Store, case: &Case, report: &Report) -> Vec<usize> {
    let is_unknown = |damage: &Damage| matches!(&damage.what, DamageKind::Pack { rows, .. } if rows.is_empty());
    let of = case.damaged.iter().zip(&report.findings).filter(|(damage, _)| is_unknown(damage));
    let hurts: BTreeSet<usize> = of.flat_map(|(_, finding)| finding.hurts.iter().copied()).collect();
    hurts.into_iter().filter(|at| !store.contains(&report.everybody.claimed[*at].claim.pin)).collect()
}

/// The claims that are hurt, those first of which nothing else is missing.
fn asked(case: &Case, unknown: &[usize]) -> Vec<usize> {
    let mut asked: Vec<usize> = (0..case.under.len()).filter(|at| !case.under[*at].bad.is_empty()).collect();
    asked.sort_by_key(|at| (case.under[*at].lacks, *at));
    asked.extend(unknown.iter().chain(case.lost));
    asked
}

/// Whatever the workspace has at the paths that are hurt, if it is the very same.
fn from_workspace(project: &Project, sought: &Sought, report: &Report, sink: &dyn Sink) -> Result<HashSet<ObjectId>> {
    let Sought { bad, asked, .. } = sought;
    let Ok(definitions) = project.definitions_without_graph() else { return Ok(HashSet::new()) };
    let paths: BTreeSet<RepoPath> = asked
        .iter()
        .filter_map(|at| RepoPath::root().join(&report.everybody.claimed[*at].claim.path))
        .filter(|path| project.writable(path).is_ok_and(|path| path.exists()))
        .collect();
    let places: Vec<TrackedPath> = paths.iter().map(TrackedPath::from).collect();
    let pins = project.index().scan(&places, &IgnoreRules(&definitions.rules), sink);
    let pinned: HashSet<ObjectId> = asked.iter().map(|at| report.everybody.claimed[*at].claim.pin.id).collect();
    let mut taken = HashSet::new();
    for (place, pin) in places.iter().zip(pins) {
        let Ok(Some(pin)) = pin else { continue };
        // Of a damaged folder nobody knows what it holds: all of it may be missed.
        let is_pinned = pinned.contains(&pin.id);
        let wanted = |id: &ObjectId| is_pinned || bad.contains(id);
        taken.extend(project.store().store_from_workspace(project.index(), place, &pin, &wanted, sink)?);
    }
    Ok(taken)
}

/// Asks the remotes in their order for what is missed still.
fn from_remotes(
    project: &Project,
    case: &Case,
    sought: &Sought,
    report: &mut Report,
    back: &mut Back,
    sink: &dyn Sink,
) {
    let store = project.store();
    let Sought { bad, unknown, asked } = sought;
    let missed = || store.filter_missing(bad);
    for name in project.config.remotes() {
        let mut left = missed();
        let source = Source::Remote(name.to_string());
        let is_whole = asked.iter().all(|at| !is_hurt(store, case, report, *at, &left));
        if is_whole && unknown.iter().all(|at| back.elsewhere.contains_key(at)) {
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
        // Each missed object for the sake of one that misses it, first of those that are whole but for that. Of what
        // was in a pack nobody knows, what the workspace needs is brought; the rest is there for whoever wants it.
        for at in asked {
            let claimed = &report.everybody.claimed[*at];
            let pin = claimed.claim.pin;
            let is_missed = is_hurt(store, case, report, *at, &left);
            let is_unknown = unknown.contains(at) && catalog.root(&pin).is_some();
            if is_unknown {
                back.elsewhere.entry(*at).or_insert_with(|| source.clone());
            }
            let is_wanted = is_missed || is_unknown && report.everybody.is_in_workspace(claimed);
            if !is_wanted {
                continue;
            }
            let wanted = Wanted { name: claimed.claim.path.clone(), pin };
            match remote.fetch(store, &[wanted], sink) {
                Ok(fetched) => fetched.lost.into_iter().for_each(|loss| report.could_not(loss.error)),
                Err(e) => report.could_not(e),
            }
            let now = missed();
            back.took(left.difference(&now).copied().collect(), &source);
            left = now;
        }
    }
}

/// Results that lead to what is lost would be hits that fail.
fn drop_runs(store: &Store, case: &Case, report: &Report, still: &HashSet<usize>) -> Result<usize> {
    let pinned = report.everybody.pinned();
    let leads = |pin: &Pin| pinned.get(pin).is_some_and(|at| still.contains(at));
    let runs = case.runs.iter().filter(|(_, pins)| pins.iter().any(leads));
    let going: Vec<Damage> = runs
        .map(|(run, _)| Damage {
            what: DamageKind::Run { key: run.key.clone(), path: run.path.clone() },
            problem: "what it leads to is lost".into(),
        })
        .collect();
    store.quarantine_damaged(&going)?;
    Ok(going.len())
}

fn cure(
    store: &Store,
    damage: &Damage,
    (finding, everybody): (&Finding, &Everybody),
    (lost, still): (&HashSet<ObjectId>, &HashSet<usize>),
    back: &Back,
) -> Cure {
    // What nothing but results of the run cache led to went with them.
    let needed = || finding.hurts.iter().filter(|at| !everybody.is_of_run(&everybody.claimed[**at]));
    let ids = damage.what.ids();
    let may_hold_more = match &damage.what {
        DamageKind::Object(copy) => store.is_tree(&copy.id, copy.size),
        what => !matches!(what, DamageKind::Quarantined(..)),
    };
    let is_lost = needed().count() > 0 && ids.iter().any(|id| lost.contains(id))
        || may_hold_more && needed().any(|at| still.contains(at));
    let from: BTreeSet<Source> = ids.iter().filter_map(|id| back.sources.get(id).cloned()).collect();
    match (is_lost, from.is_empty()) {
        (true, _) => Cure::Lost,
        (false, false) => Cure::Again(from),
        (false, true) => Cure::Aside,
    }
}

/// A pack of which nobody knows what was in it: are those whole that miss something, or can they be?
fn cure_of_unknown(store: &Store, finding: &Finding, report: &Report, back: &Back) -> Cure {
    let is_had =
        |at: &usize| back.elsewhere.contains_key(at) || store.contains(&report.everybody.claimed[*at].claim.pin);
    if !finding.hurts.iter().all(is_had) {
        return Cure::Lost;
    }
    let from: BTreeSet<Source> = finding.hurts.iter().filter_map(|at| back.elsewhere.get(at).cloned()).collect();
    match (from.is_empty(), finding.hurts.is_empty()) {
        (_, true) => Cure::Aside,
        (true, _) => Cure::Again(BTreeSet::from([Source::Workspace])),
        (false, _) => Cure::Again(from),
    }
}
