//! Lists all files of a store, with sizes and ages; reads only names and pack indexes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::fs::root_folder::FolderEntry;
use crate::store::fs::stat::Seen;
use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::objects::results::{is_stage_key, number_in};
use crate::store::pack::Pack;

/// A loose object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundLoose {
    /// The id by its path; the bytes are not read.
    pub id: ObjectId,
    /// The size of the file in bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub time: i64,
}

/// A pack with its age and size.
#[derive(Clone)]
pub struct FoundPack {
    /// The pack with its checked index.
    pub pack: Arc<Pack>,
    /// The size of the file.
    pub size: u64,
    /// The modification time of the file, in seconds since 1970.
    pub time: i64,
}

/// A result in the run cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// The stage key in hexadecimal.
    pub key: String,
    /// The path of its file.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub size: u64,
    /// The modification time, in seconds since 1970.
    pub time: i64,
}

/// A file other than an object: temporary, or in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    pub path: PathBuf,
    pub size: u64,
    pub time: i64,
}

/// All files of a store.
#[derive(Clone, Default)]
pub struct Census {
    /// Loose objects, by id.
    pub loose: Vec<FoundLoose>,
    /// All packs; one of a later format is an error of [`census`].
    pub packs: Vec<FoundPack>,
    /// Results of the run cache, all of each key.
    pub runs: Vec<FoundRun>,
    /// Files in `tmp/`.
    pub temporary: Vec<FoundFile>,
    /// Files in `quarantine/`.
    pub quarantine: Vec<FoundFile>,
}

/// Errors: a folder or a pack cannot be read. Files that disappear during the listing are skipped.
pub fn census(store: &Store) -> Result<Census> {
    store.check_is_store()?;
    let mut found = Census::default();
    for shard in entries(store, "objects")? {
        for entry in entries(store, Path::new("objects").join(&shard.name))? {
            let spelled = format!("{}{}", shard.text(), entry.text());
            let is_in_place = |id: &ObjectId| shard.name.len() == 2 && id.hex() == spelled;
            let Some(id) = spelled.parse::<ObjectId>().ok().filter(is_in_place) else { continue };
            if let Some(file) = look(&entry.path) {
                found.loose.push(FoundLoose { id, size: file.size, time: file.time });
            }
        }
    }
    found.loose.sort_by_key(|loose| loose.id);
    for pack in store.each_pack().map_err(|e| e.hint("nothing was touched"))? {
        if let Some(FoundFile { size, time, .. }) = look(&pack.path) {
            found.packs.push(FoundPack { pack, size, time });
        }
    }
    for shard in entries(store, "runs")? {
        let shard_path = Path::new("runs").join(&shard.name);
        for folder in entries(store, &shard_path)? {
            let key = folder.text();
            if !is_stage_key(key) || !key.starts_with(shard.text()) || shard.name.len() != 2 {
                continue;
            }
            for entry in entries(store, shard_path.join(&folder.name))? {
                if let Some(FoundFile { path, size, time }) =
                    look(&entry.path).filter(|_| number_in(entry.text()).is_some())
                {
                    found.runs.push(FoundRun { key: key.to_string(), path, size, time });
                }
            }
        }
    }
    found.temporary = entries(store, "tmp")?.iter().filter_map(|entry| look(&entry.path)).collect();
    found.quarantine = entries(store, "quarantine")?.iter().filter_map(|entry| look(&entry.path)).collect();
    Ok(found)
}

/// Is this a name that lockstep creates in `tmp/`? Files with other names must not be deleted.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let fetched = name.strip_prefix("fetch-").map(|name| name.strip_suffix(".pack").unwrap_or(name));
    is_hex(name, 32) || fetched.is_some_and(|id| is_hex(id, 64))
}

/// The entries of a folder of the store, sorted; none if the folder does not exist, is a file, or is behind a symlink:
/// content behind a symlink does not belong to the store.
pub(in crate::store) fn entries(store: &Store, below: impl AsRef<Path>) -> Result<Vec<FolderEntry>> {
    let below = below.as_ref();
    match store.root().entries(below) {
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(_) if below.ancestors().any(|folder| store.root().is_link(folder)) => Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io("read", store.dir().join(below), e)),
    }
}

fn look(path: &Path) -> Option<FoundFile> {
    let seen = Seen::lstat(path).ok().filter(Seen::is_file)?;
    let time = seen.stat.mtime.div_euclid(1_000_000_000);
    Some(FoundFile { path: path.to_path_buf(), size: seen.stat.size, time })
}
