//! Compiled forms: parsed content, saved so that it need not be parsed again.
//!
//! Reading YAML is slow (1 MB takes 50 to 90 ms, ninja's whole null build of 10,000 edges 47 ms). A compiled form is
//! keyed by the BLAKE3 hashes of every file that was read, not by their times: hashing a megabyte takes well under a
//! millisecond, and detects every change. Compiled forms are caches: failures to read or write one are ignored.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::path::RepoPath;
use crate::pipeline::graph::Graph;
use crate::pipeline::stage::{InputLocation, Pipelines};
use crate::store::ObjectId;

/// Incremented when a type in a compiled form changes.
const COMPILED: u32 = 7;

/// A smaller form is read faster than a thread starts.
const WORTH_A_THREAD: u64 = 128 << 10;

/// All pipelines of a project.
#[derive(Serialize, Deserialize)]
pub struct Compiled {
    pub paths: Vec<RepoPath>,
    pub inputs: Vec<(InputLocation, Option<[u8; 32]>)>,
    pub foreign: Vec<RepoPath>,
    pub pipelines: Pipelines,
    pub graph: Graph,
}

/// Reads a compiled form: version, hash of the rest, the rest. `None` if anything does not match.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let (head, body) = bytes.split_at_checked(36)?;
    if head[..4] != COMPILED.to_le_bytes() || head[4..] != ObjectId::of(body).0 {
        return None;
    }
    postcard::from_bytes(body).ok()
}

/// Writes a compiled form; failures are ignored.
pub fn write<T: Serialize>(path: &Path, value: &T) {
    let Ok(body) = postcard::to_stdvec(value) else { return };
    let mut bytes = COMPILED.to_le_bytes().to_vec();
    bytes.extend(ObjectId::of(&body).0);
    bytes.extend(body);
    // Two processes may write at once: each has its own temporary file, and both results are valid.
    let temp = path.with_extension(format!("new-{}", std::process::id()));
    let written = path.parent().is_some_and(|dir| std::fs::create_dir_all(dir).is_ok())
        && std::fs::write(&temp, bytes).is_ok()
        && std::fs::rename(&temp, path).is_ok();
    if !written {
        let _ = std::fs::remove_file(&temp);
    }
}

/// A file that another thread reads in the background.
pub struct ReadAhead<T>(Mutex<Option<PendingRead<T>>>);

struct PendingRead<T> {
    /// The identity of the file. Compiled forms are replaced, never changed: a new file has another inode or time.
    was: Identity,
    thread: JoinHandle<T>,
}

type Identity = (u64, u64, SystemTime);

fn identity(path: &Path) -> Option<Identity> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.ino(), meta.modified().ok()?))
}

impl<T> Default for ReadAhead<T> {
    fn default() -> ReadAhead<T> {
        ReadAhead(Mutex::new(None))
    }
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Starts to read the file, if that takes longer than starting a thread.
    pub fn start(&self, path: &Path, read: impl FnOnce() -> T + Send + 'static) {
        let Some(was) = identity(path).filter(|(size, ..)| *size >= WORTH_A_THREAD) else { return };
        self.reading().get_or_insert_with(|| PendingRead { was, thread: std::thread::spawn(read) });
    }

    /// Returns the content once, if the file is still the same.
    pub fn take(&self, path: &Path) -> Option<T> {
        let reading = self.reading().take()?;
        let read = reading.thread.join().ok()?;
        (identity(path) == Some(reading.was)).then_some(read)
    }

    fn reading(&self) -> MutexGuard<'_, Option<PendingRead<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_ahead_counts_while_it_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("form");
        let big = "x".repeat(WORTH_A_THREAD as usize);
        let begin = |ahead: &ReadAhead<String>| {
            let from = path.clone();
            ahead.start(&path, move || std::fs::read_to_string(from).unwrap());
        };
        let ahead = ReadAhead::default();
        std::fs::write(&path, "small").unwrap();
        begin(&ahead);
        assert_eq!(ahead.take(&path), None, "not worth a thread");
        std::fs::write(&path, &big).unwrap();
        begin(&ahead);
        assert_eq!(ahead.take(&path), Some(big.clone()));
        assert_eq!(ahead.take(&path), None, "once");
        begin(&ahead);
        std::fs::write(dir.path().join("new"), big.to_uppercase()).unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(ahead.take(&path), None, "somebody replaced it");
    }
}
