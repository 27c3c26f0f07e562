//! One fetch: from pins to objects in the store.
//!
//! Packs of which most is wanted come whole and are adopted as they are; of others the wanted ranges are read, those
//! that nearly touch in one request. Large objects come alone and resume after an interruption. Contents become visible
//! before the trees that name them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Doing, Event, Sink};
use crate::remote::catalog::Catalog;
use crate::remote::partial::{Partial, bring};
use crate::remote::segment::{Location, PackRow, Slice};
use crate::remote::stretch::{Piece, piece, stretches};
use crate::remote::transfer::each;
use crate::remote::{Remote, Wanted, is_large, object_path, pack_path};
use crate::store::pack::format::{PackId, PackIndex, Row};
use crate::store::tree::Tree;
use crate::store::{ObjectId, ObjectKind, ObjectRef, Pin, Store};

/// Packs of this size and less come whole: a second request would cost more.
const SMALL_PACK: u64 = 4 << 20;
/// Objects that are in memory at once before they are stored.
const BATCH: u64 = 64 << 20;

/// One fetch, as far as it got.
pub struct Getting<'a> {
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
    pub moved: Moved,
}

#[derive(Default)]
pub struct Moved {
    pub objects: usize,
    pub bytes: u64,
}

impl<'a> Getting<'a> {
    pub fn new(remote: &'a Remote, store: &'a Store, catalog: Arc<Catalog>, sink: &'a dyn Sink) -> Getting<'a> {
        let (indexes, whole, trees, moved) = Default::default();
        Getting { remote, store, catalog, sink, indexes, whole, trees, moved }
    }

    /// Which of the wanted pins are here afterwards.
    pub fn get(&mut self, lacking: &[&Wanted]) -> Result<HashSet<ObjectId>> {
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
        pieces.retain(|piece| !self.comes_whole(&piece.id));
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
        let known = Mutex::new(Vec::new());
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
            let take = |_: &Path, file: &File| read_tail(file, id, row);
            let got = bring(self.remote, self.store, (&path, &id.to_string(), row.length), &self.done(), take)?;
            arrived.lock().unwrap_or_else(|e| e.into_inner()).push(got);
            Ok(())
        })?;
        for (partial, index) in arrived.into_inner().unwrap_or_else(|e| e.into_inner()) {
            self.remote.memory.keep_index(&index);
            let runs = &self.catalog.all.runs;
            self.moved.objects += index.iter().filter(|row| !runs.contains_key(&row.id)).count();
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

    /// Is it in a pack that was fetched whole?
    fn comes_whole(&self, id: &ObjectId) -> bool {
        self.whole.iter().any(|(_, index)| index.find(id).is_some())
    }

    /// Where a small object is; `None` if it comes with a whole pack.
    fn find(&self, object: &ObjectRef) -> Result<Option<Piece>> {
        if self.comes_whole(&object.id) {
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
            let take = |path: &Path, _: &File| self.store.adopt_object(id, ObjectKind::Content, path);
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
        let take = |path: &Path, _: &File| self.store.adopt_pack(path);
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

/// The index at the end of a pack that arrived. What its objects hold is verified when it is taken in.
fn read_tail(file: &File, id: &PackId, row: &PackRow) -> Result<PackIndex> {
    let mut tail = vec![0; (row.length - row.index) as usize];
    file.read_exact_at(&mut tail, row.index).map_err(|e| Error::io("read", "a pack that was fetched", e))?;
    let index = PackIndex::parse(tail).map_err(|e| Error::missing(e.to_string()))?;
    if index.id() == *id { Ok(index) } else { Err(Error::missing("its index is that of another pack")) }
}
