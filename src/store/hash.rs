//! Content hashing: every byte is read once, into buffers, never mapped (a file that shrinks would kill us).
//!
//! Small files are read and hashed on the thread that found them, so a folder of many is hashed by all cores. A huge
//! file is read on one core while all others hash what was read before.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::id::ObjectId;
use crate::lfs;
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::id::ObjectKind;

/// Says to BLAKE3 that the bytes are a tree, so that no file has the id of a folder.
pub(super) const TREE_CONTEXT: &str = "lockstep 2026-11-24 directory tree";
/// From this size on, reading and hashing overlap.
pub const HUGE: u64 = 2 << 20;
/// What is read at once of a huge file: large enough to be split among cores, small enough for their caches.
pub const CHUNK: usize = 1 << 20;
const SMALL: usize = 64 << 10;

pub enum Trouble {
    /// The file was written to while it was read, twice.
    Changed,
    /// It is a pointer of Git LFS, not the file.
    Pointer,
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Trouble {
        Trouble::Io(e)
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(e: rustix::io::Errno) -> Trouble {
        Trouble::Io(e.into())
    }
}

/// The id of an object whose bytes come in pieces.
pub struct Hasher(blake3::Hasher);

impl Hasher {
    pub fn new(kind: ObjectKind) -> Hasher {
        Hasher(match kind {
            ObjectKind::Content => blake3::Hasher::new(),
            ObjectKind::Tree => blake3::Hasher::new_derive_key(TREE_CONTEXT),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn id(&self) -> ObjectId {
        ObjectId(*self.0.finalize().as_bytes())
    }
}

pub fn of_bytes(bytes: &[u8]) -> ObjectId {
    ObjectId(*blake3::hash(bytes).as_bytes())
}

/// Opens by `open`, hashes, and compares the stat of before and after; once more if they differ. The caller's own look
/// is the first stat of before: if the file changed since, that shows as well.
pub fn file(
    open: impl Fn() -> rustix::io::Result<OwnedFd>,
    seen: &Seen,
    done: &dyn Fn(u64),
) -> Result<(ObjectId, Seen), Trouble> {
    let mut looked = Some(seen.stat);
    let mut is_untold = false;
    for _ in 0..3 {
        let mut file = File::from(open()?);
        let before = match looked.take() {
            Some(stat) => stat,
            None => FileStat::from(&rustix::fs::fstat(&file)?),
        };
        if before.size >= ABSURD && is_made_up(&file) {
            return Err(untold());
        }
        let mut is_pointer = false;
        let (id, read) = match (1..lfs::LARGEST).contains(&before.size) {
            true => tiny(&mut file, before.size, &mut is_pointer, done)?,
            false => content(&mut file, before.size, done)?,
        };
        let after = Seen::from(rustix::fs::fstat(&file)?);
        if before == after.stat && read == after.stat.size {
            return if is_pointer { Err(Trouble::Pointer) } else { Ok((id, after)) };
        }
        is_untold = before == after.stat;
    }
    if is_untold {
        return Err(untold());
    }
    Err(Trouble::Changed)
}

/// A file that the system makes up as it is read, below /proc and /sys.
fn untold() -> Trouble {
    Trouble::Io(io::Error::other("the system does not tell its size: it is no file of a disk"))
}

/// From this size on a file may be all of a machine's address space, such as `/proc/kcore`.
const ABSURD: u64 = 1 << 40;

#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_cast)] // the type of the field differs by machine
fn is_made_up(file: &File) -> bool {
    const PROC: i64 = 0x9fa0;
    const SYSFS: i64 = 0x6265_6572;
    rustix::fs::fstatfs(file).is_ok_and(|system| [PROC, SYSFS].contains(&(system.f_type as i64)))
}

#[cfg(not(target_os = "linux"))]
fn is_made_up(_: &File) -> bool {
    false
}

/// The flags with which content is opened: never blocks on a fifo that took the file's place.
pub fn read_flags() -> (OFlags, Mode) {
    (OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
}

/// The id of what `file` holds from here to its end, and how many bytes that were. Soon behind `size` bytes it stops: such
/// a file has another size by now, or no end.
pub fn content(file: &mut File, size: u64, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    if size < HUGE { small(file, size, done) } else { huge(file, size, done) }
}

/// The id that the bytes of `file` have as an object of this kind.
pub fn of_object(file: &File, kind: ObjectKind, size: u64) -> io::Result<ObjectId> {
    let mut file = file.try_clone()?;
    if kind == ObjectKind::Content {
        return Ok(content(&mut file, size, &|_| ())?.0);
    }
    let mut hasher = Hasher::new(kind);
    let mut buffer = vec![0u8; CHUNK];
    let mut read = 0;
    loop {
        let n = fill(&mut file, &mut buffer)?;
        hasher.update(&buffer[..n]);
        read += n as u64;
        if n < buffer.len() || read > size {
            return Ok(hasher.id());
        }
    }
}

/// A file that may be a pointer of Git LFS: its bytes are in memory, so that it costs no further read to find out.
fn tiny(file: &mut File, size: u64, is_pointer: &mut bool, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    let mut buffer = [0u8; lfs::LARGEST as usize + 1];
    // As in `small`.
    let mut n = read_once(file, &mut buffer[..size as usize + 1])?;
    if n as u64 != size {
        n += fill(file, &mut buffer[n..])?;
    }
    *is_pointer = lfs::is_pointer(&buffer[..n]);
    done(n as u64);
    Ok((of_bytes(&buffer[..n]), n as u64))
}

fn small(file: &mut File, size: u64, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; (size as usize + 1).clamp(512, SMALL)];
    let mut total = 0;
    // One byte more than expected is asked for: a read that gives all the others has seen the end.
    let mut n = read_once(file, &mut buffer)?;
    if n as u64 != size || n == buffer.len() {
        n += fill(file, &mut buffer[n..])?;
    }
    loop {
        hasher.update(&buffer[..n]);
        total += n as u64;
        // A buffer that was not filled means the end of the file.
        if n < buffer.len() || total > size {
            break;
        }
        n = fill(file, &mut buffer)?;
    }
    done(total);
    Ok((ObjectId(*hasher.finalize().as_bytes()), total))
}

fn huge(file: &mut File, size: u64, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let (mut now, mut next) = (vec![0u8; CHUNK], vec![0u8; CHUNK]);
    let mut filled = fill(file, &mut now)?;
    let mut total = 0;
    while filled > 0 && total <= size {
        let ahead = &mut next;
        let (read, ()) = rayon::join(
            || fill(file, ahead),
            || {
                hasher.update_rayon(&now[..filled]);
            },
        );
        total += filled as u64;
        done(filled as u64);
        filled = read?;
        std::mem::swap(&mut now, &mut next);
    }
    Ok((ObjectId(*hasher.finalize().as_bytes()), total))
}

fn read_once(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match file.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_b3sum() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 1, 511, 512, 65_535, 65_536, HUGE as usize - 1, HUGE as usize, 3 * CHUNK, 3 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| ((i * 31) >> 3) as u8).collect();
            let path = dir.path().join("f");
            std::fs::write(&path, &bytes).unwrap();
            let (id, n) = content(&mut File::open(&path).unwrap(), size as u64, &|_| ()).unwrap();
            assert_eq!((id, n), (of_bytes(&bytes), size as u64));
        }
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        for size in [0, 100, HUGE] {
            let (_, read) = content(&mut File::open("/dev/zero").unwrap(), size, &|_| ()).unwrap();
            assert!((size + 1..=size + CHUNK as u64).contains(&read), "{size}: {read}");
        }
        of_object(&File::open("/dev/zero").unwrap(), ObjectKind::Tree, 100).unwrap();
        // Larger than told, it is another object.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "12345").unwrap();
        let (id, read) = content(&mut File::open(dir.path().join("f")).unwrap(), 4, &|_| ()).unwrap();
        assert_ne!(id, of_bytes(b"1234"));
        assert_eq!(read, 5);
    }
}
