//! Collects all objects that pins reach, for gc.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::trees::{EntryKind, Tree};

/// A set of reachable objects.
#[derive(Clone, Debug, Default)]
pub struct ReachableObjects {
    /// Objects that the store has, trees and contents.
    pub objects: HashSet<ObjectId>,
    /// Trees that the store lacks, so that their children are unknown.
    pub missing: Vec<ObjectId>,
}

impl ReachableObjects {
    /// Adds all present objects that a pin reaches. A tree in the set is not opened again.
    ///
    /// Errors: a present tree cannot be read.
    pub fn add(&mut self, store: &Store, pin: &Pin) -> Result<()> {
        self.below(store, pin.id, pin.is_dir(), 0, &mut |_, _| {})
    }

    /// The same; calls the closure for each new object with its size (0 for a tree).
    pub fn each(
        &mut self,
        store: &Store,
        id: ObjectId,
        is_tree: bool,
        new: &mut dyn FnMut(ObjectId, u64),
    ) -> Result<()> {
        self.below(store, id, is_tree, 0, new)
    }

    fn below(
        &mut self,
        store: &Store,
        id: ObjectId,
        is_tree: bool,
        level: usize,
        new: &mut dyn FnMut(ObjectId, u64),
    ) -> Result<()> {
        if !self.objects.insert(id) {
            return Ok(());
        }
        if !is_tree {
            return Ok(());
        }
        new(id, 0);
        let tree = match store.read_tree(&id, level) {
            Ok(tree) => tree,
            Err(e) if e.kind == Kind::Missing => {
                self.missing.push(id);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        for entry in &tree.entries {
            if entry.kind == EntryKind::Tree {
                self.below(store, entry.id, true, level + 1, new)?;
            } else if self.objects.insert(entry.id) {
                new(entry.id, entry.size);
            }
        }
        Ok(())
    }
}

impl Store {
    /// Is this object a tree? Reads it only if it may be one.
    pub fn is_tree(&self, id: &ObjectId, size: u64) -> bool {
        const LARGEST: u64 = 64 << 20;
        if size > LARGEST {
            return false;
        }
        let Ok(location) = self.locate(id, size) else { return false };
        location.read().is_ok_and(|bytes| ObjectKind::Tree.id_of(&bytes) == *id && Tree::parse(&bytes).is_ok())
    }
}
