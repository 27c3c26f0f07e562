//! The folder of the run cache: small files by stage key, several per key, the newest first.
//!
//! `runs/ab/<key>/<number>-<random>` holds a checksum and then the bytes of the caller, which this module does not
//! parse.

use std::io;
use std::path::{Path, PathBuf};

use crate::document;
use crate::error::{Error, Result};
use crate::store::fs::paths;
use crate::store::hash;
use crate::store::objects::Store;

const SUM: usize = 32;

/// The results under one key.
#[derive(Debug, Default)]
pub struct StoredRuns {
    /// The newest first.
    pub found: Vec<Vec<u8>>,
    /// Files with a wrong checksum; they were skipped.
    pub damaged: Vec<PathBuf>,
}

impl Store {
    fn runs_folder(&self, key: &str) -> Result<PathBuf> {
        if !is_stage_key(key) {
            return Err(Error::usage(format!("`{key}` is not a stage key")));
        }
        Ok(self.dir().join("runs").join(&key[..2]).join(key))
    }

    /// Stores `bytes` as the newest result of this key.
    pub fn put_run(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.runs_folder(key)?;
        let content = [&hash::hash_bytes(bytes).0[..], bytes].concat();
        let before = self.numbered(key)?;
        let number = before.last().map_or(0, |(n, _)| n.saturating_add(1));
        self.begin()?;
        self.make_dir(&folder).map_err(|e| self.refused("create", &folder, e))?;
        let same: Vec<&PathBuf> = before
            .iter()
            .filter(|(_, p)| document::read(p, document::MOST).is_ok_and(|b| b.is_some_and(|b| b == content)))
            .map(|(_, p)| p)
            .collect();
        if same.last().is_some_and(|path| before.last().is_some_and(|(_, newest)| newest == *path)) {
            return Ok(());
        }
        // Not synced: a file that a power cut tears fails its checksum, and the stage runs again.
        self.put_atomically(&folder.join(format!("{number:010}-{:08x}", paths::random() as u32)), &content, false)?;
        for path in same {
            let _ = self.remove_file(path);
        }
        Ok(())
    }

    /// The files of a key, the oldest first.
    pub(in crate::store) fn run_files(&self, key: &str) -> Result<Vec<PathBuf>> {
        Ok(self.numbered(key)?.into_iter().map(|(_, path)| path).collect())
    }

    /// The files of a key with their numbers, the oldest first.
    fn numbered(&self, key: &str) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.runs_folder(key)?;
        let entries = self.root().below(&folder).and_then(|below| self.root().entries(below)).unwrap_or_default();
        let mut files: Vec<(u64, PathBuf)> =
            entries.into_iter().filter_map(|entry| Some((number_in(entry.text())?, entry.path))).collect();
        files.sort();
        Ok(files)
    }

    /// The content of one file of the run cache; `None` if it is damaged or missing.
    pub fn read_run(&self, path: &Path) -> Option<Vec<u8>> {
        let bytes = document::read(path, document::MOST).ok()??;
        let (sum, rest) = bytes.split_at_checked(SUM)?;
        (hash::hash_bytes(rest).0 == sum).then(|| rest.to_vec())
    }

    /// The results under a key.
    pub fn get_runs(&self, key: &str) -> Result<StoredRuns> {
        let mut runs = StoredRuns::default();
        for (_, path) in self.numbered(key)?.into_iter().rev() {
            match document::read(&path, document::MOST) {
                Ok(Some(bytes)) => match bytes.split_at_checked(SUM) {
                    Some((sum, rest)) if hash::hash_bytes(rest).0 == sum => runs.found.push(rest.to_vec()),
                    _ => runs.damaged.push(path),
                },
                Ok(None) => {}
                Err(_) => runs.damaged.push(path),
            }
        }
        Ok(runs)
    }

    /// All results of all keys, the oldest of a key first, so that copying them to another store in this order keeps
    /// the newest the newest. Skips damaged ones.
    pub fn runs(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        let names = |folder: &Path| {
            let entries = self.root().entries(folder).unwrap_or_default();
            entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect::<Vec<_>>()
        };
        let shards = names(Path::new("runs"));
        let keys = shards.into_iter().flat_map(move |shard| names(&Path::new("runs").join(shard)));
        keys.flat_map(|key| {
            let found = self.get_runs(&key).map(|runs| runs.found).unwrap_or_default();
            found.into_iter().rev().map(move |bytes| (key.clone(), bytes))
        })
    }

    /// Deletes all results of this key; returns their number.
    pub fn drop_runs(&self, key: &str) -> Result<usize> {
        self.check_is_store()?;
        let folder = self.runs_folder(key)?;
        let files = self.run_files(key)?;
        for path in &files {
            match self.remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.refused("remove", path, e)),
                _ => {}
            }
        }
        let _ = self.root().below(&folder).and_then(|below| self.root().remove_folder(below));
        Ok(files.len())
    }
}

pub(in crate::store) fn is_stage_key(text: &str) -> bool {
    text.len() >= 3 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The number in the name of a result, `<number>-<random>`; `None` for other names.
pub(in crate::store) fn number_in(name: &str) -> Option<u64> {
    let (number, random) = name.split_once('-')?;
    let is_number = number.len() >= 10 && number.bytes().all(|b| b.is_ascii_digit());
    let is_random = random.len() == 8 && random.bytes().all(|b| b.is_ascii_hexdigit());
    number.parse().ok().filter(|_| is_number && is_random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::store::LinkTypes;

    #[test]
    fn the_newest_run_comes_first_and_damage_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), LinkTypes::default());
        let key = "ab".repeat(32);
        assert!(store.get_runs(&key).unwrap().found.is_empty());
        assert!(!dir.path().join("store").exists());
        for run in ["one", "two", "one", "one", "three"] {
            store.put_run(&key, run.as_bytes()).unwrap();
        }
        assert_eq!(store.get_runs(&key).unwrap().found, [&b"three"[..], b"one", b"two"]);
        let all: Vec<(String, Vec<u8>)> = store.runs().collect();
        assert_eq!(all, ["two", "one", "three"].map(|run| (key.clone(), run.as_bytes().to_vec())));
        let (_, newest) = store.numbered(&key).unwrap().pop().unwrap();
        fs::write(&newest, "rubbish").unwrap();
        let runs = store.get_runs(&key).unwrap();
        assert_eq!((runs.found.len(), runs.damaged), (2, vec![newest]));
        store.drop_runs(&key).unwrap();
        store.drop_runs(&key).unwrap();
        assert!(store.get_runs(&key).unwrap().found.is_empty());
        assert!(store.put_run("../../etc", b"").is_err());
    }
}
