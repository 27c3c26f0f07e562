//! All packs of a store: finds the pack that holds an object.
//!
//! One table covers all indexes (see `table`), so that the cost of a lookup does not depend on the number of packs.
//! Loaded packs are kept when the folder is listed again, since packs never change: a new pack costs its own rows, and
//! a listing without news costs one look at the names.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

use rayon::prelude::*;

use super::file::{Pack, Unusable, read_index};
use super::format::{Malformed, PackId, Row};
use super::table::PackTable;
use crate::document;
use crate::error::{Error, Kind};
use crate::store::fs::root_folder::RootFolder;
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::id::ObjectId;
use crate::store::pack::tombstones;

/// A folder that changed this recently may change again with the same times.
const MARGIN: i64 = 2_100_000_000;
/// The name of the folder in the store.
const PACKS: &str = "packs";

/// The packs of one store, shared by all threads.
pub struct PackSet {
    dir: PathBuf,
    root: RootFolder,
    open: Arc<AtomicUsize>,
    snapshot: RwLock<Arc<PackSnapshot>>,
}

/// The packs at one moment. A snapshot never changes; a refresh installs a new one.
#[derive(Clone, Default)]
pub struct PackSnapshot {
    /// The state of the folder at its last listing; `None` if it must be listed.
    pub listed: Option<FolderState>,
    /// The packs by their number in the table; `None` for a deleted one.
    pub packs: Vec<Option<LoadedPack>>,
    /// The number of each pack.
    numbers: HashMap<PackId, usize>,
    table: PackTable,
    /// Why the snapshot is incomplete: a pack was skipped, or the folder cannot be listed.
    pub incomplete: Option<Error>,
    /// Rows in the table of deleted packs, and of present ones.
    stale: usize,
    live: usize,
}

/// A pack of a snapshot.
#[derive(Clone)]
pub struct LoadedPack {
    pub pack: Arc<Pack>,
    /// The stat of its tombstone file when it was read.
    tombstones: Option<FileStat>,
}

/// The state of the folder of packs, to detect changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FolderState {
    /// `None` if there was no folder.
    stat: Option<FileStat>,
    /// Had it changed very recently?
    fresh: bool,
}

impl PackSet {
    /// The packs of the store in `store`, which may be missing. Nothing is read before the first lookup.
    pub fn new(store: &Path) -> PackSet {
        let root = RootFolder::new(store.to_path_buf());
        PackSet { dir: store.join(PACKS), root, open: Arc::default(), snapshot: RwLock::default() }
    }

