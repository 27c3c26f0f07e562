//! All that pins lead to, for those who mark what is needed.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::trees::{EntryKind, Tree};

/// Objects that something leads to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    pub objects: HashSet<ObjectId>,
    /// Trees that are not here, so that what they lead to is not known.
    pub missing: Vec<ObjectId>,
}

impl Reach {
    /// Adds all that a pin leads to, as far as it is here. A tree that is in already is not opened again.
    ///
    /// Errors: a tree that is here and cannot be read.
    pub fn add(&mut self, store: &Store, pin: &Pin) -> Result<()> {
        self.below(store, pin.id, pin.is_dir(), 0, &mut |_, _| {})
    }

    /// The same, told of each object that is new, with its size: of a tree 0.
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
    /// Is this object a tree? Only what may be one is read.
    pub fn is_tree(&self, id: &ObjectId, size: u64) -> bool {
        const LARGEST: u64 = 64 << 20;
        if size > LARGEST {
            return false;
        }
        let Ok(lies) = self.locate(id, size) else { return false };
        lies.read().is_ok_and(|bytes| ObjectKind::Tree.id_of(&bytes) == *id && Tree::parse(&bytes).is_ok())
    }
}
