//! Parts of packs that are read at once. Pure.

use std::ops::Range;

use crate::remote::catalog::segment::Slice;
use crate::store::pack::format::{PackId, Row};
use crate::store::{ObjectId, ObjectKind};

/// Ranges that lie no further apart are read in one request.
const GAP: u64 = 64 << 10;
/// And requests are not larger than this.
const RUN: u64 = 8 << 20;

/// An object within a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub id: ObjectId,
    pub kind: ObjectKind,
    pub slice: Slice,
}

/// Pieces of one pack that are read at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    pub pack: PackId,
    pub range: Range<u64>,
    pub pieces: Vec<Piece>,
}

impl Stretch {
    /// Of two pieces and more.
    pub fn halves(&self) -> (Stretch, Stretch) {
        let (first, second) = self.pieces.split_at(self.pieces.len() / 2);
        (Stretch::of(self.pack, first), Stretch::of(self.pack, second))
    }

    fn of(pack: PackId, pieces: &[Piece]) -> Stretch {
        let start = pieces.iter().map(|piece| piece.slice.offset).min().unwrap_or(0);
        let end = pieces.iter().map(|piece| piece.slice.offset + piece.slice.length).max().unwrap_or(start);
        Stretch { pack, range: start..end, pieces: pieces.to_vec() }
    }
}

/// Joins what nearly touches. Pure.
pub fn stretches(mut pieces: Vec<Piece>) -> Vec<Stretch> {
    pieces.sort_by_key(|piece| (piece.slice.pack, piece.slice.offset));
    let mut all: Vec<Stretch> = Vec::new();
    for piece in pieces {
        let (start, end) = (piece.slice.offset, piece.slice.offset + piece.slice.length);
        match all.last_mut() {
            Some(last)
                if last.pack == piece.slice.pack
                    && start <= last.range.end.saturating_add(GAP)
                    && end - last.range.start <= RUN =>
            {
                last.range.end = last.range.end.max(end);
                last.pieces.push(piece);
            }
            _ => all.push(Stretch { pack: piece.slice.pack, range: start..end, pieces: vec![piece] }),
        }
    }
    all
}

pub fn piece(pack: PackId, row: &Row) -> Piece {
    Piece { id: row.id, kind: row.kind, slice: Slice { pack, offset: row.offset, length: row.length } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nearly_touches_is_read_at_once() {
        let at = |pack: u8, offset: u64, length: u64| Piece {
            id: ObjectId([pack; 32]),
            kind: ObjectKind::Content,
            slice: Slice { pack: PackId(ObjectId([pack; 32])), offset, length },
        };
        for (pieces, want) in [
            (vec![], vec![]),
            (vec![at(1, 16, 10), at(1, 26, 10)], vec![(16, 36)]),
            (vec![at(1, 26, 10), at(1, 16, 10)], vec![(16, 36)]),
            (vec![at(1, 0, 10), at(1, 10 + GAP, 10)], vec![(0, 20 + GAP)]),
            (vec![at(1, 0, 10), at(1, 11 + GAP, 10)], vec![(0, 10), (11 + GAP, 21 + GAP)]),
            (vec![at(1, 0, RUN), at(1, RUN, 1)], vec![(0, RUN), (RUN, RUN + 1)]),
            (vec![at(1, 0, 5), at(2, 5, 5)], vec![(0, 5), (5, 10)]),
        ] {
            let got: Vec<_> = stretches(pieces).into_iter().map(|s| (s.range.start, s.range.end)).collect();
            assert_eq!(got, want);
        }
    }
}
