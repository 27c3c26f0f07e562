//! One fetch: from pins to objects in the store.
//!
//! Packs of which most is wanted come whole and are adopted as they are; of others the wanted ranges are read, those
//! that nearly touch in one request. Large objects come alone and resume after an interruption. Contents become visible
//! before the trees that name them.
//!
//! What turns out damaged or gone is noted (`loss`), and everything else still comes: of a pack with a bad object, the
//! good ones. A tree may so be here without all that it names, which `Store::contains` sees.

mod adopt;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::remote::backend::transfer::each;
use crate::remote::catalog::Catalog;
use crate::remote::catalog::segment::{Location, PackRow, Slice};
use crate::remote::fetch::losses::{Losses, Lost};
use crate::remote::fetch::ranges::{Piece, piece, stretches};
use crate::remote::fetch::resume::bring;
use crate::remote::{Remote, Wanted, is_large, pack_path};
use crate::store::pack::format::{PackId, PackIndex, Row};
use crate::store::pack::table::Table;
use crate::store::trees::Tree;
use crate::store::{DEEPEST, LARGEST_READ, ObjectId, ObjectKind, ObjectRef, Pin, Store};
use adopt::read_tail;

/// Packs of this size and less come whole: a second request would cost more.
const SMALL_PACK: u64 = 4 << 20;

/// One fetch, as far as it got.
pub struct Getting<'a> {
    remote: &'a Remote,
    store: &'a Store,
    catalog: Arc<Catalog>,
    sink: &'a dyn Sink,
    /// What the packs hold that are looked into, and those that lie whole in `tmp/`.
    indexes: Vec<Arc<PackIndex>>,
    /// Over the indexes.
    table: Table,
    whole: BTreeMap<PackId, Whole>,
    /// Trees that are not in the store yet, encoded.
    trees: HashMap<ObjectId, Vec<u8>>,
    pub moved: Moved,
    pub losses: Losses,
}

/// A pack that lies whole in `tmp/`, not yet taken in: its trees become visible after the large objects that they name.
/// It is closed meanwhile, since there may be any number of them.
struct Whole {
    path: PathBuf,
    /// Some of it is of an earlier attempt.
    is_resumed: bool,
}

#[derive(Default)]
pub struct Moved {
    pub objects: usize,
    pub bytes: u64,
}

