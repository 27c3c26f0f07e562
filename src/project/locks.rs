//! The current locks of a project in the worktree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::compiled;
use super::{Definitions, Project};
use crate::error::{Error, Result};
use crate::lock::{self, Lock};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{FileId, InputLocation};
use crate::replace::replace_file;
use crate::shell::word;
use crate::store::ObjectId;

/// The parsed content of each lock, with BLAKE3 of its bytes.
pub(super) type CompiledLocks = BTreeMap<RepoPath, ([u8; 32], Lock)>;

/// The locks beside the pipeline files, by [`FileId`].
pub struct Locks {
    /// Empty for a pipeline file without a lock.
    pub all: Vec<Lock>,
    /// Locks without a pipeline file beside them, by path.
    pub alone: Vec<(RepoPath, Lock)>,
    /// BLAKE3 of the bytes of each lock that was read from the worktree; `None` if the file is missing.
    hashes: Vec<Option<ObjectId>>,
}

impl Locks {
    /// The locks of a commit.
    pub(super) fn of_commit(all: Vec<Lock>) -> Locks {
        Locks { all, alone: Vec::new(), hashes: Vec::new() }
    }

    /// The lock beside a pipeline file; empty if the file is missing.
    pub fn of_file(&self, file: FileId) -> &Lock {
        &self.all[file.0 as usize]
    }

    /// BLAKE3 of the lock file as read from the worktree; `None` if it was missing.
    pub fn hash_of(&self, file: FileId) -> Option<ObjectId> {
        self.hashes.get(file.0 as usize).copied().flatten()
    }
}

impl Project {
    pub(super) fn compiled_locks(&self) -> PathBuf {
        self.state_dir().join("locks")
    }

    /// The path of the lock beside a pipeline file.
    pub fn lock_path(pipeline: &RepoPath) -> RepoPath {
        pipeline.parent().and_then(|dir| dir.join("pipeline.lock")).unwrap_or_default()
    }

    /// Reads all locks now; parses only those whose bytes changed since the last time.
    ///
    /// Errors: a lock is damaged, has a merge conflict or was written by a later version.
    pub fn locks(&self, definitions: &Definitions) -> Result<Locks> {
        let compiled_path = self.compiled_locks();
        let read_now = || compiled::read(&compiled_path).unwrap_or_default();
        let mut compiled = self.locks_ahead.take(&compiled_path).unwrap_or_else(read_now);
        let mut all_kept = true;
        let mut read = Vec::with_capacity(definitions.pipelines.files.len());
        for file in &definitions.pipelines.files {
            let path = Self::lock_path(&file.path);
            let Some(bytes) = self.files().read(&InputLocation::Repo(path.clone()))? else {
                read.push((path, ([0; 32], Lock::default())));
                continue;
            };
            let hash = ObjectId::of(&bytes).0;
            let lock = match compiled.remove(&path) {
                Some((known, lock)) if known == hash => lock,
                _ => {
                    all_kept = false;
                    parse_lock(&path, &bytes)?
                }
            };
            read.push((path, (hash, lock)));
        }
        if !all_kept {
            compiled::write(&compiled_path, &read.iter().map(|(p, l)| (p, l)).collect::<BTreeMap<_, _>>());
        }
        let none = [0; 32];
        let known = |hash| (hash != none).then_some(ObjectId(hash));
        let (hashes, all) = read.into_iter().map(|(_, (hash, lock))| (known(hash), lock)).unzip();
        Ok(Locks { hashes, all, alone: self.locks_alone(definitions)? })
    }

    /// The locks whose pipeline file is missing. A file of that name may belong to another tool. Errors: a lockstep
    /// lock is damaged, or has a merge conflict.
    fn locks_alone(&self, definitions: &Definitions) -> Result<Vec<(RepoPath, Lock)>> {
        let mut read = Vec::new();
        for path in &definitions.locks_alone {
            // The owner of a file that cannot be read is unknown; `gc` reports it.
            let Ok(Some(bytes)) = self.files().read(&InputLocation::Repo(path.clone())) else { continue };
            match parse_lock(path, &bytes) {
                Ok(lock) => read.push((path.clone(), lock)),
                Err(error) if lock::is_ours(&String::from_utf8_lossy(&bytes)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(read)
    }

    /// Reads one lock from disk; `None` if it does not exist.
    ///
    /// Errors: as of [`Project::locks`].
    pub fn read_lock(&self, path: &RepoPath) -> Result<Option<Lock>> {
        match self.files().read(&InputLocation::Repo(path.clone()))? {
            Some(bytes) => parse_lock(path, &bytes).map(Some),
            None => Ok(None),
        }
    }
}

pub(super) fn parse_lock(path: &RepoPath, bytes: &[u8]) -> Result<Lock> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Error::usage(format!("{path} is not UTF-8 text")).hint(format!("git checkout {}", word(path.as_str())))
    })?;
    lock::read(path.as_str(), text)
}

/// Writes a lock file in one step; deletes the file of an empty lock.
///
/// Errors: the path may not be written, or the disk is full; the old file stays then.
pub fn write_lock(project: &Project, path: &RepoPath, lock: &Lock) -> Result<()> {
    replace_file(&project.writable(path)?, lock::write(lock).as_bytes())
}
