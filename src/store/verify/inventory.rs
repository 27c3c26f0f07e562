//! Lists all files of the store, from file names and pack indexes; no object is read.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::{CopyLocation, Damage, DamageKind, Inventory, ObjectCopy, QuarantinedObject, RunFile};
use crate::document;
use crate::error::{Error, Result};
use crate::store::fs::root_folder::FolderEntry;
use crate::store::fs::seal::is_sealed;
use crate::store::fs::stat::Seen;
use crate::store::gc::entries;
use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::pack::file::{Unusable, read_index};
use crate::store::pack::format::{Malformed, PackId, PackIndex, Row};
use crate::store::pack::{Pack, tombstones};
use crate::store::verify::salvage_index::salvage_rows;

/// Errors: a folder cannot be read. Files that disappear during the listing are skipped.
pub fn take_inventory(store: &Store) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    for folder in ["tmp", "objects", "packs", "runs", "quarantine", "projects"] {
        inventory.damaged.extend(link(store, Path::new(folder)));
    }
    loose(store, &mut inventory)?;
    packs(store, &mut inventory)?;
    runs(store, &mut inventory)?;
    let is_empty = inventory.copies.is_empty() && inventory.runs.is_empty();
    if !is_empty && !store.is_marked() {
        let problem = "it does not say which format the store has".to_string();
        inventory.damaged.push(Damage { what: DamageKind::Generation, problem });
    }
    Ok(inventory)
}

fn loose(store: &Store, inventory: &mut Inventory) -> Result<()> {
    let shards = entries(store, "objects")?;
    let found = shards.par_iter().map(|shard| shard_of(store, shard)).collect::<Result<Vec<_>>>()?;
    for (copies, damaged) in found {
        inventory.bytes += copies.iter().map(|copy| copy.size).sum::<u64>();
        inventory.copies.extend(copies);
        inventory.damaged.extend(damaged);
    }
    Ok(())
}

fn shard_of(store: &Store, shard: &FolderEntry) -> Result<(Vec<ObjectCopy>, Vec<Damage>)> {
    let (mut copies, mut damaged) = (Vec::new(), Vec::new());
    let below = Path::new("objects").join(&shard.name);
    if let Some(link) = link(store, &below) {
        damaged.push(link);
    } else if !shard.path.is_dir() {
        damaged.extend(stray(&shard.path, "an object"));
    }
    for FolderEntry { name, path } in entries(store, &below)? {
        let Ok(seen) = Seen::lstat(&path) else { continue };
        let spelled = format!("{}{}", shard.text(), name.to_string_lossy());
        let id = spelled.parse::<ObjectId>().ok().filter(|id| shard.name.len() == 2 && id.hex() == spelled);
        match id {
            Some(id) if seen.is_file() => {
                let sealed = is_sealed(&seen, &id);
                copies.push(ObjectCopy { id, size: seen.stat.size, at: CopyLocation::Loose, sealed });
            }
            _ => damaged.extend(stray(&path, "an object")),
        }
    }
    Ok((copies, damaged))
}

/// A symlink in place of a folder of the store.
fn link(store: &Store, below: &Path) -> Option<Damage> {
    let problem = "it is a symlink, and its target does not belong to the store".to_string();
    store.root().is_link(below).then(|| Damage { what: DamageKind::Stray(store.dir().join(below)), problem })
}

/// A file whose name does not fit its folder, so that no lookup finds it. Hidden files belong to the file system.
fn stray(path: &Path, what: &str) -> Option<Damage> {
    let problem = format!("its name is not that of {what}");
    let is_there = !name(path).starts_with('.') && path.symlink_metadata().is_ok();
    is_there.then(|| Damage { what: DamageKind::Stray(path.to_path_buf()), problem })
}

/// The state of one pack.
enum PackState {
    Good(Pack, bool, u64),
    Broken(Damage),
    Newer,
    Gone,
}

