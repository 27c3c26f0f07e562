//! Decides what gc deletes, keeps and repacks. Pure.

use std::collections::HashSet;

use super::census::{Census, FoundLoose, is_temporary};
use crate::store::id::ObjectId;
use crate::store::pack::format::PackId;

/// A pack of which more than this percentage is garbage is rewritten.
const MOSTLY_DEAD: u64 = 50;
/// Packs below this size are small; this many of them are merged.
const SMALL_PACK: u64 = 8 << 20;
const MANY_SMALL: usize = 16;
/// This many small loose objects are worth a pack.
const WORTH_A_PACK: usize = 32;

/// The limits of a collection.
#[derive(Clone, Copy, Debug)]
pub struct GcRules {
    /// Objects at least this old (seconds since 1970) may be deleted.
    pub old: i64,
    /// Temporary files at least this old may be deleted: the process that wrote one is dead.
    pub dead: i64,
    /// Loose objects below this size are packed; 0 for none.
    pub packed: u64,
}

/// The planned actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Loose objects to delete.
    pub loose: Vec<FoundLoose>,
    /// Packs to delete, since none of their objects is needed.
    pub packs: Vec<PackId>,
    /// Packs to delete once their needed objects are in a new pack.
    pub rewrite: Vec<PackId>,
    /// Needed loose objects to move into a new pack.
    pub fold: Vec<FoundLoose>,
    /// Files in `tmp/` to delete, by their index in the census.
    pub temporary: Vec<usize>,
    /// Objects that will be deleted, each once.
    pub gone: Vec<(ObjectId, u64)>,
    /// The approximate space that is freed, in bytes of files.
    pub bytes: u64,
    /// Objects that are not needed but too young to delete: number and bytes.
    pub young: (usize, u64),
    /// Objects that are not needed but stay in packs of mostly needed objects, to be deleted later: number and bytes.
    pub spared: (usize, u64),
}

impl Plan {
    /// Returns true if nothing is deleted or repacked.
    pub fn is_empty(&self) -> bool {
        let Plan { loose, packs, rewrite, fold, temporary, .. } = self;
        loose.is_empty() && packs.is_empty() && rewrite.is_empty() && fold.is_empty() && temporary.is_empty()
    }
}

/// Plans a collection that keeps the objects in `needed`.
pub fn plan(census: &Census, needed: &HashSet<ObjectId>, rules: GcRules) -> Plan {
    let mut plan = Plan::default();
    let mut small = Vec::new();
    for loose in &census.loose {
        let is_old = loose.time <= rules.old;
        match (needed.contains(&loose.id), is_old) {
            (true, true) if loose.size < rules.packed => small.push(*loose),
            (true, _) => {}
            (false, true) => {
                plan.bytes += loose.size;
                plan.loose.push(*loose);
            }
            (false, false) => add(&mut plan.young, loose.size),
        }
    }
    if small.len() >= WORTH_A_PACK {
        plan.fold = small;
    }
    let mut kept_small = Vec::new();
    for found in &census.packs {
        let pack = &found.pack;
        let dead = |id: &ObjectId| pack.tombstoned.contains(id) || !needed.contains(id);
        let (mut count, mut bytes, mut all) = (0, 0u64, 0u64);
        for row in pack.index.iter() {
            all += row.length;
            if dead(&row.id) {
                count += 1;
                bytes += row.length;
            }
        }
        if found.time > rules.old {
            plan.young = (plan.young.0 + count, plan.young.1 + bytes);
        } else if count == pack.index.len() {
            plan.packs.push(pack.id);
            plan.bytes += found.size;
        } else if bytes * 100 > all * MOSTLY_DEAD {
            plan.rewrite.push(pack.id);
            plan.bytes += bytes;
        } else if found.size < SMALL_PACK {
            kept_small.push((pack.id, (count, bytes)));
        } else {
            plan.spared = (plan.spared.0 + count, plan.spared.1 + bytes);
        }
    }
    // A single pack that was merged recently is not rewritten.
    if kept_small.len() >= MANY_SMALL {
        plan.bytes += kept_small.iter().map(|(_, (_, bytes))| bytes).sum::<u64>();
        plan.rewrite.extend(kept_small.iter().map(|(id, _)| *id));
    } else {
        for (_, (count, bytes)) in kept_small {
            plan.spared = (plan.spared.0 + count, plan.spared.1 + bytes);
        }
    }
    plan.rewrite.sort();
    let going: HashSet<PackId> = plan.packs.iter().chain(&plan.rewrite).copied().collect();
    plan.gone = gone(census, needed, &plan.loose, &going);
    let temporary =
        census.temporary.iter().enumerate().filter(|(_, file)| file.time <= rules.dead && is_temporary(&file.path));
    for (at, file) in temporary {
        plan.temporary.push(at);
        plan.bytes += file.size;
    }
    plan
}

