//! Lists the objects of a pin, and those that the store lacks.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::objects::walk::{TreeWalk, WalkStep};

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
    /// which is the order in which they may become visible elsewhere. Trees are read and verified; contents may be
    /// missing. Errors: a tree is missing or damaged (kind missing), or cannot be read.
    pub fn list_objects(&self, pin: &Pin) -> Result<Vec<ObjectRef>> {
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        let mut walk = TreeWalk::new(self, pin);
        while let Some(step) = walk.next() {
            match step {
                WalkStep::File(file, _) if seen.insert((file.id, false)) => {
                    all.push(ObjectRef { id: file.id, kind: ObjectKind::Content, size: file.size });
                }
                WalkStep::Tree(tree) if seen.insert((tree.id, true)) => drop(walk.open(&tree)?),
                WalkStep::End(pin, tree) => {
                    all.push(ObjectRef { id: pin.id, kind: ObjectKind::Tree, size: tree.encode().len() as u64 });
                }
                WalkStep::File(..) | WalkStep::Tree(_) => {}
            }
        }
        Ok(all)
    }

    /// Lists the missing objects of a pin, each once. Subtrees that this process knows to be complete are not opened; a
    /// damaged tree moves to quarantine and counts as missing.
    pub fn missing_objects(&self, pin: &Pin) -> Result<MissingObjects> {
        self.refresh_packs_unless_big(pin);
        let mut missing = MissingObjects::default();
        let mut seen = HashSet::new();
        // For each open tree: is everything complete so far?
        let mut complete = Vec::new();
        let mut walk = TreeWalk::new(self, pin);
        while let Some(step) = walk.next() {
            let is_complete = match step {
                WalkStep::File(file, _) => {
                    let here = self.has(&file);
                    if !here && seen.insert((file.id, false)) {
                        missing.contents.push(ObjectRef { id: file.id, kind: ObjectKind::Content, size: file.size });
                    }
                    here
                }
                WalkStep::Tree(tree) if self.memo().contains(&tree.id) => true,
                // Not complete: an object below it is missing, and is in the list already.
                WalkStep::Tree(tree) if !seen.insert((tree.id, true)) => false,
                WalkStep::Tree(tree) => match walk.open(&tree) {
                    Ok(_) => {
                        complete.push(true);
                        continue;
                    }
                    Err(e) if e.kind == Kind::Missing => {
                        missing.trees.push(tree.id);
                        false
                    }
                    Err(e) => return Err(e),
                },
                WalkStep::End(pin, _) => {
                    let is_complete = complete.pop() == Some(true);
                    if is_complete {
                        self.memo().insert(pin.id);
                    }
                    is_complete
                }
            };
            complete.last_mut().into_iter().for_each(|above| *above &= is_complete);
        }
        Ok(missing)
    }
}
