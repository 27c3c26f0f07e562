//! Storing: one batch adds any number of files and folders to the store.
//!
//! Files come first: copied to `tmp/`, hashed on the way, made durable and renamed to their ids. Trees follow, deepest
//! first. So every object under an id is complete, and every tree had all its children when it was written. Large
//! objects become files of their own (`loose`). Small objects, if there are many, go into packs (`packed`), which are
//! written last, since the trees in them refer to the large ones. A failed batch leaves the objects that it finished,
//! which is harmless, and no temporary file.

mod loose;
mod packed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::iter::Either;
use rayon::prelude::*;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Silent, Sink};
use crate::path::links::FolderLinks;
use crate::store::copy::NoReflink;
use crate::store::fs::link::LinkType;
use crate::store::fs::paths::TrackedPath;
use crate::store::fs::seal::{seal, shows_seal};
use crate::store::fs::stat::Seen;
use crate::store::hash;
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::index::{Content, StatIndex};
use crate::store::objects::lookup::BIG;
use crate::store::objects::store_lock::StoreLock;
use crate::store::objects::walk::{TreeWalk, WalkStep};
use crate::store::objects::{Generation, Store};
use crate::store::pack::Pack;
use crate::store::pack::format::{PackId, Row};
use crate::store::trees::rules::check_link;

/// A batch with fewer small objects than this stores them loose.
const WORTH_A_PACK: usize = 16;
/// One thread looks up fewer objects than this.
const FEW: usize = 128;
/// From this number of objects on, listing the present ones may be cheaper than looking up each.
const MANY: usize = 1024;
/// Objects below this size are packed where files can only be copied: copying from a pack costs no more than copying a
/// file.
const PACKED: u64 = 128 << 10;
/// Objects below this size are packed where the store can share files with the workspace: larger ones stay files, so
/// that they can be shared.
const PACKED_BESIDE_LINKS: u64 = 16 << 10;

/// Files and folders that are stored together by its commit. Dropped without a commit, it stores nothing.
pub struct Batch<'s> {
    store: &'s Store,
    items: Vec<Item>,
    /// Deepest first.
    trees: Vec<Item>,
    ids: HashSet<ObjectId>,
    /// Folders of objects that were present already: the process that wrote them may not have synced them.
    present: BTreeSet<PathBuf>,
    /// The device of the stored files, if they come from files.
    device: Option<u64>,
    /// The generation in which presence was checked.
    began: Option<Generation>,
    /// Do the settings allow reflinks?
    may_reflink: bool,
    /// Held from the first presence check on, so that gc deletes none of the objects found.
    lock: Option<StoreLock>,
}

struct Item {
    id: ObjectId,
    size: u64,
    kind: ObjectKind,
    source: Source,
}

enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A file in `tmp/` that is deleted when the value is dropped.
struct TempFile(PathBuf);

impl TempFile {
    /// The file was renamed, so there is nothing to delete.
    fn forget(mut self) {
        self.0.clear();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl Store {
    /// Starts an empty batch.
    pub fn batch(&self) -> Batch<'_> {
        let may_reflink = self.links().iter().any(|link| link == LinkType::Reflink);
        Batch {
            store: self,
            items: Vec::new(),
            trees: Vec::new(),
            ids: HashSet::new(),
            present: BTreeSet::new(),
            device: None,
            began: self.generation(),
            may_reflink,
            lock: None,
        }
    }

    /// Is every object of the pin present and verified? Costs one stat for each sealed object and for each pack, a read
    /// for others. Callers ask before they delete the only other copy.
    pub fn holds(&self, pin: &Pin) -> bool {
        self.refresh_packs_unless_big(pin);
        let mut walk = TreeWalk::new(self, pin);
        while let Some(step) = walk.next() {
            let is_good = match step {
                WalkStep::File(file, _) => self.good(&file.id, file.size, ObjectKind::Content, None).is_some(),
                WalkStep::Tree(tree) => walk.open(&tree).is_ok(),
                WalkStep::End(..) => true,
            };
            if !is_good {
                return false;
            }
        }
        true
    }

    /// Is the object present and unchanged since it was verified? An object or a pack with a broken seal is read.
    /// Returns the folder that holds it. `all` are the ids of all loose objects, if known.
    fn good(&self, id: &ObjectId, size: u64, kind: ObjectKind, all: Option<&HashSet<ObjectId>>) -> Option<PathBuf> {
        let may_be = all.is_none_or(|all| all.contains(id));
        let loose = || (may_be && self.has_good_loose(id, size, kind)).then(|| self.shard(id));
        let in_pack = || {
            let (pack, row) = self.packed(id)?;
            let good = (row.length, row.kind) == (size, kind) && pack.bad().is_ok_and(|bad| !bad.contains(id));
            good.then(|| self.packs().dir().to_path_buf())
        };
        if size >= BIG { loose().or_else(in_pack) } else { in_pack().or_else(loose) }
    }

    /// The ids of all loose objects, if there are fewer than `most`, so that listing them costs less than looking up
    /// each. Ids are spread evenly: one folder tells how full the others are.
    fn few_loose(&self, most: usize) -> Option<HashSet<ObjectId>> {
        let names = |shard: &Path| -> Vec<String> {
            let entries = fs::read_dir(shard).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).collect()
        };
        let top = self.dir().join("objects");
        let shards = names(&top);
        let mut all = HashSet::new();
        for (at, shard) in shards.iter().enumerate() {
            let found = names(&top.join(shard));
            if at == 0 && found.len().saturating_mul(shards.len()) > most {
                return None;
            }
            all.extend(found.iter().filter_map(|name| format!("{shard}{name}").parse::<ObjectId>().ok()));
        }
        Some(all)
    }

