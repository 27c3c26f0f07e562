//! Fetching: objects that the store lacks are located through the remote's segments and pack indexes, transferred, and
//! verified before they become visible. `session` does it for objects; entries of the run cache are small and read
//! directly.

pub mod losses;
pub(super) mod pack_hasher;
pub(super) mod ranges;
pub(super) mod resume;
pub(super) mod session;
pub(super) mod trees;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::remote::backend::transfer::run_parallel;
use crate::remote::catalog::segment::{Location, PackRow, RunRow};
use crate::remote::{Remote, Wanted, pack_path};
use crate::store::pack::format::{PackId, PackIndex};
use crate::store::{ObjectId, ObjectKind, Pin, Store};
use losses::{Loss, LostObject};
use ranges::{ByteRange, PackEntry, coalesce};
use session::FetchSession;

/// The result of a fetch.
#[derive(Clone, Debug, Default)]
pub struct FetchResult {
    /// Outputs that the fetch added to the store.
    pub fetched: Vec<Wanted>,
    /// Outputs that neither the store nor the remote has.
    pub absent: Vec<Wanted>,
    /// Objects that are damaged or missing at the remote, with the outputs that are incomplete because of them.
    pub lost: Vec<Loss>,
    /// Entries of the run cache that are damaged at the remote.
    pub runs_lost: Vec<Error>,
    /// The number of objects that were transferred: contents and trees, without entries of the run cache.
    pub objects: usize,
    /// Bytes that were transferred, those of whole packs included.
    pub bytes: u64,
}

/// Entries of the run cache, each with its row.
pub type Entries = Vec<(RunRow, Vec<u8>)>;
/// By the hash of the bytes.
type Bytes = HashMap<ObjectId, Vec<u8>>;

impl Remote {
    /// Brings what the store lacks into it; all of it is durable and verified on return.
    ///
    /// Errors: the remote cannot be reached or is not one. What it lacks, or has damaged, is in the result.
    pub fn fetch(&self, store: &Store, wanted: &[Wanted], sink: &dyn Sink) -> Result<FetchResult> {
        let mut lacking: Vec<&Wanted> = wanted.iter().filter(|w| !store.contains(&w.pin)).collect();
        let mut seen = HashSet::new();
        lacking.retain(|w| seen.insert((w.pin.id, w.pin.is_dir())));
        let mut fetched = FetchResult::default();
        self.refuse_lost_folder()?;
        if lacking.is_empty() {
            return Ok(fetched);
        }
        self.refuse_absent()?;
        let catalog = self.contents()?;
        let damaged = catalog.damaged.first().map(|(_, e)| e.clone().hint(self.push_again_hint()));
        let mut getting = FetchSession::new(self, store, Arc::clone(&catalog), sink);
        let there = getting.get(&lacking)?;
        fetched.objects = getting.moved.objects;
        fetched.bytes = getting.moved.bytes;
        let mut incomplete: Vec<(&Wanted, &Location)> = Vec::new();
        for wanted in lacking {
            // Another output of this fetch may have brought it along.
            if store.contains(&wanted.pin) {
                fetched.fetched.push(wanted.clone());
            } else if let Some(location) = there.get(&wanted.pin.id) {
                incomplete.push((wanted, location));
            } else {
                fetched.absent.push(wanted.clone());
            }
        }
        fetched.lost = getting.losses.into_losses(store, incomplete.into_iter());
        if let Some(error) = damaged.filter(|_| !fetched.absent.is_empty()) {
            // The damaged segment may have listed them.
            fetched.lost.push(Loss { error, outs: std::mem::take(&mut fetched.absent) });
        }
        let mut idle: BTreeMap<&str, usize> = BTreeMap::new();
        for loss in fetched.lost.iter().filter(|loss| loss.outs.is_empty()) {
            *idle.entry(&loss.error.message).or_default() += 1;
        }
        for (message, n) in idle {
            let n = if n > 1 { format!(" ({n} objects)") } else { String::new() };
            sink.event(Event::Warning { text: &format!("{message}{n}; nothing that was asked for needs it") });
        }
        Ok(fetched)
    }

    /// Brings the trees of a folder into the store, as far as possible: enough to list its files.
    pub fn fetch_listing(&self, store: &Store, pin: &Pin, sink: &dyn Sink) -> Result<()> {
        self.refuse_absent()?;
        FetchSession::new(self, store, self.contents()?, sink).list(pin)
    }

    /// Returns the verified entries of the run cache under a stage key, the newest first, and the errors of damaged
    /// ones. Stores nothing.
    pub fn find_runs(&self, key: &ObjectId) -> Result<(Entries, Vec<Error>)> {
        let rows = self.contents()?.runs(key);
        let (mut bytes, lost) = self.run_bytes(&rows)?;
        Ok((rows.into_iter().filter_map(|row| Some((row, bytes.remove(&row.entry)?))).collect(), lost))
    }

    /// Brings the entries of these stage keys, or of all, into the local run cache. Returns the number of new entries
    /// and the errors of damaged ones.
    pub fn fetch_runs(&self, store: &Store, keys: Option<&BTreeSet<ObjectId>>) -> Result<(usize, Vec<Error>)> {
        let catalog = self.contents()?;
        let mut rows: Vec<RunRow> = catalog.all.runs.values().copied().collect();
        rows.retain(|row| {
            keys.is_none_or(|keys| keys.contains(&row.key)) && !catalog.all.withdrawn.contains(&row.entry)
        });
        let here: HashSet<ObjectId> = rows
            .iter()
            .map(|row| row.key)
            .collect::<BTreeSet<_>>()
            .iter()
            .flat_map(|key| store.get_runs(&key.hex()).map(|runs| runs.found).unwrap_or_default())
            .map(|bytes| ObjectId::of(&bytes))
            .collect();
        rows.retain(|row| !here.contains(&row.entry));
        rows.sort_by_key(|row| (row.time, row.entry));
        let (bytes, lost) = self.run_bytes(&rows)?;
        for row in &rows {
            if let Some(bytes) = bytes.get(&row.entry) {
                store.put_run(&row.key.hex(), bytes)?;
            }
        }
        Ok((bytes.len(), lost))
    }

