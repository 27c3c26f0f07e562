//! `verify`: is all that was stored still what it was, and if not, who is hurt?
//!
//! Without more, everything is looked at that can be without reading gigabytes: names and sizes, the indexes of packs, the
//! run cache, every tree that any lock of any commit leads to, and those objects whose files were written to since they
//! were verified (a broken seal). Silent damage, which no time stamp tells of, shows only by reading: `part` says of how
//! much.
//!
//! What is not here is no damage: a clone fetches what it needs. Where there is no remote to fetch it from, what the
//! workspace pins is lost all the same.
//!
//! Nothing is touched unless asked (`repair`). Then what is damaged goes into quarantine, and is taken again from where
//! it can be had: out of a pack of which only the index is broken, from the workspace, from the remotes in order. A
//! result of the run cache that leads to what is lost for good goes, too.

mod impact;
mod pins;
mod remote;
mod repair;
mod subset;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

pub use pins::{Claimed, Everybody};
pub use remote::verify_remote;
pub use subset::Part;

use crate::error::{Error, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::Project;
use crate::retention::scope;
use crate::store::verify::{Damage, DamageKind, Inventory, ObjectCopy, RunFile, read, take_inventory};
use crate::store::{ObjectId, Pin, Store};
use impact::{Judge, Under, sorted};
use pins::Entry;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Read this of the objects.
    pub part: Option<Part>,
    /// What chance goes by, if another time shall be the same; else the clock.
    pub seed: Option<u64>,
    pub repair: bool,
}

/// What became of something damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Out of the way; there is another copy, or nobody needs it.
    Aside,
    /// Here again, from there.
    Again(BTreeSet<Source>),
    /// Nowhere to be had.
    Lost,
    /// It cannot be repaired by a program.
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A pack of which only the index was broken.
    Pack,
    Workspace,
    Remote(String),
    /// The store, if it is a remote that was repaired.
    Store,
}

/// Something damaged.
#[derive(Clone, Debug)]
pub struct Finding {
    pub id: Option<ObjectId>,
    /// Where, from the folder of the store, or at the remote.
    pub place: String,
    pub problem: String,
    /// Whom it hurts: places in [`Everybody::claimed`].
    pub hurts: Vec<usize>,
    /// Was it found earlier, or never here?
    pub is_old: bool,
    /// `None` if nobody asked for a repair.
    pub cure: Option<Cure>,
}

impl Finding {
    pub fn is_cured(&self) -> bool {
        matches!(self.cure, Some(Cure::Aside | Cure::Again(_)))
    }
}

#[derive(Debug, Default)]
pub struct Report {
    pub everybody: Everybody,
    pub findings: Vec<Finding>,
    /// Outputs that are not here, whole or in part: places in [`Everybody::claimed`].
    pub missing: Vec<usize>,
    /// Files that hold an object.
    pub objects: usize,
    pub packs: usize,
    pub runs: usize,
    pub bytes: u64,
    /// Objects that were read, and their bytes.
    pub read: (usize, u64),
    /// What chance went by.
    pub seed: Option<u64>,
    /// Files of a later format.
    pub newer: usize,
    /// Results of the run cache that were dropped.
    pub dropped: usize,
    /// Remotes that could not help, and why something could not be put again.
    pub unasked: Vec<Error>,
    /// The remote that was looked at, instead of the store.
    pub remote: Option<String>,
}

impl Report {
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(Finding::is_cured)
    }

    /// Remembers why a remote could not help, once.
    fn could_not(&mut self, error: Error) {
        if self.unasked.iter().all(|known| known.message != error.message) {
            self.unasked.push(error);
        }
    }
}

