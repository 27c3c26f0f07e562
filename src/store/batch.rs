//! Storing: one batch brings any number of files and folders into the store.
//!
//! Files first, each copied to `tmp/`, hashed on the way, made durable and renamed under its id; then the trees, deepest
//! first; so whatever has a name is whole, and a tree that is there had all it names when it was written. A batch that
//! fails leaves what it finished, which is harmless, and no temporary file.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::iter::Either;
use rayon::prelude::*;

use super::copy::{self, Copied};
use super::hash;
use super::id::{ObjectId, Pin};
use super::index::{Content, StatIndex};
use super::link::LinkType;
use super::objects::{BIG, Generation, ObjectKind, Store, is_sealed, seal};
use super::place::Place;
use super::stat::Seen;
use crate::error::{Error, Kind, Result};
use crate::event::{Doing, Event, Sink};

/// So many files are open at once between being written and being durable.
const GROUP: usize = 256;
/// Threads that wait for the disk: it merges the syncs that wait together.
const SYNCERS: usize = 24;

pub struct Batch<'s> {
    store: &'s Store,
    items: Vec<Item>,
    /// Deepest first.
    trees: Vec<Item>,
    ids: HashSet<ObjectId>,
    /// Folders of objects that were here already: who wrote them may not have come to sync them.
    present: BTreeSet<PathBuf>,
    /// The generation in which presence was looked at.
    began: Option<Generation>,
    /// Turned off by the first file that cannot be reflinked.
    reflink: AtomicBool,
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

/// A file in `tmp/` that goes when its owner goes.
struct Temp(PathBuf);

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Store {
    pub fn batch(&self) -> Batch<'_> {
        let reflink = AtomicBool::new(self.links().iter().any(|link| link == LinkType::Reflink));
        Batch {
            store: self,
            items: Vec::new(),
            trees: Vec::new(),
            ids: HashSet::new(),
            present: BTreeSet::new(),
            began: self.generation(),
            reflink,
        }
    }

    /// Is all of it here, whole and verified? One stat an object that is sealed, else a read; in packs, one stat a pack.
    /// To be asked before the only other copy goes.
    pub fn holds(&self, pin: &Pin) -> bool {
        self.refresh_packs_unless_big(pin);
        self.holds_good(pin)
    }

    fn holds_good(&self, pin: &Pin) -> bool {
        if !pin.is_dir() {
            return self.good(&pin.id, pin.size, ObjectKind::Content).is_some();
        }
        self.read_tree(&pin.id).is_ok_and(|tree| tree.entries.iter().all(|entry| self.holds_good(&entry.pin())))
    }

    /// Is the object here, and as it was when it was verified? One whose seal is broken is read, as is a pack. Back
    /// comes the folder that holds it.
    fn good(&self, id: &ObjectId, size: u64, kind: ObjectKind) -> Option<PathBuf> {
        let loose = || self.has_good_loose(id, size, kind).then(|| self.shard(id));
        let in_pack = || {
            let (pack, row) = self.packed(id)?;
            let good = (row.length, row.kind) == (size, kind) && pack.bad().is_ok_and(|bad| !bad.contains(id));
            good.then(|| self.packs().dir().to_path_buf())
        };
        if size >= BIG { loose().or_else(in_pack) } else { in_pack().or_else(loose) }
    }

    fn has_good_loose(&self, id: &ObjectId, size: u64, kind: ObjectKind) -> bool {
        let path = self.path(id);
        let Ok(seen) = Seen::of_link(&path) else { return false };
        if seen.stat.size != size || !seen.is_file() {
            return false;
        }
        if is_sealed(&seen.stat, id) {
            return true;
        }
        let good = File::open(&path).is_ok_and(|f| hash::of_object(&f, kind, size).is_ok_and(|got| got == *id));
        if let (true, Ok(file)) = (good, File::open(&path)) {
            seal(&file, id);
        }
        good
    }
}

