//! Plans a push from the locks' pins, the local trees, and the catalog of the remote.
//!
//! Nothing is requested from the remote. Of the store, only trees and the presence of objects are read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Kind, Result};
use crate::remote::catalog::Catalog;
use crate::remote::push::{PushRequest, RunEntry};
use crate::remote::{Wanted, is_large};
use crate::store::pack::Pack;
use crate::store::pack::format::{PackId, PackIndex};
use crate::store::{ObjectId, ObjectKind, ObjectRef, Pin, Store};

/// What has to be transferred.
#[derive(Default)]
pub struct PushPlan {
    /// New at the remote, each with all of its objects.
    pub roots: Vec<(Wanted, Vec<ObjectRef>)>,
    pub runs: Vec<RunEntry>,
    pub absent: Vec<Wanted>,
    /// Small objects that the remote has already, with their packs.
    pub there: HashMap<ObjectId, PackId>,
    /// Local packs that are sent as they are.
    pub whole: Vec<Arc<Pack>>,
    /// Small objects that are sent in new packs.
    pub small: Vec<ObjectRef>,
    /// Large objects.
    pub large: Vec<ObjectRef>,
}

impl PushPlan {
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.runs.is_empty()
    }

    /// The number of objects to send.
    pub fn objects(&self) -> usize {
        self.small.len() + self.large.len() + self.whole.iter().map(|pack| pack.index.len()).sum::<usize>()
    }

    pub fn small_bytes(&self) -> u64 {
        self.small.iter().map(|o| o.size).sum::<u64>()
            + self.whole.iter().map(|pack| pack.index.file_length()).sum::<u64>()
    }

    /// The bytes to send.
    pub fn bytes(&self) -> u64 {
        let runs: u64 = self.runs.iter().map(|run| run.bytes.len() as u64).sum();
        self.small_bytes() + self.large.iter().map(|o| o.size).sum::<u64>() + runs
    }
}

/// Plans what has to be transferred. `indexes` are the known pack indexes of the remote.
pub fn plan(store: &Store, catalog: &Catalog, indexes: &[Arc<PackIndex>], request: &PushRequest) -> Result<PushPlan> {
    let mut plan = PushPlan::default();
    let is_new = |pin: &Pin| request.again || catalog.root(pin).is_none();
    let mut planned: HashSet<(ObjectId, bool)> = HashSet::new();
    for wanted in &request.wanted {
        if is_new(&wanted.pin) && planned.insert((wanted.pin.id, wanted.pin.is_dir())) {
            match objects(store, &wanted.pin)? {
                Some(objects) => plan.roots.push((wanted.clone(), objects)),
                None => plan.absent.push(wanted.clone()),
            }
        }
    }
    let mut seen = BTreeSet::new();
    for run in &request.runs {
        let entry = ObjectId::of(&run.bytes);
        if !seen.insert(entry) || !request.again && catalog.all.runs.contains_key(&entry) {
            continue;
        }
        let mut outs = Vec::new();
        let mut complete = true;
        for pin in run.outs.iter().filter(|pin| is_new(pin)) {
            if planned.contains(&(pin.id, pin.is_dir())) {
                complete &= !plan.absent.iter().any(|absent| absent.pin.id == pin.id);
                continue;
            }
            match objects(store, pin)? {
                Some(objects) => outs.push((Wanted { name: String::new(), pin: *pin }, objects)),
                None => complete = false,
            }
        }
        if complete {
            planned.extend(outs.iter().map(|(wanted, _)| (wanted.pin.id, wanted.pin.is_dir())));
            plan.roots.extend(outs);
            plan.runs.push(run.clone());
        }
    }
    assign_objects(store, catalog, indexes, request.again, &mut plan);
    Ok(plan)
}

/// Every object of a pin, contents before the trees that refer to them; `None` if a tree is missing in the store.
fn objects(store: &Store, pin: &Pin) -> Result<Option<Vec<ObjectRef>>> {
    match store.list_objects(pin) {
        Ok(objects) => Ok(Some(objects)),
        Err(e) if e.kind == Kind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}

/// Decides for each object of the new roots whether the remote has it, or whether it is sent in a local pack, in a new
/// pack, or by itself.
fn assign_objects(store: &Store, catalog: &Catalog, indexes: &[Arc<PackIndex>], again: bool, plan: &mut PushPlan) {
    let mut missing: HashMap<ObjectId, ObjectRef> = HashMap::new();
    for object in plan.roots.iter().flat_map(|(_, objects)| objects) {
        let known = is_large(object.kind, object.size) && catalog.all.loose.contains_key(&object.id) && !again;
        if !known {
            missing.insert(object.id, *object);
        }
    }
    for index in indexes.iter().filter(|_| !again) {
        let found: Vec<ObjectId> = if index.len() < missing.len() {
            index.iter().map(|row| row.id).filter(|id| missing.contains_key(id)).collect()
        } else {
            missing.keys().filter(|id| index.find(id).is_some()).copied().collect()
        };
        for id in found {
            missing.remove(&id);
            plan.there.insert(id, index.id());
        }
    }
    // An object that neither side has makes its whole output absent.
    let is_here = |object: &ObjectRef| {
        let tree = object.kind == ObjectKind::Tree;
        tree || store.contains(&Pin { id: object.id, size: object.size, files: None, executable: false })
    };
    let lost: HashSet<ObjectId> = missing.values().filter(|object| !is_here(object)).map(|object| object.id).collect();
    if !lost.is_empty() {
        let is_whole = |objects: &[ObjectRef]| !objects.iter().any(|object| lost.contains(&object.id));
        let (whole, partial) = std::mem::take(&mut plan.roots).into_iter().partition(|(_, objects)| is_whole(objects));
        plan.roots = whole;
        let gone: HashSet<(ObjectId, bool)> =
            partial.iter().map(|(wanted, _): &(Wanted, _)| (wanted.pin.id, wanted.pin.is_dir())).collect();
        plan.absent.extend(partial.into_iter().map(|(wanted, _)| wanted).filter(|wanted| !wanted.name.is_empty()));
        plan.runs.retain(|run| !run.outs.iter().any(|pin| gone.contains(&(pin.id, pin.is_dir()))));
        let needed: HashSet<ObjectId> = plan.roots.iter().flat_map(|(_, objects)| objects).map(|o| o.id).collect();
        missing.retain(|id, _| needed.contains(id));
    }
    if missing.values().filter(|object| !is_large(object.kind, object.size)).count() > 1 {
        let is_missing = |pack: &&Arc<Pack>| {
            pack.tombstoned.is_empty()
                && !pack.index.is_empty()
                && pack.index.iter().all(|row| missing.contains_key(&row.id))
        };
        plan.whole = store.all_packs().iter().filter(is_missing).cloned().collect();
        for row in plan.whole.iter().flat_map(|pack| pack.index.iter()) {
            missing.remove(&row.id);
        }
    }
    // In the order of the folders, so that related objects can be read at once; trees last.
    let mut trees = Vec::new();
    for object in plan.roots.iter().flat_map(|(_, objects)| objects) {
        match missing.remove(&object.id) {
            Some(object) if is_large(object.kind, object.size) => plan.large.push(object),
            Some(object) if object.kind == ObjectKind::Tree => trees.push(object),
            Some(object) => plan.small.push(object),
            None => {}
        }
    }
    plan.small.extend(trees);
}