    fn has_good_loose(&self, id: &ObjectId, size: u64, kind: ObjectKind) -> bool {
        let path = self.path(id);
        let Ok(seen) = Seen::lstat(&path) else { return false };
        if seen.stat.size != size || !seen.is_file() {
            return false;
        }
        if shows_seal(&seen.stat, id) {
            return true;
        }
        let good = document::open(&path).is_ok_and(|f| hash::hash_object(&f, kind, size).is_ok_and(|got| got == *id));
        if let (true, Ok(file)) = (good, document::open(&path)) {
            seal(&file, id);
        }
        good
    }
}

impl Batch<'_> {
    /// Plans to store the content of a path, which the index scanned with the result `pin`. Skips objects that the
    /// store has.
    ///
    /// Errors: a symlink brings in content from outside the repository.
    pub fn add(&mut self, index: &StatIndex, place: &TrackedPath, pin: &Pin) -> Result<()> {
        index.check_inside(place, Some(pin), &mut FolderLinks::below(index.top()))?;
        let path = place.on_disk(index.top());
        self.device = self.device.or_else(|| Some(Seen::stat(index.top()).ok()?.device));
        if !pin.is_dir() {
            self.plan(vec![Item { id: pin.id, size: pin.size, kind: ObjectKind::Content, source: Source::File(path) }]);
            return Ok(());
        }
        let Some(content) = index.content(place).filter(|content| content.pin == *pin) else {
            return Err(changed(&path));
        };
        index.check_storable(place)?;
        let Content { files, links, trees, .. } = content;
        let file = |(path, id, size)| Item { id, size, kind: ObjectKind::Content, source: Source::File(path) };
        let bytes = |kind: ObjectKind, bytes: Vec<u8>| Item {
            id: kind.id_of(&bytes),
            size: bytes.len() as u64,
            kind,
            source: Source::Bytes(bytes),
        };
        let mut items: Vec<Item> = files.into_iter().map(file).collect();
        for (link, id, text) in links {
            let text = text?;
            let below = link.strip_prefix(&path).unwrap_or(&link);
            let depth = below.components().count().saturating_sub(1);
            check_link(depth, &text).map_err(|why| unstorable(&link, &why))?;
            let item = bytes(ObjectKind::Content, text);
            if item.id != id {
                return Err(changed(&link));
            }
            items.push(item);
        }
        self.plan(items);
        self.plan(trees.into_iter().map(|tree| bytes(ObjectKind::Tree, tree)).collect());
        Ok(())
    }

    /// Plans to store bytes that come from another source.
    pub fn add_bytes(&mut self, kind: ObjectKind, bytes: Vec<u8>) -> ObjectId {
        let id = kind.id_of(&bytes);
        self.plan(vec![Item { id, size: bytes.len() as u64, kind, source: Source::Bytes(bytes) }]);
        id
    }

    fn plan(&mut self, items: Vec<Item>) {
        let new: Vec<Item> = items.into_iter().filter(|item| self.ids.insert(item.id)).collect();
        let store = self.store;
        if self.lock.is_none() && !new.is_empty() {
            // If this fails, the commit fails. A caller that may have to wait holds the store lock already, and reports
            // the wait.
            self.lock = store.lock_shared(&Silent).ok().flatten();
        }
        if new.iter().any(|item| item.size < BIG) {
            store.refresh_packs();
        }
        let loose = if new.len() >= MANY { store.few_loose(new.len()) } else { None };
        let look = |item: Item| match store.good(&item.id, item.size, item.kind, loose.as_ref()) {
            // An object that cannot be freshened is stored again: another process may be about to delete it.
            Some(folder) if store.freshen(&item.id, item.size) => Either::Left(folder),
            _ => Either::Right(item),
        };
        // For a few objects, waking the other threads takes longer.
        let looked: Vec<Either<PathBuf, Item>> = if new.len() < FEW {
            new.into_iter().map(look).collect()
        } else {
            new.into_par_iter().with_min_len(FEW / 2).map(look).collect()
        };
        for one in looked {
            match one {
                Either::Left(folder) => drop(self.present.insert(folder)),
                Either::Right(item) if item.kind == ObjectKind::Tree => self.trees.push(item),
                Either::Right(item) => self.items.push(item),
            }
        }
    }

    /// Tombstones damaged packed copies of the objects about to be stored, so that lookups find the new copy. Returns
    /// the generation afterwards.
    fn tombstone_damaged(&self, generation: Generation) -> Result<Generation> {
        let mut buried = false;
        loop {
            let mut bad: BTreeMap<PackId, (Arc<Pack>, Vec<Row>)> = BTreeMap::new();
            for item in self.items.iter().chain(&self.trees) {
                // Another process may have added a good copy.
                if let Some((pack, row)) = self.store.packed(&item.id)
                    && pack.bad().is_ok_and(|bad| bad.contains(&item.id))
                {
                    bad.entry(pack.id).or_insert_with(|| (pack, Vec::new())).1.push(row);
                }
            }
            if bad.is_empty() {
                return if buried { self.store.begin() } else { Ok(generation) };
            }
            for (pack, rows) in bad.values() {
                self.store.tombstone(pack, rows)?;
            }
            buried = true;
        }
    }

    /// The number of bytes that the commit will write.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }

    /// Returns true if the commit would write no object.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.trees.is_empty()
    }

    /// Objects below this size go into packs, as do all trees; `None` if there are too few for a pack.
    fn largest_packed(&self) -> Option<u64> {
        let is_worth = |most: u64| {
            let contents = self.items.iter().filter(|item| item.size < most);
            contents.count() + self.trees.len() >= WORTH_A_PACK
        };
        if !is_worth(PACKED) {
            return None;
        }
        let most = if self.can_link() { PACKED_BESIDE_LINKS } else { PACKED };
        is_worth(most).then_some(most)
    }

    /// Can the store share objects with the workspace, by the settings and the abilities of the file system?
    fn can_link(&self) -> bool {
        let device = Seen::stat(self.store.dir()).ok().map(|seen| seen.device);
        let beside = self.device.is_none() || device == self.device;
        self.store.links().iter().any(|link| match link {
            LinkType::Symlink => true,
            LinkType::Hardlink => beside,
            LinkType::Reflink => beside && self.can_reflink(),
            LinkType::Copy => false,
        })
    }

    /// Asks the file system of the store.
    fn can_reflink(&self) -> bool {
        let probe = || -> Option<()> {
            let (from, to) = (TempFile(self.store.temp().ok()?), TempFile(self.store.temp().ok()?));
            fs::write(&from.0, "a clone?").ok()?;
            reflink_copy::reflink(&from.0, &to.0).ok()
        };
        *self.store.can_reflink.get_or_init(|| probe().is_some())
    }

    /// The record of file systems that cannot reflink into the store; `None` if reflinks are off.
    fn no_reflink(&self) -> Option<&NoReflink> {
        let may = self.may_reflink && self.store.can_reflink.get() != Some(&false);
        may.then_some(&self.store.no_reflink)
    }

    /// Stores all planned objects; they are durable when this returns. Returns the generation in which they are
    /// complete.
    ///
    /// Errors: [`Kind::Busy`] if gc removed objects meanwhile, so that the batch has to be planned again; a file
    /// changed while it was read; the store cannot be written. Objects that were stored before stay, and nothing refers
    /// to them.
    pub fn commit(mut self, sink: &dyn Sink) -> Result<Generation> {
        let generation = self.store.begin()?;
        if self.lock.is_none() {
            self.lock = self.store.lock_shared(sink)?;
        }
        if self.began.is_some_and(|began| began != generation) {
            let error = Error::new(Kind::Busy, "objects went from the store while others were stored");
            return Err(error.hint("run the command again"));
        }
        let generation = self.tombstone_damaged(generation)?;
        sink.event(Event::WorkPlanned { doing: Activity::Storing, bytes: self.bytes() });
        let shards = Mutex::new(std::mem::take(&mut self.present));
        let most = self.largest_packed();
        let (items, trees) = (std::mem::take(&mut self.items), std::mem::take(&mut self.trees));
        let (small, large): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| most.is_some_and(|most| item.size < most));
        self.store_loose(&large, &shards, sink)?;
        self.sync_shards(&shards)?;
        if most.is_some() {
            self.store_packed(small.into_iter().chain(trees).collect(), sink)?;
        } else {
            self.store_loose(&trees, &shards, sink)?;
            self.sync_shards(&shards)?;
        }
        Ok(generation)
    }
}

fn unstorable(path: &Path, why: &str) -> Error {
    Error::usage(format!("{} cannot be stored: {why}", path.display())).hint("remove it, or list it in .lockstepignore")
}

fn changed(path: &Path) -> Error {
    Error::new(Kind::Io, format!("{} changed while it was stored", path.display()))
        .hint("something still writes to it; run the command again when that has ended")
}
