//! A fetch session: from pins to objects in the store.
//!
//! Packs of which most is wanted are fetched whole and adopted; of other packs the wanted ranges are read, nearby ones
//! in one request. Large objects are fetched one by one and resume after an interruption. Contents become visible
//! before the trees that name them.
//!
//! Damaged or missing objects are recorded in `losses`, and everything else is still fetched: of a pack with a bad
//! object, the good ones. So a tree may be in the store without all the objects that it names; `Store::contains` checks
//! for that.

mod adopt;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::remote::backend::transfer::run_parallel;
use crate::remote::catalog::Catalog;
use crate::remote::catalog::segment::{Location, PackRow, Slice};
use crate::remote::fetch::losses::{Losses, LostObject};
use crate::remote::fetch::ranges::{PackEntry, coalesce, entry};
use crate::remote::fetch::resume::download;
use crate::remote::{Remote, Wanted, is_large, pack_path};
use crate::store::pack::format::{PackId, PackIndex, Row};
use crate::store::pack::table::PackTable;
use crate::store::trees::Tree;
use crate::store::{DEEPEST, LARGEST_READ, ObjectId, ObjectKind, ObjectRef, Pin, Store};
use adopt::read_tail;

/// Packs up to this size are fetched whole: a second request would cost more.
const SMALL_PACK: u64 = 4 << 20;

/// The state of a fetch.
pub struct FetchSession<'a> {
    remote: &'a Remote,
    store: &'a Store,
    catalog: Arc<Catalog>,
    sink: &'a dyn Sink,
    /// The indexes of the packs in use, including those that are whole in `tmp/`.
    indexes: Vec<Arc<PackIndex>>,
    /// A lookup table over the indexes.
    table: PackTable,
    whole: BTreeMap<PackId, WholePack>,
    /// Trees that are not in the store yet, encoded.
    trees: HashMap<ObjectId, Vec<u8>>,
    pub moved: SessionTotals,
    pub losses: Losses,
}

/// A whole pack in `tmp/` that is not adopted yet: its trees become visible after the large objects that they name. The
/// file is closed until then, since there may be any number of packs.
struct WholePack {
    path: PathBuf,
    /// Whether some bytes are from an earlier attempt.
    is_resumed: bool,
}

/// The number of objects and bytes of a session.
#[derive(Default)]
pub struct SessionTotals {
    pub objects: usize,
    pub bytes: u64,
}

