//! Copies bytes and hashes them, reading each once.
//!
//! For a huge file one thread reads and writes, one hashes, and a third asks the disk to sync what was written so far,
//! so that the final sync is short.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, mpsc};

use rustix::io::Errno;

use super::hash::{self, CHUNK, HUGE, fill};
use super::id::ObjectId;
use crate::document;
use crate::error::{Error, Result};
use crate::store::fs::stat::Seen;

/// The disk is asked to sync after this number of bytes.
const WRITE_OUT: u64 = 32 << 20;

/// A finished copy.
pub struct CopiedFile {
    /// The new file.
    pub file: File,
    pub id: ObjectId,
    pub size: u64,
}

/// The file systems, by device, from which reflinks to one destination fail: each is tried once.
#[derive(Default)]
pub struct NoReflink(Mutex<Vec<u64>>);

impl NoReflink {
    fn devices(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Is this device known to fail?
    pub fn has(&self, device: u64) -> bool {
        self.devices().contains(&device)
    }

    /// Records a device that cannot reflink. Other errors concern one file only.
    fn learn(&self, device: u64, error: &io::Error) {
        let of_all = [Errno::OPNOTSUPP, Errno::XDEV, Errno::NOTTY, Errno::NOSYS];
        if Errno::from_io_error(error).is_some_and(|e| of_all.contains(&e)) && !self.has(device) {
            self.devices().push(device);
        }
    }
}

/// Copies `from` to the new file `to`: as a clone, unless `no_reflink` is `None` or lists the device. The outer error
/// is about `from`, the inner one about `to`.
pub fn to_new(
    from: &Path,
    to: &Path,
    size: u64,
    no_reflink: Option<&NoReflink>,
    done: &dyn Fn(u64),
) -> Result<io::Result<CopiedFile>> {
    let source = document::open(from).map_err(|e| Error::io("read", from, e))?;
    let file = match create_private(to) {
        Ok(file) => file,
        Err(e) => return Ok(Err(e)),
    };
    let device = || rustix::fs::fstat(&source).ok().map(|stat| Seen::from(stat).device);
    if let Some(no_reflink) = no_reflink.filter(|_| size > 0)
        && let Some(device) = device().filter(|device| !no_reflink.has(*device))
    {
        match clone_into(&source, from, &file, to) {
            Ok(()) => return Ok(cloned(to, size, done)),
            Err(e) => no_reflink.learn(device, &e),
        }
        if let Err(e) = file.set_len(0) {
            return Ok(Err(e));
        }
    }
    let mut broken = None;
    let copied = stream(&mut &source, &file, size, true, &mut broken, done);
    match broken {
        Some(e) => Err(Error::io("read", from, e)),
        None => Ok(copied.map(|(id, size)| CopiedFile { file, id, size })),
    }
}

/// The mode of a file that is being written to the store.
const PRIVATE: u32 = 0o600;

/// Creates a file that no other user can open before it has its final mode.
pub fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(PRIVATE).open(path)
}

/// Makes the file `to` share the blocks of `source`, whose path is `from`.
#[cfg(target_os = "linux")]
fn clone_into(source: &File, _from: &Path, file: &File, _to: &Path) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(file, source)?)
}

/// The same on systems where only a new file can be a clone.
#[cfg(not(target_os = "linux"))]
fn clone_into(_source: &File, from: &Path, _file: &File, to: &Path) -> io::Result<()> {
    let clone = to.with_extension("clone");
    reflink_copy::reflink(from, &clone)?;
    std::fs::rename(&clone, to)
}

/// Creates the new file `to` that shares the blocks of `object`, whose path is `from`; leaves no file there on failure.
#[cfg(target_os = "linux")]
pub fn reflink(object: &File, _from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let new = File::options().write(true).create_new(true).mode(mode).open(to)?;
    rustix::fs::ioctl_ficlone(&new, object).map_err(|e| {
        let _ = std::fs::remove_file(to);
        e.into()
    })
}

#[cfg(not(target_os = "linux"))]
pub fn reflink(_object: &File, from: &Path, to: &Path, _mode: u32) -> io::Result<()> {
    reflink_copy::reflink(from, to)
}

