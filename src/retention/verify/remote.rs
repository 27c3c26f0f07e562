//! The same for a remote: what is damaged there, whom it hurts, and putting it again from here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use super::{Cure, Everybody, Finding, Options, Part, Report, Source};
use crate::cache::entries;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::project::Project;
use crate::remote::push::{Request, Run};
use crate::remote::verify::{Choice, Damaged, Inspected, There};
use crate::remote::{Catalog, Remote, Wanted, packs_of};
use crate::store::{ObjectId, Pin, Store};

/// Looks at a remote, and puts again what is damaged there, if asked.
pub fn verify_remote(project: &Project, name: Option<&str>, options: &Options, sink: &dyn Sink) -> Result<Report> {
    let remote = Remote::open(project, name, None)?;
    let seed =
        options.seed.unwrap_or_else(|| (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()));
    let choose = |all: &[(ObjectId, u64)]| options.part.map_or(Vec::new(), |part| part.choose(all, seed));
    let choice: Option<Choice> = options.part.is_some().then_some(&choose);
    let inspected = remote.inspect(choice, sink)?;
    if inspected.catalog.names.is_empty() && inspected.damaged.is_empty() {
        return Err(remote.nothing_there());
    }
    let mut report = Report { everybody: Everybody::gather(project), ..Report::default() };
    report.seed = options.part.filter(Part::is_random).map(|_| seed);
    report.remote = Some(remote.name.clone());
    add(project, &inspected, &mut report)?;
    if !options.repair || report.findings.is_empty() {
        return Ok(report);
    }
    repair(project, &remote, &inspected, &mut report, sink)?;
    // What an index tells of that could not be read is looked at when it can be.
    let is_index = |damaged: &Damaged| matches!(damaged.what, There::Segment(_) | There::Marker);
    let is_told = |at: usize| is_index(&inspected.damaged[at]) && report.findings[at].is_cured();
    if (0..inspected.damaged.len()).any(is_told) {
        let first = std::mem::take(&mut report.findings);
        let again = remote.inspect(choice, sink)?;
        add(project, &again, &mut report)?;
        repair(project, &remote, &again, &mut report, sink)?;
        let more: BTreeSet<&str> = report.findings.iter().map(|finding| finding.place.as_str()).collect();
        let first: Vec<Finding> = first.into_iter().filter(|finding| !more.contains(finding.place.as_str())).collect();
        report.findings.splice(0..0, first);
    }
    Ok(report)
}

/// Puts into the report what a look found.
fn add(project: &Project, inspected: &Inspected, report: &mut Report) -> Result<()> {
    let all = &inspected.catalog.all;
    report.findings = findings(&project.store().read_only(), inspected, &report.everybody)?;
    report.objects = inspected.loose;
    report.packs = inspected.packs;
    report.runs = all.runs.keys().filter(|entry| !all.withdrawn.contains(*entry)).count();
    report.bytes = inspected.bytes;
    report.read = inspected.read;
    Ok(())
}

fn findings(store: &Store, inspected: &Inspected, everybody: &Everybody) -> Result<Vec<Finding>> {
    let ids: HashSet<ObjectId> = inspected.damaged.iter().filter_map(|damaged| damaged.what.id()).collect();
    let mut below = Below { store, ids: &ids, known: HashMap::new() };
    let mut hurts: Vec<Vec<usize>> = vec![Vec::new(); inspected.damaged.len()];
    for (at, claimed) in everybody.claimed.iter().enumerate() {
        let pin = &claimed.claim.pin;
        let Some(root) = inspected.catalog.root(pin) else { continue };
        let packs = packs_of([root]);
        let reached = if ids.is_empty() { Rc::default() } else { below.pin(pin, 0)? };
        for (damaged, hurts) in inspected.damaged.iter().zip(&mut hurts) {
            let is_hurt = match &damaged.what {
                There::Pack(pack) => packs.contains(pack),
                There::Packed(pack, _, id) => packs.contains(pack) && (reached.ids.contains(id) || reached.is_partial),
                There::Loose(id) => reached.ids.contains(id),
                There::Marker | There::Segment(_) => false,
            };
            if is_hurt {
                hurts.push(at);
            }
        }
    }
    let one = |(damaged, hurts): (&Damaged, Vec<usize>)| Finding {
        id: damaged.what.id(),
        place: damaged.what.place(),
        problem: damaged.problem.clone(),
        hurts,
        is_old: false,
        cure: None,
    };
    Ok(inspected.damaged.iter().zip(hurts).map(one).collect())
}

/// Which of some objects pins consist of, by the trees that are here.
struct Below<'b> {
    store: &'b Store,
    ids: &'b HashSet<ObjectId>,
    known: HashMap<ObjectId, Rc<Reached>>,
}

#[derive(Default)]
struct Reached {
    ids: BTreeSet<ObjectId>,
    /// A tree is not here, so that what it holds is not known.
    is_partial: bool,
}

