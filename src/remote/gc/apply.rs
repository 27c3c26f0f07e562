//! Removes unneeded data from a remote, by the plan of `plan`.
//!
//! The order keeps the remote consistent if the process is killed at any point: write the note `removing`; repack;
//! write one segment with the remaining rows instead of all earlier ones; remove the old segments; read the segments
//! again and remove the files that none of them lists; remove the processed marks. A pack that was repacked is only
//! marked, since another process may be reading it through an older segment.
//!
//! The next run completes an interrupted one: the marks still exist, and name the files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::cache::entries;
use crate::error::Result;
use crate::remote::backend::transfer::run_parallel;
use crate::remote::catalog::Catalog;
use crate::remote::catalog::marks::{Marks, Note, NoteKind, NoteName, ObjectSet};
use crate::remote::catalog::segment::{RunRow, Segment};
use crate::remote::fetch::trees::RemoteTrees;
use crate::remote::gc::plan::{PlanInput, RemovalPlan, is_mostly_dead, plan, used, without};
use crate::remote::gc::repack::Repack;
use crate::remote::{Remote, object_path, pack_path};
use crate::store::pack::format::{PackId, Row};
use crate::store::{ObjectId, Pin, Store, random_name};

/// A removal stops after this many seconds. After twice as many, other processes ignore its note.
const LONGEST: u64 = 1800;

/// What is needed.
#[derive(Clone, Debug, Default)]
pub struct NeededData {
    /// Outputs and data: the id, and whether it is a folder.
    pub roots: HashSet<(ObjectId, bool)>,
    /// Marks older than this (seconds since 1970) are in effect; results younger than this are needed, with their
    /// outputs.
    pub old: u64,
}

/// The plan of a removal.
#[derive(Clone, Debug)]
pub struct CleanupPlan {
    /// What is removed and what is marked.
    pub plan: RemovalPlan,
    /// Packs that are mostly dead, whose live objects are written to new packs.
    pub rewrite: BTreeSet<PackId>,
    /// What only young results need.
    pub young: ObjectSet,
    /// The content of the remote that the plan was made from.
    pub catalog: Arc<Catalog>,
}

impl CleanupPlan {
    /// Returns true if no data would be removed or marked; processed marks may still have to be removed.
    pub fn is_empty(&self) -> bool {
        self.plan.remove.is_empty() && self.plan.mark.is_empty() && self.rewrite.is_empty()
    }

    /// The bytes of files to remove, and of files to mark.
    pub fn bytes(&self) -> (u64, u64) {
        (self.plan.remove.bytes(&self.catalog.all), self.plan.mark.bytes(&self.catalog.all))
    }
}

/// The result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupResult {
    /// The objects that were removed; with `is_cut_short`, some of their files are left.
    pub removed: ObjectSet,
    /// Bytes of their files.
    pub bytes: u64,
    /// The number of packs whose live objects were written to new packs.
    pub rewritten: usize,
    /// The number of objects that were marked, by [`ObjectSet::len`].
    pub marked: usize,
    /// Whether the time limit was reached before all files were removed.
    pub is_cut_short: bool,
}

impl Remote {
    /// Plans the removal. Changes nothing.
    pub fn garbage(&self, store: &Store, needs: &NeededData) -> Result<CleanupPlan> {
        self.must_be_writable()?;
        let catalog = self.read_catalog_again()?;
        if let Some((_, error)) = catalog.damaged.first() {
            return Err(error
                .clone()
                .because("nothing is removed: the data that this file lists would look unneeded")
                .hint(self.push_again_hint()));
        }
        let (unneeded, young) = self.unneeded(store, &catalog, needs)?;
        let strays = self.unlisted_packs(&catalog)?;
        let facts = PlanInput {
            all: &catalog.all,
            unneeded: &unneeded,
            marks: &catalog.marks,
            strays: &strays,
            old: needs.old,
        };
        let mut trees = RemoteTrees::new(self, store);
        let plan = plan(&facts, &mut |roots| trees.reachable(&catalog, roots))?;
        let left = without(&catalog.all, &plan.remove);
        let live = trees.reachable(&catalog, &left.roots.keys().copied().collect())?;
        let mut rewrite = BTreeSet::new();
        for id in used(&left) {
            let Some(row) = left.packs.get(&id) else { continue };
            if is_mostly_dead(&*self.index(&id, row)??, |id| live.contains(id) || left.runs.contains_key(id)) {
                rewrite.insert(id);
            }
        }
        Ok(CleanupPlan { plan, rewrite, young, catalog })
    }