/// Looks at the store, and repairs it if asked.
pub fn verify(project: &Project, options: &Options, sink: &dyn Sink) -> Result<Report> {
    let store = &project.store().read_only();
    if !store.dir().is_dir() {
        return Err(Error::missing(format!("there is no store yet at {}: nothing to verify", store.dir().display()))
            .hint("lockstep repro fills it, and so does lockstep pull"));
    }
    // Who needs what is asked first: what it names was there before it was named.
    let mut everybody = Everybody::gather(project);
    let mut survey = take_inventory(store)?;
    let (notes, of_commit) = scope::notes(project)?;
    if let Err(e) = store.projects(&notes) {
        survey.damaged.push(Damage { what: DamageKind::Projects, problem: e.message });
    }
    let ignored = |note: &RepoPath| {
        Error::usage(format!("{note} came with a commit, and tells of no project that uses the store"))
    };
    everybody.unreadable.extend(of_commit.iter().map(ignored));
    let (runs, mut damaged, newer) = entries(store, &survey, &mut everybody);
    let seed =
        options.seed.unwrap_or_else(|| (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()));
    let done = read(store, &chosen(&survey, options.part, seed), sink)?;
    damaged.extend(survey.damaged.iter().cloned());
    damaged.extend(done.damaged);
    let mut judge = Judge::new(store, &survey, &damaged);
    let under: Vec<Rc<Under>> =
        everybody.claimed.iter().map(|claimed| judge.under(&claimed.claim.pin)).collect::<Result<_>>()?;
    damaged.extend(judge.finish());
    let is_kept = |at: usize| everybody.claimed[at].claim.cache && !everybody.is_of_run(&everybody.claimed[at]);
    let lacking: Vec<usize> = (0..under.len()).filter(|at| under[*at].lacks && is_kept(*at)).collect();
    let no_remote = project.config.remotes().is_empty();
    let (lost, missing): (Vec<usize>, Vec<usize>) =
        lacking.into_iter().partition(|at| no_remote && everybody.is_in_workspace(&everybody.claimed[*at]));
    let damaged = sorted(store, damaged);
    let mut findings = findings(store, &judge, &damaged, &under);
    let told: HashSet<usize> = findings.iter().flat_map(|finding| finding.hurts.iter().copied()).collect();
    let lost: Vec<usize> = lost.into_iter().filter(|at| !told.contains(at)).collect();
    findings.extend(lost.iter().map(|at| missed(&everybody.claimed[*at], *at)));
    let mut report = Report {
        findings,
        missing,
        objects: survey.copies.len(),
        packs: survey.packs.len(),
        runs: survey.runs.len(),
        bytes: survey.bytes,
        read: (done.objects, done.bytes),
        seed: options.part.filter(Part::is_random).map(|_| seed),
        newer,
        everybody,
        ..Report::default()
    };
    if options.repair {
        let case = repair::Case { damaged: &damaged, under: &under, lacking: &judge.lacking, lost: &lost, runs: &runs };
        repair::repair(project, &case, &mut report, sink)?;
    }
    Ok(report)
}

/// An entry of the run cache, with the outputs that it leads to.
type RunOuts = (RunFile, Vec<Pin>);

/// The entries of the run cache: those that can be read, and what is damaged. How many files are of a later format.
fn entries(store: &Store, survey: &Inventory, everybody: &mut Everybody) -> (Vec<RunOuts>, Vec<Damage>, usize) {
    let (mut runs, mut damaged, mut newer) = (Vec::new(), Vec::new(), survey.newer);
    let mut pinned = everybody.pinned();
    for run in &survey.runs {
        match pins::entry(store, run) {
            Entry::Good(key, entry) => {
                everybody.add_run(&key, &entry, &mut pinned);
                runs.push((run.clone(), entry.outs.values().map(|out| out.pin).collect()));
            }
            Entry::Newer => newer += 1,
            Entry::Gone => {}
            Entry::Broken(why) => {
                let what = DamageKind::Run { key: run.key.clone(), path: run.path.clone() };
                damaged.push(Damage { what, problem: why.to_string() });
            }
        }
    }
    (runs, damaged, newer)
}

/// What is read: what was asked for, and all that somebody wrote to since it was verified.
fn chosen(survey: &Inventory, part: Option<Part>, seed: u64) -> Vec<&ObjectCopy> {
    let all: Vec<(ObjectId, u64)> = survey.copies.iter().map(|copy| (copy.id, copy.size)).collect();
    let asked: HashSet<usize> = part.map(|part| part.choose(&all, seed)).unwrap_or_default().into_iter().collect();
    let is_chosen = |(at, copy): &(usize, &ObjectCopy)| asked.contains(at) || !copy.sealed;
    survey.copies.iter().enumerate().filter(is_chosen).map(|(_, copy)| copy).collect()
}

fn findings(store: &Store, judge: &Judge, damaged: &[Damage], under: &[Rc<Under>]) -> Vec<Finding> {
    let mut hurt: HashMap<ObjectId, Vec<usize>> = HashMap::new();
    for (at, under) in under.iter().enumerate() {
        under.bad.iter().for_each(|id| hurt.entry(*id).or_default().push(at));
    }
    let one = |damage: &Damage| {
        let mut hurts: Vec<usize> = match &damage.what {
            // What it held nobody knows: whoever misses something may miss it because of that.
            DamageKind::Pack { rows, .. } if rows.is_empty() => {
                (0..under.len()).filter(|at| under[*at].lacks).collect()
            }
            what => {
                let ids = what.ids().into_iter().filter(|id| judge.is_bad(id));
                ids.flat_map(|id| hurt.get(&id).into_iter().flatten().copied()).collect()
            }
        };
        hurts.sort_unstable();
        hurts.dedup();
        Finding {
            id: damage.what.id(),
            place: damage.what.place(store),
            problem: damage.problem.clone(),
            hurts,
            is_old: matches!(damage.what, DamageKind::Quarantined(..) | DamageKind::QuarantinedPack(..)),
            cure: None,
        }
    };
    damaged.iter().map(one).collect()
}

/// Something that the workspace pins, and that nobody has.
fn missed(claimed: &Claimed, at: usize) -> Finding {
    Finding {
        id: Some(claimed.claim.pin.id),
        place: "nowhere".into(),
        problem: "it is not in the store, and there is no remote that may have it".into(),
        hurts: vec![at],
        is_old: true,
        cure: None,
    }
}
