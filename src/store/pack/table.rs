//! Finds the pack of an object, over any number of indexes.
//!
//! Slots are sorted by the first eight bytes of the ids, in runs that are each less than half as long as the previous
//! one: adding a pack costs its own rows, plus the few merges that they go through over time, and a lookup searches a
//! handful of runs. Ids are hashes, so eight bytes are nearly always unique; otherwise all slots with the same prefix
//! are checked.

use std::sync::Arc;

use super::format::PackIndex;
use crate::store::id::ObjectId;

/// The objects of all packs, by the first bytes of their ids.
#[derive(Clone, Default)]
pub struct PackTable {
    runs: Vec<Arc<[Slot]>>,
    /// The number of slots written so far.
    #[cfg(test)]
    pub written: usize,
}

/// An object in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    start: u64,
    /// The caller's number of the pack.
    pack: u32,
    /// The row in the index of the pack.
    row: u32,
}

impl PackTable {
    /// Adds all rows of an index.
    pub fn add(&mut self, pack: usize, index: &PackIndex) {
        let slot =
            |(row, it): (usize, super::format::Row)| Slot { start: start(&it.id), pack: pack as u32, row: row as u32 };
        // The rows are sorted already.
        let mut new: Vec<Slot> = index.iter().enumerate().map(slot).collect();
        while let Some(last) = self.runs.pop_if(|last| last.len() <= 2 * new.len()) {
            self.count(new.len());
            new = merged(&last, &new);
        }
        self.count(new.len());
        if !new.is_empty() {
            self.runs.push(new.into());
        }
    }

    /// The candidates for an object: pack and row. The caller compares the full id.
    pub fn find(&self, id: &ObjectId) -> impl Iterator<Item = (usize, usize)> + '_ {
        let start = start(id);
        self.runs.iter().flat_map(move |run| {
            let from = run.partition_point(|slot| slot.start < start);
            let same = run[from..].iter().take_while(move |slot| slot.start == start);
            same.map(|slot| (slot.pack as usize, slot.row as usize))
        })
    }

    #[cfg(test)]
    fn count(&mut self, slots: usize) {
        self.written += slots;
    }

    #[cfg(not(test))]
    fn count(&mut self, _: usize) {}
}

fn merged(a: &[Slot], b: &[Slot]) -> Vec<Slot> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    while let (Some(first), Some(second)) = (a.peek(), b.peek()) {
        all.extend(if first <= second { a.next() } else { b.next() });
    }
    all.extend(a);
    all.extend(b);
    all
}

fn start(id: &ObjectId) -> u64 {
    id.0.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::id::ObjectKind;
    use crate::store::pack::format::PackWriter;

    fn index(from: u32, n: u32) -> PackIndex {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for n in from..from + n {
            let bytes = n.to_le_bytes();
            writer.add(ObjectId::of(&bytes), ObjectKind::Content, &bytes).unwrap();
        }
        writer.finish().unwrap().0
    }

    #[test]
    fn everything_is_found_however_it_was_added() {
        let sizes = [1, 0, 100, 3, 3, 3, 50, 1, 1, 1, 1, 200, 7];
        let (mut table, mut from) = (PackTable::default(), 0);
        let mut indexes = Vec::new();
        for size in sizes {
            indexes.push(index(from, size));
            table.add(indexes.len() - 1, &indexes[indexes.len() - 1]);
            from += size;
        }
        // An object in two packs is found in both.
        indexes.push(index(0, 5));
        table.add(indexes.len() - 1, &indexes[indexes.len() - 1]);
        for n in 0..from {
            let id = ObjectId::of(&n.to_le_bytes());
            let found: Vec<usize> = table
                .find(&id)
                .filter(|(pack, row)| indexes[*pack].row(*row).unwrap().id == id)
                .map(|(pack, _)| pack)
                .collect();
            assert_eq!(found.len(), if n < 5 { 2 } else { 1 }, "{n}: {found:?}");
        }
        assert_eq!(table.find(&ObjectId::of(b"not there")).count(), 0);
        assert!(table.runs.windows(2).all(|two| two[0].len() > 2 * two[1].len()));
    }

    #[test]
    fn packs_that_come_one_by_one_cost_their_own_rows() {
        let mut table = PackTable::default();
        for pack in 0..256 {
            table.add(pack, &index(pack as u32 * 20, 20));
        }
        assert!(table.written <= 256 * 20 * 9, "{}", table.written);
    }
}