    /// The folder of the packs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The current snapshot, without a refresh.
    pub fn snapshot(&self) -> Arc<PackSnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Reloads this pack at the next refresh: it has a new tombstone.
    pub fn forget(&self, id: &PackId) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(|e| e.into_inner());
        let mut new = PackSnapshot::clone(&snapshot);
        new.listed = None;
        new.remove(id);
        *snapshot = Arc::new(new.compacted());
    }

    /// Forces the next lookup to list the folder, changed or not.
    pub fn list_again(&self) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(|e| e.into_inner());
        *snapshot = Arc::new(PackSnapshot { listed: None, ..PackSnapshot::clone(&snapshot) });
    }

    fn listed(&self) -> FolderState {
        let stat = Seen::stat(&self.dir).ok().map(|seen| seen.stat);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let now = (now.tv_sec as i64).saturating_mul(1_000_000_000);
        FolderState { stat, fresh: stat.is_some_and(|stat| stat.mtime >= now - MARGIN) }
    }

    /// Lists the folder again if it may have changed. Returns the broken packs.
    pub fn refresh(&self) -> Vec<PathBuf> {
        loop {
            // No lock is held during the load: a worker of the pool that loads packs may be given work that needs one.
            if let Some(broken) = self.try_refresh() {
                return broken;
            }
        }
    }

    /// `None` if another thread changed the snapshot in between: its changes must not be undone.
    fn try_refresh(&self) -> Option<Vec<PathBuf>> {
        let now = self.listed();
        let snapshot = self.snapshot();
        if snapshot.listed.is_some_and(|before| before == now && !before.fresh) {
            return Some(Vec::new());
        }
        let names = match self.names() {
            Ok(names) => names,
            // The old snapshot stays: packs are not deleted because their folder cannot be read at the moment.
            Err(e) => {
                let incomplete = Some(Error::io("list", &self.dir, e));
                return self
                    .replace(&snapshot, PackSnapshot { listed: None, incomplete, ..PackSnapshot::clone(&snapshot) })
                    .then(Vec::new);
            }
        };
        let ids: HashSet<PackId> = names.iter().filter_map(|name| PackId::of_file_name(name)).collect();
        let tombstones = names.iter().filter_map(|name| name.strip_suffix(".dead")?.parse().ok());
        // Another process may have added tombstones; each tombstone file is a new one.
        let tombstones: HashMap<PackId, Option<FileStat>> = tombstones
            .map(|id: PackId| {
                let seen = Seen::stat(&tombstones::path_of(&self.dir.join(id.file_name())));
                (id, seen.ok().map(|seen| seen.stat))
            })
            .collect();
        let is_as_it_was = |id: &PackId| {
            let loaded = snapshot.numbers.get(id).and_then(|at| snapshot.packs[*at].as_ref());
            loaded.is_some_and(|loaded| match tombstones.get(id) {
                None => loaded.tombstones.is_none() && loaded.pack.tombstoned.is_empty(),
                Some(stat) => stat.is_some() && loaded.tombstones == *stat,
            })
        };
        let gone: Vec<PackId> = snapshot.numbers.keys().filter(|id| !ids.contains(id)).copied().collect();
        let mut news: Vec<PackId> = ids.iter().filter(|id| !is_as_it_was(id)).copied().collect();
        if gone.is_empty() && news.is_empty() {
            let is_news = snapshot.listed != Some(now);
            let new = || PackSnapshot { listed: Some(now), incomplete: None, ..PackSnapshot::clone(&snapshot) };
            return (!is_news || self.replace(&snapshot, new())).then(Vec::new);
        }
        news.sort_unstable();
        let loaded: Vec<Result<Arc<Pack>, (PathBuf, Unusable)>> =
            news.par_iter().map(|id| self.load(id, tombstones.contains_key(id))).collect();
        let mut new = PackSnapshot { listed: Some(now), incomplete: None, ..PackSnapshot::clone(&snapshot) };
        gone.iter().chain(&news).for_each(|id| new.remove(id));
        let mut broken = Vec::new();
        for (id, pack) in news.iter().zip(loaded) {
            match pack {
                Ok(pack) => new.add(pack, tombstones.get(id).copied().flatten()),
                // Deleted since it was listed.
                Err((_, Unusable::Io(e))) if e.kind() == io::ErrorKind::NotFound => {}
                Err((path, why)) => {
                    new.incomplete.get_or_insert_with(|| skipped(&path, &why));
                    if matches!(why, Unusable::Malformed(Malformed::Broken(_))) {
                        broken.push(path);
                    }
                }
            }
        }
        self.replace(&snapshot, new.compacted()).then_some(broken)
    }

    /// Installs `new`; returns false if another thread replaced `old`, from which it was made.
    fn replace(&self, old: &Arc<PackSnapshot>, new: PackSnapshot) -> bool {
        let mut snapshot = self.snapshot.write().unwrap_or_else(|e| e.into_inner());
        let is_as_it_was = Arc::ptr_eq(&snapshot, old);
        if is_as_it_was {
            *snapshot = Arc::new(new);
        }
        is_as_it_was
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.root.entries(PACKS)?.into_iter().filter_map(|entry| entry.name.into_string().ok());
        Ok(names.collect())
    }

    /// `Err` with the path if the pack is broken, has a later version, or cannot be read at the moment.
    fn load(&self, id: &PackId, has_tombstones: bool) -> Result<Arc<Pack>, (PathBuf, Unusable)> {
        let path = self.dir.join(id.file_name());
        let (tombstones, readable) = if has_tombstones { tombstones::read(&path) } else { Default::default() };
        match document::open_unlinked(&path).map_err(Unusable::from).and_then(|file| read_index(&file)) {
            Ok(index) if index.id() == *id => {
                Ok(Arc::new(Pack::new(&path, index, tombstones, has_tombstones && !readable, &self.open)))
            }
            Ok(_) => Err((path, Malformed::Broken("its name is not that of what it holds").into())),
            Err(why) => Err((path, why)),
        }
    }
}

fn skipped(pack: &Path, why: &Unusable) -> Error {
    let error = Error::new(Kind::Io, format!("the pack {} cannot be used: what it holds is not known", pack.display()));
    match why {
        Unusable::Malformed(why @ Malformed::Newer) => error.because(why).hint("install a newer lockstep"),
        Unusable::Malformed(why) => error.because(why),
        Unusable::Io(why) => error.because(why),
    }
}