/// A clone shares blocks, but is not verified: it is read once.
fn cloned(to: &Path, size: u64, done: &dyn Fn(u64)) -> io::Result<CopiedFile> {
    let mut file = File::open(to)?;
    let (id, size) = hash::content(&mut file, size, done)?;
    Ok(CopiedFile { file, id, size })
}

/// Copies the rest of `from` to `to`. A read error is put into `broken`. With `durable` the caller will sync, so the
/// disk starts early.
pub fn stream(
    from: &mut &File,
    to: &File,
    size: u64,
    durable: bool,
    broken: &mut Option<io::Error>,
    done: &dyn Fn(u64),
) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    let mut read = |from: &mut &File, buffer: &mut [u8]| {
        fill(from, buffer).unwrap_or_else(|e| {
            *broken = Some(e);
            0
        })
    };
    if size < HUGE {
        let mut buffer = vec![0u8; (size as usize + 1).clamp(512, 256 << 10)];
        loop {
            let n = read(from, &mut buffer);
            hasher.update(&buffer[..n]);
            (&*to).write_all(&buffer[..n])?;
            total += n as u64;
            if n < buffer.len() {
                break;
            }
        }
        done(total);
        return Ok((ObjectId(*hasher.finalize().as_bytes()), total));
    }
    std::thread::scope(|scope| {
        let (full, to_hash) = mpsc::sync_channel::<(Vec<u8>, usize)>(4);
        let (emptied, empty) = mpsc::channel::<Vec<u8>>();
        let (written, to_sync) = mpsc::channel::<()>();
        for _ in 0..4 {
            let _ = emptied.send(vec![0u8; CHUNK]);
        }
        // The system reports a failed write-out only once, so the error must be kept here.
        let syncing = scope.spawn(move || {
            let mut result = Ok(());
            while to_sync.recv().is_ok() {
                while to_sync.try_recv().is_ok() {}
                if result.is_ok() {
                    result = to.sync_data();
                }
            }
            result
        });
        let hashing = scope.spawn(move || {
            while let Ok((buffer, n)) = to_hash.recv() {
                hasher.update(&buffer[..n]);
                let _ = emptied.send(buffer);
            }
            ObjectId(*hasher.finalize().as_bytes())
        });
        let mut pending = 0;
        while let Ok(mut buffer) = empty.recv() {
            let n = read(from, &mut buffer);
            if n == 0 {
                break;
            }
            (&*to).write_all(&buffer[..n])?;
            let _ = full.send((buffer, n));
            total += n as u64;
            pending += n as u64;
            if durable && pending >= WRITE_OUT {
                pending = 0;
                let _ = written.send(());
            }
            done(n as u64);
        }
        drop((full, written));
        let id = hashing.join().map_err(|_| io::Error::other("the hashing thread failed"))?;
        syncing.join().map_err(|_| io::Error::other("the syncing thread failed"))??;
        Ok((id, total))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_asked_for_a_clone_once() {
        let dir = tempfile::tempdir().unwrap();
        let (from, no_reflink) = (dir.path().join("from"), NoReflink::default());
        std::fs::write(&from, "12345").unwrap();
        for (name, known) in [("a", Some(&no_reflink)), ("b", Some(&no_reflink)), ("c", None)] {
            let to = dir.path().join(name);
            let copied = to_new(&from, &to, 5, known, &|_| ()).unwrap().unwrap();
            assert_eq!((copied.id, copied.size), (hash::hash_bytes(b"12345"), 5));
            assert_eq!(std::fs::read_to_string(&to).unwrap(), "12345");
            // An existing file is not overwritten.
            assert!(to_new(&from, &to, 5, known, &|_| ()).unwrap().is_err());
        }
        let device = Seen::stat(&from).unwrap().device;
        for (error, is_of_all) in [(Errno::ACCESS, false), (Errno::NOSPC, false), (Errno::OPNOTSUPP, true)] {
            let known = NoReflink::default();
            known.learn(device, &error.into());
            assert_eq!((known.has(device), known.has(device + 1)), (is_of_all, false));
        }
    }
}