impl<'a> Getting<'a> {
    pub fn new(remote: &'a Remote, store: &'a Store, catalog: Arc<Catalog>, sink: &'a dyn Sink) -> Getting<'a> {
        let (indexes, table, whole, trees, moved, losses) = Default::default();
        Getting { remote, store, catalog, sink, indexes, table, whole, trees, moved, losses }
    }

    /// Brings what of the wanted is there, as far as it can be had. Where each is that was found at all.
    pub fn get(&mut self, lacking: &[&Wanted]) -> Result<HashMap<ObjectId, Location>> {
        let catalog = Arc::clone(&self.catalog);
        let (mut pieces, mut large, mut roots) = (Vec::new(), BTreeMap::new(), Vec::new());
        // Folders that were not pushed as a whole, whose listings are here: a merge joined them. Their files may be there.
        let mut parts = Vec::new();
        let mut there = HashMap::new();
        let elsewhere = self.within(lacking.iter().map(|wanted| &wanted.pin).filter(|pin| catalog.root(pin).is_none()));
        for wanted in lacking {
            let pin = &wanted.pin;
            let location = catalog.root(pin).map(|root| &root.location).or_else(|| elsewhere.get(&pin.id));
            let Some(location) = location.cloned() else {
                if pin.is_dir() && self.store.missing_objects(pin)?.trees.is_empty() {
                    parts.push(*pin);
                }
                continue;
            };
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
        if !parts.is_empty() {
            let known: HashSet<PackId> = self.indexes.iter().map(|index| index.id()).collect();
            let packs: Vec<PackId> = catalog.all.packs.keys().filter(|id| !known.contains(id)).copied().collect();
            self.open_packs(&parts.iter().map(|pin| (*pin, packs.clone())).collect::<Vec<_>>())?;
        }
        pieces.retain(|piece| !self.find(&piece.id).is_some_and(|(pack, _)| self.whole.contains_key(&pack)));
        let mut wanted = HashSet::new();
        let pins = roots.iter().map(|(pin, _)| (pin, true)).chain(parts.iter().map(|pin| (pin, false)));
        for (pin, is_whole) in pins {
            for object in self.walk(pin)? {
                if !wanted.insert(object.id) {
                } else if is_large(object.kind, object.size) {
                    if is_whole || catalog.all.loose.contains_key(&object.id) {
                        large.insert(object.id, object.size);
                    }
                } else {
                    match self.find(&object.id) {
                        Some((pack, _)) if self.whole.contains_key(&pack) => {}
                        Some((pack, row)) if row.length == object.size => pieces.push(piece(pack, &row)),
                        Some((pack, row)) => self.losses.note(Lost::Object(object.id), self.unfit(&pack, &row)),
                        None if is_whole => self.losses.unknown(object.id, || self.lost(&object.id)),
                        None => {}
                    }
                }
            }
        }
        self.bring(pieces, large)?;
        Ok(there)
    }

    /// Brings the listings of a folder, its trees, and nothing of what they name.
    pub fn list(&mut self, pin: &Pin) -> Result<()> {
        let catalog = Arc::clone(&self.catalog);
        let Some(Location::Tree(packs)) = catalog.root(pin).map(|root| &root.location) else { return Ok(()) };
        for id in packs {
            let Some(row) = catalog.all.packs.get(id) else { continue };
            let index = match self.remote.memory.index(id) {
                Some(index) => Some(index),
                None => self.losses.unless(Lost::Pack(*id), self.remote.index(id, row)?),
            };
            index.into_iter().for_each(|index| self.know(index));
        }
        self.walk(pin)?;
        self.bring(Vec::new(), BTreeMap::new())
    }

    /// Where files are that nobody pushed by themselves: perhaps within something else. Each index is read once.
    fn within<'p>(&self, pins: impl Iterator<Item = &'p Pin>) -> HashMap<ObjectId, Location> {
        let all = &self.catalog.all;
        let (large, small): (Vec<&Pin>, Vec<&Pin>) =
            pins.filter(|pin| !pin.is_dir()).partition(|pin| is_large(ObjectKind::Content, pin.size));
        let there = large.iter().filter(|pin| all.loose.contains_key(&pin.id));
        let mut found: HashMap<ObjectId, Location> = there.map(|pin| (pin.id, Location::Loose)).collect();
        let mut sought: HashSet<ObjectId> = small.iter().map(|pin| pin.id).collect();
        for pack in all.packs.keys() {
            if sought.is_empty() {
                break;
            }
            let Some(index) = self.remote.memory.index(pack) else { continue };
            let rows: Vec<Row> = if index.len() < sought.len() {
                index.iter().filter(|row| sought.contains(&row.id)).collect()
            } else {
                sought.iter().filter_map(|id| index.find(id)).collect()
            };
            for row in rows {
                let slice = Slice { pack: *pack, offset: row.offset, length: row.length };
                found.insert(row.id, Location::Packed(slice));
                sought.remove(&row.id);
            }
        }
        found
    }

    /// Decides for every pack of some folders whether it is fetched whole, and fetches those; of the others the index.
    fn open_packs(&mut self, roots: &[(Pin, Vec<PackId>)]) -> Result<()> {
        let here: HashSet<PackId> =
            self.store.all_packs().iter().filter(|pack| pack.tombstoned.is_empty()).map(|pack| pack.id).collect();
        let ids: BTreeSet<PackId> =
            roots.iter().flat_map(|(_, packs)| packs).filter(|id| !here.contains(id)).copied().collect();
        let row = |id: &PackId| {
            let row = self.catalog.all.packs.get(id).copied();
            row.ok_or_else(|| Error::new(Kind::Bug, format!("no segment tells of the pack {id}")))
        };
        let rows: Vec<(PackId, PackRow)> = ids.iter().map(|id| Ok((*id, row(id)?))).collect::<Result<_>>()?;
        let total = sum(rows.iter().map(|(_, row)| row.length));
        let wanted = sum(roots.iter().map(|(pin, _)| pin.size));
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
            let missing = if is_fair { sum(index.iter().filter(missing).map(|row| row.length)) } else { 0 };
            if missing >= row.index / 2 && missing > 0 {
                whole.push((id, row));
            } else {
                self.know(index);
            }
        }
        let bytes = sum(whole.iter().map(|(_, row)| row.length));
        self.sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
        let arrived = Mutex::new(Vec::new());
        self.remote.place.share(self.remote.jobs.min(whole.len()));
        each(self.remote.jobs, &whole, |(id, row)| {
            let path = pack_path(id);
            let take = |_: &Path, file: &File| read_tail(file, id, row);
            let got = bring(self.remote, self.store, (&path, &id.to_string(), row.length), &self.done(), take)?;
            let got = self.losses.unless(Lost::Pack(*id), got);
            let got = got.map(|(partial, index)| (Whole { path: partial.path, is_resumed: partial.is_resumed }, index));
            arrived.lock().unwrap_or_else(|e| e.into_inner()).extend(got);
            Ok(())
        })?;
        for (whole, index) in arrived.into_inner().unwrap_or_else(|e| e.into_inner()) {
            self.remote.memory.keep_index(&index);
            let runs = &self.catalog.all.runs;
            self.moved.objects += index.iter().filter(|row| !runs.contains_key(&row.id)).count();
            self.moved.bytes += index.file_length();
            self.whole.insert(index.id(), whole);
            self.know(Arc::new(index));
        }
        Ok(())
    }

