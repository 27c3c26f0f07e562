//! One fetch: from pins to objects in the store.
//!
//! Packs of which most is wanted come whole and are adopted as they are; of others the wanted ranges are read, those
//! that nearly touch in one request. Large objects come alone and resume after an interruption. Contents become visible
//! before the trees that name them.
//!
//! What turns out damaged or gone is noted (`loss`), and everything else still comes: of a pack with a bad object, the
//! good ones. A tree may so be here without all that it names, which `Store::contains` sees.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Doing, Event, Sink};
use crate::remote::catalog::Catalog;
use crate::remote::loss::{Losses, Lost};
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
    pub losses: Losses,
}

#[derive(Default)]
pub struct Moved {
    pub objects: usize,
    pub bytes: u64,
}

impl<'a> Getting<'a> {
    pub fn new(remote: &'a Remote, store: &'a Store, catalog: Arc<Catalog>, sink: &'a dyn Sink) -> Getting<'a> {
        let (indexes, whole, trees, moved, losses) = Default::default();
        Getting { remote, store, catalog, sink, indexes, whole, trees, moved, losses }
    }

    /// Brings what of the wanted is there, as far as it can be had. Where each is that was found at all.
    pub fn get(&mut self, lacking: &[&Wanted]) -> Result<HashMap<ObjectId, Location>> {
        let catalog = Arc::clone(&self.catalog);
        let (mut pieces, mut large, mut roots) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut there = HashMap::new();
        for wanted in lacking {
            let pin = &wanted.pin;
            let location = match catalog.root(pin) {
                Some(root) => Some(root.location.clone()),
                None => self.locate(pin)?,
            };
            let Some(location) = location else { continue };
            match &location {
                Location::Loose => drop(large.insert(pin.id, pin.size)),
                Location::Packed(slice) => {
                    pieces.push(Piece { id: pin.id, kind: ObjectKind::Content, slice: *slice });
                }
                Location::Tree(packs) => roots.push((*pin, packs.clone())),
            }
            there.insert(pin.id, location);
        }
        self.open_packs(&roots)?;
        pieces.retain(|piece| !self.comes_whole(&piece.id));
        let mut wanted = HashSet::new();
        for (pin, _) in &roots {
            for object in self.walk(pin)? {
                if !wanted.insert(object.id) {
                } else if is_large(object.kind, object.size) {
                    large.insert(object.id, object.size);
                } else if !self.comes_whole(&object.id) {
                    match self.find(&object.id) {
                        Some(piece) => pieces.push(piece),
                        None => self.losses.unknown(object.id, || self.lost(&object.id)),
                    }
                }
            }
        }
        self.bring(pieces, large)?;
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
                None => match self.losses.unless(Lost::Pack(*id), self.remote.index(id, row)?) {
                    None => return Ok(()),
                    index => index,
                },
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
            let got = self.losses.unless(Lost::Pack(*id), got);
            arrived.lock().unwrap_or_else(|e| e.into_inner()).extend(got);
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
                let tree = match self.tree(&id)? {
                    Ok(Some(tree)) => tree,
                    Ok(None) => {
                        later.push(id);
                        continue;
                    }
                    Err(lost) => {
                        self.losses.note(Lost::Object(id), lost);
                        continue;
                    }
                };
                for entry in &tree.entries {
                    let pin = entry.pin();
                    if !seen.insert(pin.id) {
                        continue;
                    }
                    if pin.is_dir() {
                        next.push(pin.id);
                    } else if !self.store.has(&pin) {
                        missing.push(ObjectRef { id: pin.id, kind: ObjectKind::Content, size: pin.size });
                    }
                }
            }
            if !later.is_empty() {
                self.fetch_trees(&later)?;
                next.extend(later.into_iter().filter(|id| self.trees.contains_key(id)));
            }
            level = next;
        }
        Ok(missing)
    }

    /// A tree, if it is here already. The inner error is about this tree alone.
    fn tree(&self, id: &ObjectId) -> Result<Result<Option<Tree>>> {
        let malformed = |e| Error::new(Kind::Remote, format!("the folder {id} at the remote cannot be used: {e}"));
        if let Some(bytes) = self.trees.get(id) {
            return Ok(Tree::parse(bytes).map(Some).map_err(malformed));
        }
        for (partial, index) in &self.whole {
            if let Some(row) = index.find(id).filter(|row| row.kind == ObjectKind::Tree) {
                let mut bytes = vec![0; row.length as usize];
                let read = partial.file.read_exact_at(&mut bytes, row.offset);
                read.map_err(|e| Error::io("read", &partial.path, e))?;
                if ObjectKind::Tree.id_of(&bytes) != *id {
                    return Ok(Err(self.unfit(&index.id(), &row)));
                }
                return Ok(Tree::parse(&bytes).map(Some).map_err(malformed));
            }
        }
        match self.store.read_tree(id) {
            Ok(tree) => Ok(Ok(Some(tree))),
            Err(e) if e.kind == Kind::Missing => Ok(Ok(None)),
            Err(e) => Err(e),
        }
    }

    fn unfit(&self, pack: &PackId, row: &Row) -> Error {
        let why = format!("the bytes at {} do not fit the object {}", row.offset, row.id);
        self.remote.damaged(&pack_path(pack), Error::missing(why))
    }

    /// Reads these trees, and with them all others of their packs, which will be asked for next.
    fn fetch_trees(&mut self, ids: &[ObjectId]) -> Result<()> {
        let mut packs = BTreeSet::new();
        for id in ids {
            match self.indexes.values().find(|index| index.find(id).is_some()) {
                Some(index) => drop(packs.insert(index.id())),
                None => self.losses.unknown(*id, || self.lost(id)),
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

    /// Where in the packs that do not come whole an object is.
    fn find(&self, id: &ObjectId) -> Option<Piece> {
        self.indexes.values().find_map(|index| Some(piece(index.id(), &index.find(id)?)))
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
            let objects = self.remote.read_stretch(stretch, &|what, error| self.losses.note(what, error))?;
            self.done()(stretch.range.end - stretch.range.start);
            read.lock().unwrap_or_else(|e| e.into_inner()).extend(objects);
            Ok(())
        })?;
        let read = read.into_inner().unwrap_or_else(|e| e.into_inner());
        self.moved.objects += read.len();
        self.moved.bytes += bytes;
        Ok(read)
    }

    /// Moves what was located, and makes all of it visible: contents, then packs, then trees.
    fn bring(&mut self, mut pieces: Vec<Piece>, large: BTreeMap<ObjectId, u64>) -> Result<()> {
        let large: Vec<(ObjectId, u64)> = large.into_iter().collect();
        let bytes = large.iter().map(|(_, size)| size).sum();
        self.sink.event(Event::WorkPlanned { doing: Doing::Fetching, bytes });
        let (arrived, received) = (AtomicUsize::new(0), AtomicU64::new(0));
        self.remote.place.share(self.remote.jobs.min(large.len()));
        each(self.remote.jobs, &large, |(id, size)| {
            let take = |path: &Path, _: &File| self.store.adopt_object(id, ObjectKind::Content, path);
            let got = bring(self.remote, self.store, (&object_path(id), &id.hex(), *size), &self.done(), take)?;
            if self.losses.unless(Lost::Object(*id), got).is_some() {
                arrived.fetch_add(1, Ordering::Relaxed);
                received.fetch_add(*size, Ordering::Relaxed);
            }
            Ok(())
        })?;
        self.moved.objects += arrived.into_inner();
        self.moved.bytes += received.into_inner();
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

    /// Takes a pack in that arrived. One of which a part is of an earlier attempt may owe its damage to that, and comes
    /// anew; of one that is damaged there the good objects are taken.
    fn adopt(&self, partial: Partial, index: &PackIndex) -> Result<()> {
        match self.store.adopt_pack(&partial.path) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind != Kind::Missing => return Err(e),
            Err(_) if !partial.is_resumed => return self.salvage(partial, index),
            Err(_) => partial.discard(),
        }
        let (id, length) = (index.id(), index.file_length());
        let row = PackRow { length, index: length - index.tail().len() as u64, count: index.len() as u64 };
        let take = |_: &Path, file: &File| read_tail(file, &id, &row);
        let got = bring(self.remote, self.store, (&pack_path(&id), &id.to_string(), length), &|_| (), take)?;
        match self.losses.unless(Lost::Pack(id), got) {
            Some((partial, _)) if self.store.adopt_pack(&partial.path).is_err() => self.salvage(partial, index),
            _ => Ok(()),
        }
    }

    /// The good objects of a damaged pack, contents first; the others are lost.
    fn salvage(&self, partial: Partial, index: &PackIndex) -> Result<()> {
        for kind in [ObjectKind::Content, ObjectKind::Tree] {
            let is_wanted = |row: &Row| row.kind == kind && !self.catalog.all.runs.contains_key(&row.id);
            let (mut good, mut size) = (Vec::new(), 0);
            for row in index.iter().filter(is_wanted) {
                let mut bytes = vec![0; row.length as usize];
                let read = partial.file.read_exact_at(&mut bytes, row.offset);
                read.map_err(|e| Error::io("read", &partial.path, e))?;
                if kind.id_of(&bytes) != row.id {
                    self.losses.note(Lost::Object(row.id), self.unfit(&index.id(), &row));
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
