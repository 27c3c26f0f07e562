//! Merges two locks over their common ancestor, block by block. Pure.
//!
//! If only one side changed a block (one stage, one data path), that side's block is taken. If both did, stages and
//! data differ:
//!
//! - A stage is a record of one run, and a record is never mixed from two: it is taken whole from one side. Both are
//!   valid records, and the better one has the inputs of the merge: its key is compared with the key of the merged
//!   inputs. If neither or both match, ours is taken; whether the stage is stale then follows from its facts, as
//!   always.
//! - Data cannot be made again, so neither side's is dropped: the caller merges it ([`JoinData`]), or it is a conflict.
//!
//! The merged inputs come from two sources. After the merge, the merged files give them, if they can be read
//! ([`MergedInputs`]). During a merge they cannot be read, since Git merges file by file; then the three locks give them: a
//! value that one side changed has that value, and the pin of a dep that a stage of this lock makes is the one in the
//! merged block of that stage. Stages are therefore decided after those that they depend on.

use std::collections::{BTreeMap, BTreeSet};

use super::by_name::ByName;
use super::format::{Lock, StageLock};
use super::key::key;
use crate::path::normalise;
use crate::store::Pin;
pub use crate::store::trees::join::{Side, Versions};

/// The name of a block of a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    /// Tracked data, by its path as the lock spells it.
    Data(String),
    /// A stage, by its name.
    Stage(String),
}

impl Block {
    /// The stage's name, or the path of the data.
    pub fn name(&self) -> &str {
        match self {
            Block::Data(name) | Block::Stage(name) => name,
        }
    }
}

/// Three locks; the lock of a side without the file is empty.
#[derive(Debug)]
pub struct Sides {
    /// `None` if the common ancestor is unknown: then a block that only one side has counts as added.
    pub base: Option<Lock>,
    /// The lock of the current branch.
    pub ours: Lock,
    /// The lock of the merged branch.
    pub theirs: Lock,
}

/// Information from the merged files, as far as they can be read.
#[derive(Debug, Default)]
pub struct MergedInputs {
    /// The blocks that the merged pipeline file defines.
    pub declared: Option<BTreeSet<Block>>,
    /// By stage: an entry with the current inputs. Only those fields of its outs that the key depends on are used.
    pub inputs: BTreeMap<String, StageLock>,
}

/// Merges the versions of the data at a path, where both sides changed it or one removed it.
pub type JoinData<'a> = dyn Fn(&str, Versions<Pin>) -> DataJoin + 'a;

/// The result of merging data that both sides changed.
#[derive(Debug)]
pub enum DataJoin {
    /// The files of both sides; `None` if the path is no longer data.
    Joined(Option<Pin>),
    /// The user picked the side.
    Picked(Side, Option<Pin>),
    /// The user picked the side, and its files were not read: changes of the other side are dropped.
    PickedWhole(Side, Option<Pin>),
    /// The result of an earlier merge, or of the user.
    Settled(Option<Pin>),
    /// The reasons, one for each file in conflict, and what to do.
    Conflict(Vec<String>, Remedy),
}

/// How to resolve a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Choose a side, or make a new version.
    Choose,
    /// Fetch the listings of folders that are not in the store; with them, the two may be merged.
    Fetch,
}

/// Data that cannot be merged.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConflict {
    /// As the lock spells it.
    pub path: String,
    /// The pins of the sides and of their common ancestor.
    pub versions: Versions<Pin>,
    /// The conflicting files, and the reasons.
    pub details: Vec<String>,
    /// How to resolve it.
    pub remedy: Remedy,
}

/// Why a side was chosen for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChoiceReason {
    /// The other side left the block unchanged.
    OnlyChange,
    /// Both sides changed it, and this is the record of the merged inputs.
    Inputs,
    /// Both sides changed it, and both or neither match the merged inputs.
    Undecided,
    /// The other side removed the block.
    NotRemoved,
    /// The data has the files of both sides.
    Joined,
    /// The user picked the side.
    Picked,
    /// The user picked the side; changes that only the other side has are dropped.
    PickedWhole,
    /// The result of an earlier merge.
    Settled,
}

/// The decision for a block that differs between the sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChoice {
    /// The block that was decided.
    pub block: Block,
    /// The side whose record, or removal, was taken.
    pub side: Side,
    /// Why this side.
    pub why: ChoiceReason,
    /// The block is not in the merged lock.
    pub gone: bool,
}

