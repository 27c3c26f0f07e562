//! All packs of a store: which of them holds an object.
//!
//! One table over all indexes, sorted by the first eight bytes of the ids, so that a look-up costs the same however
//! many packs there are. Ids are hashes, so eight bytes nearly always decide; where they do not, all that begin alike
//! are looked at. What was read of a pack is kept when the folder is listed again, since packs never change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

use rayon::prelude::*;

use super::dead;
use super::file::{Pack, Unusable, read_index};
use super::format::{Malformed, PackId, Row};
use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::place;
use crate::store::stat::{FileStat, Seen};

/// A folder that changed so short a time ago may change again without its times showing it.
const MARGIN: i64 = 2_100_000_000;

pub struct Shelf {
    dir: PathBuf,
    open: Arc<AtomicUsize>,
    known: RwLock<Arc<Known>>,
}

#[derive(Default)]
struct Known {
    /// The folder as it was when it was listed; `None` if it never was, or must be again.
    listed: Option<Listed>,
    packs: Vec<Arc<Pack>>,
    table: Vec<Slot>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Listed {
    /// `None` if there was no folder.
    stat: Option<FileStat>,
    /// Had it just changed?
    fresh: bool,
}

/// An object in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    start: u64,
    pack: u32,
    row: u32,
}

impl Shelf {
    /// The packs in the folder `dir`, which need not exist. Nothing is read before something is looked for.
    pub fn new(dir: PathBuf) -> Shelf {
        Shelf { dir, open: Arc::default(), known: RwLock::default() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// What is known of this pack is read again: it has a new tombstone.
    pub fn forget(&self, id: &PackId) {
        let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
        let packs: Vec<_> = known.packs.iter().filter(|pack| pack.id != *id).cloned().collect();
        *known = Arc::new(Known { listed: None, table: table(&packs), packs });
    }

    fn listed(&self) -> Listed {
        let stat = Seen::of(&self.dir).ok().map(|seen| seen.stat);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let now = (now.tv_sec as i64).saturating_mul(1_000_000_000);
        Listed { stat, fresh: stat.is_some_and(|stat| stat.mtime >= now - MARGIN) }
    }

    /// Lists the folder again if it may have changed. Packs that are broken come back.
    fn refresh(&self) -> Vec<PathBuf> {
        let now = self.listed();
        let known = self.known();
        if known.listed.is_some_and(|before| before == now && !before.fresh) {
            return Vec::new();
        }
        let names: Vec<String> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        let ids: Vec<PackId> = names.iter().filter_map(|name| PackId::of_file_name(name)).collect();
        let has_dead: std::collections::HashSet<&str> =
            names.iter().filter_map(|name| name.strip_suffix(".dead")).collect();
        let load = |id: &PackId| {
            let kept = known.packs.iter().find(|pack| pack.id == *id);
            let is_dead = has_dead.contains(id.to_string().as_str());
            match kept {
                // A tombstone may have been added by another process.
                Some(pack) if !is_dead && pack.dead.is_empty() => Ok(Some(Arc::clone(pack))),
                _ => self.load(id, is_dead),
            }
        };
        let loaded: Vec<Result<Option<Arc<Pack>>, PathBuf>> = ids.par_iter().map(load).collect();
        let mut broken = Vec::new();
        let mut packs = Vec::with_capacity(loaded.len());
        for pack in loaded {
            match pack {
                Ok(pack) => packs.extend(pack),
                Err(path) => broken.push(path),
            }
        }
        packs.sort_by_key(|pack| pack.id);
        let new = Arc::new(Known { listed: Some(now), table: table(&packs), packs });
        *self.known.write().unwrap_or_else(|e| e.into_inner()) = new;
        broken
    }

    /// `Err` with its path if it is broken; `None` if it is of a later version or cannot be read now.
    fn load(&self, id: &PackId, has_dead: bool) -> Result<Option<Arc<Pack>>, PathBuf> {
        let path = self.dir.join(id.file_name());
        let (dead, readable) = if has_dead { dead::read(&path) } else { Default::default() };
        match fs::File::open(&path).map_err(Unusable::from).and_then(|file| read_index(&file)) {
            Ok(index) if index.id() == *id => {
                Ok(Some(Arc::new(Pack::new(&path, index, dead, has_dead && !readable, &self.open))))
            }
            Ok(_) | Err(Unusable::Malformed(Malformed::Broken(_))) => Err(path),
            Err(_) => Ok(None),
        }
    }
}

impl Known {
    fn find(&self, id: &ObjectId) -> Option<(&Arc<Pack>, Row)> {
        let start = start(id);
        let from = self.table.partition_point(|slot| slot.start < start);
        self.table[from..].iter().take_while(|slot| slot.start == start).find_map(|slot| {
            let pack = self.packs.get(slot.pack as usize)?;
            let row = pack.index.row(slot.row as usize)?;
            (row.id == *id && !pack.dead.contains(id)).then_some((pack, row))
        })
    }
}

fn table(packs: &[Arc<Pack>]) -> Vec<Slot> {
    let mut table = Vec::with_capacity(packs.iter().map(|pack| pack.index.len()).sum());
    for (at, pack) in packs.iter().enumerate() {
        let slot = |(row, it): (usize, Row)| Slot { start: start(&it.id), pack: at as u32, row: row as u32 };
        table.extend(pack.index.iter().enumerate().map(slot));
    }
    if packs.len() > 1 {
        // Not in parallel: this may be called under a lock, by a worker.
        table.sort_unstable();
    }
    table
}

fn start(id: &ObjectId) -> u64 {
    id.0.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

impl Store {
    /// Where among the packs the object stands, by what is known of them.
    pub(in crate::store) fn packed(&self, id: &ObjectId) -> Option<(Arc<Pack>, Row)> {
        let mut known = self.packs().known();
        if known.listed.is_none() {
            self.refresh_packs();
            known = self.packs().known();
        }
        known.find(id).map(|(pack, row)| (Arc::clone(pack), row))
    }

    /// Takes notice of packs that other processes wrote, or took away. Costs one stat if there are none.
    pub(in crate::store) fn refresh_packs(&self) {
        for broken in self.packs().refresh() {
            // In a store that may only be read it stays where it is, and is passed over.
            let Ok(folder) = self.must_touch().and_then(|()| self.folder("quarantine")) else { continue };
            let name = broken.file_name().unwrap_or_default().to_string_lossy();
            let to = folder.join(format!("{name}.{:08x}", place::random() as u32));
            match fs::rename(&broken, to) {
                Ok(()) => drop(self.renew_generation()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {}
            }
        }
    }

    /// All packs that are here.
    pub fn all_packs(&self) -> Vec<Arc<Pack>> {
        self.refresh_packs();
        self.packs().known().packs.clone()
    }
}
