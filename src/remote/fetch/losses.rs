//! Losses: objects that a remote lists and cannot deliver, because they are damaged, truncated or missing there.
//!
//! A loss affects only what needs the object, so a fetch continues and reports losses at the end. An unreachable remote
//! ends the fetch. Functions that may meet both return a result in a result: the outer error is the remote's, the inner
//! one the object's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use crate::error::{Error, Kind, Result};
use crate::remote::Wanted;
use crate::remote::catalog::segment::Location;
use crate::store::pack::format::PackId;
use crate::store::{ObjectId, Pin, Store};
use crate::store::{TreeWalk, WalkStep};

/// A loss, with the outputs that are incomplete because of it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Names the object and the remote.
    pub error: Error,
    /// Outputs that are incomplete because of the loss.
    pub outs: Vec<Wanted>,
}

/// The lost object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LostObject {
    /// One object, in a file of its own or in a pack.
    Object(ObjectId),
    /// All of the pack, or the part behind the truncation.
    Pack(PackId),
}

/// The losses of a fetch, shared by its threads.
#[derive(Default)]
pub struct Losses(Mutex<BTreeMap<LostObject, Error>>);

impl Losses {
    /// Records a loss. The first error for an object is kept.
    pub fn note(&self, what: LostObject, error: Error) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).entry(what).or_insert(error);
    }

    /// Records a loss, or returns the value.
    pub fn or_record<T>(&self, what: LostObject, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.note(what, error)).ok()
    }

    /// Records that the location of an object is unknown, unless an unreadable pack may explain it.
    pub fn note_unlocated(&self, id: ObjectId, error: impl FnOnce() -> Error) {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if !all.keys().any(|what| matches!(what, LostObject::Pack(_))) {
            all.entry(LostObject::Object(id)).or_insert_with(error);
        }
    }

    /// Returns all losses, each with the outputs of `lacking` that are incomplete because of it.
    pub fn into_losses<'w>(
        self,
        store: &Store,
        lacking: impl Iterator<Item = (&'w Wanted, &'w Location)>,
    ) -> Vec<Loss> {
        let all = self.0.into_inner().unwrap_or_else(|e| e.into_inner());
        let mut outs: BTreeMap<LostObject, Vec<Wanted>> = BTreeMap::new();
        let mut more = Vec::new();
        for (wanted, location) in lacking {
            let missing = missing_objects(store, &wanted.pin);
            let mut why: Vec<LostObject> = missing.iter().map(|id| LostObject::Object(*id)).collect();
            why.retain(|what| all.contains_key(what));
            if why.len() < missing.len() {
                why.extend(packs(location).iter().copied().map(LostObject::Pack).filter(|what| all.contains_key(what)));
            }
            for what in &why {
                outs.entry(*what).or_default().push(wanted.clone());
            }
            if why.is_empty() {
                let error = Error::missing(format!("{} was fetched, and not all of it is here", wanted.name));
                more.push(Loss { error, outs: vec![wanted.clone()] });
            }
        }
        let losses = all.into_iter().map(|(what, error)| Loss { error, outs: outs.remove(&what).unwrap_or_default() });
        losses.chain(more).collect()
    }
}

fn packs(location: &Location) -> &[PackId] {
    match location {
        Location::Tree(packs) => packs,
        Location::Packed(slice) => std::slice::from_ref(&slice.pack),
        Location::Loose => &[],
    }
}

/// The missing objects of an output, as far as its trees are in the store. A tree that cannot be read counts as one.
fn missing_objects(store: &Store, pin: &Pin) -> BTreeSet<ObjectId> {
    let mut missing = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut walk = TreeWalk::new(store, pin);
    while let Some(step) = walk.next() {
        match step {
            WalkStep::File(file, _) if seen.insert((file.id, false)) && store.size(&file.id).is_none() => {
                missing.insert(file.id);
            }
            WalkStep::Tree(tree) if seen.insert((tree.id, true)) && walk.open(&tree).is_err() => {
                missing.insert(tree.id);
            }
            _ => {}
        }
    }
    missing
}

/// Joins all losses that make outputs incomplete into one error; `None` if there are none. Damage has another exit code
/// than missing objects.
pub fn join_losses<'l>(losses: impl IntoIterator<Item = &'l Loss>) -> Option<Error> {
    const SHOWN: usize = 20;
    let losses: Vec<&Loss> = losses.into_iter().filter(|loss| !loss.outs.is_empty()).collect();
    let (first, more) = losses.split_first()?;
    let needed = |loss: &Loss| {
        let mut names: Vec<&str> = loss.outs.iter().map(|wanted| wanted.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let rest = names.len().saturating_sub(5);
        names.truncate(5);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("needed by {}{rest}", names.join(", "))
    };
    if more.is_empty() {
        return Some(first.error.clone().because(needed(first)));
    }
    let kind = losses.iter().map(|loss| loss.error.kind).min().unwrap_or(Kind::Remote);
    let error = Error::new(kind, format!("{} objects and packs are damaged or missing at the remote", losses.len()));
    let mut error = losses.iter().take(SHOWN).fold(error, |error, loss| {
        let why: String = loss.error.causes.iter().map(|cause| format!(": {cause}")).collect();
        error.because(format!("{}{why}; {}", loss.error.message, needed(loss)))
    });
    if losses.len() > SHOWN {
        error = error.because(format!("and {} more", losses.len() - SHOWN));
    }
    let mut hints: Vec<&String> = losses.iter().flat_map(|loss| &loss.error.hints).collect();
    hints.sort_unstable();
    hints.dedup();
    Some(hints.into_iter().fold(error, |error, hint| error.hint(hint)))
}
