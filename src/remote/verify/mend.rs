//! Repairs at a remote: sends again what is damaged there and intact in the store.
//!
//! The name of a pack is derived from its rows, and its bytes follow from them: if the store has all of its objects,
//! the pack is made again byte for byte under the same name, and no index has to change. Otherwise the local objects of
//! the affected outputs are pushed as if they were new.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::remote::backend::StreamError;
use crate::remote::verify::{Inspection, RemoteFile};
use crate::remote::{Remote, pack_path};
use crate::store::pack::format::{HEADER, PackId, PackIndex, PackWriter, Row};
use crate::store::{ObjectId, ObjectKind, ObjectRef, Store};

impl Remote {
    /// Sends one object again; false if the store does not have all of it. `runs` are entries of the run cache, by the
    /// hash of their bytes.
    pub fn put_again(
        &self,
        store: &Store,
        inspected: &Inspection,
        what: &RemoteFile,
        runs: &HashMap<ObjectId, Vec<u8>>,
    ) -> Result<bool> {
        self.must_be_writable()?;
        match what {
            RemoteFile::Marker => self.write_marker().map(|()| true),
            RemoteFile::Segment(name) => match self.memory.segment_bytes(name) {
                Some(bytes) => self.backend.put(&what.path(), bytes, true).map(|()| true),
                None => Ok(false),
            },
            RemoteFile::Loose(id) => {
                let Some(size) = store.size(id) else { return Ok(false) };
                let object = ObjectRef { id: *id, kind: ObjectKind::Content, size };
                ignore_local_damage(self.send_large(store, &object, true, &|_| ()))
            }
            RemoteFile::Pack(id) | RemoteFile::Packed(id, ..) => self.put_pack(store, inspected, id, runs),
        }
    }

    fn put_pack(
        &self,
        store: &Store,
        inspected: &Inspection,
        id: &PackId,
        runs: &HashMap<ObjectId, Vec<u8>>,
    ) -> Result<bool> {
        if let Some(pack) = store.all_packs().iter().find(|pack| pack.id == *id && pack.tombstoned.is_empty()) {
            return ignore_local_damage(self.send_pack(store, pack, true, &|_| ()));
        }
        let index = match self.memory.index(id) {
            Some(index) => index,
            None => {
                let Some(row) = inspected.catalog.all.packs.get(id) else { return Ok(false) };
                let Ok(index) = self.tail(id, row)? else { return Ok(false) };
                Arc::new(index)
            }
        };
        let is_here = |row: &Row| runs.contains_key(&row.id) || store.size(&row.id) == Some(row.length);
        if !index.iter().all(|row| is_here(&row)) {
            return Ok(false);
        }
        if RebuiltPack::new(store, &index, runs).is_none() {
            return Ok(false);
        }
        let sent = self.backend.with_retries(|| {
            let gone = || StreamError::Source(io::Error::other("its objects are not contiguous"));
            let mut made = RebuiltPack::new(store, &index, runs).ok_or_else(gone)?;
            self.backend.put_stream(&pack_path(id), &mut made, index.file_length(), true, &|_| ())
        });
        match sent {
            Ok(()) => Ok(true),
            // A damaged local object cannot repair the remote.
            Err(StreamError::Source(_)) => Ok(false),
            Err(StreamError::Remote(e) | StreamError::Again(e)) => Err(e),
        }
    }
}

/// Local damage is not an error of the remote: the object just cannot be sent again.
fn ignore_local_damage(sent: Result<()>) -> Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(Error { kind: Kind::Missing, .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A pack that is rebuilt from its index while it is read, one object at a time.
struct RebuiltPack<'m> {
    store: &'m Store,
    runs: &'m HashMap<ObjectId, Vec<u8>>,
    index: &'m PackIndex,
    /// Sorted by offset, without gaps; the next one is at `next`.
    rows: Vec<Row>,
    next: usize,
    /// The current object, and how much of it has been read.
    piece: Vec<u8>,
    given: usize,
    is_over: bool,
}

impl<'m> RebuiltPack<'m> {
    /// `None` for an index that no version of lockstep writes.
    fn new(store: &'m Store, index: &'m PackIndex, runs: &'m HashMap<ObjectId, Vec<u8>>) -> Option<RebuiltPack<'m>> {
        let mut rows: Vec<Row> = index.iter().collect();
        rows.sort_unstable_by_key(|row| (row.offset, row.length));
        let mut at = HEADER;
        for row in &rows {
            if row.offset != at {
                return None;
            }
            at += row.length;
        }
        let mut piece = Vec::new();
        PackWriter::new(&mut piece).ok()?;
        Some(RebuiltPack { store, runs, index, rows, next: 0, piece, given: 0, is_over: false })
    }

    fn object(&self, row: &Row) -> io::Result<Vec<u8>> {
        let bytes = match self.runs.get(&row.id) {
            Some(bytes) => bytes.clone(),
            None => self.store.read(&row.id, row.kind).map_err(io::Error::other)?,
        };
        let fits = bytes.len() as u64 == row.length && row.kind.id_of(&bytes) == row.id;
        if fits { Ok(bytes) } else { Err(io::Error::other("an object does not fit its pack")) }
    }
}

impl Read for RebuiltPack<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            self.piece = match self.rows.get(self.next) {
                Some(row) => self.object(row)?,
                None if self.is_over => return Ok(0),
                None => {
                    self.is_over = true;
                    self.index.tail().to_vec()
                }
            };
            self.next += 1;
            self.given = 0;
        }
        let n = buffer.len().min(self.piece.len() - self.given);
        buffer[..n].copy_from_slice(&self.piece[self.given..][..n]);
        self.given += n;
        Ok(n)
    }
}