/// Objects of which no copy stays.
fn gone(
    census: &Census,
    needed: &HashSet<ObjectId>,
    loose: &[FoundLoose],
    going: &HashSet<PackId>,
) -> Vec<(ObjectId, u64)> {
    let mut left: HashSet<ObjectId> = HashSet::new();
    let going_loose: HashSet<ObjectId> = loose.iter().map(|l| l.id).collect();
    left.extend(census.loose.iter().map(|l| l.id).filter(|id| !going_loose.contains(id)));
    let mut gone: Vec<(ObjectId, u64)> = loose.iter().map(|l| (l.id, l.size)).collect();
    for found in &census.packs {
        let rows = found.pack.index.iter();
        if going.contains(&found.pack.id) {
            gone.extend(rows.filter(|row| !needed.contains(&row.id)).map(|row| (row.id, row.length)));
        } else {
            left.extend(rows.map(|row| row.id));
        }
    }
    gone.retain(|(id, _)| !left.contains(id));
    gone.sort();
    gone.dedup_by_key(|(id, _)| *id);
    gone
}

fn add(sum: &mut (usize, u64), bytes: u64) {
    sum.0 += 1;
    sum.1 += bytes;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::gc::census::{FoundFile, FoundPack};
    use crate::store::id::ObjectKind;
    use crate::store::pack::Pack;
    use crate::store::pack::format::PackWriter;

    const OLD: i64 = 100;

    fn id(n: u16) -> ObjectId {
        ObjectId::of(&n.to_le_bytes())
    }

    fn loose(n: u16, size: u64, time: i64) -> FoundLoose {
        FoundLoose { id: id(n), size, time }
    }

    /// A pack of objects with these numbers and sizes.
    fn pack(objects: &[(u16, usize)], time: i64, dead: &[u16]) -> FoundPack {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for (n, size) in objects {
            writer.add(id(*n), ObjectKind::Content, &vec![0; *size]).unwrap();
        }
        let (index, _) = writer.finish().unwrap();
        let size = index.file_length();
        let dead = dead.iter().map(|n| id(*n)).collect();
        let pack = Pack::new(std::path::Path::new("/p"), index, dead, false, &Arc::default());
        FoundPack { pack: Arc::new(pack), size, time }
    }

    fn planned(census: &Census, needed: &[u16]) -> Plan {
        let needed = needed.iter().map(|n| id(*n)).collect();
        plan(census, &needed, GcRules { old: OLD, dead: OLD, packed: 1000 })
    }

    #[test]
    fn loose_objects() {
        for (name, found, needed, goes, young) in [
            ("needed", loose(1, 5, 0), &[1][..], false, 0),
            ("not needed", loose(1, 5, 0), &[2], true, 0),
            ("as old as asked", loose(1, 5, OLD), &[], true, 0),
            ("a second too young", loose(1, 5, OLD + 1), &[], false, 1),
            ("from the future", loose(1, 5, i64::MAX), &[], false, 1),
            ("needed and young", loose(1, 5, OLD + 1), &[1], false, 0),
        ] {
            let got = planned(&Census { loose: vec![found], ..Census::default() }, needed);
            assert_eq!((got.loose == [found], got.young.0), (goes, young), "{name}");
            assert_eq!(got.gone.len(), usize::from(goes), "{name}");
            assert_eq!(got.bytes, if goes { 5 } else { 0 }, "{name}");
        }
    }

    #[test]
    fn packs_go_are_written_anew_or_stay() {
        let objects = &[(1, 40), (2, 40), (3, 40)][..];
        for (name, time, needed, dead, packs, rewrite, gone, young) in [
            ("all needed", 0, &[1, 2, 3][..], &[][..], 0, 0, 0, 0),
            ("nothing needed", 0, &[], &[], 1, 0, 3, 0),
            ("nothing needed, young", OLD + 1, &[], &[], 0, 0, 0, 3),
            ("a third dead", 0, &[1, 2], &[], 0, 0, 0, 0),
            ("two thirds dead", 0, &[1], &[], 0, 1, 2, 0),
            ("two thirds dead, young", OLD + 1, &[1], &[], 0, 0, 0, 2),
            ("a tombstone is dead", 0, &[1, 2], &[2], 0, 1, 1, 0),
            ("tombstones alone", 0, &[1, 2, 3], &[1, 2, 3], 1, 0, 0, 0),
        ] {
            let got = planned(&Census { packs: vec![pack(objects, time, dead)], ..Census::default() }, needed);
            let counts = (got.packs.len(), got.rewrite.len(), got.gone.len(), got.young.0);
            assert_eq!(counts, (packs, rewrite, gone, young), "{name}");
        }
    }

    #[test]
    fn many_small_packs_become_one() {
        let packs = |n: u16| (0..n).map(|i| pack(&[(2 * i, 10), (2 * i + 1, 10)], 0, &[])).collect::<Vec<_>>();
        let needed: Vec<u16> = (0..100).collect();
        for (n, rewrite) in [(15, 0), (16, 16), (30, 30)] {
            let got = planned(&Census { packs: packs(n), ..Census::default() }, &needed);
            assert_eq!((got.rewrite.len(), got.gone.len()), (rewrite, 0));
        }
    }

    #[test]
    fn many_small_loose_objects_become_a_pack() {
        let all = |n: u16| (0..n).map(|i| loose(i, 999, 0)).collect::<Vec<_>>();
        let needed: Vec<u16> = (0..100).collect();
        for (n, fold) in [(31, 0), (32, 32)] {
            let mut census = Census { loose: all(n), ..Census::default() };
            census.loose.extend([loose(90, 1000, 0), loose(91, 1, OLD + 1)]);
            let got = planned(&census, &needed);
            assert_eq!((got.fold.len(), got.loose.len()), (fold, 0));
        }
    }

    #[test]
    fn what_stays_elsewhere_is_not_gone() {
        let census = Census {
            loose: vec![loose(1, 40, 0)],
            packs: vec![pack(&[(1, 40), (2, 40)], OLD + 1, &[])],
            temporary: vec![
                FoundFile { path: format!("/{}", "a".repeat(32)).into(), size: 7, time: 0 },
                FoundFile { path: format!("/{}", "b".repeat(32)).into(), size: 7, time: OLD + 1 },
                FoundFile { path: format!("/fetch-{}", "c".repeat(64)).into(), size: 7, time: 0 },
                FoundFile { path: "/letter".into(), size: 7, time: 0 },
            ],
            ..Census::default()
        };
        let got = planned(&census, &[]);
        assert_eq!((got.loose.len(), got.gone.len(), got.young.0), (1, 0, 2));
        assert_eq!((&got.temporary[..], got.bytes), (&[0, 2][..], 54));
        assert!(planned(&Census::default(), &[1]).is_empty());
    }
}
