//! Verification of a remote: its damage, the affected outputs, and the repair from the local store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use super::{Finding, PinIndex, ReadSubset, RepairResult, RepairSource, VerifyOptions, VerifyReport};
use crate::cache::entries;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::project::Project;
use crate::remote::push::{PushRequest, RunEntry};
use crate::remote::verify::{FileChoice, Inspection, RemoteDamage, RemoteFile};
use crate::remote::{Catalog, Remote, Wanted, packs_of};
use crate::store::{ObjectId, Pin, Store};
use crate::store::{TreeWalk, WalkStep};

/// Verifies a remote, and sends damaged objects again if requested.
pub fn verify_remote(
    project: &Project,
    name: Option<&str>,
    options: &VerifyOptions,
    sink: &dyn Sink,
) -> Result<VerifyReport> {
    let remote = Remote::open(project, name, None)?;
    let seed =
        options.seed.unwrap_or_else(|| (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()));
    let choose = |all: &[(ObjectId, u64)]| options.part.map_or(Vec::new(), |part| part.choose(all, seed));
    let choice: Option<FileChoice> = options.part.is_some().then_some(&choose);
    let inspected = remote.inspect(choice, sink)?;
    if inspected.catalog.names.is_empty() && inspected.damaged.is_empty() {
        return Err(remote.no_data_error());
    }
    let mut report = VerifyReport { pins: PinIndex::gather(project), ..VerifyReport::default() };
    report.seed = options.part.filter(ReadSubset::is_random).map(|_| seed);
    report.remote = Some(remote.name.clone());
    add(project, &inspected, &mut report)?;
    if !options.repair || report.findings.is_empty() {
        return Ok(report);
    }
    repair(project, &remote, &inspected, &mut report, sink)?;
    // Data of an unreadable segment is verified once the segment can be read.
    let is_index = |damaged: &RemoteDamage| matches!(damaged.what, RemoteFile::Segment(_) | RemoteFile::Marker);
    let is_told = |at: usize| is_index(&inspected.damaged[at]) && report.findings[at].is_repaired();
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

/// Adds the findings of an inspection to the report.
fn add(project: &Project, inspected: &Inspection, report: &mut VerifyReport) -> Result<()> {
    let all = &inspected.catalog.all;
    report.findings = findings(&project.store().read_only(), inspected, &report.pins)?;
    report.objects = inspected.loose;
    report.packs = inspected.packs;
    report.runs = all.runs.keys().filter(|entry| !all.withdrawn.contains(*entry)).count();
    report.bytes = inspected.bytes;
    report.read = inspected.read;
    Ok(())
}

fn findings(store: &Store, inspected: &Inspection, pins: &PinIndex) -> Result<Vec<Finding>> {
    let ids: HashSet<ObjectId> = inspected.damaged.iter().filter_map(|damaged| damaged.what.id()).collect();
    let mut below = ReachableFromPins { store, ids: &ids, known: HashMap::new() };
    let mut affected: Vec<Vec<usize>> = vec![Vec::new(); inspected.damaged.len()];
    for (at, item) in pins.paths.iter().enumerate() {
        let pin = &item.pinned.pin;
        let Some(root) = inspected.catalog.root(pin) else { continue };
        let packs = packs_of([root]);
        let reached = if ids.is_empty() { Rc::default() } else { below.of_pin(pin)? };
        for (damaged, affected) in inspected.damaged.iter().zip(&mut affected) {
            let is_affected = match &damaged.what {
                RemoteFile::Pack(pack) => packs.contains(pack),
                RemoteFile::Packed(pack, _, id) => {
                    packs.contains(pack) && (reached.ids.contains(id) || reached.is_partial)
                }
                RemoteFile::Loose(id) => reached.ids.contains(id),
                RemoteFile::Marker | RemoteFile::Segment(_) => false,
            };
            if is_affected {
                affected.push(at);
            }
        }
    }
    let one = |(damaged, affected): (&RemoteDamage, Vec<usize>)| Finding {
        id: damaged.what.id(),
        place: damaged.what.path(),
        problem: damaged.problem.clone(),
        affected,
        outcome: None,
    };
    Ok(inspected.damaged.iter().zip(affected).map(one).collect())
}

/// Which of some objects are reachable from pins, by the local trees.
struct ReachableFromPins<'b> {
    store: &'b Store,
    ids: &'b HashSet<ObjectId>,
    known: HashMap<ObjectId, Rc<Reached>>,
}

#[derive(Default)]
struct Reached {
    ids: BTreeSet<ObjectId>,
    /// Whether a tree is missing in the store, so that its content is not known.
    is_partial: bool,
}

impl ReachableFromPins<'_> {
    fn of_pin(&mut self, pin: &Pin) -> Result<Rc<Reached>> {
        // What is reached below each open tree, after that of the pin as a whole.
        let mut open: Vec<Reached> = vec![Reached::default()];
        let mut walk = TreeWalk::new(self.store, pin);
        while let Some(step) = walk.next() {
            let Some(above) = open.last_mut() else { break };
            match step {
                WalkStep::File(file, _) => above.ids.extend(self.ids.get(&file.id)),
                WalkStep::Tree(tree) => {
                    if let Some(known) = self.known.get(&tree.id) {
                        above.add(known);
                        continue;
                    }
                    let mut reached = Reached::default();
                    reached.ids.extend(self.ids.get(&tree.id));
                    match walk.open(&tree) {
                        Ok(_) => open.push(reached),
                        Err(e) if e.kind == Kind::Missing => {
                            reached.is_partial = true;
                            above.add(&reached);
                            self.known.insert(tree.id, Rc::new(reached));
                        }
                        Err(e) => return Err(e),
                    }
                }
                WalkStep::End(tree, _) => {
                    let reached = Rc::new(open.pop().unwrap_or_default());
                    open.last_mut().into_iter().for_each(|above| above.add(&reached));
                    self.known.insert(tree.id, reached);
                }
            }
        }
        Ok(Rc::new(open.pop().unwrap_or_default()))
    }
}

