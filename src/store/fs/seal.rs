//! The seal says that the bytes of an object were verified and not written to since.
//!
//! To link an object into a workspace without reading it, we must know that nobody wrote to it since it was
//! verified (a hard link gives the workspace the very inode). When an object's bytes have been verified, the
//! nanoseconds of its mtime are set to a number derived from its id and its seconds; a later write gives it another
//! mtime, and the seal is broken. A file system that keeps no nanoseconds never shows a seal, and all is read. The seal
//! counts on files of this user, or of root, that others may not write to: in a shared store the owner of a file could set it
//! on any bytes.

use std::os::fd::AsFd;

use rustix::fs::{Timespec, Timestamps};

use super::stat::{FileStat, Seen};
use crate::store::id::ObjectId;

/// The nanoseconds that say "verified": from the id and the seconds.
fn seal_of(id: &ObjectId, seconds: i64) -> i64 {
    let number = u64::from_le_bytes(id.0[..8].try_into().unwrap_or_default());
    (number.wrapping_add(seconds as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as i64 % 1_000_000_000
}

/// Marks an object whose bytes were just verified. Not being allowed to costs a verification, nothing more.
pub fn seal(file: impl AsFd, id: &ObjectId) {
    let Ok(stat) = rustix::fs::fstat(&file) else { return };
    let seconds = FileStat::from(&stat).mtime.div_euclid(1_000_000_000);
    let time = Timespec { tv_sec: seconds, tv_nsec: seal_of(id, seconds) as _ };
    let _ = rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time });
}

/// Not only sealed, but with nothing done to it since, as far as the ctime tells, which no user can set: an mtime can be put
/// back after an edit, and the seal with it. To be asked where a workspace may have a link to the very inode. A link that
/// was made or removed changes the ctime, too.
pub fn is_untouched(seen: &Seen, id: &ObjectId) -> bool {
    is_sealed(seen, id) && seen.stat.ctime.abs_diff(seen.stat.mtime) < 2_000_000_000
}

/// Do the bytes need no second look before they are used? The owner of a file can set its times, so the seal of a file
/// of another user says nothing, nor does one of a file that others may write to. What cannot be sealed is read each
/// time: the ctime does not show each write through a mapping, so to remember it would not do.
pub fn is_sealed(seen: &Seen, id: &ObjectId) -> bool {
    seen.is_mine_alone() && shows_seal(&seen.stat, id)
}

/// Does the file bear the seal, set by any user? Enough to find that an object is present: a user who may forge one in a store
/// may delete it as well, and its bytes are verified before they are used.
pub fn shows_seal(stat: &FileStat, id: &ObjectId) -> bool {
    let seconds = stat.mtime.div_euclid(1_000_000_000);
    stat.mtime.rem_euclid(1_000_000_000) == seal_of(id, seconds)
}
