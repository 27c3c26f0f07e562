//! Compares the outputs and data of two snapshots, file by file.
//!
//! Folders are compared by their trees: equal ones are not opened. A tree that cannot be opened (its object is not in
//! the store) is reported for that path, and the comparison continues.
//!
//! A path that disappeared and one that appeared with the same content are a rename. Whole folders are matched first,
//! so that a moved folder of 100,000 files is one line.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::store::trees::{Entry, EntryKind};
use crate::store::{ObjectId, Pin};

/// A file or folder at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedNode {
    /// The type of the entry.
    pub kind: EntryKind,
    /// The id of the content, or of the tree.
    pub id: ObjectId,
    /// In bytes; of a folder, of all files below it.
    pub size: u64,
}

impl ComparedNode {
    /// A node with the id, kind and size of a pin.
    pub fn of(pin: &Pin) -> ComparedNode {
        let kind = match pin {
            Pin { files: Some(_), .. } => EntryKind::Tree,
            Pin { executable: true, .. } => EntryKind::Executable,
            _ => EntryKind::File,
        };
        ComparedNode { kind, id: pin.id, size: pin.size }
    }

    fn is_tree(&self) -> bool {
        self.kind == EntryKind::Tree
    }

    fn of_entry(entry: &Entry) -> ComparedNode {
        ComparedNode { kind: entry.kind, id: entry.id, size: entry.size }
    }
}

/// Returns the entries of a folder, given its root, its path below that root, and its node.
pub type OpenFolder<'a> = dyn Fn(&RepoPath, &str, &ComparedNode) -> Result<Vec<Entry>> + 'a;

/// Outs and data of one snapshot, and a function that opens their folders.
pub struct Side<'a> {
    /// The pin of each output and each data path.
    pub roots: BTreeMap<RepoPath, Pin>,
    /// Opens a folder at or below a root.
    pub open: &'a OpenFolder<'a>,
}

impl Side<'_> {
    /// Returns true if the path is a root, a folder above one, or inside one; `None` if it is outside of all roots. A
    /// folder that cannot be opened may contain any path.
    pub fn has(&self, path: &RepoPath) -> Option<bool> {
        let (root, pin) = self.roots.iter().find(|(root, _)| path.is_in(root) || root.is_in(path))?;
        let mut node = ComparedNode::of(pin);
        let mut below = String::new();
        for name in path.parts().skip(root.parts().count()) {
            if !node.is_tree() {
                return Some(false);
            }
            let Ok(entries) = (self.open)(root, &below, &node) else { return Some(true) };
            let Some(entry) = entries.iter().find(|entry| entry.name == name.as_bytes()) else { return Some(false) };
            node = ComparedNode::of_entry(entry);
            below = if below.is_empty() { name.to_string() } else { format!("{below}/{name}") };
        }
        Some(true)
    }
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// Only on the new side.
    Added(ComparedNode),
    /// Only on the old side.
    Deleted(ComparedNode),
    /// On both sides, with another id or type.
    Modified {
        /// The node on the old side.
        old: ComparedNode,
        /// The node on the new side.
        new: ComparedNode,
    },
    /// The path is the new one.
    Renamed {
        /// The old path.
        from: String,
        /// The node, which is the same on both sides.
        node: ComparedNode,
    },
}

/// One difference. Folders, which appear whole if they were renamed or cannot be opened, end in `/`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataChange {
    /// Relative to the root of the repository.
    pub path: String,
    /// What happened to it.
    pub what: ChangeKind,
}

/// The differences between two sides.
#[derive(Debug, Default)]
pub struct Differences {
    /// Sorted by path.
    pub changes: Vec<DataChange>,
    /// Folders that differ and whose trees are not in the store: their content is not compared.
    pub unopened: Vec<(String, Error)>,
}