impl Reached {
    fn add(&mut self, below: &Reached) {
        self.ids.extend(&below.ids);
        self.is_partial |= below.is_partial;
    }
}

fn repair(
    project: &Project,
    remote: &Remote,
    inspected: &Inspection,
    report: &mut VerifyReport,
    sink: &dyn Sink,
) -> Result<()> {
    if remote.is_read_only() {
        let error = Error::missing(format!("the remote {} may only be read: nothing was put there", remote.name));
        report.unasked.push(error);
        report.findings.iter_mut().for_each(|finding| finding.outcome = Some(RepairResult::Unrepairable));
        return Ok(());
    }
    let store = project.store();
    let runs = runs_of(store, &inspected.catalog);
    let bytes: HashMap<ObjectId, Vec<u8>> =
        runs.iter().map(|run| (ObjectId::of(&run.bytes), run.bytes.clone())).collect();
    let mut left = Vec::new();
    let mut done: HashSet<RemoteFile> = HashSet::new();
    for (at, damaged) in inspected.damaged.iter().enumerate() {
        // A pack is sent again once, whatever the number of its damaged objects.
        let whole = damaged.what.pack().map_or(damaged.what.clone(), RemoteFile::Pack);
        let is_put = done.contains(&whole) || remote.put_again(store, inspected, &damaged.what, &bytes)?;
        if is_put {
            done.insert(whole);
            report.findings[at].outcome = Some(restored_from_store());
        } else {
            left.push(at);
        }
    }
    push_again(store, remote, inspected, report, &left, runs, sink)
}

fn restored_from_store() -> RepairResult {
    RepairResult::Restored(BTreeSet::from([RepairSource::Store]))
}

/// Pushes the affected outputs that the store has as if they were new, where the object itself could not be sent again.
fn push_again(
    store: &Store,
    remote: &Remote,
    inspected: &Inspection,
    report: &mut VerifyReport,
    left: &[usize],
    runs: Vec<RunEntry>,
    sink: &dyn Sink,
) -> Result<()> {
    let packs: BTreeSet<_> = left.iter().filter_map(|at| inspected.damaged[*at].what.pack()).collect();
    let lost = |run: &RunEntry| {
        let row = inspected.catalog.all.runs.get(&ObjectId::of(&run.bytes));
        row.is_some_and(|row| packs.contains(&row.slice.pack))
    };
    let hurt: BTreeSet<usize> = left.iter().flat_map(|at| report.findings[*at].affected.iter().copied()).collect();
    let wanted: Vec<Wanted> = hurt
        .iter()
        .map(|at| &report.pins.paths[*at].pinned)
        .map(|pinned| Wanted { name: pinned.path.clone(), pin: pinned.pin })
        .collect();
    let runs: Vec<RunEntry> = runs.into_iter().filter(lost).collect();
    // A damaged segment lists more than the store has: a push that repairs a part of it would lose the rest.
    let is_known =
        !left.iter().any(|at| matches!(inspected.damaged[*at].what, RemoteFile::Segment(_) | RemoteFile::Marker));
    let mut absent: HashSet<ObjectId> = wanted.iter().map(|wanted| wanted.pin.id).collect();
    if is_known && !(wanted.is_empty() && runs.is_empty()) {
        let pushed = remote.push(store, &PushRequest { wanted, runs, again: true }, sink)?;
        absent = pushed.absent.iter().map(|wanted| wanted.pin.id).collect();
    }
    for at in left {
        let item = &report.pins.paths;
        let finding = &report.findings[*at];
        let is_whole = !finding.affected.is_empty()
            && finding.affected.iter().all(|hurt| !absent.contains(&item[*hurt].pinned.pin.id));
        report.findings[*at].outcome = Some(if is_whole { restored_from_store() } else { RepairResult::Lost });
    }
    Ok(())
}

/// The results that both the remote and the store have.
fn runs_of(store: &Store, catalog: &Catalog) -> Vec<RunEntry> {
    let mut runs = Vec::new();
    for key in catalog.all.runs.values().map(|row| row.key).collect::<BTreeSet<_>>() {
        for bytes in store.get_runs(&key.hex()).map(|runs| runs.found).unwrap_or_default() {
            let entry = ObjectId::of(&bytes);
            let row = catalog.all.runs.get(&entry).filter(|_| !catalog.all.withdrawn.contains(&entry));
            let Some(row) = row else { continue };
            if let Some((entry, _)) = entries::parse(&bytes, &key) {
                let outs = entry.outs.values().map(|out| out.pin).collect();
                runs.push(RunEntry { key, bytes, outs, time: row.time });
            }
        }
    }
    runs
}