    /// Roots and results that are not needed, and those that only young results need. A result is needed if all of its
    /// outputs are.
    fn unneeded(&self, store: &Store, catalog: &Catalog, needs: &NeededData) -> Result<(ObjectSet, ObjectSet)> {
        let rows: Vec<RunRow> = catalog.all.runs.values().copied().collect();
        let is_withdrawn = |row: &RunRow| catalog.all.withdrawn.contains(&row.entry);
        let outs = self.outs_of(store, rows.iter().filter(|row| !is_withdrawn(row)))?;
        let of = |row: &RunRow| outs.get(&row.entry).into_iter().flatten().map(|pin| (pin.id, pin.is_dir()));
        let without = |needed: &HashSet<(ObjectId, bool)>, is_young: &dyn Fn(&RunRow) -> bool| {
            // The record has a newer format that cannot be read, so it stays.
            let is_needed = |row: &RunRow| is_young(row) || of(row).all(|key| needed.contains(&key));
            ObjectSet {
                runs: rows.iter().filter(|row| is_withdrawn(row) || !is_needed(row)).map(|row| row.entry).collect(),
                roots: catalog.all.roots.keys().filter(|key| !needed.contains(key)).copied().collect(),
                ..ObjectSet::default()
            }
        };
        let is_young = |row: &RunRow| row.time > needs.old && !is_withdrawn(row);
        let mut needed = needs.roots.clone();
        rows.iter().filter(|row| is_young(row)).for_each(|row| needed.extend(of(row)));
        let unneeded = without(&needed, &is_young);
        let young = without(&needs.roots, &|_| false).minus(&unneeded);
        Ok((unneeded, young))
    }

