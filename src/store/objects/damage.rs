//! Damage that is found on the way, by questions that have no place for it in their answers: "is all of it here?" says
//! no. It is noted, for the command to tell.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::error::Error;
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::objects::lookup::Lies;

#[derive(Default)]
pub struct Damage {
    notes: Mutex<Vec<Error>>,
    /// Objects that were looked at since their size is not the pinned one.
    examined: Mutex<HashSet<ObjectId>>,
}

impl Damage {
    pub fn note(&self, error: Error) {
        let mut notes = self.notes.lock().unwrap_or_else(|e| e.into_inner());
        if notes.iter().all(|known| known.message != error.message) {
            notes.push(error);
        }
    }
}

impl Store {
    /// What was found damaged, and where it lies now.
    pub fn damage(&self) -> Vec<Error> {
        self.damage.notes.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Finds out whether a file that has another size than it is pinned with is damaged. If it is, it is set aside.
    pub(in crate::store) fn examine(&self, id: &ObjectId, size: u64) {
        if !self.damage.examined.lock().unwrap_or_else(|e| e.into_inner()).insert(*id) {
            return;
        }
        let Ok(lies) = self.locate(id, size) else { return };
        let got = match &lies {
            Lies::Loose(file, seen) => hash::of_object(file, ObjectKind::Content, seen.stat.size),
            Lies::Packed(pack, row) => pack.id_of(row),
        };
        self.damage.note(match got {
            Ok(got) if got == *id => {
                let message = format!("object {id} has {} bytes, and a lock pins it with {size}", lies.size());
                Error::missing(message).hint("bring back a good pipeline.lock: git log -p pipeline.lock")
            }
            Ok(_) => self.damaged(id, &lies),
            Err(e) => self.unread(id, &lies, e),
        });
    }
}