fn packs(store: &Store, inventory: &mut Inventory) -> Result<()> {
    let open = Arc::default();
    let paths: Vec<PathBuf> = entries(store, "packs")?.into_iter().map(|entry| entry.path).collect();
    let load = |path: &PathBuf| -> Result<PackState> {
        let Some(id) = PackId::of_file_name(&name(path)) else {
            let is_tombstones = path.extension().is_some_and(|e| e == "dead");
            return Ok(stray(path, "a pack").filter(|_| !is_tombstones).map_or(PackState::Gone, PackState::Broken));
        };
        let cannot = |e: io::Error| Error::io("read", path, e);
        // Tries again, in case another process is writing: a pack is renamed when it is complete.
        match read_pack(path).or_else(|_| read_pack(path)) {
            Ok((index, seen)) if index.id() == id => {
                let has_tombstones = tombstones::path_of(path).exists();
                let (tombstoned, readable) =
                    if has_tombstones { tombstones::read(path) } else { (Default::default(), true) };
                let sealed = is_sealed(&seen, &id.0) && readable;
                Ok(PackState::Good(Pack::new(path, index, tombstoned, !readable, &open), sealed, seen.stat.size))
            }
            Ok(_) => Ok(broken(path, "its name is that of another pack")),
            Err(Unusable::Malformed(Malformed::Newer)) => Ok(PackState::Newer),
            Err(Unusable::Malformed(Malformed::Broken(why))) => Ok(broken(path, why)),
            Err(Unusable::Io(e)) if e.kind() == io::ErrorKind::NotFound => Ok(PackState::Gone),
            Err(Unusable::Io(_)) if path.is_symlink() => {
                Ok(link(store, store.root().below(path).map_err(cannot)?).map_or(PackState::Gone, PackState::Broken))
            }
            Err(Unusable::Io(e)) if crate::store::objects::lookup::is_lost(&e) => {
                Ok(broken(path, "the disk cannot read it"))
            }
            Err(Unusable::Io(e)) => Err(cannot(e)),
        }
    };
    let found = paths.par_iter().map(load).collect::<Result<Vec<_>>>()?;
    for found in found {
        let (pack, sealed, size) = match found {
            PackState::Good(pack, sealed, size) => (Arc::new(pack), sealed, size),
            PackState::Broken(damage) => {
                inventory.damaged.push(damage);
                continue;
            }
            PackState::Newer => {
                inventory.newer += 1;
                continue;
            }
            PackState::Gone => continue,
        };
        if pack.is_doubted() {
            let problem = "its checksum is wrong: which objects of the pack are damaged is not known".to_string();
            inventory.damaged.push(Damage { what: DamageKind::Tombstones(Arc::clone(&pack)), problem });
        }
        inventory.bytes += size;
        let rows = pack.index.iter().filter(|row| !pack.tombstoned.contains(&row.id));
        let copy = |row: Row| ObjectCopy {
            id: row.id,
            size: row.length,
            at: CopyLocation::Packed(Arc::clone(&pack), row),
            sealed,
        };
        inventory.copies.extend(rows.map(copy));
        inventory.packs.push(pack);
    }
    Ok(())
}

fn read_pack(path: &Path) -> Result<(PackIndex, Seen), Unusable> {
    let file = document::open_unlinked(path)?;
    let index = read_index(&file)?;
    let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    Ok((index, Seen::from(stat)))
}

fn broken(path: &Path, why: &str) -> PackState {
    let rows = document::open(path).and_then(|file| salvage_rows(&file)).unwrap_or_default().rows;
    PackState::Broken(Damage { what: DamageKind::Pack { path: path.to_path_buf(), rows }, problem: why.to_string() })
}

fn runs(store: &Store, inventory: &mut Inventory) -> Result<()> {
    for shard in entries(store, "runs")? {
        let below = Path::new("runs").join(&shard.name);
        inventory.damaged.extend(link(store, &below));
        for folder in entries(store, &below)? {
            let below = below.join(&folder.name);
            inventory.damaged.extend(link(store, &below));
            for FolderEntry { path, .. } in entries(store, &below)? {
                if let Ok(seen) = Seen::lstat(&path) {
                    inventory.bytes += seen.stat.size;
                    inventory.runs.push(RunFile { key: name(&folder.path), path });
                }
            }
        }
    }
    Ok(())
}

/// The objects in quarantine under a name that identifies the object, loose or in a pack.
pub fn quarantined(store: &Store) -> HashMap<ObjectId, QuarantinedObject> {
    let mut kept = HashMap::new();
    for FolderEntry { path, .. } in entries(store, "quarantine").unwrap_or_default() {
        let file = name(&path);
        let Some((what, _)) = file.rsplit_once('.') else { continue };
        if let Ok(id) = what.parse::<ObjectId>() {
            kept.insert(id, QuarantinedObject { path, row: None });
        } else if PackId::of_file_name(what).is_some() {
            let rows = document::open(&path).and_then(|file| salvage_rows(&file)).unwrap_or_default().rows;
            for row in rows {
                kept.entry(row.id).or_insert_with(|| QuarantinedObject { path: path.clone(), row: Some(row) });
            }
        }
    }
    kept
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
