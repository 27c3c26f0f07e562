//! The locks of environments: shared while a stage runs in one, exclusive while one is made or removed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::file_lock::{self, FileLock, LockResult, Mode, Wait};
use crate::store::ObjectId;

/// A held lock; the file system may not have locks, where only one process at a time is safe.
pub struct EnvironmentLockFile(#[allow(dead_code)] Option<FileLock>);

/// The lock file of an environment.
pub fn path_of(environments: &Path, hash: &ObjectId) -> PathBuf {
    environments.join(format!("{}.lock", hash.hex()))
}

/// Locks an environment, whose folder need not exist.
///
/// Errors: the folder of environments cannot be written, the wait ends.
pub fn lock(environments: &Path, hash: &ObjectId, mode: Mode, wait: &Wait) -> Result<EnvironmentLockFile> {
    let path = path_of(environments, hash);
    fs::create_dir_all(environments).map_err(|e| Error::io("create", environments, e))?;
    loop {
        let file = file_lock::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let key = key_of(&file);
        let held = match file_lock::lock(file, mode, wait)? {
            LockResult::Locked(mut held) => {
                if mode == Mode::Exclusive {
                    held.write_holder("lockstep");
                }
                Some(held)
            }
            LockResult::NoLocks(..) => None,
        };
        if is_at(&path, key) {
            return Ok(EnvironmentLockFile(held));
        }
    }
}

/// Locks it exclusively without waiting; `None` if a stage runs in it, or another process makes it.
pub fn try_exclusive(environments: &Path, hash: &ObjectId, wait: &Wait) -> Result<Option<EnvironmentLockFile>> {
    let path = path_of(environments, hash);
    loop {
        let file = file_lock::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let key = key_of(&file);
        let held = match file_lock::lock_within(file, Mode::Exclusive, wait, Some(Duration::ZERO)) {
            Ok(LockResult::Locked(held)) => Some(held),
            Ok(LockResult::NoLocks(..)) => None,
            Err(error) if error.kind == Kind::Busy => return Ok(None),
            Err(error) => return Err(error),
        };
        if is_at(&path, key) {
            return Ok(Some(EnvironmentLockFile(held)));
        }
    }
}

/// Is the locked file still the one at its path? The holder before may have removed it with the environment.
fn is_at(path: &Path, key: Option<(u64, u64)>) -> bool {
    key == fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn key_of(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}