impl PackSnapshot {
    /// The pack and the row of an object that has no tombstone.
    pub fn find(&self, id: &ObjectId) -> Option<(&Arc<Pack>, Row)> {
        self.table.find(id).find_map(|(at, row)| {
            let pack = &self.packs.get(at)?.as_ref()?.pack;
            let row = pack.index.row(row)?;
            (row.id == *id && !pack.tombstoned.contains(id)).then_some((pack, row))
        })
    }

    fn add(&mut self, pack: Arc<Pack>, tombstones: Option<FileStat>) {
        self.live += pack.index.len();
        self.numbers.insert(pack.id, self.packs.len());
        self.table.add(self.packs.len(), &pack.index);
        self.packs.push(Some(LoadedPack { pack, tombstones }));
    }

    fn remove(&mut self, id: &PackId) {
        if let Some(loaded) = self.numbers.remove(id).and_then(|at| self.packs[at].take()) {
            self.live -= loaded.pack.index.len();
            self.stale += loaded.pack.index.len();
        }
    }

    /// Rebuilds the table if most of its rows are of deleted packs.
    fn compacted(self) -> PackSnapshot {
        if self.stale <= self.live {
            return self;
        }
        let mut new = PackSnapshot { listed: self.listed, incomplete: self.incomplete, ..PackSnapshot::default() };
        self.packs.into_iter().flatten().for_each(|loaded| new.add(loaded.pack, loaded.tombstones));
        new
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::Silent;
    use crate::store::Store;
    use crate::store::{LinkTypes, ObjectKind};

    /// The folder changes all the time, as in a pull, and each object is looked up.
    #[test]
    fn a_folder_that_keeps_changing_costs_its_news() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), LinkTypes::default());
        let (writer, store) = (open(), open());
        let (packs, objects) = (40u32, 40u32);
        for pack in 0..packs {
            let mut batch = writer.batch();
            let ids: Vec<ObjectId> = (0..objects)
                .map(|n| batch.add_bytes(ObjectKind::Content, (pack * objects + n).to_le_bytes().to_vec()))
                .collect();
            batch.commit(&Silent).unwrap();
            for id in &ids {
                store.refresh_packs();
                assert!(store.packed(id).is_some());
            }
        }
        let snapshot = store.packs().snapshot();
        assert_eq!(snapshot.packs.len(), packs as usize);
        assert!(snapshot.table.written <= (packs * objects * 7) as usize, "{}", snapshot.table.written);
    }

    #[test]
    fn what_is_passed_over_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), LinkTypes::default()).read_only();
        assert!(open().each_pack().unwrap().is_empty());
        let writer = Store::open(dir.path(), LinkTypes::default());
        let mut batch = writer.batch();
        for n in 0..50u8 {
            batch.add_bytes(ObjectKind::Content, vec![n; 9]);
        }
        batch.commit(&Silent).unwrap();
        let pack = open().each_pack().unwrap()[0].path.clone();
        let good = fs::read(&pack).unwrap();
        for (at, byte, why) in [(8, 2, "newer version"), (0, b'x', "does not begin as a pack")] {
            let mut bad = good.clone();
            bad[at] = byte;
            fs::remove_file(&pack).unwrap();
            fs::write(&pack, bad).unwrap();
            let store = open();
            let told = |error: Error| format!("{error}{:?}", error.causes);
            let error = store.each_pack().map(|packs| packs.len()).unwrap_err();
            assert!(told(error).contains(why));
            assert!(store.all_packs().is_empty());
            fs::write(&pack, &good).unwrap();
            assert_eq!(store.each_pack().unwrap().len(), 1);
        }
        // The folder cannot be listed: the old snapshot stays.
        let (store, folder) = (open(), dir.path().join("packs"));
        assert_eq!(store.each_pack().unwrap().len(), 1);
        fs::rename(&folder, dir.path().join("away")).unwrap();
        fs::write(&folder, "").unwrap();
        assert!(store.each_pack().is_err());
        assert_eq!(store.all_packs().len(), 1);
    }

    /// A pack that is forgotten again and again does not fill the table.
    #[test]
    fn what_went_does_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), LinkTypes::default());
        let mut batch = store.batch();
        let ids: Vec<ObjectId> = (0..50u8).map(|n| batch.add_bytes(ObjectKind::Content, vec![n; 9])).collect();
        batch.commit(&Silent).unwrap();
        let id = store.all_packs()[0].id;
        for _ in 0..20 {
            store.packs().forget(&id);
            assert!(store.packed(&ids[7]).is_some());
            assert!(store.packs().snapshot().stale <= 50);
        }
        std::fs::remove_file(store.packs().dir().join(id.file_name())).unwrap();
        store.refresh_packs();
        assert!(store.packed(&ids[7]).is_none() && store.all_packs().is_empty());
    }
}
