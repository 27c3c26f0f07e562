//! Impact of damage: from damaged objects up to the outputs that contain them.
//!
//! Every tree that a pin reaches is read once, and cached with the damage below it. Missing and damaged objects are
//! kept apart: a clone that never fetched an output is intact.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::error::{Kind, Result};
use crate::store::pack::format::Row;
use crate::store::verify::{CopyLocation, Damage, DamageKind, Inventory, QuarantinedObject};
use crate::store::{ObjectId, Pin, Store};
use crate::store::{TreeWalk, WalkStep};

/// The damage below a pin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DamageBelow {
    pub bad: BTreeSet<ObjectId>,
    /// Whether an object is missing that was never found damaged.
    pub lacks: bool,
}

impl DamageBelow {
    /// The damage of one object.
    fn of(id: ObjectId) -> DamageBelow {
        DamageBelow { bad: BTreeSet::from([id]), lacks: false }
    }
}

/// Computes the damage below pins.
pub struct ImpactAnalysis<'s> {
    store: &'s Store,
    /// The sizes of stored objects.
    here: HashMap<ObjectId, u64>,
    /// Objects without a good copy that had one before.
    bad: HashSet<ObjectId>,
    aside: HashMap<ObjectId, QuarantinedObject>,
    known: HashMap<ObjectId, Rc<DamageBelow>>,
    /// Missing objects that were never found damaged.
    pub lacking: HashSet<ObjectId>,
    /// Damage that was found on the way.
    pub found: Vec<Damage>,
    /// Missing objects that are in a quarantined pack.
    in_packs: BTreeMap<PathBuf, Vec<Row>>,
}

impl<'s> ImpactAnalysis<'s> {
    pub fn new(store: &'s Store, survey: &Inventory, damaged: &[Damage]) -> ImpactAnalysis<'s> {
        let mut copies: HashMap<ObjectId, usize> = HashMap::new();
        let mut here = HashMap::with_capacity(survey.copies.len());
        for copy in &survey.copies {
            *copies.entry(copy.id).or_default() += 1;
            here.insert(copy.id, copy.size);
        }
        for damage in damaged {
            if let DamageKind::Object(copy) = &damage.what
                && let Some(left) = copies.get_mut(&copy.id)
            {
                *left = left.saturating_sub(1);
            }
        }
        let ids = damaged.iter().flat_map(|damage| damage.what.ids());
        let bad = ids.filter(|id| copies.get(id).is_none_or(|left| *left == 0)).collect();
        let mut aside = store.quarantined_objects();
        for pack in &survey.packs {
            let path = pack.path.with_extension("dead");
            for id in &pack.tombstoned {
                aside.entry(*id).or_insert_with(|| QuarantinedObject { path: path.clone(), row: None });
            }
        }
        let (known, lacking, found, in_packs) = Default::default();
        ImpactAnalysis { store, here, bad, aside, known, lacking, found, in_packs }
    }

    /// Returns true if there is no good copy of a damaged object.
    pub fn is_bad(&self, id: &ObjectId) -> bool {
        self.bad.contains(id)
    }

    /// The damage below a pin.
    pub fn damage_below(&mut self, pin: &Pin) -> Result<Rc<DamageBelow>> {
        // The damage below each open tree, after that of the pin as a whole.
        let mut open: Vec<DamageBelow> = vec![DamageBelow::default()];
        let mut walk = TreeWalk::new(self.store, pin);
        while let Some(step) = walk.next() {
            let (below, tree) = match step {
                WalkStep::File(file, _) => (Rc::new(self.content(&file.id, file.size)?), None),
                WalkStep::Tree(tree) => match self.known.get(&tree.id) {
                    Some(known) => (known.clone(), None),
                    None if self.bad.contains(&tree.id) => (Rc::new(DamageBelow::of(tree.id)), Some(tree)),
                    None => match walk.open(&tree) {
                        Ok(_) => {
                            open.push(DamageBelow::default());
                            continue;
                        }
                        Err(e) if e.kind == Kind::Missing => {
                            let is_damaged = self.is_damaged(&tree.id)?;
                            let below = if is_damaged { DamageBelow::of(tree.id) } else { self.absent(&tree.id) };
                            (Rc::new(below), Some(tree))
                        }
                        Err(e) => return Err(e),
                    },
                },
                WalkStep::End(tree, _) => (Rc::new(open.pop().unwrap_or_default()), Some(tree)),
            };
            if let Some(above) = open.last_mut() {
                above.bad.extend(&below.bad);
                above.lacks |= below.lacks;
            }
            if let Some(tree) = tree {
                self.known.insert(tree.id, below);
            }
        }
        Ok(Rc::new(open.pop().unwrap_or_default()))
    }

    fn content(&mut self, id: &ObjectId, size: u64) -> Result<DamageBelow> {
        if !self.bad.contains(id) {
            let found = self.here.get(id).copied();
            if found == Some(size) || self.store.size(id) == Some(size) {
                return Ok(DamageBelow::default());
            }
            // An object of another size is damaged, unless the lock is wrong.
            if found.is_none() || !self.is_damaged(id)? {
                return Ok(self.absent(id));
            }
        }
        Ok(DamageBelow::of(*id))
    }

    /// Reads a suspicious object.
    fn is_damaged(&mut self, id: &ObjectId) -> Result<bool> {
        let (mut bad, mut good) = (0, 0);
        for copy in self.store.copies(id) {
            match self.store.still_damaged(&copy)? {
                Some(damage) => {
                    self.found.push(damage);
                    bad += 1;
                }
                None => good += 1,
            }
        }
        let is_bad = bad > 0 && good == 0;
        if is_bad {
            self.bad.insert(*id);
        }
        Ok(is_bad)
    }

    /// The object is missing: it was never stored, or was found damaged earlier.
    fn absent(&mut self, id: &ObjectId) -> DamageBelow {
        let Some(kept) = self.aside.get(id) else {
            self.lacking.insert(*id);
            return DamageBelow { lacks: true, ..DamageBelow::default() };
        };
        if self.bad.insert(*id) {
            match kept.row {
                Some(row) => self.in_packs.entry(kept.path.clone()).or_default().push(row),
                None => {
                    let problem = "it was found damaged earlier, and was not replaced".to_string();
                    self.found.push(Damage { what: DamageKind::Quarantined(*id, kept.path.clone()), problem });
                }
            }
        }
        DamageBelow::of(*id)
    }

    /// All damage that was found on the way.
    pub fn finish(&mut self) -> Vec<Damage> {
        let problem = || "its index was found broken earlier, and was not replaced".to_string();
        let packs = std::mem::take(&mut self.in_packs).into_iter();
        let packs =
            packs.map(|(path, rows)| Damage { what: DamageKind::QuarantinedPack(path, rows), problem: problem() });
        std::mem::take(&mut self.found).into_iter().chain(packs).collect()
    }
}

/// Sorts damage by location and removes duplicates.
pub fn sorted(store: &Store, mut damaged: Vec<Damage>) -> Vec<Damage> {
    let key = |damage: &Damage| {
        let offset = match &damage.what {
            DamageKind::Object(copy) => match &copy.at {
                CopyLocation::Packed(_, row) => row.offset,
                CopyLocation::Loose => 0,
            },
            _ => 0,
        };
        (damage.what.place(store).split(" at ").next().unwrap_or_default().to_string(), offset)
    };
    damaged.sort_by_cached_key(key);
    damaged.dedup_by(|a, b| a.what.place(store) == b.what.place(store) && a.what.id() == b.what.id());
    damaged
}