    fn know(&mut self, index: Arc<PackIndex>) {
        self.table.add(self.indexes.len(), &index);
        self.indexes.push(index);
    }

    /// Where in the packs an object is: in one that comes whole, if there is one.
    fn find(&self, id: &ObjectId) -> Option<(PackId, Row)> {
        let rows = self.table.find(id).filter_map(|(at, row)| {
            let index = self.indexes.get(at)?;
            Some((index.id(), index.row(row)?))
        });
        let mut first = None;
        for (pack, row) in rows.filter(|(_, row)| row.id == *id) {
            if self.whole.contains_key(&pack) {
                return Some((pack, row));
            }
            first = first.or(Some((pack, row)));
        }
        first
    }

    fn done(&self) -> impl Fn(u64) + Sync + '_ {
        |bytes| self.sink.event(Event::WorkDone { doing: Activity::Fetching, bytes })
    }

    /// All contents below a folder that are not here.
    fn walk(&mut self, root: &Pin) -> Result<Vec<ObjectRef>> {
        let mut missing = Vec::new();
        let mut seen = HashSet::from([root.id]);
        let mut level = vec![root.id];
        let mut depth = 0;
        while !level.is_empty() {
            // Each round opens a level or fetches its trees.
            depth += 1;
            if depth > 2 * DEEPEST {
                let error = Error::new(Kind::Remote, format!("the folder {} is nested too deeply", root.id));
                self.losses.note(Lost::Object(root.id), error);
                break;
            }
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
        if let Some((pack, row)) = self.find(id).filter(|(_, row)| row.kind == ObjectKind::Tree)
            && let Some(whole) = self.whole.get(&pack)
            // Another process that fetches the same may have taken the file in.
            && let Ok(file) = File::open(&whole.path)
        {
            if row.length > LARGEST_READ {
                return Ok(Err(self.unfit(&pack, &row)));
            }
            let mut bytes = vec![0; row.length as usize];
            file.read_exact_at(&mut bytes, row.offset).map_err(|e| Error::io("read", &whole.path, e))?;
            if ObjectKind::Tree.id_of(&bytes) != *id {
                return Ok(Err(self.unfit(&pack, &row)));
            }
            return Ok(Tree::parse(&bytes).map(Some).map_err(malformed));
        }
        match self.store.read_tree(id, 0) {
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
            match self.find(id) {
                Some((pack, _)) => drop(packs.insert(pack)),
                None => self.losses.unknown(*id, || self.lost(id)),
            }
        }
        let ids: HashSet<&ObjectId> = ids.iter().collect();
        let pieces: Vec<Piece> = self
            .indexes
            .iter()
            .filter(|index| packs.contains(&index.id()))
            .flat_map(|index| index.iter().map(|row| (index.id(), row)))
            .filter(|(_, row)| row.kind == ObjectKind::Tree && !self.trees.contains_key(&row.id))
            .filter(|(_, row)| ids.contains(&row.id) || self.store.size(&row.id).is_none())
            .filter(|(pack, row)| {
                let is_sane = row.length <= LARGEST_READ;
                if !is_sane && ids.contains(&row.id) {
                    self.losses.note(Lost::Object(row.id), self.unfit(pack, row));
                }
                is_sane
            })
            .map(|(pack, row)| piece(pack, &row))
            .collect();
        for (piece, bytes) in self.read(&pieces)? {
            self.trees.insert(piece.id, bytes);
        }
        Ok(())
    }

    fn lost(&self, id: &ObjectId) -> Error {
        let remote = self.remote;
        Error::missing(format!("the object {id} is not at the remote {} ({})", remote.name, remote.url()))
            .because("an index there says that it is complete")
            .hint(remote.again())
    }

    fn read(&mut self, pieces: &[Piece]) -> Result<Vec<(Piece, Vec<u8>)>> {
        let stretches = stretches(pieces.to_vec());
        let bytes = sum(stretches.iter().map(|stretch| stretch.range.end - stretch.range.start));
        self.sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
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
}

/// Numbers from a remote may be as large as they like.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