/// Compares two sides, limited to paths that `wanted` accepts; a folder is opened if its content may be wanted.
pub fn compare(old: &Side<'_>, new: &Side<'_>, wanted: &dyn Fn(&RepoPath) -> bool) -> Differences {
    let mut work = Work { old, new, found: Differences::default(), gone: Vec::new(), come: Vec::new() };
    let mut roots: Vec<&RepoPath> = old.roots.keys().chain(new.roots.keys()).filter(|p| wanted(p)).collect();
    roots.sort();
    roots.dedup();
    for root in roots {
        let node = |side: &Side<'_>| side.roots.get(root).map(ComparedNode::of);
        work.pair(root, "", node(old), node(new));
    }
    work.rename(true);
    work.unfold();
    work.rename(false);
    let Work { mut found, gone, come, .. } = work;
    found
        .changes
        .extend(gone.into_iter().map(|at| DataChange { path: at.shown(), what: ChangeKind::Deleted(at.node) }));
    found.changes.extend(come.into_iter().map(|at| DataChange { path: at.shown(), what: ChangeKind::Added(at.node) }));
    found.changes.sort_by(|a, b| a.path.cmp(&b.path));
    found.unopened.sort_by(|a, b| a.0.cmp(&b.0));
    found.unopened.dedup_by(|a, b| a.0 == b.0);
    found
}

/// A node of one side.
#[derive(Clone)]
struct PlacedNode {
    root: RepoPath,
    /// Relative to the root; empty for the root itself.
    below: String,
    node: ComparedNode,
}

impl PlacedNode {
    fn shown(&self) -> String {
        let path = if self.below.is_empty() { self.root.to_string() } else { format!("{}/{}", self.root, self.below) };
        if self.node.is_tree() { path + "/" } else { path }
    }
}

struct Work<'a, 's> {
    old: &'s Side<'a>,
    new: &'s Side<'a>,
    found: Differences,
    /// On the old side only.
    gone: Vec<PlacedNode>,
    /// On the new side only.
    come: Vec<PlacedNode>,
}

impl Work<'_, '_> {
    fn pair(&mut self, root: &RepoPath, below: &str, old: Option<ComparedNode>, new: Option<ComparedNode>) {
        let at = |node| PlacedNode { root: root.clone(), below: below.to_string(), node };
        match (old, new) {
            (Some(a), Some(b)) if (a.kind, a.id) == (b.kind, b.id) => {}
            (Some(a), Some(b)) if a.is_tree() && b.is_tree() => self.trees(root, below, a, b),
            (Some(a), Some(b)) if a.is_tree() == b.is_tree() => {
                let what = ChangeKind::Modified { old: a, new: b };
                self.found.changes.push(DataChange { path: at(a).shown(), what });
            }
            (old, new) => {
                self.gone.extend(old.map(at));
                self.come.extend(new.map(at));
            }
        }
    }

    /// Compares two different trees: a merge of sorted lists.
    fn trees(&mut self, root: &RepoPath, below: &str, a: ComparedNode, b: ComparedNode) {
        let (before, after) = match ((self.old.open)(root, below, &a), (self.new.open)(root, below, &b)) {
            (Ok(before), Ok(after)) => (before, after),
            (before, after) => {
                let path = PlacedNode { root: root.clone(), below: below.to_string(), node: a }.shown();
                self.found.unopened.extend(before.err().or(after.err()).map(|e| (path.clone(), e)));
                self.found.changes.push(DataChange { path, what: ChangeKind::Modified { old: a, new: b } });
                return;
            }
        };
        let (mut x, mut y) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (x.peek(), y.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let old = if order.is_le() { x.next() } else { None };
            let new = if order.is_ge() { y.next() } else { None };
            let Some(name) = old.or(new).map(|e| &e.name) else { break };
            let path = child(below, name);
            self.pair(root, &path, old.map(ComparedNode::of_entry), new.map(ComparedNode::of_entry));
        }
    }

