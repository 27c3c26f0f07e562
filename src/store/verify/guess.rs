//! What the rows of a pack say whose index is broken: one flipped bit must not cost all of its objects.
//!
//! Whatever comes back is a guess. Its ranges lie within the file; whether there is an object at one is found out by
//! hashing it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::store::pack::format::{HEADER, Row, TRAILER, rows_in, trailer_numbers};

/// A longer tail is not looked at.
const LONGEST: u64 = 1 << 30;

pub fn guess(file: &File) -> io::Result<Vec<Row>> {
    let length = file.metadata()?.len();
    let Some(end) = length.checked_sub(TRAILER as u64).filter(|end| *end > HEADER) else { return Ok(Vec::new()) };
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, end)?;
    // Two numbers of the trailer say where the rows begin; one of them may be damaged.
    let mut best = Vec::new();
    for start in trailer_numbers(&trailer, end).into_iter().flatten() {
        if (HEADER..end).contains(&start) && end - start <= LONGEST {
            let mut bytes = vec![0; (end - start) as usize];
            file.read_exact_at(&mut bytes, start)?;
            let fits =
                |row: &Row| row.offset >= HEADER && row.offset.checked_add(row.length).is_some_and(|end| end <= start);
            let rows: Vec<Row> = rows_in(&bytes).filter(fits).collect();
            if rows.len() > best.len() {
                best = rows;
            }
        }
    }
    Ok(best)
}
