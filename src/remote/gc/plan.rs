//! Plans what is removed from a remote, what is marked, and what is repacked. Pure.
//!
//! Rows are removed first: unneeded roots and results that were marked long enough ago. Then files that no row needs
//! any more, if they were marked, too. Unneeded objects without a mark are marked: the next run may remove them.

use std::collections::{BTreeSet, HashSet};

use crate::error::Result;
use crate::remote::catalog::marks::{Marks, ObjectSet};
use crate::remote::catalog::packs_of;
use crate::remote::catalog::segment::{Location, Segment, SegmentName};
use crate::store::ObjectId;
use crate::store::pack::format::{PackId, PackIndex};

/// The input of the plan.
pub struct PlanInput<'a> {
    pub all: &'a Segment,
    /// Roots and results that are not needed.
    pub unneeded: &'a ObjectSet,
    pub marks: &'a Marks,
    /// Packs at the remote that no row lists.
    pub strays: &'a BTreeSet<PackId>,
    /// Marks older than this (seconds since 1970) are in effect.
    pub old: u64,
}

/// What to remove, to mark, and to keep for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalPlan {
    /// What is removed now.
    pub remove: ObjectSet,
    /// What is marked now.
    pub mark: ObjectSet,
    /// What is marked and not old enough yet, and the time when the last of it will be.
    pub wait: ObjectSet,
    pub until: u64,
    /// Marks that are processed afterwards.
    pub done: BTreeSet<SegmentName>,
}

/// All objects that are reachable from some roots.
pub type ReachableObjects<'a> = &'a mut dyn FnMut(&BTreeSet<(ObjectId, bool)>) -> Result<HashSet<ObjectId>>;

/// Makes the plan. `live` returns what is reachable from some roots.
pub fn plan(facts: &PlanInput, live: ReachableObjects) -> Result<RemovalPlan> {
    let PlanInput { all, unneeded, marks, strays, old } = facts;
    let (mut ripe, mut plan) = (ObjectSet::default(), RemovalPlan::default());
    for (name, things) in marks.effective_marks() {
        if name.seconds() <= *old {
            ripe.extend(&things);
        } else {
            plan.wait.extend(&things);
            plan.until = plan.until.max(name.seconds());
        }
    }
    plan.done = marks.marked.iter().map(|(name, _)| name.clone()).filter(|name| name.seconds() <= *old).collect();
    plan.remove.roots = &unneeded.roots & &ripe.roots;
    plan.remove.runs = &unneeded.runs & &ripe.runs;
    // What would remain without everything unneeded, and what remains for now.
    let (needed, left) = (without(all, unneeded), without(all, &plan.remove));
    let dead_then = dead(&needed, all, strays, live)?;
    let dead_now = if needed == left { dead_then.clone() } else { dead(&left, all, strays, live)? };
    let mut doomed = (*unneeded).clone();
    doomed.extend(&dead_then);
    plan.remove.extend(&dead_now.intersection(&ripe));
    // An interrupted removal has already removed the rows of these.
    let cut_short = ObjectSet {
        objects: &ripe.objects - &all.loose.keys().copied().collect(),
        packs: &ripe.packs - &all.packs.keys().copied().collect(),
        ..ObjectSet::default()
    };
    if !cut_short.is_empty() {
        let used = live(&left.roots.keys().copied().collect())?;
        plan.remove.objects.extend(cut_short.objects.iter().filter(|id| !used.contains(*id)));
        plan.remove.packs.extend(&cut_short.packs);
    }
    plan.wait = plan.wait.intersection(&doomed);
    plan.mark = doomed.minus(&plan.remove).minus(&plan.wait);
    Ok(plan)
}

/// The segment without some rows.
pub fn without(all: &Segment, gone: &ObjectSet) -> Segment {
    let mut left = all.clone();
    left.roots.retain(|key, _| !gone.roots.contains(key));
    left.runs.retain(|entry, _| !gone.runs.contains(entry));
    left.packs.retain(|id, _| !gone.packs.contains(id));
    left.loose.retain(|id, _| !gone.objects.contains(id));
    left
}