    /// Pairs removed with added paths: folders, or files. If several have the same content, those with the same name
    /// are paired first, then in the order of their paths. Empty files are all equal and never paired.
    fn rename(&mut self, folders: bool) {
        self.gone.sort_by_key(PlacedNode::shown);
        self.come.sort_by_key(PlacedNode::shown);
        let fits = |at: &PlacedNode| at.node.is_tree() == folders && at.node.size > 0;
        let mut by_content: BTreeMap<(EntryKind, ObjectId), Vec<usize>> = BTreeMap::new();
        for (n, at) in self.gone.iter().enumerate().filter(|(_, at)| fits(at)) {
            by_content.entry((at.node.kind, at.node.id)).or_default().push(n);
        }
        let name =
            |at: &PlacedNode| at.shown().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string();
        let mut taken = vec![false; self.gone.len()];
        let mut pairs: Vec<Option<usize>> = vec![None; self.come.len()];
        for by_name in [true, false] {
            for (m, at) in self.come.iter().enumerate().filter(|(_, at)| fits(at)) {
                let Some(sources) = by_content.get(&(at.node.kind, at.node.id)) else { continue };
                let free = sources.iter().find(|n| !taken[**n] && (!by_name || name(&self.gone[**n]) == name(at)));
                if let (None, Some(n)) = (pairs[m], free) {
                    taken[*n] = true;
                    pairs[m] = Some(*n);
                }
            }
        }
        let gone = std::mem::take(&mut self.gone);
        for (at, pair) in std::mem::take(&mut self.come).into_iter().zip(pairs) {
            match pair {
                Some(n) => {
                    let what = ChangeKind::Renamed { from: gone[n].shown(), node: at.node };
                    self.found.changes.push(DataChange { path: at.shown(), what });
                }
                None => self.come.push(at),
            }
        }
        self.gone.extend(gone.into_iter().zip(taken).filter(|(_, taken)| !taken).map(|(at, _)| at));
    }

    /// Replaces folders on one side only by the files in them.
    fn unfold(&mut self) {
        let unopened = &mut self.found.unopened;
        for (list, side) in [(&mut self.gone, self.old), (&mut self.come, self.new)] {
            let mut open: Vec<PlacedNode> = std::mem::take(list);
            while let Some(at) = open.pop() {
                if !at.node.is_tree() {
                    list.push(at);
                    continue;
                }
                match (side.open)(&at.root, &at.below, &at.node) {
                    // An empty folder is kept if it is an output itself.
                    Ok(entries) if entries.is_empty() => list.push(at),
                    Ok(entries) => open.extend(entries.iter().map(|e| PlacedNode {
                        root: at.root.clone(),
                        below: child(&at.below, &e.name),
                        node: ComparedNode::of_entry(e),
                    })),
                    Err(e) => {
                        unopened.push((at.shown(), e));
                        list.push(at);
                    }
                }
            }
        }
    }
}

