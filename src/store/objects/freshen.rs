//! Freshening: gc keeps objects that were used recently, even if no pin refers to them yet.
//!
//! The age of an object is the age of the mtime of its file, or of its pack. A process that finds an object present,
//! instead of storing it, updates this time. The seal (see `fs::seal`) is part of the same time stamp and is set again
//! with it.

use std::fs::File;
use std::io;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

use crate::error::Result;
use crate::store::fs::seal::seal;
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::objects::lookup::BIG;
use crate::store::pack::Pack;

/// gc keeps objects younger than this, in seconds.
pub const YOUNG: i64 = 3600;

pub(in crate::store) fn now() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as i64
}

fn is_recent(stat: &FileStat) -> bool {
    stat.mtime.div_euclid(1_000_000_000) > now() - YOUNG
}

/// Sets the mtime of a file to now and seals it again. Only its owner may do that.
pub(in crate::store) fn touch_and_seal(file: &File, id: &ObjectId) -> io::Result<()> {
    let this = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    rustix::fs::futimens(file, &Timestamps { last_access: this, last_modification: this })?;
    seal(file, id);
    Ok(())
}

impl Store {
    /// Updates the time of a good object; returns false if that fails.
    pub(in crate::store) fn freshen(&self, id: &ObjectId, size: u64) -> bool {
        let loose = || {
            let path = self.path(id);
            let seen = Seen::lstat(&path).ok()?;
            Some(is_recent(&seen.stat) || self.open_inside(&path).and_then(|file| touch_and_seal(&file, id)).is_ok())
        };
        let packed = || self.packed(id).map(|(pack, _)| pack.freshen());
        if size >= BIG { loose().or_else(packed) } else { packed().or_else(loose) }.unwrap_or(false)
    }

    /// Updates the time of the results under a key: one of them is about to be restored, and gc keeps the objects that
    /// it names with it.
    pub fn freshen_runs(&self, key: &str) -> Result<()> {
        for path in self.run_files(key)? {
            if Seen::lstat(&path).is_ok_and(|seen| !is_recent(&seen.stat)) {
                let _ = self.open_inside(&path).and_then(|file| touch(&file));
            }
        }
        Ok(())
    }
}

impl Pack {
    /// Updates the time of a pack, once per process.
    fn freshen(&self) -> bool {
        *self.young.get_or_init(|| {
            let Ok(file) = self.file() else { return false };
            let seen = rustix::fs::fstat(&file).map(|stat| is_recent(&FileStat::from(&stat)));
            seen.is_ok_and(|young| young || touch_and_seal(&file, &self.id.0).is_ok())
        })
    }
}

fn touch(file: &File) -> io::Result<()> {
    let this = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: this, last_modification: this })?)
}
