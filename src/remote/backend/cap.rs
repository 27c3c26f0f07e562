//! Upper bounds on what a remote may send, for each kind of object: its largest valid size or the size in the index,
//! and a little more than one page for a listing. A longer answer is wrong or hostile, and reading stops at the bound.

use crate::remote::backend::fault::{Fault, FaultKind};

/// `lockstep-remote`.
pub const MARKER: u64 = 256;
/// `index/all`.
pub const NAMES: u64 = 16 << 20;
/// One segment.
pub const SEGMENT: u64 = 128 << 20;
/// All segments together.
pub const SEGMENTS: u64 = 512 << 20;
/// A note on objects that are marked for removal.
pub const NOTE: u64 = 64 << 20;
/// An answer that does not carry an object: a page of a listing, a token, a refusal.
pub const ANSWER: u64 = 32 << 20;
/// Entries of a listing.
pub const ENTRIES: usize = 10_000_000;

/// The error for an object that is larger than allowed.
pub fn too_large(path: &str, most: u64) -> Fault {
    Fault::new(FaultKind::Other, format!("{path} is larger than the {most} bytes that it may have"))
}

/// The error for a listing with too many entries.
pub fn too_many(folder: &str) -> Fault {
    Fault::new(FaultKind::Other, format!("{folder}/ has more than {ENTRIES} entries"))
}
