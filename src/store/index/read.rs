//! Reads a file for the index: its id, the stat that belongs to it, and whether the next scan may trust that stat.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use super::StatIndex;
use super::format::RACY;
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::lfs;
use crate::store::fs::stat::{Seen, Stamp};
use crate::store::hash::{self, HashError};
use crate::store::id::ObjectId;

/// For a fresh file of this size it pays to wait a tick, so that the next scan need not read it again.
const WORTH_A_WAIT: u64 = 1 << 20;

/// Opening a file takes as long as hashing this many bytes.
const OPENING: u64 = 8 << 10;
/// Looking at one name of a folder takes as long as hashing this many bytes.
const LISTING: u64 = 512;

/// Reads files for one scan.
pub struct Reader<'a> {
    index: &'a StatIndex,
    sink: &'a dyn Sink,
    /// Taken before any file was scanned.
    start: Stamp,
    pub file_mode: bool,
}

/// The result of reading a file.
pub struct FileRead {
    pub id: ObjectId,
    pub seen: Seen,
    /// [`RACY`] or 0.
    pub racy: u8,
}

impl<'a> Reader<'a> {
    pub fn new(index: &'a StatIndex, sink: &'a dyn Sink) -> Reader<'a> {
        Reader { index, sink, start: index.stamp(), file_mode: index.file_mode }
    }

    pub fn stamp(&self) -> Stamp {
        self.start
    }

    /// Reads the file `name` in the folder `fd`, last seen as `seen`; `path` is for messages, `key` is its key in the
    /// index.
    pub fn read(&self, fd: &OwnedFd, name: &[u8], path: &Path, key: &[u8], seen: &Seen) -> Result<FileRead> {
        if let Some(id) = self.index.recall(key, seen) {
            return Ok(FileRead { id, seen: *seen, racy: 0 });
        }
        let stamp = if seen.stat.size >= WORTH_A_WAIT { self.settled(seen) } else { self.start };
        self.sink.event(Event::WorkPlanned { doing: Activity::Hashing, bytes: seen.stat.size });
        let done = |bytes| self.sink.event(Event::WorkDone { doing: Activity::Hashing, bytes });
        let (flags, mode) = hash::read_flags();
        match hash::file(|| rustix::fs::openat(fd, name, flags, mode), seen, &done) {
            Ok((id, seen)) => {
                self.index.count_work(OPENING + seen.stat.size);
                Ok(FileRead { id, seen, racy: if stamp.is_racy(&seen) { RACY } else { 0 } })
            }
            Err(HashError::Io(e)) => Err(Error::io("read", path, e)),
            Err(HashError::Pointer) => Err(lfs::refuse(path.display()).hint(lfs::HINT)),
            Err(HashError::Changed) => {
                Err(Error::new(Kind::Io, format!("{} changed while it was read", path.display()))
                    .hint("something still writes to it; run the command again when that has ended"))
            }
        }
    }

    /// Counts the work of listing a folder with this many names.
    pub fn listed(&self, names: usize) {
        self.index.count_work(names as u64 * LISTING);
    }

    /// Waits a few ticks for a fresh file to age; returns a stamp from before it is read.
    fn settled(&self, seen: &Seen) -> Stamp {
        let mut stamp = self.start;
        for _ in 0..8 {
            if !stamp.is_racy(seen) {
                break;
            }
            stamp = self.index.stamp();
            if stamp.is_racy(seen) {
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        stamp
    }
}
