//! A folder with a copy of a version, in Git's folder, which no other user can enter. It is removed when it is dropped; what
//! a killed server left is removed by the next one, which sees that its lock is free.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::{document, file_lock, store};

/// The file in the folder that its process holds locked.
const LOCK: &str = "lock";

/// An empty folder, until something is written to it.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    _lock: File,
}

impl PrivateFolder {
    /// Makes a folder below `parent`, and removes those of processes that ended.
    ///
    /// Errors: it cannot be made.
    pub fn create(parent: &Path) -> Result<PrivateFolder> {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        remove_abandoned(parent);
        loop {
            let path = parent.join(store::random_name());
            DirBuilder::new().mode(0o700).create(&path).map_err(|e| Error::io("create", &path, e))?;
            let lock_path = path.join(LOCK);
            let lock = file_lock::open(&lock_path).map_err(|e| Error::io("create", &lock_path, e))?;
            lock.lock().map_err(|e| Error::io("lock", &path, e))?;
            // Another process may have taken the folder for an abandoned one before it was locked.
            let key = |meta: fs::Metadata| (meta.dev(), meta.ino());
            if lock.metadata().ok().map(key) == fs::metadata(&lock_path).ok().map(key) {
                return Ok(PrivateFolder { path, _lock: lock });
            }
        }
    }

    /// The folder for files in it, which may have any name. It is made by what writes there.
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = store::remove(&self.path);
    }
}

/// A folder without a lock file, or with one that cannot be locked, is in use or unknown, and stays.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let folder = entry.path();
        let Ok(lock) = document::open(&folder.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = store::remove(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_ended_processes_are_removed_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let first = PrivateFolder::create(dir.path()).unwrap();
        fs::create_dir(first.files()).unwrap();
        fs::write(first.files().join("model.onnx"), "x").unwrap();
        let abandoned = dir.path().join("old");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::create_dir(dir.path().join("unknown")).unwrap();
        let second = PrivateFolder::create(dir.path()).unwrap();
        assert!(first.files().join("model.onnx").exists() && second.path.exists());
        assert!(!abandoned.exists() && dir.path().join("unknown").exists());
        let path = first.path.clone();
        drop(first);
        assert!(!path.exists());
    }
}
