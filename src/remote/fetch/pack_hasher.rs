//! Hashes the objects of a pack while its bytes pass, in chunks of any size. Pure.
//!
//! Unlike a reader that stops at the first mismatch, it continues and reports all of them.

use crate::store::hash::Hasher;
use crate::store::pack::format::Row;

/// A pack in transfer.
pub struct PackHasher<'r> {
    /// Sorted by offset.
    rows: &'r [Row],
    next: usize,
    at: u64,
    hasher: Option<Hasher>,
    bad: Vec<Row>,
}

impl<'r> PackHasher<'r> {
    pub fn new(rows: &'r [Row]) -> PackHasher<'r> {
        PackHasher { rows, next: 0, at: 0, hasher: None, bad: Vec::new() }
    }

    /// Hashes the next bytes of the pack.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some(row) = self.rows.get(self.next) {
            if self.hasher.is_none() {
                if row.offset < self.at {
                    // The row overlaps the previous one.
                    self.bad.push(*row);
                    self.next += 1;
                    continue;
                }
                let skipped = (row.offset - self.at).min(bytes.len() as u64);
                bytes = &bytes[skipped as usize..];
                self.at += skipped;
                if self.at < row.offset {
                    return;
                }
            }
            let hasher = self.hasher.get_or_insert_with(|| Hasher::new(row.kind));
            let mine = (row.offset + row.length - self.at).min(bytes.len() as u64);
            hasher.update(&bytes[..mine as usize]);
            bytes = &bytes[mine as usize..];
            self.at += mine;
            if self.at < row.offset + row.length {
                return;
            }
            if hasher.id() != row.id {
                self.bad.push(*row);
            }
            self.hasher = None;
            self.next += 1;
        }
        self.at += bytes.len() as u64;
    }

    /// Returns the rows of objects that do not match their ids or never arrived.
    pub fn finish(mut self) -> Vec<Row> {
        self.bad.extend(&self.rows[self.next.min(self.rows.len())..]);
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::pack::format::HEADER;
    use crate::store::{ObjectId, ObjectKind};

    #[test]
    fn each_object_is_hashed_however_the_bytes_come() {
        let objects: [&[u8]; 5] = [b"one", b"", b"three", b"fo", b"the fifth"];
        let mut bytes = vec![0; HEADER as usize];
        let mut rows = Vec::new();
        for object in objects {
            let (offset, length) = (bytes.len() as u64, object.len() as u64);
            rows.push(Row { id: ObjectId::of(object), kind: ObjectKind::Content, offset, length });
            bytes.extend_from_slice(object);
        }
        for window in 1..=bytes.len() {
            let mut good = PackHasher::new(&rows);
            bytes.chunks(window).for_each(|chunk| good.pass(chunk));
            assert_eq!(good.finish(), [], "{window}");
            for at in HEADER as usize..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                let mut passing = PackHasher::new(&rows);
                bad.chunks(window).for_each(|chunk| passing.pass(chunk));
                let found = passing.finish();
                let of = |row: &Row| (row.offset..row.offset + row.length).contains(&(at as u64));
                assert!(found.len() == 1 && of(&found[0]), "{window} {at}");
            }
            // Missing bytes count as damage.
            let mut cut = PackHasher::new(&rows);
            bytes[..bytes.len() - 10].chunks(window).for_each(|chunk| cut.pass(chunk));
            assert_eq!(cut.finish().len(), 2);
        }
    }
}
