//! Fetching: what the store lacks is located by the remote's segments and pack indexes, moved, and verified before
//! anybody may use it. `getting` does it for objects; entries of the run cache are small and come straight.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::remote::getting::Getting;
use crate::remote::segment::{PackRow, RunRow};
use crate::remote::stretch::{Piece, Stretch, stretches};
use crate::remote::transfer::each;
use crate::remote::{Remote, Wanted, pack_path};
use crate::store::pack::format::{PackId, PackIndex};
use crate::store::{ObjectId, ObjectKind, Pin, Store};

/// What came of a fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Those that were not here, and are now.
    pub fetched: Vec<Wanted>,
    /// Neither here nor there.
    pub absent: Vec<Wanted>,
    pub objects: usize,
    pub bytes: u64,
}

impl Remote {
    /// Brings what is not here into the store; all of it is durable and verified when this returns.
    pub fn fetch(&self, store: &Store, wanted: &[Wanted], sink: &dyn Sink) -> Result<Fetched> {
        let mut lacking: Vec<&Wanted> = wanted.iter().filter(|w| !store.contains(&w.pin)).collect();
        let mut seen = HashSet::new();
        lacking.retain(|w| seen.insert((w.pin.id, w.pin.is_dir())));
        let mut fetched = Fetched::default();
        if lacking.is_empty() {
            return Ok(fetched);
        }
        self.place.must_exist()?;
        let catalog = self.known()?;
        let damaged = catalog.damaged.first().map(|(_, e)| e.clone().hint(self.again()));
        let mut getting = Getting::new(self, store, catalog, sink);
        let there = getting.get(&lacking)?;
        fetched.objects = getting.moved.objects;
        fetched.bytes = getting.moved.bytes;
        for wanted in lacking {
            // Something else that came may have brought it along.
            let is_here = there.contains(&wanted.pin.id) || store.contains(&wanted.pin);
            let list = if is_here { &mut fetched.fetched } else { &mut fetched.absent };
            list.push(wanted.clone());
        }
        match damaged {
            // Perhaps that is where it stood.
            Some(e) if !fetched.absent.is_empty() => Err(e),
            _ => Ok(fetched),
        }
    }

    /// Brings one output into the store; false if the remote does not have all of it.
    pub fn fetch_pin(&self, store: &Store, pin: &Pin, sink: &dyn Sink) -> Result<bool> {
        let wanted = Wanted { name: pin.id.hex(), pin: *pin };
        Ok(self.fetch(store, &[wanted], sink)?.absent.is_empty())
    }

    /// The entries of the run cache under a stage key, the newest first, verified. Nothing is stored.
    pub fn find_runs(&self, key: &ObjectId) -> Result<Vec<(RunRow, Vec<u8>)>> {
        let rows = self.known()?.runs(key);
        let mut bytes = self.run_bytes(&rows)?;
        Ok(rows.into_iter().filter_map(|row| Some((row, bytes.remove(&row.entry)?))).collect())
    }

    /// Brings the entries of these stage keys, or of all, into the local run cache. How many were new here.
    pub fn fetch_runs(&self, store: &Store, keys: Option<&BTreeSet<ObjectId>>) -> Result<usize> {
        let catalog = self.known()?;
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
        let bytes = self.run_bytes(&rows)?;
        for row in &rows {
            if let Some(bytes) = bytes.get(&row.entry) {
                store.put_run(&row.key.hex(), bytes)?;
            }
        }
        Ok(bytes.len())
    }

    pub(super) fn run_bytes(&self, rows: &[RunRow]) -> Result<HashMap<ObjectId, Vec<u8>>> {
        let piece = |row: &RunRow| Piece { id: row.entry, kind: ObjectKind::Content, slice: row.slice };
        let found: Mutex<HashMap<ObjectId, Vec<u8>>> = Mutex::default();
        let stretches = stretches(rows.iter().map(piece).collect());
        self.place.share(self.jobs.min(stretches.len()));
        each(self.jobs, &stretches, |stretch| {
            let read = self.read_stretch(stretch)?;
            found.lock().unwrap_or_else(|e| e.into_inner()).extend(read.into_iter().map(|(p, bytes)| (p.id, bytes)));
            Ok(())
        })?;
        Ok(found.into_inner().unwrap_or_else(|e| e.into_inner()))
    }

    /// The objects of a stretch, each verified.
    pub(super) fn read_stretch(&self, stretch: &Stretch) -> Result<Vec<(Piece, Vec<u8>)>> {
        let path = pack_path(&stretch.pack);
        let bytes = self.must_get(&path, stretch.range.clone())?;
        let mut objects = Vec::with_capacity(stretch.pieces.len());
        for piece in &stretch.pieces {
            let start = (piece.slice.offset - stretch.range.start) as usize;
            let own = &bytes[start..start + piece.slice.length as usize];
            if piece.kind.id_of(own) != piece.id {
                let why = format!("the bytes at {} do not fit the object {}", piece.slice.offset, piece.id);
                return Err(self.damaged(&path, Error::missing(why)));
            }
            objects.push((*piece, own.to_vec()));
        }
        Ok(objects)
    }

    /// Bytes that the remote says it has.
    pub(super) fn must_get(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.place.get_range(path, range)?.ok_or_else(|| {
            Error::missing(format!("{path} is gone from the remote {} ({})", self.name, self.url()))
                .because("its index names it")
                .hint(self.again())
        })
    }

    pub(super) fn damaged(&self, path: &str, why: Error) -> Error {
        let message = format!("{path} at the remote {} ({}) is damaged", self.name, self.url());
        let causes = std::iter::once(&why.message).chain(&why.causes);
        causes.fold(Error::new(Kind::Remote, message), |e, cause| e.because(cause)).hint(self.again())
    }

    pub(super) fn again(&self) -> String {
        format!("where the data is: lockstep push --again -r {}", self.name)
    }

    /// What a pack holds, as it is known here, or else as its end says.
    pub(super) fn index(&self, id: &PackId, row: &PackRow) -> Result<Arc<PackIndex>> {
        if let Some(index) = self.memory.index(id) {
            return Ok(index);
        }
        let path = pack_path(id);
        let index = PackIndex::parse(self.must_get(&path, row.index..row.length)?)
            .map_err(|e| self.damaged(&path, Error::missing(e.to_string())))?;
        if index.id() != *id {
            return Err(self.damaged(&path, Error::missing("its index is that of another pack")));
        }
        self.memory.keep_index(&index);
        Ok(Arc::new(index))
    }
}
