//! Lists the differences between two folders, file by file. Equal subtrees are compared by id and never opened.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::store::fs::paths::TrackedPath;
use crate::store::id::{ObjectId, Pin};
use crate::store::index::StatIndex;
use crate::store::objects::Store;
use crate::store::objects::walk::{TreeWalk, WalkStep};
use crate::store::trees::EntryKind;

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the current folder.
    Added,
    /// Only in the pinned folder.
    Removed,
    /// In both, with another id or kind.
    Changed,
}

impl Change {
    /// The sign in listings: `+`, `-` or `~`.
    pub fn sign(self) -> char {
        match self {
            Change::Added => '+',
            Change::Removed => '-',
            Change::Changed => '~',
        }
    }
}

type EntriesByPath = BTreeMap<Vec<u8>, (EntryKind, ObjectId)>;

/// The files that differ between a pinned folder and the current content of `place`, sorted by path. The old tree has
/// to be in the store; the current one comes from the last scan.
pub fn difference(store: &Store, index: &StatIndex, old: &Pin, place: &TrackedPath) -> Result<Vec<(Change, String)>> {
    let mut now = EntriesByPath::new();
    for entry in index.list_entries(place).unwrap_or_default() {
        now.insert(entry.path, (entry.kind, entry.id));
    }
    let mut before = EntriesByPath::new();
    let mut walk = TreeWalk::new(store, old);
    while let Some(step) = walk.next() {
        let (kind, pin) = match step {
            WalkStep::File(pin, kind) => (kind, pin),
            WalkStep::Tree(pin) => (EntryKind::Tree, pin),
            WalkStep::End(..) => continue,
        };
        let path = walk.path().to_vec();
        if kind == EntryKind::Tree && now.get(&path) != Some(&(kind, pin.id)) {
            walk.open(&pin)?;
        }
        if !path.is_empty() {
            before.insert(path, (kind, pin.id));
        }
    }
    let mut found = Vec::new();
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    for (path, (kind, id)) in &before {
        match now.get(path) {
            None if *kind != EntryKind::Tree => found.push((Change::Removed, text(path))),
            Some((EntryKind::Tree, _)) if *kind != EntryKind::Tree => found.push((Change::Removed, text(path))),
            Some((now, new)) if *kind != EntryKind::Tree && (now != kind || new != id) => {
                found.push((Change::Changed, text(path)));
            }
            _ => {}
        }
    }
    let known = |path: &[u8]| {
        // Below an unchanged subtree no file was listed, and none is new.
        (1..=path.len())
            .filter(|at| *at == path.len() || path[*at] == b'/')
            .any(|at| before.get(&path[..at]).is_some_and(|was| at == path.len() || now.get(&path[..at]) == Some(was)))
    };
    let new = now.iter().filter(|(path, (kind, _))| *kind != EntryKind::Tree && !known(path));
    found.extend(new.map(|(path, _)| (Change::Added, text(path))));
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::path::RepoPath;
    use crate::store::{LinkTypes, NoRules};

    #[test]
    fn names_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| {
            let path = top.join("d").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for path in ["same/a", "same/b", "deep/x/y", "deep/z", "gone", "turned"] {
            write(path, path);
        }
        let index = StatIndex::open(&top.join("index"), &top, true);
        let store = Store::open(&top.join("store"), LinkTypes::default());
        let place = TrackedPath::Inside(RepoPath::root().join("d").unwrap());
        let look = || index.scan(std::slice::from_ref(&place), &NoRules, &Silent).pop().unwrap().unwrap().unwrap();
        let old = look();
        let mut batch = store.batch();
        batch.add(&index, &place, &old).unwrap();
        batch.commit(&Silent).unwrap();
        assert_eq!(difference(&store, &index, &old, &place).unwrap(), []);
        std::fs::remove_file(top.join("d/gone")).unwrap();
        std::fs::remove_file(top.join("d/turned")).unwrap();
        write("turned/new", "1");
        write("deep/x/y", "other");
        write("deep/more", "1");
        look();
        let got: Vec<String> =
            difference(&store, &index, &old, &place).unwrap().iter().map(|(c, p)| format!("{}{p}", c.sign())).collect();
        assert_eq!(got, ["+deep/more", "~deep/x/y", "-gone", "-turned", "+turned/new"]);
    }
}