    fn outs_of<'r>(
        &self,
        store: &Store,
        rows: impl Iterator<Item = &'r RunRow>,
    ) -> Result<HashMap<ObjectId, Vec<Pin>>> {
        let (mut bytes, mut elsewhere, mut keys) = (HashMap::new(), Vec::new(), HashMap::new());
        for row in rows {
            keys.insert(row.entry, row.key);
            let here = store.get_runs(&row.key.hex()).map(|runs| runs.found).unwrap_or_default();
            match here.into_iter().find(|bytes| ObjectId::of(bytes) == row.entry) {
                Some(found) => drop(bytes.insert(row.entry, found)),
                None => elsewhere.push(*row),
            }
        }
        // A record that is damaged at the remote cannot be read either, and stays.
        bytes.extend(self.run_bytes(&elsewhere)?.0);
        let parsed = bytes.iter().filter_map(|(entry, bytes)| {
            let (found, _) = entries::parse(bytes, keys.get(entry)?)?;
            Some((*entry, found.outs.values().map(|out| out.pin).collect()))
        });
        Ok(parsed.collect())
    }

    /// Packs that no segment lists: of a push that was killed or is under way.
    fn unlisted_packs(&self, catalog: &Catalog) -> Result<BTreeSet<PackId>> {
        let there = self.backend.list("packs")?;
        let ids = there.iter().filter_map(|name| PackId::of_file_name(name));
        Ok(ids.filter(|id| !catalog.all.packs.contains_key(id)).collect())
    }

    /// Removes what was agreed to and is still unneeded. `clock` returns seconds since 1970.
    pub fn clean(
        &self,
        store: &Store,
        needs: &NeededData,
        agreed: &CleanupPlan,
        clock: &dyn Fn() -> u64,
    ) -> Result<CleanupResult> {
        self.must_be_writable()?;
        if agreed.plan.remove.is_empty() && agreed.rewrite.is_empty() {
            let mut cleaned = CleanupResult::default();
            self.update_marks(&agreed.plan, &agreed.catalog.marks, &ObjectSet::default(), clock(), &mut cleaned)?;
            return Ok(cleaned);
        }
        let mine = self.put_note(NoteKind::Removing, clock(), format!("{}\n", random_name()).as_bytes())?;
        let note = format!("index/{}", mine.file_name());
        let cleaned = self.remove_agreed(store, needs, agreed, (&mine, clock));
        match &cleaned {
            Ok(_) => self.backend.remove(&note)?,
            // Lets pushes proceed before the lease ends.
            Err(_) => self.backend.remove_leftover(&note),
        }
        cleaned
    }

    fn remove_agreed(
        &self,
        store: &Store,
        needs: &NeededData,
        agreed: &CleanupPlan,
        (mine, clock): (&NoteName, &dyn Fn() -> u64),
    ) -> Result<CleanupResult> {
        let is_over = || clock() > mine.name.seconds() + LONGEST;
        let CleanupPlan { mut plan, rewrite, catalog, .. } = self.garbage(store, needs)?;
        if let Some(other) = catalog.marks.names.iter().find(|note| *note != mine && note.is_alive(self.now)) {
            return Err(self.busy(other));
        }
        let allowed = plan.remove.intersection(&agreed.plan.remove);
        plan.mark.extend(&plan.remove.minus(&allowed));
        plan.remove = allowed;
        let left = without(&catalog.all, &plan.remove);
        let rewrite: BTreeSet<PackId> = rewrite.intersection(&agreed.rewrite).copied().collect();
        let compact = if rewrite.is_empty() { left } else { self.rewrite(store, &catalog, left, &rewrite)? };
        if is_over() {
            return Ok(CleanupResult { is_cut_short: true, ..CleanupResult::default() });
        }
        if compact != catalog.all {
            let name = self.put_segment(&compact)?;
            self.replace_segments(&catalog.names, &name)?;
            self.publish()?;
        }
        // What another process listed or kept since then is not removed.
        let now = self.read_catalog_again()?;
        if let Some((_, error)) = now.damaged.first() {
            return Err(error.clone().because("its data may not be removed").hint(self.push_again_hint()));
        }
        let mut files = plan.remove.intersection(&now.marked);
        files.packs = &files.packs - &used(&now.all);
        if !files.objects.is_empty() && now.all.roots != compact.roots {
            let live = RemoteTrees::new(self, store).reachable(&now, &now.all.roots.keys().copied().collect())?;
            files.objects.retain(|id| !live.contains(id));
        }
        let mut cleaned = CleanupResult { rewritten: rewrite.len(), ..CleanupResult::default() };
        cleaned.removed =
            ObjectSet { roots: plan.remove.roots.clone(), runs: plan.remove.runs.clone(), ..files.clone() };
        cleaned.bytes = files.bytes(&catalog.all);
        let packs = files.packs.iter().map(pack_path);
        let paths: Vec<String> = packs.chain(files.objects.iter().map(object_path)).collect();
        for some in paths.chunks(self.jobs * 8) {
            if is_over() {
                cleaned.is_cut_short = true;
                return Ok(cleaned);
            }
            run_parallel(self.jobs, some, |path| self.backend.remove(path))?;
        }
        let old = ObjectSet { packs: rewrite, ..ObjectSet::default() };
        self.update_marks(&plan, &now.marks, &old, clock(), &mut cleaned)?;
        Ok(cleaned)
    }

    /// Marks what may be removed next time, and removes notes that are processed.
    fn update_marks(
        &self,
        plan: &RemovalPlan,
        marks: &Marks,
        more: &ObjectSet,
        now: u64,
        cleaned: &mut CleanupResult,
    ) -> Result<()> {
        let mut mark = plan.mark.clone();
        mark.extend(more);
        if !mark.is_empty() {
            cleaned.marked = mark.len();
            self.put_note(NoteKind::Marked, now, &Note { things: mark, ..Note::default() }.encode())?;
        }
        let stays: BTreeSet<_> = marks.marked.iter().map(|(name, _)| name).filter(|n| !plan.done.contains(n)).collect();
        for note in &marks.names {
            let is_done = match note.kind {
                NoteKind::Marked => plan.done.contains(&note.name),
                NoteKind::Kept if marks.is_doubtful => true,
                NoteKind::Kept => false,
                NoteKind::Removing => !note.is_alive(now),
            };
            // An unreadable note disabled all marks: everything is marked again.
            if is_done || marks.is_doubtful && note.kind == NoteKind::Marked {
                self.backend.remove(&format!("index/{}", note.file_name()))?;
            }
        }
        for note in marks.kept.iter().filter(|note| !note.of.iter().any(|name| stays.contains(name))) {
            let bytes = note.encode();
            let dealt = marks.names.iter().find(|name| name.kind == NoteKind::Kept && name.name.fits(&bytes));
            if let Some(name) = dealt {
                self.backend.remove(&format!("index/{}", name.file_name()))?;
            }
        }
        Ok(())
    }

    /// Writes the needed objects of some packs into new packs; returns the segment with the new locations.
    fn rewrite(&self, store: &Store, catalog: &Catalog, left: Segment, rewrite: &BTreeSet<PackId>) -> Result<Segment> {
        let live = RemoteTrees::new(self, store).reachable(catalog, &left.roots.keys().copied().collect())?;
        let mut fresh = Repack::new(self);
        for id in rewrite {
            let Some(row) = catalog.all.packs.get(id) else { continue };
            let index = self.index(id, row)??;
            let is_needed = |row: &Row| live.contains(&row.id) || left.runs.contains_key(&row.id);
            let rows: Vec<Row> = index.iter().filter(is_needed).collect();
            fresh.take(store, id, &rows)?;
        }
        fresh.finish(left)
    }
}
