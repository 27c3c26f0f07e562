//! The record of a finished environment: what was made, and the files that it consists of. It is written last, so that
//! an environment without a valid one is incomplete.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{Error, Result};
use crate::replace::replace_file;
use crate::store::ObjectId;

/// The version of the format.
const VERSION: u32 = 1;
/// A record of a million files is smaller.
const MOST: u64 = 256 << 20;

/// One finished environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of the format.
    pub version: u32,
    /// The real path of its folder: an environment cannot be moved.
    pub folder: String,
    /// By which it was made.
    pub name: String,
    /// `uv`, `pip` or `files`.
    pub kind: String,
    /// As in the lock.
    pub platform: String,
    /// As in the lock.
    pub python: Option<String>,
    /// The whole version of the interpreter.
    pub interpreter: Option<String>,
    /// The real path of the interpreter behind `bin/python`, and its size and time of change.
    #[serde(default)]
    pub interpreter_file: Option<(String, (u64, i64))>,
    /// Name and version of each package.
    pub packages: Vec<(String, String)>,
    /// Size and time of change (nanoseconds) of each file and symlink, by path in the folder.
    pub files: BTreeMap<String, (u64, i64)>,
    /// The names in each `site-packages` folder.
    pub sites: BTreeMap<String, Vec<String>>,
    /// The bytes of all files.
    pub bytes: u64,
}

/// The folder of an environment.
pub fn folder_of(environments: &Path, hash: &ObjectId) -> PathBuf {
    environments.join(hash.hex())
}

/// The file of its record.
pub fn path_of(environments: &Path, hash: &ObjectId) -> PathBuf {
    environments.join(format!("{}.json", hash.hex()))
}

impl Record {
    /// The record of an environment; `None` if there is none that can be read.
    pub fn load(environments: &Path, hash: &ObjectId) -> Option<Record> {
        let bytes = document::read(&path_of(environments, hash), MOST).ok()??;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// Writes it durably. Errors: the disk is full or read-only.
    pub fn save(mut self, environments: &Path, hash: &ObjectId) -> Result<()> {
        self.version = VERSION;
        let bytes = serde_json::to_vec(&self).map_err(|e| Error::usage(format!("the record of it: {e}")))?;
        replace_file(&path_of(environments, hash), &bytes)
    }

    /// Adds the files of a folder. Errors: one of them cannot be read.
    pub fn take_files(&mut self, folder: &Path) -> Result<()> {
        self.folder = real_path(folder);
        self.interpreter_file = interpreter_file(folder);
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(at) = waiting.pop() {
            if at.file_name().is_some_and(|name| name == "site-packages") {
                self.sites.insert(below(folder, &at), names_in(&at));
            }
            let entries = fs::read_dir(&at).map_err(|e| Error::io("read", &at, e))?;
            for entry in entries {
                let entry = entry.map_err(|e| Error::io("read", &at, e))?;
                let path = entry.path();
                let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("read", &path, e))?;
                // Python writes its compiled files when it likes. A name that is no text cannot be recorded.
                if entry.file_name() == "__pycache__" || path.to_str().is_none() {
                    continue;
                }
                if meta.is_dir() {
                    waiting.push(path);
                } else {
                    self.bytes += meta.len();
                    self.files.insert(below(folder, &path), stat_of(&meta));
                }
            }
        }
        Ok(())
    }
}

/// The path of a folder without symlinks.
pub fn real_path(folder: &Path) -> String {
    fs::canonicalize(folder).unwrap_or_default().to_string_lossy().into_owned()
}

/// The file behind `bin/python` of an environment.
pub fn interpreter_file(folder: &Path) -> Option<(String, (u64, i64))> {
    let path = folder.join("bin/python");
    let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    Some((real_path(&path), stat_of(&meta)))
}

/// Size and time of change.
pub fn stat_of(meta: &fs::Metadata) -> (u64, i64) {
    (meta.len(), meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()))
}

/// The names in a folder, sorted, without those that Python makes by itself.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "__pycache__");
    names.sort();
    names
}

fn below(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
}
