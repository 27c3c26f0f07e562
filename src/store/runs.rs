//! The folder of the run cache: small files by stage key, several a key, the newest first.
//!
//! `runs/ab/<key>/<number>-<random>` holds a checksum and then what the run room wrote; this room does not read it.

use std::fs;
use std::path::PathBuf;

use super::hash;
use super::objects::Store;
use super::place;
use crate::document;
use crate::error::{Error, Result};

const SUM: usize = 32;

/// What is kept under one key.
#[derive(Debug, Default)]
pub struct Runs {
    /// The newest first.
    pub found: Vec<Vec<u8>>,
    /// Files that fail their checksum; they were skipped.
    pub damaged: Vec<PathBuf>,
}

impl Store {
    fn runs_folder(&self, key: &str) -> Result<PathBuf> {
        if key.len() < 3 || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::usage(format!("`{key}` is no stage key")));
        }
        Ok(self.dir().join("runs").join(&key[..2]).join(key))
    }

    /// Keeps `bytes` as the newest run of this key.
    pub fn put_run(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.runs_folder(key)?;
        let content = [&hash::of_bytes(bytes).0[..], bytes].concat();
        let before = files(&folder);
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
        // Not synced: what a power cut tears fails its checksum, and the result is made again.
        self.put_atomically(&folder.join(format!("{number:010}-{:08x}", place::random() as u32)), &content, false)?;
        for path in same {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// The files of a key, the oldest first.
    pub(super) fn run_files(&self, key: &str) -> Result<Vec<PathBuf>> {
        Ok(files(&self.runs_folder(key)?).into_iter().map(|(_, path)| path).collect())
    }

    /// What one file of the run cache holds; `None` if it is damaged or gone.
    pub fn read_run(&self, path: &std::path::Path) -> Option<Vec<u8>> {
        let bytes = document::read(path, document::MOST).ok()??;
        let (sum, rest) = bytes.split_at_checked(SUM)?;
        (hash::of_bytes(rest).0 == sum).then(|| rest.to_vec())
    }

    pub fn get_runs(&self, key: &str) -> Result<Runs> {
        let mut runs = Runs::default();
        for (_, path) in files(&self.runs_folder(key)?).into_iter().rev() {
            match document::read(&path, document::MOST) {
                Ok(Some(bytes)) => match bytes.split_at_checked(SUM) {
                    Some((sum, rest)) if hash::of_bytes(rest).0 == sum => runs.found.push(rest.to_vec()),
                    _ => runs.damaged.push(path),
                },
                Ok(None) => {}
                Err(_) => runs.damaged.push(path),
            }
        }
        Ok(runs)
    }

    /// All runs of all keys: the key, and what was kept under it, the oldest of a key first, so that putting them into
    /// another store in this order keeps the newest the newest. Damaged ones are skipped.
    pub fn runs(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        let names = |folder: &std::path::Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
            names.sort();
            names
        };
        let top = self.dir().join("runs");
        let keys = names(&top).into_iter().flat_map(move |shard| names(&top.join(shard)));
        keys.flat_map(|key| {
            let found = self.get_runs(&key).map(|runs| runs.found).unwrap_or_default();
            found.into_iter().rev().map(move |bytes| (key.clone(), bytes))
        })
    }

    /// Forgets all runs of this key; how many there were.
    pub fn drop_runs(&self, key: &str) -> Result<usize> {
        self.must_be_store()?;
        let folder = self.runs_folder(key)?;
        let gone = files(&folder).len();
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.refused("remove", &folder, e)),
            _ => Ok(gone),
        }
    }
}

/// The files of a key with their numbers, the oldest first.
fn files(folder: &std::path::Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(u64, PathBuf)> =
        entries.filter_map(|e| Some((e.file_name().to_str()?.split('-').next()?.parse().ok()?, e.path()))).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let (_, newest) = files(&store.runs_folder(&key).unwrap()).pop().unwrap();
        fs::write(&newest, "rubbish").unwrap();
        let runs = store.get_runs(&key).unwrap();
        assert_eq!((runs.found.len(), runs.damaged), (2, vec![newest]));
        store.drop_runs(&key).unwrap();
        store.drop_runs(&key).unwrap();
        assert!(store.get_runs(&key).unwrap().found.is_empty());
        assert!(store.put_run("../../etc", b"").is_err());
    }
}
