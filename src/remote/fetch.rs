//! Fetching: what the store lacks is located by the remote's segments and pack indexes, moved, and verified before
//! anybody may use it.
//!
//! Packs of which most is wanted come whole and are adopted as they are; of others the wanted ranges are read, those
//! that nearly touch in one request. Large objects come alone and resume after an interruption. Contents become visible
//! before the trees that name them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Doing, Event, Sink};
use crate::remote::catalog::Catalog;
use crate::remote::partial::{Partial, bring};
use crate::remote::segment::{Location, PackRow, RunRow, Slice};
use crate::remote::transfer::each;
use crate::remote::{Remote, Wanted, is_large, object_path, pack_path};
use crate::store::pack::format::{PackId, PackIndex, Row};
use crate::store::tree::Tree;
use crate::store::{ObjectId, ObjectKind, ObjectRef, Pin, Store};

/// Packs of this size and less come whole: a second request would cost more.
const SMALL_PACK: u64 = 4 << 20;
/// Ranges that lie no further apart are read in one request.
const GAP: u64 = 64 << 10;
/// And requests are not larger than this.
const RUN: u64 = 8 << 20;
/// Objects that are in memory at once before they are stored.
const BATCH: u64 = 64 << 20;

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

/// An object within a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    id: ObjectId,
    kind: ObjectKind,
    slice: Slice,
}

/// Pieces of one pack that are read at once.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    pack: PackId,
    range: Range<u64>,
    pieces: Vec<Piece>,
}

/// Joins what nearly touches. Pure.
fn stretches(mut pieces: Vec<Piece>) -> Vec<Stretch> {
    pieces.sort_by_key(|piece| (piece.slice.pack, piece.slice.offset));
    let mut all: Vec<Stretch> = Vec::new();
    for piece in pieces {
        let (start, end) = (piece.slice.offset, piece.slice.offset + piece.slice.length);
        match all.last_mut() {
            Some(last)
                if last.pack == piece.slice.pack && start <= last.range.end + GAP && end - last.range.start <= RUN =>
            {
                last.range.end = last.range.end.max(end);
                last.pieces.push(piece);
            }
            _ => all.push(Stretch { pack: piece.slice.pack, range: start..end, pieces: vec![piece] }),
        }
    }
    all
}

/// One fetch, as far as it got.
struct Getting<'a> {
    remote: &'a Remote,
    store: &'a Store,
    catalog: Arc<Catalog>,
    sink: &'a dyn Sink,
    /// Packs that are looked into.
    indexes: BTreeMap<PackId, Arc<PackIndex>>,
    /// Packs that lie whole in `tmp/`, not yet taken in.
    whole: Vec<(Partial, Arc<PackIndex>)>,
    /// Trees that are not in the store yet, encoded.
    trees: HashMap<ObjectId, Vec<u8>>,
    moved: Moved,
}

#[derive(Default)]
struct Moved {
    objects: usize,
    bytes: u64,
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
        let (indexes, whole, trees, moved) = Default::default();
        let mut getting = Getting { remote: self, store, catalog, sink, indexes, whole, trees, moved };
        let there = getting.get(&lacking)?;
        fetched.objects = getting.moved.objects;
        fetched.bytes = getting.moved.bytes;
        for wanted in lacking {
            let list = if there.contains(&wanted.pin.id) { &mut fetched.fetched } else { &mut fetched.absent };
            list.push(wanted.clone());
        }
        Ok(fetched)
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

