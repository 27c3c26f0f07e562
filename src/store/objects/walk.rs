//! A walk over everything below a pin, depth first, in the order of the names.
//!
//! The walk reads no tree by itself: the caller opens the trees that it wants, and decides what a missing or damaged
//! tree means at that place. A tree that is not opened is passed over. Open trees are on a heap, not on the stack, and
//! [`Store::read_tree`] limits their number, so a malicious chain of folders cannot overflow anything.
//!
//! ```text
//! let mut walk = TreeWalk::new(store, pin);
//! while let Some(step) = walk.next() {
//!     match step {
//!         WalkStep::File(pin, kind) => …          // walk.path()
//!         WalkStep::Tree(pin) => match walk.open(&pin) {
//!             Ok(tree) => …                   // its entries are the next steps
//!             Err(e) if e.kind == Kind::Missing => …
//!             Err(e) => return Err(e),
//!         },
//!         WalkStep::End(pin, tree) => …
//!     }
//! }
//! ```

use crate::error::Result;
use crate::store::id::Pin;
use crate::store::objects::Store;
use crate::store::trees::{EntryKind, Tree};

/// A position of a walk.
pub enum WalkStep {
    /// A file or a link, with its kind.
    File(Pin, EntryKind),
    /// A folder whose tree is not read yet. Its entries are the next steps if the caller opens it.
    Tree(Pin),
    /// The end of an opened folder, after all steps inside it.
    End(Pin, Tree),
}

/// Visits the entries below a pin; the pin itself is the first step.
pub struct TreeWalk<'s> {
    store: &'s Store,
    root: Option<Pin>,
    /// From the root to the current folder.
    open: Vec<OpenTree>,
    /// The path of the current step.
    path: Vec<u8>,
}

struct OpenTree {
    pin: Pin,
    tree: Tree,
    /// The number of its entries that were visited.
    visited: usize,
    /// The length of its path.
    length: usize,
}

impl<'s> TreeWalk<'s> {
    pub fn new(store: &'s Store, pin: &Pin) -> TreeWalk<'s> {
        TreeWalk { store, root: Some(*pin), open: Vec::new(), path: Vec::new() }
    }

    /// The path of the current step below the root; empty for the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Reads the tree of the current step, so that the walk continues inside it.
    ///
    /// Errors: those of [`Store::read_tree`]. The walk then continues after the tree.
    pub fn open(&mut self, pin: &Pin) -> Result<&Tree> {
        let tree = self.store.read_tree(&pin.id, self.open.len())?;
        self.open.push(OpenTree { pin: *pin, tree, visited: 0, length: self.path.len() });
        Ok(&self.open[self.open.len() - 1].tree)
    }

    /// Moves to the next step.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not be asked for the path between two steps")]
    pub fn next(&mut self) -> Option<WalkStep> {
        if let Some(pin) = self.root.take() {
            let kind = if pin.executable { EntryKind::Executable } else { EntryKind::File };
            return Some(if pin.is_dir() { WalkStep::Tree(pin) } else { WalkStep::File(pin, kind) });
        }
        let folder = self.open.last_mut()?;
        self.path.truncate(folder.length);
        let Some(entry) = folder.tree.entries.get(folder.visited) else {
            return self.open.pop().map(|folder| WalkStep::End(folder.pin, folder.tree));
        };
        folder.visited += 1;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry.name);
        let pin = entry.pin();
        Some(if pin.is_dir() { WalkStep::Tree(pin) } else { WalkStep::File(pin, entry.kind) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::store::id::ObjectKind;
    use crate::store::trees::Entry;
    use crate::store::{LinkTypes, ReachableObjects};

    fn entry(name: &str, pin: Pin) -> Entry {
        let kind = if pin.is_dir() { EntryKind::Tree } else { EntryKind::File };
        Entry { name: name.into(), kind, id: pin.id, size: pin.size, files: pin.files.unwrap_or(1) }
    }

    /// A store with `sub` = {b}, and top = {a, gone, sub, z}, where `gone` is a folder that the store lacks.
    fn sample() -> (tempfile::TempDir, Store, Pin, Pin) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), LinkTypes::default());
        let mut batch = store.batch();
        let id = batch.add_bytes(ObjectKind::Content, b"x".to_vec());
        let file = Pin { id, size: 1, files: None, executable: false };
        let sub = Tree { entries: vec![entry("b", file)] };
        let gone = Tree { entries: vec![entry("c", file)] };
        let top = [("a", file), ("gone", gone.pin()), ("sub", sub.pin()), ("z", file)];
        let top = Tree { entries: top.into_iter().map(|(name, pin)| entry(name, pin)).collect() };
        for tree in [&sub, &top] {
            batch.add_bytes(ObjectKind::Tree, tree.encode());
        }
        batch.commit(&Silent).unwrap();
        (dir, store, top.pin(), sub.pin())
    }