impl Below<'_> {
    fn pin(&mut self, pin: &Pin, level: usize) -> Result<Rc<Reached>> {
        if let Some(known) = self.known.get(&pin.id).filter(|_| pin.is_dir()) {
            return Ok(known.clone());
        }
        let mut reached = Reached::default();
        if self.ids.contains(&pin.id) {
            reached.ids.insert(pin.id);
        }
        if pin.is_dir() {
            match self.store.read_tree(&pin.id, level) {
                Ok(tree) => {
                    for entry in &tree.entries {
                        let below = self.pin(&entry.pin(), level + 1)?;
                        reached.ids.extend(&below.ids);
                        reached.is_partial |= below.is_partial;
                    }
                }
                Err(e) if e.kind == crate::error::Kind::Missing => reached.is_partial = true,
                Err(e) => return Err(e),
            }
        }
        let reached = Rc::new(reached);
        if pin.is_dir() {
            self.known.insert(pin.id, reached.clone());
        }
        Ok(reached)
    }
}

fn repair(
    project: &Project,
    remote: &Remote,
    inspected: &Inspected,
    report: &mut Report,
    sink: &dyn Sink,
) -> Result<()> {
    if remote.is_read_only() {
        let error = Error::missing(format!("the remote {} may only be read: nothing was put there", remote.name));
        report.unasked.push(error);
        report.findings.iter_mut().for_each(|finding| finding.cure = Some(Cure::Left));
        return Ok(());
    }
    let store = project.store();
    let runs = runs_of(store, &inspected.catalog);
    let bytes: HashMap<ObjectId, Vec<u8>> =
        runs.iter().map(|run| (ObjectId::of(&run.bytes), run.bytes.clone())).collect();
    let mut left = Vec::new();
    let mut done: HashSet<There> = HashSet::new();
    for (at, damaged) in inspected.damaged.iter().enumerate() {
        // A pack is put again once, whatever number of its objects is damaged.
        let whole = damaged.what.pack().map_or(damaged.what.clone(), There::Pack);
        let is_put = done.contains(&whole) || remote.put_again(store, inspected, &damaged.what, &bytes)?;
        if is_put {
            done.insert(whole);
            report.findings[at].cure = Some(again());
        } else {
            left.push(at);
        }
    }
    push_again(store, remote, inspected, report, &left, runs, sink)
}

fn again() -> Cure {
    Cure::Again(BTreeSet::from([Source::Store]))
}

/// What could not be put again as it was: those outputs that it hurts and that are here are pushed as if they were new.
fn push_again(
    store: &Store,
    remote: &Remote,
    inspected: &Inspected,
    report: &mut Report,
    left: &[usize],
    runs: Vec<Run>,
    sink: &dyn Sink,
) -> Result<()> {
    let packs: BTreeSet<_> = left.iter().filter_map(|at| inspected.damaged[*at].what.pack()).collect();
    let lost = |run: &Run| {
        let row = inspected.catalog.all.runs.get(&ObjectId::of(&run.bytes));
        row.is_some_and(|row| packs.contains(&row.slice.pack))
    };
    let hurt: BTreeSet<usize> = left.iter().flat_map(|at| report.findings[*at].hurts.iter().copied()).collect();
    let wanted: Vec<Wanted> = hurt
        .iter()
        .map(|at| &report.everybody.claimed[*at].claim)
        .map(|claim| Wanted { name: claim.path.clone(), pin: claim.pin })
        .collect();
    let runs: Vec<Run> = runs.into_iter().filter(lost).collect();
    // A segment that is damaged tells of more than what is here: a push that made good a part of it would take it away.
    let is_known = !left.iter().any(|at| matches!(inspected.damaged[*at].what, There::Segment(_) | There::Marker));
    let mut absent: HashSet<ObjectId> = wanted.iter().map(|wanted| wanted.pin.id).collect();
    if is_known && !(wanted.is_empty() && runs.is_empty()) {
        let pushed = remote.push(store, &Request { wanted, runs, again: true }, sink)?;
        absent = pushed.absent.iter().map(|wanted| wanted.pin.id).collect();
    }
    for at in left {
        let claimed = &report.everybody.claimed;
        let finding = &report.findings[*at];
        let is_whole = !finding.hurts.is_empty()
            && finding.hurts.iter().all(|hurt| !absent.contains(&claimed[*hurt].claim.pin.id));
        report.findings[*at].cure = Some(if is_whole { again() } else { Cure::Lost });
    }
    Ok(())
}

/// The results that the remote has and that are here, too.
fn runs_of(store: &Store, catalog: &Catalog) -> Vec<Run> {
    let mut runs = Vec::new();
    for key in catalog.all.runs.values().map(|row| row.key).collect::<BTreeSet<_>>() {
        for bytes in store.get_runs(&key.hex()).map(|runs| runs.found).unwrap_or_default() {
            let entry = ObjectId::of(&bytes);
            let row = catalog.all.runs.get(&entry).filter(|_| !catalog.all.withdrawn.contains(&entry));
            let Some(row) = row else { continue };
            if let Some((entry, _)) = entries::parse(&bytes, &key) {
                let outs = entry.outs.values().map(|out| out.pin).collect();
                runs.push(Run { key, bytes, outs, time: row.time });
            }
        }
    }
    runs
}