fn child(below: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::trees::Tree;
    use std::cell::RefCell;
    use std::collections::HashMap;

    /// Trees by id, and the ids of those that were opened.
    #[derive(Default)]
    struct Trees(HashMap<ObjectId, Tree>, RefCell<Vec<String>>);

    impl Trees {
        /// A folder from `path=content` words; `!` before the content makes it executable.
        fn folder(&mut self, words: &str) -> Pin {
            let mut below: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            let mut entries = Vec::new();
            for word in words.split_whitespace() {
                let (path, content) = word.split_once('=').unwrap();
                match path.split_once('/') {
                    Some((first, rest)) => below.entry(first).or_default().push(format!("{rest}={content}")),
                    None => entries.push(entry(path, file(content))),
                }
            }
            for (name, words) in below {
                let pin = self.folder(&words.join(" "));
                entries.push(entry(name, pin));
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let tree = Tree { entries };
            let pin = tree.pin();
            self.0.insert(pin.id, tree);
            pin
        }
    }

    fn entry(name: &str, pin: Pin) -> Entry {
        Entry {
            name: name.into(),
            kind: ComparedNode::of(&pin).kind,
            id: pin.id,
            size: pin.size,
            files: pin.files.unwrap_or(1),
        }
    }

    fn file(content: &str) -> Pin {
        let text = content.trim_start_matches('!');
        Pin {
            id: ObjectId::of(text.as_bytes()),
            size: text.len() as u64,
            files: None,
            executable: content.starts_with('!'),
        }
    }

    fn told(found: &Differences) -> Vec<String> {
        let one = |c: &DataChange| match &c.what {
            ChangeKind::Added(_) => format!("+{}", c.path),
            ChangeKind::Deleted(_) => format!("-{}", c.path),
            ChangeKind::Modified { .. } => format!("~{}", c.path),
            ChangeKind::Renamed { from, .. } => format!("{from}>{}", c.path),
        };
        let unopened = found.unopened.iter().map(|(path, _)| format!("?{path}"));
        found.changes.iter().map(one).chain(unopened).collect()
    }

    /// Each side: roots, `name=content` for a file, `name/=words…` for a folder.
    fn differ(old: &[(&str, &str)], new: &[(&str, &str)], hidden: &str) -> (Vec<String>, Vec<String>) {
        let mut trees = Trees::default();
        let mut roots = |side: &[(&str, &str)]| -> BTreeMap<RepoPath, Pin> {
            let pin = |trees: &mut Trees, name: &str, what: &str| {
                if name.ends_with('/') { trees.folder(what) } else { file(what) }
            };
            side.iter().map(|(n, w)| (RepoPath::root().join(n).unwrap(), pin(&mut trees, n, w))).collect()
        };
        let (a, b) = (roots(old), roots(new));
        let open = |root: &RepoPath, below: &str, node: &ComparedNode| {
            if root.as_str() == hidden {
                return Err(Error::missing("it is not here"));
            }
            trees.1.borrow_mut().push(format!("{root}/{below}"));
            Ok(trees.0[&node.id].entries.clone())
        };
        let found = compare(&Side { roots: a, open: &open }, &Side { roots: b, open: &open }, &|_| true);
        (told(&found), trees.1.take())
    }

    #[test]
    fn what_became_of_each_file() {
        for (old, new, want) in [
            (&[("a", "1"), ("b", "2")][..], &[("a", "1"), ("b", "3"), ("c", "4")][..], "~b +c"),
            (&[("a", "1")], &[("a", "!1")], "~a"),
            (&[("a", "1")], &[("b", "1")], "a>b"),
            (&[("a", "")], &[("b", "")], "-a +b"),
            (&[("a/x", "1"), ("b/y", "1")], &[("c/y", "1"), ("d/x", "1"), ("e", "1")], "b/y>c/y a/x>d/x +e"),
            (&[("d/", "x=1 s/y=2 t/z=3")], &[("d/", "x=1 s/y=5 t/z=3 new=4")], "+d/new ~d/s/y"),
            (&[("d/", "x=1 s/y=2")], &[("e/", "x=1 s/y=2")], "d/>e/"),
            (&[("d/", "x=1 s/y=2 s/z=3")], &[("d/", "x=1 t/y=2 t/z=3")], "d/s/>d/t/"),
            (&[("d/", "x=1 s/y=2 s/z=3")], &[("d/", "x=1 t/y=2 t/w=3 t/v=4")], "+d/t/v d/s/z>d/t/w d/s/y>d/t/y"),
            (&[("d", "1")], &[("d/", "x=2")], "-d +d/x"),
            (&[("d/", "x=1")], &[("d", "1")], "d/x>d"),
            (&[("d/", "x=1")], &[("d/", "")], "-d/x"),
            (&[], &[("d/", "")], "+d/"),
        ] {
            let (mut told, _) = differ(old, new, "");
            let mut want: Vec<&str> = want.split(' ').collect();
            told.sort();
            want.sort_unstable();
            assert_eq!(told, want, "{old:?} {new:?}");
        }
    }

    #[test]
    fn equal_trees_are_not_opened() {
        let (told, opened) =
            differ(&[("d/", "same/x=1 s/y=2 z=1"), ("e/", "q=1")], &[("d/", "same/x=1 s/y=3 z=1"), ("e/", "q=1")], "");
        assert_eq!((told, opened), (vec!["~d/s/y".to_string()], ["d/", "d/", "d/s", "d/s"].map(String::from).to_vec()));
    }

    #[test]
    fn what_cannot_be_opened_is_told_and_the_rest_goes_on() {
        let old = [("a/", "x=1"), ("h/", "x=1"), ("z", "1")];
        let (told, _) = differ(&old, &[("a/", "x=2"), ("h/", "x=3"), ("z", "2")], "h");
        assert_eq!(told, ["~a/x", "~h/", "~z", "?h/"]);
        assert_eq!(differ(&old, &[], "h").0, ["-a/x", "-h/", "-z", "?h/"]);
    }
}