/// The result of a merge.
#[derive(Debug)]
pub struct Merged {
    /// The merged lock, without data in conflict.
    pub lock: Lock,
    /// Data first, then stages, by name.
    pub choices: Vec<BlockChoice>,
    /// Data that is not in the merged lock, by path.
    pub conflicts: Vec<DataConflict>,
}

/// Merges two locks. There is always a result, which lacks the data in conflict.
pub fn merge(sides: &Sides, known: &MergedInputs, join: &JoinData) -> Merged {
    let mut merged = Merged { lock: Lock::default(), choices: Vec::new(), conflicts: Vec::new() };
    for path in names(&sides.ours.data, &sides.theirs.data) {
        data(sides, known, path, join, &mut merged);
    }
    // Blocks that are equal or changed by one side are decided first, since the others depend on them.
    let mut undecided: BTreeSet<&String> = BTreeSet::new();
    for name in names(&sides.ours.stages, &sides.theirs.stages) {
        if both_changed(sides, name) {
            undecided.insert(name);
        } else {
            stage(sides, known, name, &mut merged);
        }
    }
    while let Some(name) = next_ready(sides, &undecided) {
        undecided.remove(name);
        stage(sides, known, name, &mut merged);
    }
    merged.choices.sort_by(|a, b| a.block.cmp(&b.block));
    merged
}

fn names<'a, V>(ours: &'a BTreeMap<String, V>, theirs: &'a BTreeMap<String, V>) -> BTreeSet<&'a String> {
    ours.keys().chain(theirs.keys()).collect()
}

fn data(sides: &Sides, known: &MergedInputs, path: &String, join: &JoinData, merged: &mut Merged) {
    let base = sides.base.as_ref().map(|base| base.data.get(path));
    let (ours, theirs) = (sides.ours.data.get(path), sides.theirs.data.get(path));
    let block = Block::Data(path.clone());
    let changed = |side: Option<&Pin>| base.map_or(side.is_some(), |base| side != base);
    if ours == theirs || !changed(ours) || !changed(theirs) {
        let judge = |_: &Pin, _: &Pin| (Side::Ours, ChoiceReason::Undecided);
        if let Some(pin) = decide(block, base, ours, theirs, known, judge, &mut merged.choices) {
            merged.lock.data.insert(path.clone(), *pin);
        }
        return;
    }
    let versions = Versions { base: base.flatten().copied(), ours: ours.copied(), theirs: theirs.copied() };
    let (side, why, pin) = match join(path, versions) {
        DataJoin::Joined(pin) => (Side::Ours, ChoiceReason::Joined, pin),
        DataJoin::Picked(side, pin) => (side, ChoiceReason::Picked, pin),
        DataJoin::PickedWhole(side, pin) => (side, ChoiceReason::PickedWhole, pin),
        DataJoin::Settled(pin) => (Side::Ours, ChoiceReason::Settled, pin),
        DataJoin::Conflict(details, remedy) => {
            return merged.conflicts.push(DataConflict { path: path.clone(), versions, details, remedy });
        }
    };
    merged.choices.push(BlockChoice { block, side, why, gone: pin.is_none() });
    if let Some(pin) = pin {
        merged.lock.data.insert(path.clone(), pin);
    }
}

fn both_changed(sides: &Sides, name: &str) -> bool {
    let (ours, theirs) = (sides.ours.stages.get(name), sides.theirs.stages.get(name));
    let base = sides.base.as_ref().and_then(|base| base.stages.get(name));
    ours.is_some() && theirs.is_some() && ours != theirs && ours != base && theirs != base
}

/// An undecided stage that depends on no other undecided one; in a cycle, which no valid pipeline has, any stage.
fn next_ready<'a>(sides: &Sides, undecided: &BTreeSet<&'a String>) -> Option<&'a String> {
    let both = |name: &str| [sides.ours.stages.get(name), sides.theirs.stages.get(name)].into_iter().flatten();
    let makes: BTreeSet<String> =
        undecided.iter().flat_map(|name| both(name)).flat_map(outs).map(|(path, _)| path).collect();
    let waits = |name: &&&String| {
        let own: BTreeSet<String> = both(name).flat_map(outs).map(|(path, _)| path).collect();
        both(name).flat_map(deps).any(|dep| makes.iter().any(|out| !own.contains(out) && overlap(out, &dep)))
    };
    undecided.iter().find(|name| !waits(name)).or(undecided.first()).copied()
}

