//! Copies an object to a file of another program, and computes its SHA-256 on the way: reading, the two hashes and the
//! disk work at the same time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;

use sha2::{Digest, Sha256};

use crate::document;
use crate::error::{Error, Result};
use crate::store::copy;
use crate::store::fs::seal::{seal, shows_seal};
use crate::store::fs::stat::FileStat;
use crate::store::hash::{CHUNK, HUGE, Hasher};
use crate::store::id::{ObjectId, ObjectKind};
use crate::store::objects::Store;
use crate::store::objects::lookup::ObjectLocation;
use crate::store::{self, LinkType};

/// Both hashes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// BLAKE3.
    pub id: ObjectId,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

impl FileHashes {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> FileHashes {
        let sha256 = hex(Sha256::digest(bytes).as_slice());
        FileHashes { id: ObjectKind::Content.id_of(bytes), sha256, size: bytes.len() as u64 }
    }
}

/// The bytes are written out after so many, so that the last sync is short.
const WRITE_OUT: u64 = 16 << 20;
/// Buffers between the reader and the hashing thread.
const BUFFERS: usize = 6;

impl Store {
    /// Creates `to`, which must not exist, with the bytes of an object and this mode, verified and durable. `link` is
    /// tried first: a hard link has the mode of the object. On failure no file is left.
    pub fn copy_out(
        &self,
        id: &ObjectId,
        size: u64,
        to: &Path,
        mode: u32,
        link: LinkType,
        done: &(dyn Fn(u64) + Sync),
    ) -> Result<FileHashes> {
        let made = match self.link_out(id, size, to, link)? {
            true => hash_file(to, done).and_then(|hashes| match hashes.id == *id {
                true => finish(to, mode, id, link != LinkType::Hardlink).map(|()| hashes),
                false => Err(Error::missing(format!("the bytes of the object {id} do not match its id"))
                    .hint("lockstep store verify --repair")),
            }),
            false => self.stream_out(id, to, done).and_then(|hashes| finish(to, mode, id, true).map(|()| hashes)),
        };
        if made.is_err() {
            let _ = std::fs::remove_file(to);
        }
        made
    }

    /// Clones or links the object; false if that is not possible here.
    fn link_out(&self, id: &ObjectId, size: u64, to: &Path, link: LinkType) -> Result<bool> {
        if size == 0 || !matches!(link, LinkType::Reflink | LinkType::Hardlink) {
            return Ok(false);
        }
        let ObjectLocation::Loose(object, seen) = self.locate(id, size)? else { return Ok(false) };
        let made = match link {
            LinkType::Hardlink if seen.only_owner_can_write() => std::fs::hard_link(self.path(id), to),
            LinkType::Hardlink => return Ok(false),
            _ => copy::reflink(&object, &self.path(id), to, 0o600),
        };
        match made {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) => {
                Err(Error::io("write", to, e))
            }
            Err(_) => Ok(false),
        }
    }

    fn stream_out(&self, id: &ObjectId, to: &Path, done: &(dyn Fn(u64) + Sync)) -> Result<FileHashes> {
        let mut content = self.open_content(id)?;
        let file = copy::create_private(to).map_err(|e| Error::io("create", to, e))?;
        let size = content.size();
        match stream(&mut content, Some(&file), size, done) {
            Ok(hashes) => Ok(hashes),
            Err(StreamError::Read(e)) => Err(content.fault(self, e)),
            Err(StreamError::Write(e)) => Err(Error::io("write", to, e)),
        }
    }
}

/// Both hashes of a file, which must be regular.
pub fn hash_file(path: &Path, done: &(dyn Fn(u64) + Sync)) -> Result<FileHashes> {
    let mut file = document::open(path).map_err(|e| Error::io("read", path, e))?;
    hash_open_file(&mut file, done).map_err(|e| Error::io("read", path, e))
}

/// Both hashes of an open file.
pub fn hash_open_file(file: &mut File, done: &(dyn Fn(u64) + Sync)) -> io::Result<FileHashes> {
    let size = file.metadata()?.len();
    stream(file, None, size, done).map_err(|e| match e {
        StreamError::Read(e) | StreamError::Write(e) => e,
    })
}

/// Creates `to` with these bytes and this mode, durably. On failure no file is left.
pub fn write_out(bytes: &[u8], to: &Path, mode: u32) -> Result<FileHashes> {
    let file = copy::create_private(to).map_err(|e| Error::io("create", to, e))?;
    let hashes = FileHashes::of(bytes);
    let written = (&file).write_all(bytes).map_err(|e| Error::io("write", to, e));
    let made = written.and_then(|()| finish(to, mode, &hashes.id, true));
    if made.is_err() {
        let _ = std::fs::remove_file(to);
    }
    made.map(|()| hashes)
}

/// Gives a file that was written just now its mode and its seal, durably.
pub fn seal_in_place(path: &Path, mode: u32) -> Result<FileHashes> {
    let hashes = hash_file(path, &|_| ())?;
    finish(path, mode, &hashes.id, true).map(|()| hashes)
}

