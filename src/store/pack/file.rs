//! One pack on the local disk.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

use super::format::{HEADER, Malformed, PackId, PackIndex, Row, TRAILER, check_header, tail_length};
use crate::document;
use crate::store::fs::seal::{seal, shows_seal};
use crate::store::fs::stat::Seen;
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::pack::format::LARGEST_READ;

/// The number of packs that are kept open, less if the limit of open files is low; others are opened for each read.
const KEPT_OPEN: usize = 200;
/// The read size for verifying an object.
const PIECE: usize = 1 << 20;

/// A pack with a checked index.
pub struct Pack {
    /// The id from its index.
    pub id: PackId,
    /// The path of the file.
    pub path: PathBuf,
    /// The rows of its objects.
    pub index: PackIndex,
    /// Objects under a tombstone.
    pub tombstoned: HashSet<ObjectId>,
    /// There are tombstones that cannot be read, so the seal proves nothing.
    doubted: bool,
    file: OnceLock<Arc<File>>,
    /// The number of open packs of the set.
    open: Arc<AtomicUsize>,
    /// The damaged objects that have no tombstone; `None` until they were computed.
    bad: Mutex<Option<Arc<HashSet<ObjectId>>>>,
    /// The result of freshening, if it was done.
    pub(in crate::store) young: OnceLock<bool>,
}

/// Why a pack cannot be used.
#[derive(Debug)]
pub enum Unusable {
    Malformed(Malformed),
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(e: io::Error) -> Unusable {
        Unusable::Io(e)
    }
}

impl From<Malformed> for Unusable {
    fn from(e: Malformed) -> Unusable {
        Unusable::Malformed(e)
    }
}

/// Reads and checks the index of a pack.
pub fn read_index(file: &File) -> Result<PackIndex, Unusable> {
    let length = file.metadata()?.len();
    if length < HEADER + TRAILER as u64 {
        return Err(Malformed::Broken("it is cut short").into());
    }
    let (mut header, mut trailer) = ([0; HEADER as usize], [0; TRAILER]);
    file.read_exact_at(&mut header, 0)?;
    check_header(&header)?;
    file.read_exact_at(&mut trailer, length - TRAILER as u64)?;
    let tail = tail_length(&trailer, length)?;
    // No longer than the file, whose size was just read.
    let mut bytes = vec![0; tail as usize];
    file.read_exact_at(&mut bytes, length - tail)?;
    Ok(PackIndex::parse(bytes)?)
}

impl Pack {
    /// A pack whose index was read and checked; its file is opened at the first read.
    pub fn new(
        path: &Path,
        index: PackIndex,
        tombstoned: HashSet<ObjectId>,
        doubted: bool,
        open: &Arc<AtomicUsize>,
    ) -> Pack {
        Pack {
            id: index.id(),
            path: path.to_path_buf(),
            index,
            tombstoned,
            doubted,
            file: OnceLock::new(),
            open: Arc::clone(open),
            bad: Mutex::default(),
            young: OnceLock::new(),
        }
    }

    /// Are its tombstones unreadable?
    pub(in crate::store) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// The open file of the pack.
    pub fn file(&self) -> io::Result<Arc<File>> {
        if let Some(file) = self.file.get() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(document::open_unlinked(&self.path)?);
        if self.open.fetch_add(1, Ordering::Relaxed) >= kept_open() || self.file.set(Arc::clone(&file)).is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(file)
    }

    /// The bytes of an object, not verified; the caller verifies them.
    pub fn read(&self, row: &Row) -> io::Result<Vec<u8>> {
        if row.length > LARGEST_READ {
            return Err(io::Error::other("the object is too large to be read at once"));
        }
        let mut bytes = vec![0; row.length as usize];
        self.file()?.read_exact_at(&mut bytes, row.offset)?;
        Ok(bytes)
    }

    /// The actual id of the bytes of an object.
    pub fn id_of(&self, row: &Row) -> io::Result<ObjectId> {
        id_at(&*self.file()?, row)
    }

    /// Objects whose bytes do not match their ids, except those with a tombstone. Reads nothing while the seal is
    /// intact; otherwise reads all objects once, and seals the pack if all are good.
    pub fn bad(&self) -> io::Result<Arc<HashSet<ObjectId>>> {
        let mut bad = self.bad.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(bad) = bad.as_ref() {
            return Ok(Arc::clone(bad));
        }
        let file = self.file()?;
        let seen = Seen::from(rustix::fs::fstat(&file)?);
        let found = if shows_seal(&seen.stat, &self.id.0) && !self.doubted {
            Arc::default()
        } else {
            // On this thread alone: a worker that waits for others would take up work that waits for this lock.
            let mut found = HashSet::new();
            for row in in_order(&self.index).iter().filter(|row| !self.tombstoned.contains(&row.id)) {
                if !fits(&file, row)? {
                    found.insert(row.id);
                }
            }
            if found.is_empty() {
                seal(&file, &self.id.0);
            }
            Arc::new(found)
        };
        *bad = Some(Arc::clone(&found));
        Ok(found)
    }
}

fn kept_open() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    let allowed = || rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    *MOST.get_or_init(|| usize::try_from(allowed() / 8).map_or(KEPT_OPEN, |most| most.min(KEPT_OPEN)))
}

impl Drop for Pack {
    fn drop(&mut self) {
        if self.file.get().is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn in_order(index: &PackIndex) -> Vec<Row> {
    let mut rows: Vec<Row> = index.iter().collect();
    rows.sort_unstable_by_key(|row| row.offset);
    rows
}

/// Reads every object of a pack on all cores; returns those that do not match their ids. Must not be called under a
/// lock.
pub fn verify(file: &File, index: &PackIndex) -> io::Result<Vec<ObjectId>> {
    let rows = in_order(index);
    let is_bad = |row: &Row| -> io::Result<Option<ObjectId>> { Ok(if fits(file, row)? { None } else { Some(row.id) }) };
    let bad: Vec<Option<ObjectId>> = rows.par_iter().with_min_len(64).map(is_bad).collect::<io::Result<_>>()?;
    Ok(bad.into_iter().flatten().collect())
}

/// Do the bytes of an object match its id?
pub fn fits(file: &File, row: &Row) -> io::Result<bool> {
    Ok(id_at(file, row)? == row.id)
}

/// The actual id of the bytes of a row.
pub fn id_at(file: &File, row: &Row) -> io::Result<ObjectId> {
    let mut hasher = hash::Hasher::new(row.kind);
    let mut buffer = vec![0; (row.length as usize).min(PIECE)];
    let mut at = 0;
    while at < row.length {
        let piece = &mut buffer[..((row.length - at) as usize).min(PIECE)];
        file.read_exact_at(piece, row.offset + at)?;
        hasher.update(piece);
        at += piece.len() as u64;
    }
    Ok(hasher.id())
}