impl<'a> FetchSession<'a> {
    pub fn new(remote: &'a Remote, store: &'a Store, catalog: Arc<Catalog>, sink: &'a dyn Sink) -> FetchSession<'a> {
        let (indexes, table, whole, trees, moved, losses) = Default::default();
        FetchSession { remote, store, catalog, sink, indexes, table, whole, trees, moved, losses }
    }

    /// Fetches what the remote has of the wanted outputs, as far as possible. Returns the locations that were found.
    pub fn get(&mut self, lacking: &[&Wanted]) -> Result<HashMap<ObjectId, Location>> {
        let catalog = Arc::clone(&self.catalog);
        let (mut entries, mut large, mut roots) = (Vec::new(), BTreeMap::new(), Vec::new());
        // Folders that were not pushed as a whole, whose trees are in the store: a merge joined them. The remote may
        // have their files.
        let mut parts = Vec::new();
        let mut there = HashMap::new();
        let elsewhere =
            self.locate_in_packs(lacking.iter().map(|wanted| &wanted.pin).filter(|pin| catalog.root(pin).is_none()));
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
                    entries.push(PackEntry { id: pin.id, kind: ObjectKind::Content, slice: *slice });
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
        entries.retain(|entry| !self.find(&entry.id).is_some_and(|(pack, _)| self.whole.contains_key(&pack)));
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
                        Some((pack, row)) if row.length == object.size => entries.push(entry(pack, &row)),
                        Some((pack, row)) => self.losses.note(LostObject::Object(object.id), self.unfit(&pack, &row)),
                        None if is_whole => self.losses.note_unlocated(object.id, || self.lost_error(&object.id)),
                        None => {}
                    }
                }
            }
        }
        self.transfer(entries, large)?;
        Ok(there)
    }

    /// Fetches the trees of a folder, and no contents.
    pub fn list(&mut self, pin: &Pin) -> Result<()> {
        let catalog = Arc::clone(&self.catalog);
        let Some(Location::Tree(packs)) = catalog.root(pin).map(|root| &root.location) else { return Ok(()) };
        for id in packs {
            let Some(row) = catalog.all.packs.get(id) else { continue };
            let index = match self.remote.memory.index(id) {
                Some(index) => Some(index),
                None => self.losses.or_record(LostObject::Pack(*id), self.remote.index(id, row)?),
            };
            index.into_iter().for_each(|index| self.add_index(index));
        }
        self.walk(pin)?;
        self.transfer(Vec::new(), BTreeMap::new())
    }

    /// The locations of files that were not pushed as outputs of their own but may be part of another one. Each index
    /// is read once.
    fn locate_in_packs<'p>(&self, pins: impl Iterator<Item = &'p Pin>) -> HashMap<ObjectId, Location> {
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

    /// Decides for each pack of some folders whether to fetch it whole, and fetches those packs; of the others only the
    /// index.
    fn open_packs(&mut self, roots: &[(Pin, Vec<PackId>)]) -> Result<()> {
        let here: HashSet<PackId> =
            self.store.all_packs().iter().filter(|pack| pack.tombstoned.is_empty()).map(|pack| pack.id).collect();
        let ids: BTreeSet<PackId> =
            roots.iter().flat_map(|(_, packs)| packs).filter(|id| !here.contains(id)).copied().collect();
        let row = |id: &PackId| {
            let row = self.catalog.all.packs.get(id).copied();
            row.ok_or_else(|| Error::new(Kind::Bug, format!("no segment lists the pack {id}")))
        };
        let rows: Vec<(PackId, PackRow)> = ids.iter().map(|id| Ok((*id, row(id)?))).collect::<Result<_>>()?;
        let total = sum(rows.iter().map(|(_, row)| row.length));
        let wanted = sum(roots.iter().map(|(pin, _)| pin.size));
        // Otherwise these packs hold too many objects that are not wanted.
        let is_fair = total <= wanted.saturating_mul(2).saturating_add(SMALL_PACK);
        let known = Mutex::new(Vec::new());
        self.remote.backend.set_jobs(1);
        run_parallel(self.remote.jobs, &rows, |(id, row)| {
            let index = match self.remote.memory.index(id) {
                None if row.length <= SMALL_PACK && is_fair => None,
                Some(index) => Some(index),
                None => match self.losses.or_record(LostObject::Pack(*id), self.remote.index(id, row)?) {
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
                self.add_index(index);
            }
        }
        let bytes = sum(whole.iter().map(|(_, row)| row.length));
        self.sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
        let arrived = Mutex::new(Vec::new());
        self.remote.backend.set_jobs(self.remote.jobs.min(whole.len()));
        run_parallel(self.remote.jobs, &whole, |(id, row)| {
            let path = pack_path(id);
            let take = |_: &Path, file: &File| read_tail(file, id, row);
            let got = download(self.remote, self.store, (&path, &id.to_string(), row.length), &self.done(), take)?;
            let got = self.losses.or_record(LostObject::Pack(*id), got);
            let got =
                got.map(|(partial, index)| (WholePack { path: partial.path, is_resumed: partial.is_resumed }, index));
            arrived.lock().unwrap_or_else(|e| e.into_inner()).extend(got);
            Ok(())
        })?;
        for (whole, index) in arrived.into_inner().unwrap_or_else(|e| e.into_inner()) {
            self.remote.memory.cache_index(&index);
            let runs = &self.catalog.all.runs;
            self.moved.objects += index.iter().filter(|row| !runs.contains_key(&row.id)).count();
            self.moved.bytes += index.file_length();
            self.whole.insert(index.id(), whole);
            self.add_index(Arc::new(index));
        }
        Ok(())
    }

    fn add_index(&mut self, index: Arc<PackIndex>) {
        self.table.add(self.indexes.len(), &index);
        self.indexes.push(index);
    }

    /// The location of an object in the packs, preferably in one that is fetched whole.
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

    /// All contents below a folder that the store lacks.
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
                self.losses.note(LostObject::Object(root.id), error);
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
                        self.losses.note(LostObject::Object(id), lost);
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

    /// A tree, if it has been fetched or stored. The inner error concerns this tree alone.
    fn tree(&self, id: &ObjectId) -> Result<Result<Option<Tree>>> {
        let malformed = |e| Error::new(Kind::Remote, format!("the folder {id} at the remote cannot be used: {e}"));
        if let Some(bytes) = self.trees.get(id) {
            return Ok(Tree::parse(bytes).map(Some).map_err(malformed));
        }
        if let Some((pack, row)) = self.find(id).filter(|(_, row)| row.kind == ObjectKind::Tree)
            && let Some(whole) = self.whole.get(&pack)
            // Another process that fetches the same pack may have adopted the file.
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

    /// Reads these trees and all others of their packs, which are needed next.
    fn fetch_trees(&mut self, ids: &[ObjectId]) -> Result<()> {
        let mut packs = BTreeSet::new();
        for id in ids {
            match self.find(id) {
                Some((pack, _)) => drop(packs.insert(pack)),
                None => self.losses.note_unlocated(*id, || self.lost_error(id)),
            }
        }
        let ids: HashSet<&ObjectId> = ids.iter().collect();
        let entries: Vec<PackEntry> = self
            .indexes
            .iter()
            .filter(|index| packs.contains(&index.id()))
            .flat_map(|index| index.iter().map(|row| (index.id(), row)))
            .filter(|(_, row)| row.kind == ObjectKind::Tree && !self.trees.contains_key(&row.id))
            .filter(|(_, row)| ids.contains(&row.id) || self.store.size(&row.id).is_none())
            .filter(|(pack, row)| {
                let is_sane = row.length <= LARGEST_READ;
                if !is_sane && ids.contains(&row.id) {
                    self.losses.note(LostObject::Object(row.id), self.unfit(pack, row));
                }
                is_sane
            })
            .map(|(pack, row)| entry(pack, &row))
            .collect();
        for (entry, bytes) in self.read(&entries)? {
            self.trees.insert(entry.id, bytes);
        }
        Ok(())
    }

    fn lost_error(&self, id: &ObjectId) -> Error {
        let remote = self.remote;
        Error::missing(format!("the object {id} is not at the remote {} ({})", remote.name, remote.url()))
            .because("an index at the remote says that the output that contains it is complete there")
            .hint(remote.push_again_hint())
    }

    fn read(&mut self, entries: &[PackEntry]) -> Result<Vec<(PackEntry, Vec<u8>)>> {
        let ranges = coalesce(entries.to_vec());
        let bytes = sum(ranges.iter().map(|range| range.bytes.end - range.bytes.start));
        self.sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
        let read: Mutex<Vec<(PackEntry, Vec<u8>)>> = Mutex::default();
        self.remote.backend.set_jobs(self.remote.jobs.min(ranges.len()));
        run_parallel(self.remote.jobs, &ranges, |range| {
            let objects = self.remote.read_range(range, &|what, error| self.losses.note(what, error))?;
            self.done()(range.bytes.end - range.bytes.start);
            read.lock().unwrap_or_else(|e| e.into_inner()).extend(objects);
            Ok(())
        })?;
        let read = read.into_inner().unwrap_or_else(|e| e.into_inner());
        self.moved.objects += read.len();
        self.moved.bytes += bytes;
        Ok(read)
    }
}

/// Saturating, since numbers from a remote may have any size.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