/// Whether the file has the seal that [`Store::copy_out`] gives it, which a later write breaks. A file system without
/// nanoseconds has none.
pub fn is_unchanged(file: &File, id: &ObjectId) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| shows_seal(&FileStat::from(&stat), id))
}

/// The mode, the seal, and the disk.
fn finish(path: &Path, mode: u32, id: &ObjectId, is_own: bool) -> Result<()> {
    let cannot = |e: io::Error| Error::io("write", path, e);
    let file = document::open(path).map_err(cannot)?;
    if is_own {
        file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(cannot)?;
        seal(file.as_fd(), id);
    }
    file.sync_all().map_err(cannot)
}

/// Makes the content of a whole folder durable: its files have been synced.
pub fn sync_folders(top: &Path) -> Result<()> {
    let cannot = |e: io::Error| Error::io("sync", top, e);
    let mut open = vec![top.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_type().map_err(cannot)?.is_dir() {
                open.push(entry.path());
            }
        }
        store::OpenFolder::open(&folder)?.sync().map_err(cannot)?;
    }
    Ok(())
}

enum StreamError {
    Read(io::Error),
    Write(io::Error),
}

/// Reads all, writes it to `to`, and hashes it. The calling thread reads, hashes with BLAKE3 and writes; others compute
/// SHA-256 and ask the disk to write early.
fn stream(
    from: &mut dyn Read,
    to: Option<&File>,
    size: u64,
    done: &(dyn Fn(u64) + Sync),
) -> Result<FileHashes, StreamError> {
    let mut id = Hasher::new(ObjectKind::Content);
    if size < HUGE {
        let mut bytes = Vec::with_capacity(size as usize + 1);
        from.read_to_end(&mut bytes).map_err(StreamError::Read)?;
        if let Some(mut to) = to {
            to.write_all(&bytes).map_err(StreamError::Write)?;
        }
        id.update(&bytes);
        done(bytes.len() as u64);
        let sha256 = hex(Sha256::digest(&bytes).as_slice());
        return Ok(FileHashes { id: id.id(), sha256, size: bytes.len() as u64 });
    }
    std::thread::scope(|scope| {
        let (full, to_hash) = mpsc::sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (emptied, empty) = mpsc::channel::<Vec<u8>>();
        for _ in 0..BUFFERS {
            let _ = emptied.send(vec![0u8; CHUNK]);
        }
        let hashing = scope.spawn(move || {
            let mut sha256 = Sha256::new();
            while let Ok((buffer, n)) = to_hash.recv() {
                sha256.update(&buffer[..n]);
                let _ = emptied.send(buffer);
            }
            hex(sha256.finalize().as_slice())
        });
        let (written, to_sync) = mpsc::channel::<()>();
        // The system reports a failed write-out only once, so the error must be kept here.
        let syncing = to.map(|to| {
            scope.spawn(move || {
                let mut result = Ok(());
                while to_sync.recv().is_ok() {
                    while to_sync.try_recv().is_ok() {}
                    if result.is_ok() {
                        result = to.sync_data();
                    }
                }
                result
            })
        });
        let (mut total, mut pending) = (0, 0);
        let mut copy = || loop {
            let Ok(mut buffer) = empty.recv() else { return Ok(()) };
            let n = store::hash::fill(&mut &mut *from, &mut buffer).map_err(StreamError::Read)?;
            if n == 0 {
                return Ok(());
            }
            id.update(&buffer[..n]);
            if let Some(mut to) = to {
                to.write_all(&buffer[..n]).map_err(StreamError::Write)?;
            }
            let _ = full.send((buffer, n));
            total += n as u64;
            pending += n as u64;
            if pending >= WRITE_OUT {
                pending = 0;
                let _ = written.send(());
            }
            done(n as u64);
        };
        let copied = copy();
        drop((full, written));
        let lost = |_| StreamError::Read(io::Error::other("the hashing thread failed"));
        let sha256 = hashing.join().map_err(lost)?;
        if let Some(syncing) = syncing {
            let lost = |_| StreamError::Write(io::Error::other("the syncing thread failed"));
            copied.and(syncing.join().map_err(lost)?.map_err(StreamError::Write))?;
        } else {
            copied?;
        }
        Ok(FileHashes { id: id.id(), sha256, size: total })
    })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The permission bits of an open file.
pub fn mode_of(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_right_for_small_and_huge_files() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 1, HUGE - 1, HUGE, HUGE + 1, 5 * CHUNK as u64 + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let path = dir.path().join(format!("f{size}"));
            std::fs::write(&path, &bytes).unwrap();
            let counted = std::sync::atomic::AtomicU64::new(0);
            let count = |n| {
                counted.fetch_add(n, std::sync::atomic::Ordering::SeqCst);
            };
            let hashes = hash_file(&path, &count).unwrap();
            let want = hex(Sha256::digest(&bytes).as_slice());
            assert_eq!(hashes, FileHashes { id: ObjectId::of(&bytes), sha256: want, size });
            assert_eq!(counted.into_inner(), size);
        }
    }
}
