//! Collects all objects that pins reach, for gc.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::objects::walk::{TreeWalk, WalkStep};
use crate::store::trees::Tree;

/// A set of reachable objects.
#[derive(Clone, Debug, Default)]
pub struct ReachableObjects {
    /// Objects that the store has, trees and contents.
    pub objects: HashSet<ObjectId>,
    /// Trees that the store lacks, so that their children are unknown.
    pub missing: Vec<ObjectId>,
    /// The trees in the set. A file that a malicious tree or lock gives the id of a tree does not hide what is below it.
    trees: HashSet<ObjectId>,
}

impl ReachableObjects {
    /// A set of which every tree was opened.
    pub fn walked(objects: HashSet<ObjectId>, missing: Vec<ObjectId>) -> ReachableObjects {
        ReachableObjects { trees: objects.clone(), objects, missing }
    }

    /// Whether a pin was added, with all below it.
    pub fn covers(&self, pin: &Pin) -> bool {
        if pin.is_dir() { self.trees.contains(&pin.id) } else { self.objects.contains(&pin.id) }
    }

    /// Adds all present objects that a pin reaches. A tree that was added before is not opened again.
    ///
    /// Errors: a present tree cannot be read.
    pub fn add(&mut self, store: &Store, pin: &Pin) -> Result<()> {
        let mut walk = TreeWalk::new(store, pin);
        while let Some(step) = walk.next() {
            match step {
                WalkStep::File(file, _) => drop(self.objects.insert(file.id)),
                WalkStep::Tree(tree) => {
                    if !self.trees.insert(tree.id) {
                        continue;
                    }
                    self.objects.insert(tree.id);
                    match walk.open(&tree) {
                        Ok(_) => {}
                        Err(e) if e.kind == Kind::Missing => self.missing.push(tree.id),
                        Err(e) => return Err(e),
                    }
                }
                WalkStep::End(..) => {}
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
