//! Joins two versions of a file or folder over their common ancestor, file by file. Pure: trees are read through a
//! closure, and the new ones are returned for the caller to store.
//!
//! A file that one side changed gets that side's version; content and executable bit are joined independently. A file
//! that both sides changed, or that one removed and the other changed, is a conflict, as is a path that is a file on
//! one side and a folder on the other. Subtrees that one side did not change are taken by id and never opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::Result;
use crate::store::fs::paths::join as join_path;
use crate::store::id::{ObjectId, Pin};
use crate::store::trees::rules::levels_below;
use crate::store::trees::{Entry, EntryKind, Tree};

/// One of the two versions that are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side of the current branch.
    Ours,
    /// The side that is merged.
    Theirs,
}

/// The three versions of a path; `None` where a side lacks it, or where the base is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Versions<T> {
    /// The common ancestor.
    pub base: Option<T>,
    /// The current branch.
    pub ours: Option<T>,
    /// The merged branch.
    pub theirs: Option<T>,
}

/// Why a path cannot be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Both sides changed it, differently.
    Changed,
    /// Both sides added it, differently.
    Added,
    /// Removed by this side and changed by the other.
    Removed(Side),
    /// A file, link or folder on one side, another type on the other.
    Type,
    /// Names that must not be in one folder.
    Names(String),
}

/// A path that cannot be joined; empty for the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathConflict {
    /// Relative to the top, with `/` between components.
    pub path: Vec<u8>,
    /// Why the versions cannot be joined.
    pub clash: Clash,
}

/// The result of a join. With conflicts, the pin and the trees are unusable.
#[derive(Debug, Default, PartialEq)]
pub struct JoinResult {
    /// The joined version; `None` if the path is removed, or has a conflict.
    pub pin: Option<Pin>,
    /// Trees that neither side has, encoded, deepest first.
    pub trees: Vec<Vec<u8>>,
    /// Empty if the join succeeded.
    pub conflicts: Vec<PathConflict>,
}

type ReadTree<'a> = dyn Fn(&ObjectId, usize) -> Result<Tree> + 'a;
type PickSide<'a> = dyn Fn(&[u8]) -> Option<Side> + 'a;

/// Joins `ours` and `theirs`. `read` returns the tree with this id, which is so many levels below the top; `pick`
/// returns the side that the user chose for a path with a conflict.
///
/// Errors: a tree that both sides changed cannot be read.
pub fn join(versions: Versions<Pin>, read: &ReadTree, pick: &PickSide) -> Result<JoinResult> {
    let mut work = Joiner { read, pick, joined: JoinResult::default() };
    let Versions { base, ours, theirs } = versions;
    let top = |pin: Option<Pin>| pin.map(|pin| entry_of(&pin));
    let versions = Versions { base: top(base), ours: top(ours), theirs: top(theirs) };
    let pin = match (&versions.ours, &versions.theirs) {
        // Files in a folder that one side no longer tracks as a whole are not compared one by one.
        (Some(_), None) | (None, Some(_)) if !versions.is_changed_by_one() => work.conflict(b"", &versions),
        _ => work.path(b"", versions)?,
    };
    work.joined.pin = pin.map(|entry| entry.pin());
    Ok(work.joined)
}

struct Joiner<'a> {
    read: &'a ReadTree<'a>,
    pick: &'a PickSide<'a>,
    joined: JoinResult,
}

