//! The most that a remote may send: for each sort of object what one can have, or what its index says, and a little more
//! than a page of a listing. What sends more is wrong or hostile, and reading ends there.

use crate::remote::backend::fault::{Fault, Why};

/// `lockstep-remote`.
pub const MARKER: u64 = 256;
/// `index/all`.
pub const NAMES: u64 = 16 << 20;
/// One segment.
pub const SEGMENT: u64 = 128 << 20;
/// All segments together.
pub const SEGMENTS: u64 = 512 << 20;
/// A note on what is about to go.
pub const NOTE: u64 = 64 << 20;
/// An answer that is no object: a page of a listing, a token, a refusal.
pub const ANSWER: u64 = 32 << 20;
/// Entries of a listing.
pub const ENTRIES: usize = 10_000_000;

pub fn too_large(path: &str, most: u64) -> Fault {
    Fault::new(Why::Other, format!("{path} is larger than the {most} bytes that it may have"))
}

pub fn too_many(folder: &str) -> Fault {
    Fault::new(Why::Other, format!("{folder}/ has more than {ENTRIES} entries"))
}
