//! The packs of a store: lookup, refresh, and quarantine of broken packs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::Store;
use crate::error::{Error, Result as Fallible};
use crate::store::fs::paths;
use crate::store::id::ObjectId;
use crate::store::pack::file::Pack;
use crate::store::pack::format::Row;
use crate::store::pack::tombstones;

impl Store {
    /// The location of an object in the known packs.
    pub(in crate::store) fn packed(&self, id: &ObjectId) -> Option<(Arc<Pack>, Row)> {
        let mut snapshot = self.packs().snapshot();
        if snapshot.listed.is_none() {
            self.refresh_packs();
            snapshot = self.packs().snapshot();
        }
        snapshot.find(id).map(|(pack, row)| (Arc::clone(pack), row))
    }

    /// Loads packs that other processes wrote, and drops deleted ones. Costs one stat if the folder is unchanged.
    pub(in crate::store) fn refresh_packs(&self) {
        for broken in self.packs().refresh() {
            let name = broken.file_name().unwrap_or_default().to_string_lossy();
            let error = Error::missing(format!("the pack {name} in the store {} is damaged", self.dir().display()));
            // In a read-only store a broken pack stays where it is, and is skipped.
            let Ok(folder) = self.check_not_read_only().and_then(|()| self.folder("quarantine")) else {
                self.damage.note(error.because("it stays where it is"));
                continue;
            };
            let to = folder.join(format!("{name}.{:08x}", paths::random() as u32));
            // Another process may have moved it; a pack that cannot be moved is skipped.
            if fs::symlink_metadata(&broken).is_ok() && self.renew_generation().is_ok() {
                if self.rename(&broken, &to).is_ok() {
                    self.damage.note(error.because(format!("it is kept in {}", to.display())));
                }
                self.memo().clear();
            }
        }
    }

    /// All packs, for callers that must not miss one.
    ///
    /// Errors: a pack cannot be read at the moment, is broken, or has a later version; a folder cannot be listed.
    pub fn each_pack(&self) -> Fallible<Vec<Arc<Pack>>> {
        // A pack that could not be read a moment ago may be readable now.
        if self.packs().snapshot().incomplete.is_some() {
            self.packs().list_again();
        }
        let packs = self.all_packs();
        match &self.packs().snapshot().incomplete {
            Some(error) => Err(error.clone()),
            None => Ok(packs),
        }
    }

    /// All usable packs.
    pub fn all_packs(&self) -> Vec<Arc<Pack>> {
        self.refresh_packs();
        let mut packs: Vec<Arc<Pack>> =
            self.packs().snapshot().packs.iter().flatten().map(|loaded| Arc::clone(&loaded.pack)).collect();
        packs.sort_by_key(|pack| pack.id);
        packs
    }

    /// Copies the bytes of damaged objects of a pack to quarantine, and writes tombstones for them. Returns the folder
    /// of the copies.
    pub(in crate::store) fn tombstone(&self, pack: &Pack, rows: &[Row]) -> Fallible<PathBuf> {
        self.check_not_read_only()?;
        let folder = self.folder("quarantine")?;
        let (mut ids, _) = tombstones::read(&pack.path);
        ids.extend(&pack.tombstoned);
        for row in rows {
            // Bytes that the disk cannot read are not copied; the object is damaged all the same.
            if let Ok(bytes) = pack.read(row) {
                self.put_small(&folder.join(format!("{}.{:08x}", row.id, paths::random() as u32)), &bytes)?;
            }
            ids.insert(row.id);
        }
        self.renew_generation()?;
        self.put_small(&tombstones::path_of(&pack.path), &tombstones::encode(&ids))?;
        self.packs().forget(&pack.id);
        self.memo().clear();
        Ok(folder)
    }
}