    /// The steps of a walk that opens the trees that `open` selects.
    fn steps(store: &Store, pin: &Pin, open: impl Fn(&str) -> bool) -> String {
        let mut walk = TreeWalk::new(store, pin);
        let mut steps = Vec::new();
        while let Some(step) = walk.next() {
            let path = String::from_utf8(walk.path().to_vec()).unwrap();
            steps.push(match step {
                WalkStep::File(..) => path,
                WalkStep::Tree(_) if !open(&path) => format!("{path}/ passed"),
                WalkStep::Tree(tree) => match walk.open(&tree) {
                    Ok(_) => format!("{path}/"),
                    Err(_) => format!("{path}/ missing"),
                },
                WalkStep::End(..) => format!("end {path}"),
            });
        }
        steps.join(", ")
    }

    #[test]
    fn steps_are_in_the_order_of_names_and_a_missing_tree_ends_nothing() {
        let (_dir, store, top, sub) = sample();
        assert_eq!(steps(&store, &top, |_| true), "/, a, gone/ missing, sub/, sub/b, end sub, z, end ");
        assert_eq!(steps(&store, &top, |path| path.is_empty()), "/, a, gone/ passed, sub/ passed, z, end ");
        assert_eq!(steps(&store, &top, |_| false), "/ passed");
        assert_eq!(steps(&store, &sub, |_| true), "/, b, end ");
        let file = Pin { files: None, ..top };
        assert_eq!(steps(&store, &file, |_| true), "");
    }

    #[test]
    fn a_file_with_the_id_of_a_tree_hides_nothing_below_the_tree() {
        let (_dir, store, top, sub) = sample();
        let mut reach = ReachableObjects::default();
        for pin in [Pin { files: None, ..sub }, sub] {
            reach.add(&store, &pin).unwrap();
        }
        assert_eq!(reach.objects.len(), 2, "the tree and its file");
        let hostile = Tree { entries: vec![entry("f", Pin { files: None, ..top }), entry("t", top)] };
        let mut batch = store.batch();
        batch.add_bytes(ObjectKind::Tree, hostile.encode());
        batch.commit(&Silent).unwrap();
        let mut reach = ReachableObjects::default();
        reach.add(&store, &hostile.pin()).unwrap();
        assert_eq!((reach.objects.len(), reach.missing.len()), (5, 1));
    }

    #[test]
    fn a_good_object_is_not_quarantined_for_a_wrong_reference() {
        let (_dir, store, _, sub) = sample();
        let path = store.path(&sub.id);
        for wrong in [Pin { files: None, ..sub }, Pin { files: None, size: 33, ..sub }] {
            assert!(!store.contains(&wrong));
            let e = store.read(&wrong.id, ObjectKind::Content).unwrap_err();
            assert!(e.message.contains("is a folder of") && e.message.contains("is not damaged"), "{e}");
        }
        let file = store.read_tree(&sub.id, 0).unwrap().entries[0].pin();
        for wrong in [Pin { files: Some(1), ..file }, Pin { size: 7, ..file }] {
            assert!(!store.contains(&wrong));
        }
        assert!(store.read_tree(&file.id, 0).unwrap_err().message.contains("is a file of 1 bytes"));
        assert!(path.exists() && store.holds(&sub) && store.holds(&file));
    }
}
