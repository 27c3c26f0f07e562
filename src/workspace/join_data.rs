//! Merges data that both sides of a merge changed, from the trees in the store, without a remote.
//!
//! The merged tree is stored before it is returned, so that a lock never names a missing tree.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Kind, Result};
use crate::event::Sink;
use crate::lock::merge::{DataJoin, Remedy, Side, Versions};
use crate::path::RepoPath;
use crate::store::trees::join::{JoinResult, join};
use crate::store::{ObjectKind, Pin, Store};

/// Paths for which the user chose a side in a conflict. A path covers everything below it.
#[derive(Clone, Debug, Default)]
pub struct Picks {
    pub ours: Vec<RepoPath>,
    pub theirs: Vec<RepoPath>,
}

impl Picks {
    /// All picked paths with their sides.
    pub fn all(&self) -> impl Iterator<Item = (&RepoPath, Side)> {
        let ours = self.ours.iter().map(|path| (path, Side::Ours));
        ours.chain(self.theirs.iter().map(|path| (path, Side::Theirs)))
    }
}

/// Merges the data of one lock.
pub struct DataJoiner<'a> {
    /// The folder of the lock.
    pub folder: RepoPath,
    pub picks: &'a Picks,
    /// The picks that matched a conflict.
    pub used: &'a RefCell<BTreeSet<RepoPath>>,
    /// Results of an earlier merge, which stay unless the user picks that data or a file in it.
    pub settled: BTreeMap<String, Option<Pin>>,
    /// Opens the store when trees must be read, not before.
    pub store: &'a dyn Fn() -> Result<&'a Store>,
    pub sink: &'a dyn Sink,
}

impl DataJoiner<'_> {
    /// Merges the versions of the data `name`.
    pub fn join(&self, name: &str, versions: Versions<Pin>) -> DataJoin {
        let Some(path) = self.folder.join(name) else {
            return DataJoin::Conflict(vec![format!("{name}: both sides changed it")], Remedy::Choose);
        };
        if let Some(pin) = self.settled.get(name)
            && !self.picks.all().any(|(pick, _)| pick.is_in(&path))
        {
            return DataJoin::Settled(*pin);
        }
        let side = RefCell::new(None);
        let pick = |below: &[u8]| {
            let text = String::from_utf8_lossy(below);
            let whole = if below.is_empty() { Some(path.clone()) } else { path.join(&text) };
            let (pick, of) = self.picks.all().find(|(pick, _)| whole.as_ref().unwrap_or(&path).is_in(pick))?;
            self.used.borrow_mut().insert(pick.clone());
            *side.borrow_mut() = Some(of);
            Some(of)
        };
        match self.join_with_store(versions, &pick) {
            Ok(JoinResult { conflicts, .. }) if !conflicts.is_empty() => {
                let at = |below: &[u8]| match below {
                    b"" => name.to_string(),
                    below => format!("{name}/{}", String::from_utf8_lossy(below)),
                };
                let details = conflicts.iter().map(|one| format!("{}: {}", at(&one.path), one.clash));
                DataJoin::Conflict(details.collect(), Remedy::Choose)
            }
            Ok(JoinResult { pin, .. }) => match side.into_inner() {
                Some(side) => DataJoin::Picked(side, pin),
                None => DataJoin::Joined(pin),
            },
            // Without the listings the user may still take one side as a whole.
            Err(error) => match pick(b"") {
                Some(Side::Ours) => DataJoin::PickedWhole(Side::Ours, versions.ours),
                Some(Side::Theirs) => DataJoin::PickedWhole(Side::Theirs, versions.theirs),
                None => {
                    let remedy = if error.kind == Kind::Missing { Remedy::Fetch } else { Remedy::Choose };
                    let why = std::iter::once(&error.message).chain(&error.causes).cloned().collect::<Vec<_>>();
                    DataJoin::Conflict(vec![format!("{name}: its files cannot be merged: {}", why.join(": "))], remedy)
                }
            },
        }
    }

    fn join_with_store(&self, versions: Versions<Pin>, pick: &dyn Fn(&[u8]) -> Option<Side>) -> Result<JoinResult> {
        let is_folder = |pin: &Option<Pin>| pin.is_some_and(|pin| pin.is_dir());
        if !(is_folder(&versions.ours) && is_folder(&versions.theirs)) {
            let read = |id: &_, level| (self.store)()?.read_tree(id, level);
            return join(versions, &read, pick);
        }
        join_stored((self.store)()?, versions, pick, self.sink)
    }
}

/// Merges versions of data by their listings, and stores the new trees.
pub fn join_stored(
    store: &Store,
    versions: Versions<Pin>,
    pick: &dyn Fn(&[u8]) -> Option<Side>,
    sink: &dyn Sink,
) -> Result<JoinResult> {
    // gc must not delete the trees that are read before the result is stored.
    let _hold = store.lock_shared(sink)?;
    let mut joined = join(versions, &|id, level| store.read_tree(id, level), pick)?;
    if joined.conflicts.is_empty() && !joined.trees.is_empty() {
        let mut batch = store.batch();
        for tree in std::mem::take(&mut joined.trees) {
            batch.add_bytes(ObjectKind::Tree, tree);
        }
        batch.commit(sink)?;
    }
    Ok(joined)
}