    pub(super) fn run_bytes(&self, rows: &[RunRow]) -> Result<(Bytes, Vec<Error>)> {
        let entry = |row: &RunRow| PackEntry { id: row.entry, kind: ObjectKind::Content, slice: row.slice };
        let found: Mutex<Bytes> = Mutex::default();
        let lost = Mutex::new(Vec::new());
        let ranges = coalesce(rows.iter().map(entry).collect());
        self.backend.set_jobs(self.jobs.min(ranges.len()));
        run_parallel(self.jobs, &ranges, |range| {
            let read = self.read_range(range, &|_, error| {
                lost.lock().unwrap_or_else(|e| e.into_inner()).push(error);
            })?;
            found.lock().unwrap_or_else(|e| e.into_inner()).extend(read.into_iter().map(|(p, bytes)| (p.id, bytes)));
            Ok(())
        })?;
        let lost = lost.into_inner().unwrap_or_else(|e| e.into_inner());
        Ok((found.into_inner().unwrap_or_else(|e| e.into_inner()), lost))
    }

    /// Reads all objects of a range, verified; fails if any is damaged.
    pub(super) fn read_whole(&self, range: &ByteRange) -> Result<Vec<(PackEntry, Vec<u8>)>> {
        let lost = Mutex::new(None);
        let read =
            self.read_range(range, &|_, error| drop(lost.lock().unwrap_or_else(|e| e.into_inner()).replace(error)))?;
        lost.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(read), Err)
    }

    /// Reads the objects of a range, verified; calls `lose` for each that cannot be read.
    pub(super) fn read_range(
        &self,
        range: &ByteRange,
        lose: &dyn Fn(LostObject, Error),
    ) -> Result<Vec<(PackEntry, Vec<u8>)>> {
        let path = pack_path(&range.pack);
        let bytes = match self.try_get(&path, range.bytes.clone())? {
            Ok(bytes) => bytes,
            Err(error) => return self.read_halves(range, error, lose),
        };
        let mut objects = Vec::with_capacity(range.entries.len());
        for entry in &range.entries {
            let start = (entry.slice.offset - range.bytes.start) as usize;
            let own = &bytes[start..start + entry.slice.length as usize];
            if entry.kind.id_of(own) == entry.id {
                objects.push((*entry, own.to_vec()));
            } else {
                let why = format!("the bytes at {} do not fit the object {}", entry.slice.offset, entry.id);
                lose(LostObject::Object(entry.id), self.damaged(&path, Error::missing(why)));
            }
        }
        Ok(objects)
    }

    /// Reads a range that cannot be read at once. Most likely the pack is truncated, and the objects before the cut are
    /// good: the cut is found by bisection, and nothing behind an unreadable entry is requested.
    fn read_halves(
        &self,
        range: &ByteRange,
        error: Error,
        lose: &dyn Fn(LostObject, Error),
    ) -> Result<Vec<(PackEntry, Vec<u8>)>> {
        let is_gone = error.kind == Kind::Missing;
        if is_gone || range.entries.len() < 2 {
            lose(LostObject::Pack(range.pack), error);
            return Ok(Vec::new());
        }
        let (first, second) = range.halves();
        let is_cut = Cell::new(false);
        let mut objects = self.read_range(&first, &|what, error| {
            is_cut.set(is_cut.get() || matches!(what, LostObject::Pack(_)));
            lose(what, error);
        })?;
        if !is_cut.get() {
            objects.extend(self.read_range(&second, lose)?);
        }
        Ok(objects)
    }

    /// Reads bytes that the remote lists. The inner error concerns this object alone.
    pub(super) fn try_get(&self, path: &str, range: Range<u64>) -> Result<Result<Vec<u8>>> {
        let found = self.backend.get_range(path, range)?;
        Ok(found.and_then(|found| {
            found.ok_or_else(|| {
                Error::missing(format!("{path} is gone from the remote {} ({})", self.name, self.url()))
                    .because("its index names it")
                    .hint(self.push_again_hint())
            })
        }))
    }

    pub(super) fn damaged(&self, path: &str, why: Error) -> Error {
        let message = format!("{path} at the remote {} ({}) is damaged", self.name, self.url());
        let causes = std::iter::once(&why.message).chain(&why.causes);
        causes.fold(Error::new(Kind::Remote, message), |e, cause| e.because(cause)).hint(self.push_again_hint())
    }

    pub(super) fn push_again_hint(&self) -> String {
        format!("where the data is: lockstep push --again -r {}", self.name)
    }

    /// The index of a pack, from the cache or else from the end of the pack. The inner error concerns this pack alone.
    pub(super) fn index(&self, id: &PackId, row: &PackRow) -> Result<Result<Arc<PackIndex>>> {
        if let Some(index) = self.memory.index(id) {
            return Ok(Ok(index));
        }
        let path = pack_path(id);
        let tail = self.try_get(&path, row.index..row.length)?;
        Ok(tail.and_then(|tail| {
            let index = PackIndex::parse(tail).map_err(|e| self.damaged(&path, Error::missing(e.to_string())))?;
            if index.id() != *id {
                return Err(self.damaged(&path, Error::missing("its index is that of another pack")));
            }
            self.memory.cache_index(&index);
            Ok(Arc::new(index))
        }))
    }
}
