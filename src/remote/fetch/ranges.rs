//! Ranges of packs that are read in one request. Pure.

use std::ops::Range;

use crate::remote::catalog::segment::Slice;
use crate::store::pack::format::{PackId, Row};
use crate::store::{ObjectId, ObjectKind};

/// Entries with at most this gap between them are read in one request.
const GAP: u64 = 64 << 10;
/// The maximum size of a request.
const RUN: u64 = 8 << 20;

/// The location of an object within a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    pub id: ObjectId,
    pub kind: ObjectKind,
    pub slice: Slice,
}

/// Entries of one pack that are read in one request.
#[derive(Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub pack: PackId,
    pub bytes: Range<u64>,
    pub entries: Vec<PackEntry>,
}

impl ByteRange {
    /// Splits a range of at least two entries.
    pub fn halves(&self) -> (ByteRange, ByteRange) {
        let (first, second) = self.entries.split_at(self.entries.len() / 2);
        (ByteRange::spanning(self.pack, first), ByteRange::spanning(self.pack, second))
    }

    fn spanning(pack: PackId, entries: &[PackEntry]) -> ByteRange {
        let start = entries.iter().map(|entry| entry.slice.offset).min().unwrap_or(0);
        let end = entries.iter().map(|entry| entry.slice.offset + entry.slice.length).max().unwrap_or(start);
        ByteRange { pack, bytes: start..end, entries: entries.to_vec() }
    }
}

/// Coalesces nearby entries into ranges. Pure.
pub fn coalesce(mut entries: Vec<PackEntry>) -> Vec<ByteRange> {
    entries.sort_by_key(|entry| (entry.slice.pack, entry.slice.offset));
    let mut all: Vec<ByteRange> = Vec::new();
    for entry in entries {
        let (start, end) = (entry.slice.offset, entry.slice.offset + entry.slice.length);
        match all.last_mut() {
            Some(last)
                if last.pack == entry.slice.pack
                    && start <= last.bytes.end.saturating_add(GAP)
                    && end - last.bytes.start <= RUN =>
            {
                last.bytes.end = last.bytes.end.max(end);
                last.entries.push(entry);
            }
            _ => all.push(ByteRange { pack: entry.slice.pack, bytes: start..end, entries: vec![entry] }),
        }
    }
    all
}

/// The location of a row in its pack.
pub fn entry(pack: PackId, row: &Row) -> PackEntry {
    PackEntry { id: row.id, kind: row.kind, slice: Slice { pack, offset: row.offset, length: row.length } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nearly_touches_is_read_at_once() {
        let at = |pack: u8, offset: u64, length: u64| PackEntry {
            id: ObjectId([pack; 32]),
            kind: ObjectKind::Content,
            slice: Slice { pack: PackId(ObjectId([pack; 32])), offset, length },
        };
        for (entries, want) in [
            (vec![], vec![]),
            (vec![at(1, 16, 10), at(1, 26, 10)], vec![(16, 36)]),
            (vec![at(1, 26, 10), at(1, 16, 10)], vec![(16, 36)]),
            (vec![at(1, 0, 10), at(1, 10 + GAP, 10)], vec![(0, 20 + GAP)]),
            (vec![at(1, 0, 10), at(1, 11 + GAP, 10)], vec![(0, 10), (11 + GAP, 21 + GAP)]),
            (vec![at(1, 0, RUN), at(1, RUN, 1)], vec![(0, RUN), (RUN, RUN + 1)]),
            (vec![at(1, 0, 5), at(2, 5, 5)], vec![(0, 5), (5, 10)]),
        ] {
            let got: Vec<_> = coalesce(entries).into_iter().map(|s| (s.bytes.start, s.bytes.end)).collect();
            assert_eq!(got, want);
        }
    }
}
