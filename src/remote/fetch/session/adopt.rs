//! The second half of a fetch: located objects are transferred and adopted.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{FetchSession, WholePack};
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event};
use crate::remote::backend::transfer::run_parallel;
use crate::remote::catalog::segment::PackRow;
use crate::remote::fetch::losses::LostObject;
use crate::remote::fetch::ranges::PackEntry;
use crate::remote::fetch::resume::{PartialDownload, download};
use crate::remote::{object_path, pack_path};
use crate::store::pack::format::{PackId, PackIndex};
use crate::store::{LARGEST_READ, ObjectId, ObjectKind};

/// The bytes of objects in memory before they are stored.
const BATCH: u64 = 64 << 20;

impl FetchSession<'_> {
    /// Transfers located objects and makes them visible: contents, then packs, then trees.
    pub(super) fn transfer(&mut self, mut entries: Vec<PackEntry>, large: BTreeMap<ObjectId, u64>) -> Result<()> {
        let large: Vec<(ObjectId, u64)> = large.into_iter().collect();
        let bytes = large.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
        self.sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
        let (arrived, received) = (AtomicUsize::new(0), AtomicU64::new(0));
        self.remote.backend.set_jobs(self.remote.jobs.min(large.len()));
        run_parallel(self.remote.jobs, &large, |(id, size)| {
            let take = |path: &Path, _: &File| self.store.adopt_object(id, ObjectKind::Content, path, self.sink);
            let got = download(self.remote, self.store, (&object_path(id), &id.hex(), *size), &self.done(), take)?;
            if self.losses.or_record(LostObject::Object(*id), got).is_some() {
                arrived.fetch_add(1, Ordering::Relaxed);
                received.fetch_add(*size, Ordering::Relaxed);
            }
            Ok(())
        })?;
        self.moved.objects += arrived.into_inner();
        self.moved.bytes += received.into_inner();
        entries.sort_by_key(|entry| (entry.slice.pack, entry.slice.offset));
        while !entries.is_empty() {
            let mut size = 0;
            let n = entries.iter().take_while(|entry| {
                size += entry.slice.length;
                size <= BATCH
            });
            let some: Vec<PackEntry> = entries.drain(..n.count().max(1)).collect();
            let read = self.read(&some)?;
            self.store_all(read.into_iter().map(|(entry, bytes)| (entry.kind, bytes)))?;
        }
        let mut whole = std::mem::take(&mut self.whole);
        for index in &self.indexes {
            if let Some(whole) = whole.remove(&index.id()) {
                self.adopt(whole, index)?;
            }
        }
        let trees = std::mem::take(&mut self.trees);
        self.store_all(trees.into_values().map(|bytes| (ObjectKind::Tree, bytes)))
    }

    /// Adopts a complete pack. If it is damaged and partly from an earlier attempt, it is fetched again; from a pack
    /// that is damaged at the remote the good objects are taken.
    fn adopt(&self, whole: WholePack, index: &PackIndex) -> Result<()> {
        let (id, length) = (index.id(), index.file_length());
        let row = PackRow { length, index: length - index.tail().len() as u64, count: index.len() as u64 };
        let download = || -> Result<Option<PartialDownload>> {
            let take = |_: &Path, file: &File| read_tail(file, &id, &row);
            let got = download(self.remote, self.store, (&pack_path(&id), &id.to_string(), length), &|_| (), take)?;
            Ok(self.losses.or_record(LostObject::Pack(id), got).map(|(partial, _)| partial))
        };
        let partial = match PartialDownload::reopen(self.store, &whole.path, length) {
            Some(partial) => partial,
            None if self.store.all_packs().iter().any(|pack| pack.id == id && pack.tombstoned.is_empty()) => {
                return Ok(());
            }
            None => match download()? {
                Some(partial) => partial,
                None => return Ok(()),
            },
        };
        match self.store.adopt_pack(&partial.path, self.sink) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind != Kind::Missing => return Err(e),
            Err(_) if !whole.is_resumed => return self.salvage(partial, index),
            Err(_) => partial.discard(),
        }
        match download()? {
            Some(partial) if self.store.adopt_pack(&partial.path, self.sink).is_err() => self.salvage(partial, index),
            _ => Ok(()),
        }
    }

    /// Stores the good objects of a damaged pack, contents first; the others are recorded as lost.
    fn salvage(&self, partial: PartialDownload, index: &PackIndex) -> Result<()> {
        for kind in [ObjectKind::Content, ObjectKind::Tree] {
            let (mut good, mut size) = (Vec::new(), 0);
            for row in index.iter().filter(|row| row.kind == kind) {
                if row.length > LARGEST_READ {
                    self.losses.note(LostObject::Object(row.id), self.unfit(&index.id(), &row));
                    continue;
                }
                let mut bytes = vec![0; row.length as usize];
                let read = partial.file.read_exact_at(&mut bytes, row.offset);
                read.map_err(|e| Error::io("read", &partial.path, e))?;
                if kind.id_of(&bytes) != row.id {
                    self.losses.note(LostObject::Object(row.id), self.unfit(&index.id(), &row));
                    continue;
                }
                if self.catalog.all.runs.contains_key(&row.id) {
                    continue;
                }
                size += row.length;
                good.push((kind, bytes));
                if size > BATCH {
                    size = 0;
                    self.store_all(std::mem::take(&mut good).into_iter())?;
                }
            }
            self.store_all(good.into_iter())?;
        }
        partial.discard();
        Ok(())
    }

    fn store_all(&self, objects: impl Iterator<Item = (ObjectKind, Vec<u8>)>) -> Result<()> {
        let _hold = self.store.lock_shared(self.sink)?;
        let mut batch = self.store.batch();
        for (kind, bytes) in objects {
            batch.add_bytes(kind, bytes);
        }
        if batch.is_empty() {
            return Ok(());
        }
        batch.commit(&crate::event::Silent).map(drop)
    }
}

/// Reads the index at the end of a fetched pack. Its objects are verified when the pack is adopted.
pub(super) fn read_tail(file: &File, id: &PackId, row: &PackRow) -> Result<PackIndex> {
    let mut tail = vec![0; (row.length - row.index) as usize];
    file.read_exact_at(&mut tail, row.index).map_err(|e| Error::io("read", "a pack that was fetched", e))?;
    let index = PackIndex::parse(tail).map_err(|e| Error::missing(e.to_string()))?;
    if index.id() == *id { Ok(index) } else { Err(Error::missing("its index is that of another pack")) }
}