/// Packs that some outputs and results need.
pub fn used(all: &Segment) -> BTreeSet<PackId> {
    let mut used = packs_of(all.roots.values());
    used.extend(all.runs.values().map(|run| run.slice.pack));
    used
}

/// Returns true if enough of a pack is dead to make repacking worthwhile.
pub fn is_mostly_dead(index: &PackIndex, is_live: impl Fn(&ObjectId) -> bool) -> bool {
    let (mut dead, mut all) = (0, 0);
    for row in index.iter() {
        all += row.length;
        dead += if is_live(&row.id) { 0 } else { row.length };
    }
    dead * 2 > all
}

/// Files that no row needs.
fn dead(left: &Segment, all: &Segment, strays: &BTreeSet<PackId>, live: ReachableObjects) -> Result<ObjectSet> {
    let used = used(left);
    let packs = all.packs.keys().chain(strays).filter(|id| !used.contains(id)).copied().collect();
    let is_root = |id: &ObjectId| left.roots.get(&(*id, false)).is_some_and(|r| r.location == Location::Loose);
    let mut objects: BTreeSet<ObjectId> = all.loose.keys().filter(|id| !is_root(id)).copied().collect();
    if !objects.is_empty() {
        let used = live(&left.roots.keys().copied().collect())?;
        objects.retain(|id| !used.contains(id));
    }
    Ok(ObjectSet { packs, objects, ..ObjectSet::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::catalog::marks::Note;
    use crate::remote::catalog::segment::{PackRow, Root, RunRow, Slice};

    fn id(n: u8) -> ObjectId {
        ObjectId([n; 32])
    }

    fn pack(n: u8) -> PackId {
        PackId(id(n))
    }

    /// Trees 1 and 2 in packs 101 and 102, which share the large object 50; 1 has 51 alone, 2 has 52. The file 3 is in
    /// pack 102, the large file 4 is a separate object. The run 9 is in pack 101.
    fn all() -> Segment {
        let row = PackRow { length: 1000, index: 500, count: 1 };
        let slice = |n| Slice { pack: pack(n), offset: 16, length: 1 };
        let root = |location| Root { size: 1, files: 1, location };
        Segment {
            packs: [(pack(101), row), (pack(102), row)].into(),
            loose: [(id(4), 1 << 20), (id(50), 1 << 20), (id(51), 1 << 20), (id(52), 1 << 20)].into(),
            roots: [
                ((id(1), true), root(Location::Tree(vec![pack(101)]))),
                ((id(2), true), root(Location::Tree(vec![pack(102)]))),
                ((id(3), false), root(Location::Packed(slice(102)))),
                ((id(4), false), root(Location::Loose)),
            ]
            .into(),
            runs: [(id(9), RunRow { key: id(8), entry: id(9), slice: slice(101), time: 0 })].into(),
            withdrawn: BTreeSet::new(),
        }
    }

    fn live(roots: &BTreeSet<(ObjectId, bool)>) -> Result<HashSet<ObjectId>> {
        let below = |(id_, _): &(ObjectId, bool)| match id_.0[0] {
            1 => vec![id(1), id(50), id(51)],
            2 => vec![id(2), id(50), id(52)],
            n => vec![id(n)],
        };
        Ok(roots.iter().flat_map(below).collect())
    }

    /// `r1 r3` roots, `x9` runs, `p101` packs, `o50` large objects.
    fn things(text: &str) -> ObjectSet {
        let mut things = ObjectSet::default();
        for word in text.split_whitespace() {
            let n: u8 = word[1..].parse().unwrap();
            match &word[..1] {
                "r" => drop(things.roots.insert((id(n), n < 3))),
                "x" => drop(things.runs.insert(id(n))),
                "p" => drop(things.packs.insert(pack(n))),
                _ => drop(things.objects.insert(id(n))),
            }
        }
        things
    }

    #[test]
    fn what_goes_and_what_is_marked() {
        const OLD: u64 = 100;
        let all_of_1 = "r1 x9 p101 o51";
        // The columns: unneeded; the old mark, what was kept of it, the young mark; what is removed, is marked, waits.
        for (name, unneeded, old, kept, young, remove, mark, wait) in [
            ("nothing", "", "", "", "", "", "", ""),
            ("first all is marked", "r1 x9", "", "", "", "", all_of_1, ""),
            ("then it waits", "r1 x9", "", "", all_of_1, "", "", all_of_1),
            ("then it goes", "r1 x9", all_of_1, "", "", all_of_1, "", ""),
            ("a result in its pack stays", "r1", "", "", "", "", "r1 o51", ""),
            ("needed again", "", all_of_1, "", "", "", "", ""),
            ("partly needed again", "x9", all_of_1, "", "", "x9", "", ""),
            ("kept by a push", "r1 x9", all_of_1, all_of_1, "", "", all_of_1, ""),
            ("its pack is kept by a push", "r1 x9", all_of_1, "p101", "", "r1 x9 o51", "p101", ""),
            ("a shared object goes with the last", "r1 r2 x9", all_of_1, "", "", all_of_1, "r2 o50 o52", ""),
            ("a pack goes with the last", "r2 r3", "r2 p102 o52", "", "", "r2 o52", "r3 p102", ""),
            ("its mark is older than that of the row", "r2 r3", "r2 p102 o52", "", "r3", "r2 o52", "p102", "r3"),
            ("a large file", "r4", "r4 o4", "", "", "r4 o4", "", ""),
            ("a removal that was cut short", "", "p103 o53", "", "", "p103 o53", "", ""),
            ("a stray", "", "", "", "", "", "", ""),
        ] {
            let marks = Marks {
                marked: vec![
                    (SegmentName::for_bytes(b"old", OLD), things(old)),
                    (SegmentName::for_bytes(b"young", OLD + 1), things(young)),
                ],
                kept: vec![Note { of: [SegmentName::for_bytes(b"old", OLD)].into(), things: things(kept) }],
                ..Marks::default()
            };
            let (all, unneeded, strays) = (all(), things(unneeded), BTreeSet::new());
            let facts = PlanInput { all: &all, unneeded: &unneeded, marks: &marks, strays: &strays, old: OLD };
            let got = plan(&facts, &mut live).unwrap();
            assert_eq!((&got.remove, &got.mark, &got.wait), (&things(remove), &things(mark), &things(wait)), "{name}");
            assert_eq!(got.done, [SegmentName::for_bytes(b"old", OLD)].into(), "{name}");
            // The remaining rows are complete in any case.
            let left = without(&all, &got.remove);
            assert!(packs_of(left.roots.values()).iter().all(|id| left.packs.contains_key(id)), "{name}");
            assert!(left.runs.values().all(|run| left.packs.contains_key(&run.slice.pack)), "{name}");
            let used = live(&left.roots.keys().copied().collect()).unwrap();
            assert!(all.loose.keys().all(|id| !used.contains(id) || left.loose.contains_key(id)), "{name}");
        }
    }

    #[test]
    fn strays_are_marked_and_go() {
        let strays: BTreeSet<PackId> = [pack(110)].into();
        let (all, unneeded) = (all(), ObjectSet::default());
        let mut marks = Marks::default();
        for (remove, mark) in [("", "p110"), ("p110", "")] {
            let facts = PlanInput { all: &all, unneeded: &unneeded, marks: &marks, strays: &strays, old: 9 };
            let got = plan(&facts, &mut live).unwrap();
            assert_eq!((got.remove, got.mark.clone()), (things(remove), things(mark)));
            marks.marked.push((SegmentName::for_bytes(b"x", 9), got.mark));
        }
    }

    #[test]
    fn what_is_not_known_stops_it() {
        let (all, unneeded, strays, marks) = (all(), things("r1"), BTreeSet::new(), Marks::default());
        let facts = PlanInput { all: &all, unneeded: &unneeded, marks: &marks, strays: &strays, old: 0 };
        let mut unknown = |_: &BTreeSet<(ObjectId, bool)>| Err(crate::error::Error::missing("a folder"));
        assert!(plan(&facts, &mut unknown).is_err());
    }
}
