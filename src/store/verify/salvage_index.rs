//! Salvages the rows of a pack with a broken index: one flipped bit must not cost all of its objects.
//!
//! The result is a guess. Its ranges are within the file; only hashing proves that there is an object at a range. The
//! objects of a pack are back to back, so an object with a damaged row is in a range that no other row covers.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::store::pack::format::{HEADER, Row, TRAILER, rows_in, trailer_numbers};

/// A longer tail is not read.
const LONGEST: u64 = 1 << 30;

/// The rows that could be salvaged.
#[derive(Default)]
pub struct SalvagedIndex {
    pub rows: Vec<Row>,
    /// The offset of the rows, which is the end of the last object.
    pub start: u64,
}

/// Reads the rows of a pack with a broken index.
pub fn salvage_rows(file: &File) -> io::Result<SalvagedIndex> {
    let mut best = SalvagedIndex::default();
    let length = file.metadata()?.len();
    let Some(end) = length.checked_sub(TRAILER as u64).filter(|end| *end > HEADER) else { return Ok(best) };
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, end)?;
    // Two numbers of the trailer give the offset of the rows; one of them may be damaged.
    for start in trailer_numbers(&trailer, end).into_iter().flatten() {
        if (HEADER..end).contains(&start) && end - start <= LONGEST {
            let mut bytes = vec![0; (end - start) as usize];
            file.read_exact_at(&mut bytes, start)?;
            let fits =
                |row: &Row| row.offset >= HEADER && row.offset.checked_add(row.length).is_some_and(|end| end <= start);
            let rows: Vec<Row> = rows_in(&bytes).filter(fits).collect();
            if rows.len() > best.rows.len() {
                best = SalvagedIndex { rows, start };
            }
        }
    }
    Ok(best)
}

/// The ranges up to `end` that none of these rows covers.
pub fn gaps(rows: &[Row], end: u64) -> Vec<Range<u64>> {
    let mut taken: Vec<Range<u64>> = rows.iter().map(|row| row.offset..row.offset + row.length).collect();
    taken.sort_unstable_by_key(|range| (range.start, range.end));
    let mut gaps = Vec::new();
    let mut at = HEADER;
    for range in taken.into_iter().chain(std::iter::once(end..end)) {
        if range.start > at {
            gaps.push(at..range.start);
        }
        at = at.max(range.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectId, ObjectKind};

    #[test]
    fn gaps_are_ranges_without_rows() {
        let row = |offset, length| Row { id: ObjectId([1; 32]), kind: ObjectKind::Content, offset, length };
        for (rows, want) in [
            (vec![], &[(16, 50)][..]),
            (vec![row(16, 34)], &[]),
            (vec![row(16, 4), row(30, 20)], &[(20, 30)]),
            (vec![row(30, 10), row(20, 10)], &[(16, 20), (40, 50)]),
            (vec![row(16, 30), row(20, 4)], &[(46, 50)]),
            (vec![row(16, 0), row(50, 0)], &[(16, 50)]),
        ] {
            let got: Vec<(u64, u64)> = gaps(&rows, 50).into_iter().map(|gap| (gap.start, gap.end)).collect();
            assert_eq!(got, want, "{rows:?}");
        }
    }
}