fn stage(sides: &Sides, known: &MergedInputs, name: &str, merged: &mut Merged) {
    let base = sides.base.as_ref().map(|base| base.stages.get(name));
    let (ours, theirs) = (sides.ours.stages.get(name), sides.theirs.stages.get(name));
    let lock = &merged.lock;
    let judge = |ours: &StageLock, theirs: &StageLock| {
        let wanted = expected(base.flatten(), ours, theirs, known.inputs.get(name), lock).map(|entry| key(&entry));
        match wanted {
            Some(wanted) if wanted == ours.key && wanted == theirs.key => (Side::Ours, ChoiceReason::Undecided),
            Some(wanted) if wanted == theirs.key => (Side::Theirs, ChoiceReason::Inputs),
            Some(wanted) if wanted == ours.key => (Side::Ours, ChoiceReason::Inputs),
            _ => (Side::Ours, ChoiceReason::Undecided),
        }
    };
    let block = Block::Stage(name.to_string());
    if let Some(entry) = decide(block, base, ours, theirs, known, judge, &mut merged.choices) {
        let entry = entry.clone();
        merged.lock.stages.insert(name.to_string(), entry);
    }
}

/// Decides one block. `base` is `None` if the ancestor is unknown, `Some(None)` if it had no such block.
fn decide<'a, T: PartialEq>(
    block: Block,
    base: Option<Option<&T>>,
    ours: Option<&'a T>,
    theirs: Option<&'a T>,
    known: &MergedInputs,
    judge: impl FnOnce(&T, &T) -> (Side, ChoiceReason),
    choices: &mut Vec<BlockChoice>,
) -> Option<&'a T> {
    if ours == theirs {
        return ours;
    }
    let is_declared = known.declared.as_ref().is_none_or(|names| names.contains(&block));
    let (side, why) = match (base.flatten(), ours, theirs) {
        (base, Some(ours), Some(theirs)) => match base {
            Some(base) if base == ours => (Side::Theirs, ChoiceReason::OnlyChange),
            Some(base) if base == theirs => (Side::Ours, ChoiceReason::OnlyChange),
            _ => judge(ours, theirs),
        },
        // A block that one side added and that the merged pipeline file lacks was removed with its stage.
        (None, Some(_), _) if is_declared || base.is_some() => (Side::Ours, ChoiceReason::OnlyChange),
        (None, None, _) if is_declared || base.is_some() => (Side::Theirs, ChoiceReason::OnlyChange),
        (None, Some(_), _) => (Side::Theirs, ChoiceReason::OnlyChange),
        (None, None, _) => (Side::Ours, ChoiceReason::OnlyChange),
        (Some(base), Some(ours), None) if base == ours || !is_declared => (Side::Theirs, ChoiceReason::OnlyChange),
        (Some(_), Some(_), None) => (Side::Ours, ChoiceReason::NotRemoved),
        (Some(base), None, Some(theirs)) if base == theirs || !is_declared => (Side::Ours, ChoiceReason::OnlyChange),
        (Some(_), None, _) => (Side::Theirs, ChoiceReason::NotRemoved),
    };
    let taken = match side {
        Side::Ours => ours,
        Side::Theirs => theirs,
    };
    choices.push(BlockChoice { block, side, why, gone: taken.is_none() });
    taken
}