    fn run_bytes(&self, rows: &[RunRow]) -> Result<HashMap<ObjectId, Vec<u8>>> {
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
    fn read_stretch(&self, stretch: &Stretch) -> Result<Vec<(Piece, Vec<u8>)>> {
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

    fn again(&self) -> String {
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

impl Getting<'_> {
    /// Which of the wanted pins are here afterwards.
    fn get(&mut self, lacking: &[&Wanted]) -> Result<HashSet<ObjectId>> {
        let catalog = Arc::clone(&self.catalog);
        let (mut pieces, mut large, mut roots) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut there = HashSet::new();
        for wanted in lacking {
            let pin = &wanted.pin;
            let location = match catalog.root(pin) {
                Some(root) => Some(root.location.clone()),
                None => self.locate(pin)?,
            };
            match location {
                None => continue,
                Some(Location::Loose) => drop(large.insert(pin.id, pin.size)),
                Some(Location::Packed(slice)) => pieces.push(Piece { id: pin.id, kind: ObjectKind::Content, slice }),
                Some(Location::Tree(packs)) => roots.push((*pin, packs)),
            }
            there.insert(pin.id);
        }
        self.open_packs(&roots)?;
        let mut wanted = HashSet::new();
        for (pin, _) in &roots {
            for object in self.walk(pin)? {
                if !wanted.insert(object.id) {
                } else if is_large(object.kind, object.size) {
                    large.insert(object.id, object.size);
                } else if let Some(piece) = self.find(&object)? {
                    pieces.push(piece);
                }
            }
        }
        self.bring(pieces, large)?;
        if let Some(lost) = lacking.iter().find(|w| there.contains(&w.pin.id) && !self.store.contains(&w.pin)) {
            return Err(Error::new(Kind::Bug, format!("{} was fetched and is not all here", lost.name)));
        }
        Ok(there)
    }

    /// Where something is that nobody pushed as a whole: perhaps within something else.
    fn locate(&self, pin: &Pin) -> Result<Option<Location>> {
        if pin.is_dir() {
            return Ok(None);
        }
        if is_large(ObjectKind::Content, pin.size) {
            return Ok(self.catalog.all.loose.contains_key(&pin.id).then_some(Location::Loose));
        }
        for pack in self.catalog.all.packs.keys() {
            if let Some(row) = self.remote.memory.index(pack).and_then(|index| index.find(&pin.id)) {
                let slice = Slice { pack: *pack, offset: row.offset, length: row.length };
                return Ok(Some(Location::Packed(slice)));
            }
        }
        Ok(None)
    }

    /// Decides for every pack of some folders whether it is fetched whole, and fetches those; of the others the index.
    fn open_packs(&mut self, roots: &[(Pin, Vec<PackId>)]) -> Result<()> {
        let here: HashSet<PackId> =
            self.store.all_packs().iter().filter(|pack| pack.dead.is_empty()).map(|pack| pack.id).collect();
        let ids: BTreeSet<PackId> =
            roots.iter().flat_map(|(_, packs)| packs).filter(|id| !here.contains(id)).copied().collect();
        let row = |id: &PackId| {
            let row = self.catalog.all.packs.get(id).copied();
            row.ok_or_else(|| Error::new(Kind::Bug, format!("no segment tells of the pack {id}")))
        };
        let rows: Vec<(PackId, PackRow)> = ids.iter().map(|id| Ok((*id, row(id)?))).collect::<Result<_>>()?;
        let total: u64 = rows.iter().map(|(_, row)| row.length).sum();
        let wanted: u64 = roots.iter().map(|(pin, _)| pin.size).sum();
        // Else these packs hold much that is nobody's concern.
        let is_fair = total <= wanted.saturating_mul(2).saturating_add(SMALL_PACK);
        let known: Mutex<Vec<(PackId, PackRow, Option<Arc<PackIndex>>)>> = Mutex::default();
        self.remote.place.share(1);
        each(self.remote.jobs, &rows, |(id, row)| {
            let index = match self.remote.memory.index(id) {
                None if row.length <= SMALL_PACK && is_fair => None,
                Some(index) => Some(index),
                None => Some(self.remote.index(id, row)?),
            };
            known.lock().unwrap_or_else(|e| e.into_inner()).push((*id, *row, index));
            Ok(())
        })?;
        let mut whole = Vec::new();
        for (id, row, index) in known.into_inner().unwrap_or_else(|e| e.into_inner()) {
            let Some(index) = index else {
                whole.push((id, row));
                continue;
            };
            let missing = |row: &Row| self.store.size(&row.id).is_none();
            let missing: u64 = if is_fair { index.iter().filter(missing).map(|row| row.length).sum() } else { 0 };
            if missing >= row.index / 2 && missing > 0 {
                whole.push((id, row));
            } else {
                self.indexes.insert(id, index);
            }
        }
        let bytes = whole.iter().map(|(_, row)| row.length).sum();
        self.sink.event(Event::WorkPlanned { doing: Doing::Fetching, bytes });
        let arrived = Mutex::new(Vec::new());
        self.remote.place.share(self.remote.jobs.min(whole.len()));
        each(self.remote.jobs, &whole, |(id, row)| {
            let path = pack_path(id);
            let take = |_: &std::path::Path, file: &File| read_tail(file, id, row);
            let got = bring(self.remote, self.store, (&path, &id.to_string(), row.length), &self.done(), take)?;
            arrived.lock().unwrap_or_else(|e| e.into_inner()).push(got);
            Ok(())
        })?;
        for (partial, index) in arrived.into_inner().unwrap_or_else(|e| e.into_inner()) {
            self.remote.memory.keep_index(&index);
            self.moved.objects += index.len();
            self.moved.bytes += index.file_length();
            self.whole.push((partial, Arc::new(index)));
        }
        Ok(())
    }

    fn done(&self) -> impl Fn(u64) + Sync + '_ {
        |bytes| self.sink.event(Event::WorkDone { doing: Doing::Fetching, bytes })
    }

    /// All contents below a folder that are not here.
    fn walk(&mut self, root: &Pin) -> Result<Vec<ObjectRef>> {
        let mut missing = Vec::new();
        let mut seen = HashSet::from([root.id]);
        let mut level = vec![root.id];
        while !level.is_empty() {
            let mut next = Vec::new();
            let mut later = Vec::new();
            for id in level {
                let Some(tree) = self.tree(&id)? else {
                    later.push(id);
                    continue;
                };
                for entry in &tree.entries {
                    let pin = entry.pin();
                    if !seen.insert(pin.id) {
                        continue;
                    }
                    if pin.is_dir() {
                        next.push(pin.id);
                    } else if !self.store.contains(&pin) {
                        missing.push(ObjectRef { id: pin.id, kind: ObjectKind::Content, size: pin.size });
                    }
                }
            }
            if !later.is_empty() {
                self.fetch_trees(&later)?;
                next.extend(later);
            }
            level = next;
        }
        Ok(missing)
    }

    /// A tree, if it is here already.
    fn tree(&self, id: &ObjectId) -> Result<Option<Tree>> {
        let malformed = |e| Error::new(Kind::Remote, format!("the folder {id} at the remote cannot be used: {e}"));
        if let Some(bytes) = self.trees.get(id) {
            return Tree::parse(bytes).map(Some).map_err(malformed);
        }
        for (partial, index) in &self.whole {
            if let Some(row) = index.find(id).filter(|row| row.kind == ObjectKind::Tree) {
                let mut bytes = vec![0; row.length as usize];
                let read = partial.file.read_exact_at(&mut bytes, row.offset);
                read.map_err(|e| Error::io("read", &partial.path, e))?;
                if ObjectKind::Tree.id_of(&bytes) != *id {
                    let why = Error::missing(format!("the bytes at {} do not fit the folder {id}", row.offset));
                    return Err(self.remote.damaged(&pack_path(&index.id()), why));
                }
                return Tree::parse(&bytes).map(Some).map_err(malformed);
            }
        }
        match self.store.read_tree(id) {
            Ok(tree) => Ok(Some(tree)),
            Err(e) if e.kind == Kind::Missing => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads these trees, and with them all others of their packs, which will be asked for next.
    fn fetch_trees(&mut self, ids: &[ObjectId]) -> Result<()> {
        let mut packs = BTreeSet::new();
        for id in ids {
            match self.indexes.values().find(|index| index.find(id).is_some()) {
                Some(index) => drop(packs.insert(index.id())),
                None => return Err(self.lost(id)),
            }
        }
        let pieces: Vec<Piece> = self
            .indexes
            .values()
            .filter(|index| packs.contains(&index.id()))
            .flat_map(|index| index.iter().map(|row| (index.id(), row)))
            .filter(|(_, row)| row.kind == ObjectKind::Tree && !self.trees.contains_key(&row.id))
            .filter(|(_, row)| ids.contains(&row.id) || self.store.size(&row.id).is_none())
            .map(|(pack, row)| piece(pack, &row))
            .collect();
        for (piece, bytes) in self.read(&pieces)? {
            self.trees.insert(piece.id, bytes);
        }
        Ok(())
    }

    /// Where a small object is; `None` if it comes with a whole pack.
    fn find(&self, object: &ObjectRef) -> Result<Option<Piece>> {
        if self.whole.iter().any(|(_, index)| index.find(&object.id).is_some()) {
            return Ok(None);
        }
        let found = self.indexes.values().find_map(|index| Some(piece(index.id(), &index.find(&object.id)?)));
        found.map(Some).ok_or_else(|| self.lost(&object.id))
    }

    fn lost(&self, id: &ObjectId) -> Error {
        let remote = self.remote;
        Error::missing(format!("the object {id} is not at the remote {} ({})", remote.name, remote.url()))
            .because("an index there says that it is complete")
            .hint(remote.again())
    }

    fn read(&mut self, pieces: &[Piece]) -> Result<Vec<(Piece, Vec<u8>)>> {
        let stretches = stretches(pieces.to_vec());
        let bytes = stretches.iter().map(|stretch| stretch.range.end - stretch.range.start).sum();
        self.sink.event(Event::WorkPlanned { doing: Doing::Fetching, bytes });
        let read: Mutex<Vec<(Piece, Vec<u8>)>> = Mutex::default();
        self.remote.place.share(self.remote.jobs.min(stretches.len()));
        each(self.remote.jobs, &stretches, |stretch| {
            let objects = self.remote.read_stretch(stretch)?;
            self.done()(stretch.range.end - stretch.range.start);
            read.lock().unwrap_or_else(|e| e.into_inner()).extend(objects);
            Ok(())
        })?;
        self.moved.objects += pieces.len();
        self.moved.bytes += bytes;
        Ok(read.into_inner().unwrap_or_else(|e| e.into_inner()))
    }

    /// Moves what was located, and makes all of it visible: contents, then packs, then trees.
    fn bring(&mut self, mut pieces: Vec<Piece>, large: BTreeMap<ObjectId, u64>) -> Result<()> {
        let large: Vec<(ObjectId, u64)> = large.into_iter().collect();
        let bytes = large.iter().map(|(_, size)| size).sum();
        self.sink.event(Event::WorkPlanned { doing: Doing::Fetching, bytes });
        self.remote.place.share(self.remote.jobs.min(large.len()));
        each(self.remote.jobs, &large, |(id, size)| {
            let take = |path: &std::path::Path, _: &File| self.store.adopt_object(id, ObjectKind::Content, path);
            bring(self.remote, self.store, (&object_path(id), &id.hex(), *size), &self.done(), take).map(drop)
        })?;
        self.moved.objects += large.len();
        self.moved.bytes += bytes;
        pieces.sort_by_key(|piece| (piece.slice.pack, piece.slice.offset));
        while !pieces.is_empty() {
            let mut size = 0;
            let n = pieces.iter().take_while(|piece| {
                size += piece.slice.length;
                size <= BATCH
            });
            let some: Vec<Piece> = pieces.drain(..n.count().max(1)).collect();
            let read = self.read(&some)?;
            self.store_all(read.into_iter().map(|(piece, bytes)| (piece.kind, bytes)))?;
        }
        for (partial, index) in std::mem::take(&mut self.whole) {
            self.adopt(partial, &index)?;
        }
        let trees = std::mem::take(&mut self.trees);
        self.store_all(trees.into_values().map(|bytes| (ObjectKind::Tree, bytes)))
    }

    /// Takes a pack in that arrived. One of which a part is of an earlier attempt may owe its damage to that.
    fn adopt(&self, partial: Partial, index: &PackIndex) -> Result<()> {
        let path = pack_path(&index.id());
        let Err(e) = self.store.adopt_pack(&partial.path) else { return Ok(()) };
        if e.kind != Kind::Missing {
            return Err(e);
        }
        let is_resumed = partial.is_resumed;
        partial.discard();
        if !is_resumed {
            return Err(self.remote.damaged(&path, e));
        }
        let take = |path: &std::path::Path, _: &File| self.store.adopt_pack(path);
        let name = (path.as_str(), index.id().to_string(), index.file_length());
        bring(self.remote, self.store, (name.0, &name.1, name.2), &|_| (), take).map(drop)
    }

    fn store_all(&self, objects: impl Iterator<Item = (ObjectKind, Vec<u8>)>) -> Result<()> {
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

fn piece(pack: PackId, row: &Row) -> Piece {
    Piece { id: row.id, kind: row.kind, slice: Slice { pack, offset: row.offset, length: row.length } }
}

/// The index at the end of a pack that arrived. What its objects hold is verified when it is taken in.
fn read_tail(file: &File, id: &PackId, row: &PackRow) -> Result<PackIndex> {
    let mut tail = vec![0; (row.length - row.index) as usize];
    file.read_exact_at(&mut tail, row.index).map_err(|e| Error::io("read", "a pack that was fetched", e))?;
    let index = PackIndex::parse(tail).map_err(|e| Error::missing(e.to_string()))?;
    if index.id() == *id { Ok(index) } else { Err(Error::missing("its index is that of another pack")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nearly_touches_is_read_at_once() {
        let at = |pack: u8, offset: u64, length: u64| Piece {
            id: ObjectId([pack; 32]),
            kind: ObjectKind::Content,
            slice: Slice { pack: PackId(ObjectId([pack; 32])), offset, length },
        };
        for (pieces, want) in [
            (vec![], vec![]),
            (vec![at(1, 16, 10), at(1, 26, 10)], vec![16..36]),
            (vec![at(1, 26, 10), at(1, 16, 10)], vec![16..36]),
            (vec![at(1, 0, 10), at(1, 10 + GAP, 10)], vec![0..20 + GAP]),
            (vec![at(1, 0, 10), at(1, 11 + GAP, 10)], vec![0..10, 11 + GAP..21 + GAP]),
            (vec![at(1, 0, RUN), at(1, RUN, 1)], vec![0..RUN, RUN..RUN + 1]),
            (vec![at(1, 0, 5), at(2, 5, 5)], vec![0..5, 5..10]),
        ] {
            let got: Vec<Range<u64>> = stretches(pieces).into_iter().map(|stretch| stretch.range).collect();
            assert_eq!(got, want);
        }
    }
}
