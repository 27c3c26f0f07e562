//! What a pin consists of, and what of it is not here.

use std::collections::HashSet;

use crate::error::{Kind, Result};
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::trees::EntryKind;

/// An object that a pin needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    pub id: ObjectId,
    pub kind: ObjectKind,
    /// Of the object itself, so of a tree's encoding.
    pub size: u64,
}

/// What is not here of a pin.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Lacking {
    /// Trees. What they name is not known before they are here: fetch them, then ask again.
    pub trees: Vec<ObjectId>,
    /// Contents, with the sizes that their trees or the pin tell.
    pub contents: Vec<ObjectRef>,
}

impl Lacking {
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty() && self.contents.is_empty()
    }

    /// Of the contents; those below missing trees are not known.
    pub fn bytes(&self) -> u64 {
        self.contents.iter().map(|object| object.size).sum()
    }
}

impl Store {
    /// Every object of a pin, each once: contents before the trees that name them, the pin's own last, which is the
    /// order in which they may become visible elsewhere. The trees are read and verified; of contents only the size is
    /// checked. An error names the first that is not here.
    pub fn all_of(&self, pin: &Pin) -> Result<Vec<ObjectRef>> {
        self.refresh_packs_unless_big(pin);
        let mut all = Vec::new();
        self.collect(pin, 0, &mut HashSet::new(), &mut all)?;
        Ok(all)
    }

    fn collect(&self, pin: &Pin, level: usize, seen: &mut HashSet<ObjectId>, all: &mut Vec<ObjectRef>) -> Result<()> {
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
            self.collect(&entry.pin(), level + 1, seen, all)?;
        }
        let size = tree.encode().len() as u64;
        all.push(ObjectRef { id: pin.id, kind: ObjectKind::Tree, size });
        Ok(())
    }

    /// What of a pin is not here, each once. Subtrees that this process knows to be complete are not opened; a tree that
    /// turns out to be damaged is set aside and counts as missing.
    pub fn lacking(&self, pin: &Pin) -> Result<Lacking> {
        self.refresh_packs_unless_big(pin);
        let mut lacking = Lacking::default();
        self.lack(pin, 0, &mut HashSet::new(), &mut lacking)?;
        Ok(lacking)
    }

    /// Is all of it here?
    fn lack(&self, pin: &Pin, level: usize, seen: &mut HashSet<ObjectId>, lacking: &mut Lacking) -> Result<bool> {
        if pin.is_dir() && self.memo().contains(&pin.id) {
            return Ok(true);
        }
        if !pin.is_dir() {
            let here = self.has(pin);
            if !here && seen.insert(pin.id) {
                lacking.contents.push(ObjectRef { id: pin.id, kind: ObjectKind::Content, size: pin.size });
            }
            return Ok(here);
        }
        // Seen and not in the memo: something below it is missing and stands in the list already.
        if !seen.insert(pin.id) {
            return Ok(false);
        }
        let tree = match self.read_tree(&pin.id, level) {
            Ok(tree) => tree,
            Err(e) if e.kind == Kind::Missing => {
                lacking.trees.push(pin.id);
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let mut complete = true;
        for entry in &tree.entries {
            // A link's text is content; a folder is walked.
            debug_assert!(entry.kind != EntryKind::Tree || entry.files > 0);
            complete &= self.lack(&entry.pin(), level + 1, seen, lacking)?;
        }
        if complete {
            self.memo().insert(pin.id);
        }
        Ok(complete)
    }
}