/// The inputs of a stage after the merge, as an entry whose key can be computed; `None` if they are unknown.
fn expected(
    base: Option<&StageLock>,
    ours: &StageLock,
    theirs: &StageLock,
    known: Option<&StageLock>,
    merged: &Lock,
) -> Option<StageLock> {
    let mut entry = match known {
        Some(known) => known.clone(),
        None => StageLock {
            cmd: merge_three(base.map(|b| &b.cmd), Some(&ours.cmd), Some(&theirs.cmd)).ok()??.clone(),
            wdir: merge_three(base.map(|b| &b.wdir), Some(&ours.wdir), Some(&theirs.wdir)).ok()??.clone(),
            shell: merge_three(base.map(|b| &b.shell), Some(&ours.shell), Some(&theirs.shell)).ok()??.clone(),
            environment: merge_three(base.map(|b| &b.environment), Some(&ours.environment), Some(&theirs.environment))
                .ok()??
                .clone(),
            env: by_entry(base.map(|b| &b.env), &ours.env, &theirs.env)?,
            params: params(base, ours, theirs)?,
            outs: by_entry(base.map(|b| &b.outs), &ours.outs, &theirs.outs).or_else(|| {
                // Other bytes in the same outs do not change the inputs.
                let shape =
                    |s: &StageLock| s.outs.iter().map(|(p, o)| (p.clone(), o.cache, o.persist)).collect::<Vec<_>>();
                (shape(ours) == shape(theirs)).then(|| ours.outs.clone())
            })?,
            deps: ByName::new(),
            key: ours.key,
        },
    };
    let outputs: BTreeMap<String, Pin> =
        merged.stages.values().flat_map(outs).chain(merged.data.iter().map(|(p, pin)| (p.clone(), *pin))).collect();
    let dep_names: BTreeSet<String> = match known {
        Some(known) => known.deps.keys().cloned().collect(),
        None => names_of(base.map(|b| &b.deps), &ours.deps, &theirs.deps)?,
    };
    entry.deps = ByName::new();
    for name in dep_names {
        let path = from_folder(&entry.wdir, &name);
        let by_locks =
            || merge_three(base.and_then(|b| b.deps.get(&name)), ours.deps.get(&name), theirs.deps.get(&name));
        let pin = match (outputs.get(&path), known.and_then(|k| k.deps.get(&name))) {
            (Some(pin), _) => *pin,
            // For a folder that contains outs, the workspace has the content of our side, not of the merge.
            (None, Some(now)) if !outputs.keys().any(|out| overlap(out, &path)) => *now,
            _ => *by_locks().ok()??,
        };
        entry.deps.insert(name, pin);
    }
    Some(entry)
}

/// The merged one of three values: `Ok(None)` for a removed one, `Err` if both sides changed it.
fn merge_three<'a, T: PartialEq>(
    base: Option<&'a T>,
    ours: Option<&'a T>,
    theirs: Option<&'a T>,
) -> Result<Option<&'a T>, ()> {
    match () {
        _ if ours == theirs || theirs == base => Ok(ours),
        _ if ours == base => Ok(theirs),
        _ => Err(()),
    }
}

fn by_entry<V: PartialEq + Clone>(base: Option<&ByName<V>>, ours: &ByName<V>, theirs: &ByName<V>) -> Option<ByName<V>> {
    let mut merged = ByName::new();
    for name in ours.keys().chain(theirs.keys()) {
        if let Some(value) = merge_three(base.and_then(|b| b.get(name)), ours.get(name), theirs.get(name)).ok()? {
            merged.insert(name.clone(), value.clone());
        }
    }
    Some(merged)
}

fn params(
    base: Option<&StageLock>,
    ours: &StageLock,
    theirs: &StageLock,
) -> Option<ByName<ByName<crate::value::Value>>> {
    let mut merged = ByName::new();
    for file in ours.params.keys().chain(theirs.params.keys()) {
        let base = base.and_then(|b| b.params.get(file));
        let values = match (ours.params.get(file), theirs.params.get(file)) {
            (Some(ours), Some(theirs)) => by_entry(base, ours, theirs)?,
            (one, other) => match merge_three(base, one, other).ok()? {
                Some(values) => values.clone(),
                None => continue,
            },
        };
        merged.insert(file.clone(), values);
    }
    Some(merged)
}

/// The names of a map after the merge, whatever their values.
fn names_of<V>(base: Option<&ByName<V>>, ours: &ByName<V>, theirs: &ByName<V>) -> Option<BTreeSet<String>> {
    let has = |map: &ByName<V>, name: &str| map.get(name).map(|_| &());
    let mut found = BTreeSet::new();
    for name in ours.keys().chain(theirs.keys()) {
        if merge_three(base.and_then(|b| has(b, name)), has(ours, name), has(theirs, name)).ok()?.is_some() {
            found.insert(name.clone());
        }
    }
    Some(found)
}

/// A path of a stage, relative to the lock's folder.
fn from_folder(wdir: &Option<String>, path: &str) -> String {
    match wdir {
        Some(wdir) if !path.starts_with('/') => normalise(&format!("{wdir}/{path}")),
        _ => normalise(path),
    }
}

fn outs(stage: &StageLock) -> impl Iterator<Item = (String, Pin)> + '_ {
    stage.outs.iter().map(|(path, out)| (from_folder(&stage.wdir, path), out.pin))
}

fn deps(stage: &StageLock) -> impl Iterator<Item = String> + '_ {
    stage.deps.keys().map(|path| from_folder(&stage.wdir, path))
}

/// Whether one of the paths is the other, or inside it.
fn overlap(a: &str, b: &str) -> bool {
    let is_in = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    a == "." || b == "." || is_in(a, b) || is_in(b, a)
}

#[cfg(test)]
mod tests;
