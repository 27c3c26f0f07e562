//! File metadata, and when it proves that a file is unchanged.
//!
//! A file whose size, mtime, ctime and inode are unchanged is not read again. The device is not compared, as in Git:
//! its number changes over reboots on many file systems, and the other four suffice.
//!
//! Racy files: kernels stamp files with a coarse clock (ticks of up to 10 ms), so a file that is edited in the same
//! tick in which it was scanned keeps its stat. Git compares with the time of the index file; this code is stricter and
//! decides when the row is made. [`Stamp`] is the clock of the file system, read before the file is scanned. A row
//! whose ctime is not older than that by [`MARGIN`] is stored as racy: the next scan reads the file again and stores a
//! clean row. Only the ctime decides, since it cannot be set: an mtime in the future, as from an archive, must not make
//! a file racy for ever.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use bytemuck::{Pod, Zeroable};
use rustix::fs::{FileType, Stat, Timespec, Timestamps, UTIME_NOW};

/// Longer than a tick of any kernel.
pub const MARGIN: i64 = 12_000_000;
/// The margin for files on another file system than the index, whose clock and granularity are unknown.
const FOREIGN_MARGIN: i64 = 2_100_000_000;

/// The fields that tell an unchanged file from a changed one. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct FileStat {
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub inode: u64,
}

/// The result of one `stat` call.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub stat: FileStat,
    pub kind: FileType,
    /// The executable bit of the owner.
    pub executable: bool,
    pub device: u64,
    pub links: u64,
    owner: u32,
    /// Can the group or others write to it?
    others_write: bool,
}

#[allow(clippy::unnecessary_cast)] // the widths differ between platforms
impl From<Stat> for Seen {
    fn from(s: Stat) -> Seen {
        Seen {
            stat: FileStat::from(&s),
            kind: FileType::from_raw_mode(s.st_mode as _),
            executable: s.st_mode as u32 & 0o100 != 0,
            device: s.st_dev as u64,
            links: s.st_nlink as u64,
            owner: s.st_uid as u32,
            others_write: s.st_mode as u32 & 0o022 != 0,
        }
    }
}

#[allow(clippy::unnecessary_cast)]
impl From<&Stat> for FileStat {
    fn from(s: &Stat) -> FileStat {
        let ns = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        FileStat {
            size: s.st_size as u64,
            mtime: ns(s.st_mtime as i64, s.st_mtime_nsec as i64),
            ctime: ns(s.st_ctime as i64, s.st_ctime_nsec as i64),
            inode: s.st_ino as u64,
        }
    }
}

impl Seen {
    /// The stat of a path, with symlinks followed.
    pub fn stat(path: &Path) -> rustix::io::Result<Seen> {
        rustix::fs::stat(path).map(Seen::from)
    }

    /// The stat of the path itself, even if it is a symlink.
    pub fn lstat(path: &Path) -> rustix::io::Result<Seen> {
        rustix::fs::lstat(path).map(Seen::from)
    }

    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// Is this user (or root) the only one who can write to it or set its times?
    pub fn only_owner_can_write(&self) -> bool {
        static ME: OnceLock<u32> = OnceLock::new();
        let me = *ME.get_or_init(|| rustix::process::geteuid().as_raw());
        !self.others_write && (self.owner == me || self.owner == 0)
    }
}

/// A moment by the clock of the file system that holds the index.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    now: i64,
    device: u64,
}

impl Stamp {
    /// Can the file change from now on without a change of its stat?
    pub fn is_racy(&self, seen: &Seen) -> bool {
        self.racy(seen.stat.ctime, seen.device)
    }

    /// The same for a file that this process renamed or wrote: the rename updated its ctime, but a later write changes
    /// an older mtime.
    pub fn is_racy_after_rename(&self, stat: &FileStat, device: u64) -> bool {
        self.racy(stat.ctime, device) && self.racy(stat.mtime, device)
    }

    fn racy(&self, time: i64, device: u64) -> bool {
        let margin = if device == self.device { MARGIN } else { FOREIGN_MARGIN };
        time >= self.now.saturating_sub(margin)
    }
}

/// Reads the time of the file system from an unlinked file that it touches.
pub struct Clock {
    probe: Mutex<Option<File>>,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { probe: Mutex::new(None) }
    }

    /// If `folder` is not writable, every file counts as racy: the index could not be saved there anyway.
    pub fn stamp(&self, folder: &Path) -> Stamp {
        let mut probe = self.probe.lock().unwrap_or_else(|e| e.into_inner());
        if probe.is_none() {
            *probe = open_probe(folder).ok();
        }
        let never = Stamp { now: i64::MIN, device: 0 };
        let Some(file) = probe.as_ref() else { return never };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        if rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now }).is_err() {
            return never;
        }
        match rustix::fs::fstat(file).map(Seen::from) {
            Ok(seen) => Stamp { now: seen.stat.mtime, device: seen.device },
            Err(_) => never,
        }
    }
}

fn open_probe(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!(".clock-{:016x}", crate::store::fs::paths::random()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_files_are_racy_and_settle() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        let seen = Seen::stat(&file).unwrap();
        assert!(clock.stamp(dir.path()).is_racy(&seen));
        std::thread::sleep(std::time::Duration::from_millis(40));
        assert!(!clock.stamp(dir.path()).is_racy(&seen));
        std::fs::rename(&file, dir.path().join("g")).unwrap();
        let moved = Seen::stat(&dir.path().join("g")).unwrap();
        let stamp = clock.stamp(dir.path());
        assert!(stamp.is_racy(&moved) && !stamp.is_racy_after_rename(&moved.stat, moved.device));
        let foreign = Seen { device: seen.device ^ 1, ..seen };
        assert!(stamp.is_racy(&foreign), "an unknown clock needs a wider margin");
    }

    #[test]
    fn without_a_clock_everything_is_racy() {
        let seen = Seen::stat(Path::new("/")).unwrap();
        assert!(Clock::new().stamp(Path::new("/proc/none")).is_racy(&seen));
    }
}
