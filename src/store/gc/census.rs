//! Everything that lies in a store, with sizes and ages; nothing is read but names and indexes of packs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::pack::Pack;
use crate::store::stat::Seen;

/// An object in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundLoose {
    pub id: ObjectId,
    pub size: u64,
    /// Seconds since 1970.
    pub time: i64,
}

#[derive(Clone)]
pub struct FoundPack {
    pub pack: Arc<Pack>,
    /// Of the file.
    pub size: u64,
    pub time: i64,
}

/// A result in the run cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    pub key: String,
    pub path: PathBuf,
    pub size: u64,
    pub time: i64,
}

/// Something that is no object: being written, or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    pub path: PathBuf,
    pub size: u64,
    pub time: i64,
}

#[derive(Clone, Default)]
pub struct Census {
    pub loose: Vec<FoundLoose>,
    pub packs: Vec<FoundPack>,
    pub runs: Vec<FoundRun>,
    pub temporary: Vec<FoundFile>,
    pub quarantine: Vec<FoundFile>,
}

impl Census {
    /// Of everything.
    pub fn bytes(&self) -> u64 {
        let objects = self.loose.iter().map(|l| l.size).chain(self.packs.iter().map(|p| p.size));
        let others = self.runs.iter().map(|r| r.size);
        let files = self.temporary.iter().chain(&self.quarantine).map(|f| f.size);
        objects.chain(others).chain(files).sum()
    }
}

/// Errors: a folder or a pack that cannot be read. What goes meanwhile is left out.
pub fn census(store: &Store) -> Result<Census> {
    store.must_be_store()?;
    let dir = store.dir();
    let mut found = Census::default();
    for shard in entries(&dir.join("objects"))? {
        let Some(start) = shard.file_name().and_then(|n| n.to_str()).map(str::to_string) else { continue };
        for path in entries(&shard)? {
            let rest = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let Ok(id) = format!("{start}{rest}").parse::<ObjectId>() else { continue };
            if let Some(file) = look(&path) {
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
    for shard in entries(&dir.join("runs"))? {
        for folder in entries(&shard)? {
            let Some(key) = folder.file_name().and_then(|n| n.to_str()).map(str::to_string) else { continue };
            for path in entries(&folder)? {
                if let Some(FoundFile { path, size, time }) = look(&path) {
                    found.runs.push(FoundRun { key: key.clone(), path, size, time });
                }
            }
        }
    }
    found.temporary = entries(&dir.join("tmp"))?.iter().filter_map(|path| look(path)).collect();
    found.quarantine = entries(&dir.join("quarantine"))?.iter().filter_map(|path| look(path)).collect();
    Ok(found)
}

/// The paths in a folder, sorted; none if there is no such folder, or it is a file.
pub(in crate::store) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |e| Error::io("read", folder, e);
    let entries = match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut paths = entries.map(|e| e.map(|e| e.path()).map_err(cannot)).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn look(path: &Path) -> Option<FoundFile> {
    let seen = Seen::of_link(path).ok().filter(Seen::is_file)?;
    let time = seen.stat.mtime.div_euclid(1_000_000_000);
    Some(FoundFile { path: path.to_path_buf(), size: seen.stat.size, time })
}
