//! Copying bytes while hashing them, each read once.
//!
//! A huge file keeps two cores busy, one that reads and writes and one that hashes, and a third thread asks the disk to
//! take what was written so far, so that the final sync is short.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::hash::{self, CHUNK, HUGE, fill};
use super::id::ObjectId;
use crate::document;
use crate::error::{Error, Result};

/// After so many bytes the disk is asked to take them.
const WRITE_OUT: u64 = 32 << 20;

pub struct Copied {
    /// The new file.
    pub file: File,
    pub id: ObjectId,
    pub size: u64,
}

/// Copies `from` to the new file `to`. The outer error is about `from`, the inner one about `to`.
pub fn to_new(
    from: &Path,
    to: &Path,
    size: u64,
    reflink: &AtomicBool,
    done: &dyn Fn(u64),
) -> Result<io::Result<Copied>> {
    if size > 0 && reflink.load(Ordering::Relaxed) {
        if reflink_copy::reflink(from, to).is_ok() {
            return Ok(cloned(to, size, done));
        }
        reflink.store(false, Ordering::Relaxed);
        let _ = std::fs::remove_file(to);
    }
    let source = document::open(from).map_err(|e| Error::io("read", from, e))?;
    let file = match File::options().write(true).create_new(true).mode(0o600).open(to) {
        Ok(file) => file,
        Err(e) => return Ok(Err(e)),
    };
    let mut broken = None;
    let copied = stream(&mut &source, &file, size, true, &mut broken, done);
    match broken {
        Some(e) => Err(Error::io("read", from, e)),
        None => Ok(copied.map(|(id, size)| Copied { file, id, size })),
    }
}

/// A clone shares the blocks, not the guarantee: what it holds is read once.
fn cloned(to: &Path, size: u64, done: &dyn Fn(u64)) -> io::Result<Copied> {
    let mut file = File::open(to)?;
    let (id, size) = hash::content(&mut file, size, done)?;
    Ok(Copied { file, id, size })
}

/// What `from` holds from here to its end is written to `to`. A failure to read goes to `broken`; with `durable` the
/// caller will sync, so the disk starts early.
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
        // The system tells of a failed write-out once: if it is told here, nobody else hears of it.
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
        syncing.join().map_err(|_| io::Error::other("the writing thread failed"))??;
        Ok((id, total))
    })
}
