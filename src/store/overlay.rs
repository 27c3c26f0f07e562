//! Computes the pin that a folder would have if missing files were present: from pins, without the bytes.

use std::collections::BTreeMap;

use crate::store::id::Pin;
use crate::store::index::ListedEntry;
use crate::store::objects::Store;
use crate::store::trees::{Entry, EntryKind, Tree};

enum OverlayNode {
    Leaf(Entry),
    Folder(BTreeMap<Vec<u8>, OverlayNode>),
}

/// The pin of a folder with the entries `found` in it and with `missing` at their paths, all relative to it.
pub fn overlay(found: &[ListedEntry], missing: &[(Vec<u8>, Pin)]) -> Pin {
    let mut top = BTreeMap::new();
    for one in found.iter().filter(|one| one.kind != EntryKind::Tree) {
        put(&mut top, &one.path, Entry { name: Vec::new(), kind: one.kind, id: one.id, size: one.size, files: 1 });
    }
    for (path, pin) in missing {
        let kind = match (pin.files, pin.executable) {
            // An empty folder is not part of the content of its parent.
            (Some(0), _) => continue,
            (Some(_), _) => EntryKind::Tree,
            (None, true) => EntryKind::Executable,
            (None, false) => EntryKind::File,
        };
        let files = pin.files.unwrap_or(1);
        put(&mut top, path, Entry { name: Vec::new(), kind, id: pin.id, size: pin.size, files });
    }
    tree(top).pin()
}

impl Store {
    /// The pin of a relative path in a pinned folder: `Some(None)` if it does not exist, `None` if a tree on the way is
    /// missing from the store.
    pub fn find_in_pin(&self, pin: &Pin, path: &str) -> Option<Option<Pin>> {
        let mut at = *pin;
        for name in path.split('/') {
            if !at.is_dir() {
                return Some(None);
            }
            let tree = self.read_tree(&at.id, 0).ok()?;
            let Some(entry) = tree.entries.iter().find(|entry| entry.name == name.as_bytes()) else {
                return Some(None);
            };
            // A dep that is a link counts as its target, which cannot be known from the tree.
            at = Some(entry.pin()).filter(|_| entry.kind != EntryKind::Symlink)?;
        }
        Some(Some(at))
    }
}

fn put(folder: &mut BTreeMap<Vec<u8>, OverlayNode>, path: &[u8], entry: Entry) {
    match path.iter().position(|b| *b == b'/') {
        None => drop(folder.insert(path.to_vec(), OverlayNode::Leaf(Entry { name: path.to_vec(), ..entry }))),
        Some(cut) => {
            let below = folder.entry(path[..cut].to_vec()).or_insert_with(|| OverlayNode::Folder(BTreeMap::new()));
            if let OverlayNode::Folder(below) = below {
                put(below, &path[cut + 1..], entry);
            }
        }
    }
}

fn tree(folder: BTreeMap<Vec<u8>, OverlayNode>) -> Tree {
    let entry = |(name, node): (Vec<u8>, OverlayNode)| match node {
        OverlayNode::Leaf(entry) => Some(entry),
        OverlayNode::Folder(below) => {
            let pin = tree(below).pin();
            let files = pin.files.filter(|n| *n > 0)?;
            Some(Entry { name, kind: EntryKind::Tree, id: pin.id, size: pin.size, files })
        }
    };
    Tree { entries: folder.into_iter().filter_map(entry).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::path::RepoPath;
    use crate::store::{NoRules, StatIndex, TrackedPath};

    #[test]
    fn a_folder_with_what_was_taken_out_of_it_is_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for path in ["d/a/x", "d/a/y", "d/b/c/z", "d/gone/1", "d/gone/2/3", "d/a.txt"] {
            std::fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            std::fs::write(top.join(path), path).unwrap();
        }
        let look = |path: &str| {
            let index = StatIndex::open(&top.join("index"), &top, true);
            let place = TrackedPath::Inside(RepoPath::root().join(path).unwrap());
            let pin = index.scan(std::slice::from_ref(&place), &NoRules, &Silent).pop().unwrap().unwrap().unwrap();
            (pin, index.list_entries(&place).unwrap_or_default())
        };
        let (whole, all) = look("d");
        assert_eq!(overlay(&all, &[]), whole);
        let (file, folder) = (look("d/b/c/z").0, look("d/gone").0);
        std::fs::remove_dir_all(top.join("d/b")).unwrap();
        std::fs::remove_dir_all(top.join("d/gone")).unwrap();
        let (less, rest) = look("d");
        assert_ne!(less, whole);
        assert_eq!(overlay(&rest, &[(b"b/c/z".to_vec(), file), (b"gone".to_vec(), folder)]), whole);
    }
}
