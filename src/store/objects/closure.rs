//! Lists the objects of a pin, and those that the store lacks.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::trees::EntryKind;

/// An object that a pin needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The id of the object.
    pub id: ObjectId,
    /// Whether it is content or a tree.
    pub kind: ObjectKind,
    /// The size of the object itself: for a tree, of its encoding.
    pub size: u64,
}

/// The objects of a pin that the store lacks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MissingObjects {
    /// Missing trees. Their children are unknown: fetch the trees, then ask again.
    pub trees: Vec<ObjectId>,
    /// Missing contents, with the sizes that their trees or the pin give.
    pub contents: Vec<ObjectRef>,
}

impl MissingObjects {
    /// Returns true if the store has all objects of the pin.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty() && self.contents.is_empty()
    }

    /// The bytes of the missing contents; contents below missing trees are unknown.
    pub fn bytes(&self) -> u64 {
        self.contents.iter().map(|object| object.size).sum()
    }
}

impl Store {
    /// Lists every object of a pin once: contents before the trees that refer to them, the object of the pin last,
    /// which is the order in which they may become visible elsewhere. Trees are read and verified; for contents only
    /// the size is checked. Errors: an object is missing; the message names the first.
    pub fn list_objects(&self, pin: &Pin) -> Result<Vec<ObjectRef>> {
        self.refresh_packs_unless_big(pin);
        let mut all = Vec::new();
        self.collect_objects(pin, 0, &mut HashSet::new(), &mut all)?;
        Ok(all)
    }

    fn collect_objects(
        &self,
        pin: &Pin,
        level: usize,
        seen: &mut HashSet<ObjectId>,
        all: &mut Vec<ObjectRef>,
    ) -> Result<()> {
        if !seen.insert(pin.id) {
            return Ok(());
        }
        if !pin.is_dir() {
            if !self.has(pin) {
                self.locate(&pin.id, pin.size)?;
            }
            all.push(ObjectRef { id: pin.id, kind: ObjectKind::Content, size: pin.size });
            return Ok(());
        }
        let tree = self.read_tree(&pin.id, level)?;
        for entry in &tree.entries {
            self.collect_objects(&entry.pin(), level + 1, seen, all)?;
        }
        let size = tree.encode().len() as u64;
        all.push(ObjectRef { id: pin.id, kind: ObjectKind::Tree, size });
        Ok(())
    }

    /// Lists the missing objects of a pin, each once. Subtrees that this process knows to be complete are not opened; a
    /// damaged tree moves to quarantine and counts as missing.
    pub fn missing_objects(&self, pin: &Pin) -> Result<MissingObjects> {
        self.refresh_packs_unless_big(pin);
        let mut missing = MissingObjects::default();
        self.collect_missing(pin, 0, &mut HashSet::new(), &mut missing)?;
        Ok(missing)
    }

    /// Collects the missing objects. Returns whether the pin is complete.
    fn collect_missing(
        &self,
        pin: &Pin,
        level: usize,
        seen: &mut HashSet<ObjectId>,
        missing: &mut MissingObjects,
    ) -> Result<bool> {
        if pin.is_dir() && self.memo().contains(&pin.id) {
            return Ok(true);
        }
        if !pin.is_dir() {
            let here = self.has(pin);
            if !here && seen.insert(pin.id) {
                missing.contents.push(ObjectRef { id: pin.id, kind: ObjectKind::Content, size: pin.size });
            }
            return Ok(here);
        }
        // Seen and not in the memo: an object below it is missing and in the list already.
        if !seen.insert(pin.id) {
            return Ok(false);
        }
        let tree = match self.read_tree(&pin.id, level) {
            Ok(tree) => tree,
            Err(e) if e.kind == Kind::Missing => {
                missing.trees.push(pin.id);
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let mut complete = true;
        for entry in &tree.entries {
            // The text of a link is content; a folder is walked.
            debug_assert!(entry.kind != EntryKind::Tree || entry.files > 0);
            complete &= self.collect_missing(&entry.pin(), level + 1, seen, missing)?;
        }
        if complete {
            self.memo().insert(pin.id);
        }
        Ok(complete)
    }
}
