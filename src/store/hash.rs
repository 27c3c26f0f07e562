//! Content hashing: every byte is read once, into buffers, never mapped (a file that shrinks would kill the process).
//!
//! The thread that finds a small file also reads and hashes it, so all cores share a folder of many files. A huge file
//! is read on one core while the others hash the previous chunk.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::id::ObjectId;
use crate::lfs;
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::id::ObjectKind;

/// The BLAKE3 context of trees, so that no file has the id of a folder.
pub(super) const TREE_CONTEXT: &str = "lockstep 2026-11-24 directory tree";
/// From this size on, reading and hashing overlap.
pub const HUGE: u64 = 2 << 20;
/// The read size for huge files: large enough to be split among cores, small enough for their caches.
pub const CHUNK: usize = 1 << 20;
const SMALL: usize = 64 << 10;

/// Why a file could not be hashed.
pub enum HashError {
    /// The file was written to while it was read, twice.
    Changed,
    /// The file is a Git LFS pointer, not the content.
    Pointer,
    /// The file cannot be opened or read.
    Io(io::Error),
}

impl From<io::Error> for HashError {
    fn from(e: io::Error) -> HashError {
        HashError::Io(e)
    }
}

impl From<rustix::io::Errno> for HashError {
    fn from(e: rustix::io::Errno) -> HashError {
        HashError::Io(e.into())
    }
}

/// Computes the id of an object whose bytes arrive in pieces.
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Starts a hash in the mode of this kind.
    pub fn new(kind: ObjectKind) -> Hasher {
        Hasher(match kind {
            ObjectKind::Content => blake3::Hasher::new(),
            ObjectKind::Tree => blake3::Hasher::new_derive_key(TREE_CONTEXT),
        })
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of all bytes so far.
    pub fn id(&self) -> ObjectId {
        ObjectId(*self.0.finalize().as_bytes())
    }
}

/// The id of these bytes as content.
pub fn hash_bytes(bytes: &[u8]) -> ObjectId {
    ObjectId(*blake3::hash(bytes).as_bytes())
}

/// Opens a file with `open`, hashes it, and compares the stat before and after; tries again if they differ. The first
/// "before" is the caller's stat, so a change since the caller's scan is detected as well.
pub fn file(
    open: impl Fn() -> rustix::io::Result<OwnedFd>,
    seen: &Seen,
    done: &dyn Fn(u64),
) -> Result<(ObjectId, Seen), HashError> {
    let mut looked = Some(seen.stat);
    let mut has_unknown_size = false;
    for _ in 0..3 {
        let mut file = File::from(open()?);
        let before = match looked.take() {
            Some(stat) => stat,
            None => FileStat::from(&rustix::fs::fstat(&file)?),
        };
        if before.size >= ABSURD && is_made_up(&file) {
            return Err(unknown_size());
        }
        let mut is_pointer = false;
        let (id, read) = match (1..lfs::LARGEST).contains(&before.size) {
            true => tiny(&mut file, before.size, &mut is_pointer, done)?,
            false => content(&mut file, before.size, done)?,
        };
        let after = Seen::from(rustix::fs::fstat(&file)?);
        if before == after.stat && read == after.stat.size {
            return if is_pointer { Err(HashError::Pointer) } else { Ok((id, after)) };
        }
        has_unknown_size = before == after.stat;
    }
    if has_unknown_size {
        return Err(unknown_size());
    }
    Err(HashError::Changed)
}

/// The error for a file without a known size, such as those below /proc and /sys.
fn unknown_size() -> HashError {
    HashError::Io(io::Error::other("the system does not report its size: it is not a file on a disk"))
}

/// From this size on a file may be the whole address space of a machine, such as `/proc/kcore`.
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

/// The flags for opening content: the call never blocks on a FIFO that took the file's place.
pub fn read_flags() -> (OFlags, Mode) {
    (OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
}

/// The id of the rest of `file` and the number of bytes read. Stops soon after `size` bytes: a longer file has changed
/// its size, or has no end.
pub fn content(file: &mut File, size: u64, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    if size < HUGE { small(file, size, done) } else { huge(file, size, done) }
}

/// The id of the bytes of `file` as an object of this kind.
pub fn hash_object(file: &File, kind: ObjectKind, size: u64) -> io::Result<ObjectId> {
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

/// Hashes a file that may be a Git LFS pointer: its bytes are in memory, so the check costs no further read.
fn tiny(file: &mut File, size: u64, is_pointer: &mut bool, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    let mut buffer = [0u8; lfs::LARGEST as usize + 1];
    // As in `small`.
    let mut n = read_once(file, &mut buffer[..size as usize + 1])?;
    if n as u64 != size {
        n += fill(file, &mut buffer[n..])?;
    }
    *is_pointer = lfs::is_pointer(&buffer[..n]);
    done(n as u64);
    Ok((hash_bytes(&buffer[..n]), n as u64))
}

fn small(file: &mut File, size: u64, done: &dyn Fn(u64)) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; (size as usize + 1).clamp(512, SMALL)];
    let mut total = 0;
    // The read asks for one byte more than expected: if it returns all others, it has seen the end.
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
            assert_eq!((id, n), (hash_bytes(&bytes), size as u64));
        }
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        for size in [0, 100, HUGE] {
            let (_, read) = content(&mut File::open("/dev/zero").unwrap(), size, &|_| ()).unwrap();
            assert!((size + 1..=size + CHUNK as u64).contains(&read), "{size}: {read}");
        }
        hash_object(&File::open("/dev/zero").unwrap(), ObjectKind::Tree, 100).unwrap();
        // A file that is longer than expected is another object.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "12345").unwrap();
        let (id, read) = content(&mut File::open(dir.path().join("f")).unwrap(), 4, &|_| ()).unwrap();
        assert_ne!(id, hash_bytes(b"1234"));
        assert_eq!(read, 5);
    }
}
