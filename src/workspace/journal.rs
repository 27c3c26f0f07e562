//! The journal: the stages that finished in a run that is active or was killed.
//!
//! The lock is written once, at the end of a run. Until then each recorded stage is one line that is appended to this
//! journal with a single system call, so that it survives a kill of lockstep immediately, and a power cut after the
//! next [`Journal::sync`]. An entry carries the block of the lock that it replaces. It is folded only if the lock still
//! has that block and the entry matches the current files, because anything may happen between a crash and the next
//! command, such as a `git checkout` of another branch. An entry that is not folded is not lost: the run cache has it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{ObjectId, Pin};

const MAGIC: &[u8; 8] = b"lsjrnl\x00\x01";

/// One recorded fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The path of the lock file that the record belongs to.
    pub lock: RepoPath,
    pub change: LockChange,
}

/// A change of one block of a lock: the old block, if there was one, and the new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LockChange {
    Stage { name: String, old: Option<Box<StageLock>>, new: Box<StageLock> },
    Data { path: String, old: Option<Pin>, new: Pin },
}

/// The journal of a project root, for appending.
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
}

impl Journal {
    pub fn of_project(project: &Project) -> Journal {
        Journal::at(path_of(project))
    }

    /// Opens the journal at `path`. The file is created with the first entry.
    fn at(path: PathBuf) -> Journal {
        Journal { path, file: None }
    }

    /// Appends records with one system call. Errors: the file cannot be written.
    pub fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            let body = postcard::to_stdvec(record)
                .map_err(|e| Error::new(crate::error::Kind::Bug, "a journal entry cannot be written").because(e))?;
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(&ObjectId::of(&body).0[..8]);
            bytes.extend(body);
        }
        let fail = |e| Error::io("write", &self.path, e);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(fail)?;
                if file.metadata().map_err(fail)?.len() < MAGIC.len() as u64 {
                    file.set_len(0).and_then(|()| file.write_all(MAGIC)).map_err(fail)?;
                }
                self.file.insert(file)
            }
        };
        let whole = file.metadata().map_err(fail)?.len();
        file.write_all(&bytes).map_err(|e| {
            // Entries behind an incomplete one would not be read.
            let _ = file.set_len(whole);
            Error::io("write", &self.path, e)
        })
    }

    /// Group commit: everything appended so far survives a power cut.
    pub fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => file.sync_data().map_err(|e| Error::io("sync", &self.path, e)),
            None => Ok(()),
        }
    }

    /// Deletes the journal after the lock has all of its entries.
    pub fn clear(&mut self) -> Result<()> {
        self.file = None;
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &self.path, e)),
            _ => Ok(()),
        }
    }
}

fn path_of(project: &Project) -> PathBuf {
    project.state_dir().join("journal")
}

/// The entries of the project's journal.
pub fn read_project(project: &Project) -> Result<Vec<Record>> {
    read(&path_of(project))
}

/// The entries of a journal, up to the first incomplete or damaged one; empty if the file is missing.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let mut records = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Ok(records) };
    while rest.len() >= 12 {
        let (head, tail) = rest.split_at(12);
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = tail.get(..len) else { break };
        if ObjectId::of(body).0[..8] != head[4..] {
            break;
        }
        let Ok(record) = postcard::from_bytes(body) else { break };
        records.push(record);
        rest = &tail[len..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8) -> Record {
        let new = Pin { id: ObjectId([n; 32]), size: 1, files: None, executable: false };
        Record { lock: RepoPath::root(), change: LockChange::Data { path: n.to_string(), old: None, new } }
    }

    #[test]
    fn every_torn_tail_gives_the_whole_entries_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::at(path.clone());
        journal.append(&[record(1)]).unwrap();
        journal.append(&[record(2), record(3)]).unwrap();
        assert_eq!(read(&path).unwrap(), [record(1), record(2), record(3)]);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let got = read(&path).unwrap();
            assert!(got.len() < 3 && got[..] == [record(1), record(2), record(3)][..got.len()]);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let got = read(&path).unwrap();
            assert!(got[..] == [record(1), record(2), record(3)][..got.len()]);
        }
        journal.clear().unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