impl Joiner<'_> {
    fn path(&mut self, path: &[u8], versions: Versions<Entry>) -> Result<Option<Entry>> {
        if versions.ours == versions.theirs || versions.theirs == versions.base {
            return Ok(versions.ours);
        }
        if versions.ours == versions.base {
            return Ok(versions.theirs);
        }
        let is_folder = |side: &Option<Entry>| side.as_ref().is_some_and(|entry| entry.kind == EntryKind::Tree);
        let folders = [&versions.base, &versions.ours, &versions.theirs].map(is_folder);
        match (folders, &versions.ours, &versions.theirs) {
            ([_, true, true], ..) | ([true, true, _], _, None) | ([true, _, true], None, _) => {
                self.folder(path, versions)
            }
            _ => Ok(match join_file(&versions) {
                Some(entry) => Some(entry),
                None => self.conflict(path, &versions),
            }),
        }
    }

    /// A side that is not a folder counts as an empty one.
    fn folder(&mut self, path: &[u8], versions: Versions<Entry>) -> Result<Option<Entry>> {
        let level = levels_below(path);
        let entries = |side: &Option<Entry>| -> Result<BTreeMap<Vec<u8>, Entry>> {
            let Some(folder) = side.as_ref().filter(|entry| entry.kind == EntryKind::Tree) else {
                return Ok(BTreeMap::new());
            };
            let tree = (self.read)(&folder.id, level)?;
            Ok(tree.entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect())
        };
        let (mut base, mut ours, mut theirs) =
            (entries(&versions.base)?, entries(&versions.ours)?, entries(&versions.theirs)?);
        let names: BTreeSet<Vec<u8>> = ours.keys().chain(theirs.keys()).cloned().collect();
        let mut tree = Tree::default();
        for name in names {
            let below = Versions { base: base.remove(&name), ours: ours.remove(&name), theirs: theirs.remove(&name) };
            tree.entries.extend(self.path(&join_path(path, &name), below)?);
        }
        if let Err(why) = tree.check(path) {
            self.joined.conflicts.push(PathConflict { path: path.to_vec(), clash: Clash::Names(why.message) });
        }
        let pin = tree.pin();
        let files = pin.files.unwrap_or(0);
        if files == 0 && !path.is_empty() {
            return Ok(None);
        }
        self.joined.trees.push(tree.encode());
        let name = versions.ours.or(versions.theirs).map(|entry| entry.name).unwrap_or_default();
        Ok(Some(Entry { name, kind: EntryKind::Tree, id: pin.id, size: pin.size, files }))
    }

    /// Both sides changed the path: returns the side that the user picked, or records a conflict.
    fn conflict(&mut self, path: &[u8], versions: &Versions<Entry>) -> Option<Entry> {
        let Versions { base, ours, theirs } = versions;
        match (self.pick)(path) {
            Some(Side::Ours) => return ours.clone(),
            Some(Side::Theirs) => return theirs.clone(),
            None => {}
        }
        let is_like = |one: &Entry, other: &Entry| (is_plain(one) && is_plain(other)) || one.kind == other.kind;
        let clash = match (ours, theirs) {
            (None, _) => Clash::Removed(Side::Ours),
            (_, None) => Clash::Removed(Side::Theirs),
            (Some(ours), Some(theirs)) if !is_like(ours, theirs) => Clash::Type,
            _ if base.is_none() => Clash::Added,
            _ => Clash::Changed,
        };
        self.joined.conflicts.push(PathConflict { path: path.to_vec(), clash });
        None
    }
}

impl<T: PartialEq> Versions<T> {
    fn is_changed_by_one(&self) -> bool {
        self.ours == self.theirs || self.ours == self.base || self.theirs == self.base
    }
}

/// A file of which one side changed the content and the other the executable bit, or both changed the same.
fn join_file(versions: &Versions<Entry>) -> Option<Entry> {
    let (Some(base), Some(ours), Some(theirs)) = (&versions.base, &versions.ours, &versions.theirs) else {
        return None;
    };
    if ![base, ours, theirs].into_iter().all(is_plain) {
        return None;
    }
    let content = |entry: &Entry| (entry.id, entry.size);
    let (id, size) = three_way(content(base), content(ours), content(theirs))?;
    let kind = three_way(base.kind, ours.kind, theirs.kind)?;
    Some(Entry { name: ours.name.clone(), kind, id, size, files: 1 })
}

fn three_way<T: PartialEq>(base: T, ours: T, theirs: T) -> Option<T> {
    match () {
        () if ours == theirs || theirs == base => Some(ours),
        () if ours == base => Some(theirs),
        () => None,
    }
}

fn is_plain(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File | EntryKind::Executable)
}

fn entry_of(pin: &Pin) -> Entry {
    let kind = match (pin.files, pin.executable) {
        (Some(_), _) => EntryKind::Tree,
        (None, true) => EntryKind::Executable,
        (None, false) => EntryKind::File,
    };
    Entry { name: Vec::new(), kind, id: pin.id, size: pin.size, files: pin.files.unwrap_or(1) }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clash::Changed => "both sides changed it",
            Clash::Added => "both sides added it, each with other content",
            Clash::Removed(Side::Ours) => "ours removed it, theirs changed it",
            Clash::Removed(Side::Theirs) => "theirs removed it, ours changed it",
            Clash::Type => "it is a file on one side and a folder or link on the other",
            Clash::Names(why) => return write!(f, "the files of both sides cannot stand side by side: {why}"),
        })
    }
}

#[cfg(test)]
mod tests;
