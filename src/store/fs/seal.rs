//! The seal marks an object whose bytes were verified and not written to since.
//!
//! To link an object into a workspace without reading it, we must know that it was not written to since it was verified
//! (a hard link exposes the inode itself). After an object is verified, the nanoseconds of its mtime are set to a
//! number derived from its id and its seconds; a later write changes the mtime and so breaks the seal. On a file system
//! without nanoseconds there are no seals, and every object is read. A seal counts only on files of this user or of
//! root that others cannot write to: in a shared store the owner of a file could set it on any bytes.

use std::os::fd::AsFd;

use rustix::fs::{Timespec, Timestamps};

use super::stat::{FileStat, Seen};
use crate::store::id::ObjectId;

/// The nanoseconds that mean "verified", from the id and the seconds.
fn seal_of(id: &ObjectId, seconds: i64) -> i64 {
    let number = u64::from_le_bytes(id.0[..8].try_into().unwrap_or_default());
    (number.wrapping_add(seconds as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as i64 % 1_000_000_000
}

/// Seals an object whose bytes were just verified. If this is not permitted, the object is verified again later.
pub fn seal(file: impl AsFd, id: &ObjectId) {
    let Ok(stat) = rustix::fs::fstat(&file) else { return };
    let seconds = FileStat::from(&stat).mtime.div_euclid(1_000_000_000);
    let time = Timespec { tv_sec: seconds, tv_nsec: seal_of(id, seconds) as _ };
    let _ = rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time });
}

/// Is the object sealed and unmodified since, judged by the ctime, which no user can set? An mtime can be put back
/// after an edit, and the seal with it. Needed where a workspace may have a link to the inode. Creating or removing a
/// link changes the ctime as well.
pub fn is_untouched(seen: &Seen, id: &ObjectId) -> bool {
    is_sealed(seen, id) && seen.stat.ctime.abs_diff(seen.stat.mtime) < 2_000_000_000
}

/// Can the bytes be used without verifying them? The owner of a file can set its times, so the seal of a file of
/// another user counts for nothing, nor does one of a file that others may write to. A file that cannot be sealed is
/// read each time: the ctime does not show each write through a mapping, so remembering it would not suffice.
pub fn is_sealed(seen: &Seen, id: &ObjectId) -> bool {
    seen.only_owner_can_write() && shows_seal(&seen.stat, id)
}

/// Does the file have the seal, set by any user? Enough to find that an object is present: a user who can forge one in
/// a store can delete the object as well, and the bytes are verified before they are used.
pub fn shows_seal(stat: &FileStat, id: &ObjectId) -> bool {
    let seconds = stat.mtime.div_euclid(1_000_000_000);
    stat.mtime.rem_euclid(1_000_000_000) == seal_of(id, seconds)
}
