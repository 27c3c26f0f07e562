//! Records damage that is found by queries whose result cannot carry it: "is all of it present?" answers no. The
//! command reports it at its end.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::document;
use crate::error::Error;
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::objects::lookup::ObjectLocation;

/// Damage that queries found, in the order of discovery.
#[derive(Default)]
pub struct Damage {
    notes: Mutex<Vec<Error>>,
    /// Objects that were checked because their size differs from the pinned one.
    examined: Mutex<HashSet<ObjectId>>,
}

impl Damage {
    /// Adds damage, once for each message.
    pub fn note(&self, error: Error) {
        let mut notes = self.notes.lock().unwrap_or_else(|e| e.into_inner());
        if notes.iter().all(|known| known.message != error.message) {
            notes.push(error);
        }
    }
}

impl Store {
    /// The damage found so far, with the current paths of the damaged files.
    pub fn damage(&self) -> Vec<Error> {
        self.damage.notes.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Checks whether a file whose size differs from its pin is damaged. If it is, it moves to quarantine.
    pub(in crate::store) fn check_size(&self, id: &ObjectId, size: u64) {
        if !self.damage.examined.lock().unwrap_or_else(|e| e.into_inner()).insert(*id) {
            return;
        }
        let Ok(location) = self.locate(id, size) else { return };
        let got = match &location {
            ObjectLocation::Loose(file, seen) => hash::hash_object(file, ObjectKind::Content, seen.stat.size),
            ObjectLocation::Packed(pack, row) => pack.id_of(row),
        };
        self.damage.note(match got {
            Ok(got) if got == *id => {
                let message = format!("object {id} has {} bytes, and a lock pins it with {size}", location.size());
                Error::missing(message).hint("bring back a good pipeline.lock: git log -p pipeline.lock")
            }
            Ok(_) => self.damage_error(id, &location),
            Err(e) => self.read_error(id, &location, e),
        });
    }

    /// The kind that the bytes of an object fit; `None` if it is damaged, or cannot be read.
    pub(in crate::store) fn intact_kind(&self, id: &ObjectId, location: &ObjectLocation) -> Option<ObjectKind> {
        let kinds = [ObjectKind::Content, ObjectKind::Tree];
        match location {
            ObjectLocation::Packed(pack, row) => {
                let fits = pack.id_of(row).is_ok_and(|got| got == *id);
                fits.then_some(row.kind)
            }
            ObjectLocation::Loose(_, seen) => kinds.into_iter().find(|kind| {
                let file = document::open(&self.path(id));
                file.and_then(|file| hash::hash_object(&file, *kind, seen.stat.size)).is_ok_and(|got| got == *id)
            }),
        }
    }
}