impl Batch<'_> {
    /// Plans to store what a place holds, which the index looked at and found to be `pin`. What the store has already
    /// is skipped.
    pub fn add(&mut self, index: &StatIndex, place: &Place, pin: &Pin) -> Result<()> {
        let path = place.on_disk(index.top());
        if !pin.is_dir() {
            self.plan(vec![Item { id: pin.id, size: pin.size, kind: ObjectKind::Content, source: Source::File(path) }]);
            return Ok(());
        }
        let Some(content) = index.content(place).filter(|content| content.pin == *pin) else {
            return Err(changed(&path));
        };
        let Content { files, links, trees, .. } = content;
        let file = |(path, id, size)| Item { id, size, kind: ObjectKind::Content, source: Source::File(path) };
        let bytes = |kind: ObjectKind, bytes: Vec<u8>| Item {
            id: kind.id_of(&bytes),
            size: bytes.len() as u64,
            kind,
            source: Source::Bytes(bytes),
        };
        let mut items: Vec<Item> = files.into_iter().map(file).collect();
        for (path, id, text) in links {
            let item = bytes(ObjectKind::Content, text?);
            if item.id != id {
                return Err(changed(&path));
            }
            items.push(item);
        }
        self.plan(items);
        self.plan(trees.into_iter().map(|tree| bytes(ObjectKind::Tree, tree)).collect());
        Ok(())
    }

    /// Plans to store bytes that came from elsewhere.
    pub fn add_bytes(&mut self, kind: ObjectKind, bytes: Vec<u8>) -> ObjectId {
        let id = kind.id_of(&bytes);
        self.plan(vec![Item { id, size: bytes.len() as u64, kind, source: Source::Bytes(bytes) }]);
        id
    }

    fn plan(&mut self, items: Vec<Item>) {
        let new: Vec<Item> = items.into_iter().filter(|item| self.ids.insert(item.id)).collect();
        let store = self.store;
        if new.iter().any(|item| item.size < BIG) {
            store.refresh_packs();
        }
        let look = |item: Item| match store.good(&item.id, item.size, item.kind) {
            Some(folder) => Either::Left(folder),
            None => Either::Right(item),
        };
        let (present, missing): (Vec<PathBuf>, Vec<Item>) = new.into_par_iter().with_min_len(64).partition_map(look);
        self.present.extend(present);
        for item in missing {
            if item.kind == ObjectKind::Tree { self.trees.push(item) } else { self.items.push(item) }
        }
    }

    /// What a pack has under the id of something that must be stored is damaged: it goes, so that it is not found before
    /// what will be stored. The generation afterwards.
    fn bury(&self, generation: Generation) -> Result<Generation> {
        let mut buried = false;
        for item in self.items.iter().chain(&self.trees) {
            while let Some((pack, row)) = self.store.packed(&item.id) {
                self.store.bury(&pack, &row)?;
                buried = true;
            }
        }
        if buried { self.store.begin() } else { Ok(generation) }
    }

    /// Bytes that the commit will write.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.trees.is_empty()
    }

    /// Stores it all; when this returns, all of it is durable. The generation is the one in which it is complete.
    pub fn commit(mut self, sink: &dyn Sink) -> Result<Generation> {
        let generation = self.store.begin()?;
        if self.began.is_some_and(|began| began != generation) {
            let error = Error::new(Kind::Busy, "objects went from the store while others were stored");
            return Err(error.hint("run the command again"));
        }
        let generation = self.bury(generation)?;
        sink.event(Event::WorkPlanned { doing: Doing::Storing, bytes: self.bytes() });
        let shards = Mutex::new(std::mem::take(&mut self.present));
        let (items, trees) = (std::mem::take(&mut self.items), std::mem::take(&mut self.trees));
        for group in items.chunks(GROUP) {
            self.store_group(group, &shards, sink)?;
        }
        self.sync_shards(&shards)?;
        for group in trees.chunks(GROUP) {
            self.store_group(group, &shards, sink)?;
        }
        self.sync_shards(&shards)?;
        Ok(generation)
    }

    fn store_group(&self, group: &[Item], shards: &Mutex<BTreeSet<PathBuf>>, sink: &dyn Sink) -> Result<()> {
        let written: Vec<_> = group.par_iter().map(|item| self.write(item, sink)).collect::<Result<_>>()?;
        waiting(&written, |(temp, file)| file.sync_all().map_err(|e| self.store.refused("write", &temp.0, e)))?;
        for (item, (temp, file)) in group.iter().zip(written) {
            drop(file);
            let shard = self.place(item, temp, shards)?;
            shards.lock().unwrap_or_else(|e| e.into_inner()).insert(shard);
        }
        Ok(())
    }

    /// A finished temporary file: whole, verified, 0444 and sealed, but not yet durable.
    fn write(&self, item: &Item, sink: &dyn Sink) -> Result<(Temp, File)> {
        let temp = Temp(self.store.temp()?);
        let done = |bytes| sink.event(Event::WorkDone { doing: Doing::Storing, bytes });
        let fail = |e| self.store.refused("write", &temp.0, e);
        let file = match &item.source {
            Source::Bytes(bytes) => {
                let mut file = File::options().write(true).create_new(true).open(&temp.0).map_err(fail)?;
                file.write_all(bytes).map_err(fail)?;
                done(item.size);
                file
            }
            Source::File(path) => {
                let copied = copy::to_new(path, &temp.0, item.size, &self.reflink, &done)?;
                let Copied { file, id, size } = copied.map_err(fail)?;
                if id != item.id || size != item.size {
                    return Err(changed(path));
                }
                file
            }
        };
        rustix::fs::fchmod(&file, 0o444.into()).map_err(|e| fail(e.into()))?;
        seal(&file, &item.id);
        Ok((temp, file))
    }

    /// Gives a durable file its name; returns the folder that must be synced.
    fn place(&self, item: &Item, temp: Temp, shards: &Mutex<BTreeSet<PathBuf>>) -> Result<PathBuf> {
        let path = self.store.path(&item.id);
        let shard = path.parent().unwrap_or(self.store.dir()).to_path_buf();
        match Seen::of_link(&path) {
            // Another batch was faster, or a look-alike is there that cannot be good.
            Ok(seen) if seen.stat.size == item.size && is_sealed(&seen.stat, &item.id) => return Ok(shard),
            Ok(seen) if seen.stat.size != item.size => drop(self.store.quarantine(&item.id)?),
            _ => {}
        }
        let rename = || fs::rename(&temp.0, &path);
        let renamed = rename().or_else(|e| {
            if e.kind() != io::ErrorKind::NotFound {
                return Err(e);
            }
            fs::create_dir_all(&shard)?;
            // A new folder is durable when those above it are; they are synced with the shards.
            let mut shards = shards.lock().unwrap_or_else(|e| e.into_inner());
            shards.extend([self.store.dir().to_path_buf(), self.store.dir().join("objects")]);
            rename()
        });
        renamed.map_err(|e| self.store.refused("write", &path, e))?;
        Ok(shard)
    }

    fn sync_shards(&self, shards: &Mutex<BTreeSet<PathBuf>>) -> Result<()> {
        let shards = std::mem::take(&mut *shards.lock().unwrap_or_else(|e| e.into_inner()));
        let shards: Vec<PathBuf> = shards.into_iter().collect();
        waiting(&shards, |shard| File::open(shard).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", shard, e)))
    }
}

/// Work that waits for the disk, on more threads than cores; one or two pieces are not worth a thread.
fn waiting<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    if all.len() < 3 {
        return all.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..SYNCERS.min(all.len()) {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(e) = work(one) {
                        *failed.lock().unwrap_or_else(|e| e.into_inner()) = Some(e);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
}

fn changed(path: &Path) -> Error {
    Error::new(Kind::Io, format!("{} changed while it was stored", path.display()))
        .hint("something still writes to it; run the command again when that has ended")
}
