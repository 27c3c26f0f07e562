//! Taking away from a remote what nobody needs, by the plan of `garbage`.
//!
//! The order, so that a kill at any point leaves a remote in which everything that is told of is there: the note
//! `removing`; packs that are written anew; one segment instead of all that there were, which tells of what stays; the old
//! segments go; then, with another look at what is told by now, files go; then the marks that were dealt with. A pack that
//! was written anew is only marked, since somebody may be reading it by an older segment.
//!
//! What was cut short is done by the next one: the marks are still there, and name the files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::cache::entries;
use crate::error::Result;
use crate::remote::backend::transfer::each;
use crate::remote::catalog::Catalog;
use crate::remote::catalog::marks::{Marks, Note, NoteName, Sort, Things};
use crate::remote::catalog::segment::{RunRow, Segment};
use crate::remote::fetch::trees::Trees;
use crate::remote::gc::plan::{Facts, Plan, is_mostly_dead, plan, used, without};
use crate::remote::gc::repack::Fresh;
use crate::remote::{Remote, object_path, pack_path};
use crate::store::pack::format::{PackId, Row};
use crate::store::{ObjectId, Pin, Store, random_name};

/// Who removes things stops after so many seconds: after twice as many nobody believes that he is still at it.
const LONGEST: u64 = 1800;

/// Who needs what.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Outputs and data: the id, and whether it is a folder.
    pub roots: HashSet<(ObjectId, bool)>,
    /// Marks that are this old (seconds since 1970) count; results that are younger are needed, with their outputs.
    pub old: u64,
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Plan,
    /// Packs of which so much is dead that the rest is written anew.
    pub rewrite: BTreeSet<PackId>,
    /// What only young results need.
    pub young: Things,
    pub catalog: Arc<Catalog>,
}

impl Planned {
    /// Nothing that anybody would miss; marks may be left that were dealt with.
    pub fn is_empty(&self) -> bool {
        self.plan.remove.is_empty() && self.plan.mark.is_empty() && self.rewrite.is_empty()
    }

    /// Bytes of files that go, and of those that are marked.
    pub fn bytes(&self) -> (u64, u64) {
        (self.plan.remove.bytes(&self.catalog.all), self.plan.mark.bytes(&self.catalog.all))
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub removed: Things,
    pub bytes: u64,
    pub rewritten: usize,
    pub marked: usize,
    /// Time was up before all files were gone.
    pub is_cut_short: bool,
}

impl Remote {
    /// Says what nobody needs. Nothing is touched.
    pub fn garbage(&self, store: &Store, needs: &Needs) -> Result<Planned> {
        self.must_be_writable()?;
        let catalog = self.look_again()?;
        if let Some((_, error)) = catalog.damaged.first() {
            return Err(error.clone().because("what it told of would be taken for garbage").hint(self.again()));
        }
        let (unneeded, young) = self.unneeded(store, &catalog, needs)?;
        let strays = self.strays(&catalog)?;
        let facts =
            Facts { all: &catalog.all, unneeded: &unneeded, marks: &catalog.marks, strays: &strays, old: needs.old };
        let mut trees = Trees::new(self, store);
        let plan = plan(&facts, &mut |roots| trees.reach(&catalog, roots))?;
        let left = without(&catalog.all, &plan.remove);
        let live = trees.reach(&catalog, &left.roots.keys().copied().collect())?;
        let mut rewrite = BTreeSet::new();
        for id in used(&left) {
            let Some(row) = left.packs.get(&id) else { continue };
            if is_mostly_dead(&*self.index(&id, row)??, |id| live.contains(id) || left.runs.contains_key(id)) {
                rewrite.insert(id);
            }
        }
        Ok(Planned { plan, rewrite, young, catalog })
    }

    /// Roots and results that nobody needs, and those that only young results do. A result is needed if all of its
    /// outputs are.
    fn unneeded(&self, store: &Store, catalog: &Catalog, needs: &Needs) -> Result<(Things, Things)> {
        let rows: Vec<RunRow> = catalog.all.runs.values().copied().collect();
        let is_withdrawn = |row: &RunRow| catalog.all.withdrawn.contains(&row.entry);
        let outs = self.outs_of(store, rows.iter().filter(|row| !is_withdrawn(row)))?;
        let of = |row: &RunRow| outs.get(&row.entry).into_iter().flatten().map(|pin| (pin.id, pin.is_dir()));
        let without = |needed: &HashSet<(ObjectId, bool)>, is_young: &dyn Fn(&RunRow) -> bool| {
            // One of a newer version says nothing to us, and stays.
            let is_needed = |row: &RunRow| is_young(row) || of(row).all(|key| needed.contains(&key));
            Things {
                runs: rows.iter().filter(|row| is_withdrawn(row) || !is_needed(row)).map(|row| row.entry).collect(),
                roots: catalog.all.roots.keys().filter(|key| !needed.contains(key)).copied().collect(),
                ..Things::default()
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
        // One that is damaged there says nothing either, and stays.
        bytes.extend(self.run_bytes(&elsewhere)?.0);
        let parsed = bytes.iter().filter_map(|(entry, bytes)| {
            let (found, _) = entries::parse(bytes, keys.get(entry)?)?;
            Some((*entry, found.outs.values().map(|out| out.pin).collect()))
        });
        Ok(parsed.collect())
    }

    /// Packs that are there and that nobody tells of: of a push that was killed, or is under way.
    fn strays(&self, catalog: &Catalog) -> Result<BTreeSet<PackId>> {
        let there = self.place.list("packs")?;
        let ids = there.iter().filter_map(|name| PackId::of_file_name(name));
        Ok(ids.filter(|id| !catalog.all.packs.contains_key(id)).collect())
    }

    /// Does what was agreed to, as far as it is still true. `clock` tells seconds since 1970.
    pub fn clean(&self, store: &Store, needs: &Needs, agreed: &Planned, clock: &dyn Fn() -> u64) -> Result<Cleaned> {
        self.must_be_writable()?;
        if agreed.plan.remove.is_empty() && agreed.rewrite.is_empty() {
            let mut cleaned = Cleaned::default();
            self.settle(&agreed.plan, &agreed.catalog.marks, &Things::default(), clock(), &mut cleaned)?;
            return Ok(cleaned);
        }
        let mine = self.put_note(Sort::Removing, clock(), format!("{}\n", random_name()).as_bytes())?;
        let note = format!("index/{}", mine.file_name());
        let cleaned = self.remove_agreed(store, needs, agreed, (&mine, clock));
        match &cleaned {
            Ok(_) => self.place.remove(&note)?,
            // Whoever pushes need not wait for the hour to be over.
            Err(_) => self.place.tidy(&note),
        }
        cleaned
    }

    fn remove_agreed(
        &self,
        store: &Store,
        needs: &Needs,
        agreed: &Planned,
        (mine, clock): (&NoteName, &dyn Fn() -> u64),
    ) -> Result<Cleaned> {
        let is_over = || clock() > mine.name.seconds() + LONGEST;
        let Planned { mut plan, rewrite, catalog, .. } = self.garbage(store, needs)?;
        if let Some(other) = catalog.marks.names.iter().find(|note| *note != mine && note.is_alive(self.now)) {
            return Err(self.busy(other));
        }
        let allowed = plan.remove.both(&agreed.plan.remove);
        plan.mark.extend(&plan.remove.minus(&allowed));
        plan.remove = allowed;
        let left = without(&catalog.all, &plan.remove);
        let rewrite: BTreeSet<PackId> = rewrite.intersection(&agreed.rewrite).copied().collect();
        let compact = if rewrite.is_empty() { left } else { self.rewrite(store, &catalog, left, &rewrite)? };
        if is_over() {
            return Ok(Cleaned { is_cut_short: true, ..Cleaned::default() });
        }
        if compact != catalog.all {
            let name = self.put_segment(&compact)?;
            self.replace_segments(&catalog.names, &name)?;
            self.publish()?;
        }
        // What somebody told meanwhile, or kept, is not removed.
        let now = self.look_again()?;
        if let Some((_, error)) = now.damaged.first() {
            return Err(error.clone().because("what it tells of may not be removed").hint(self.again()));
        }
        let mut files = plan.remove.both(&now.doomed);
        files.packs = &files.packs - &used(&now.all);
        if !files.objects.is_empty() && now.all.roots != compact.roots {
            let live = Trees::new(self, store).reach(&now, &now.all.roots.keys().copied().collect())?;
            files.objects.retain(|id| !live.contains(id));
        }
        let mut cleaned = Cleaned { rewritten: rewrite.len(), ..Cleaned::default() };
        cleaned.removed = Things { roots: plan.remove.roots.clone(), runs: plan.remove.runs.clone(), ..files.clone() };
        cleaned.bytes = files.bytes(&catalog.all);
        let packs = files.packs.iter().map(pack_path);
        let paths: Vec<String> = packs.chain(files.objects.iter().map(object_path)).collect();
        for some in paths.chunks(self.jobs * 8) {
            if is_over() {
                cleaned.is_cut_short = true;
                return Ok(cleaned);
            }
            each(self.jobs, some, |path| self.place.remove(path))?;
        }
        let old = Things { packs: rewrite, ..Things::default() };
        self.settle(&plan, &now.marks, &old, clock(), &mut cleaned)?;
        Ok(cleaned)
    }

    /// Marks what is to go next time, and takes away notes that were dealt with.
    fn settle(&self, plan: &Plan, marks: &Marks, more: &Things, now: u64, cleaned: &mut Cleaned) -> Result<()> {
        let mut mark = plan.mark.clone();
        mark.extend(more);
        if !mark.is_empty() {
            cleaned.marked = mark.len();
            self.put_note(Sort::Marked, now, &Note { things: mark, ..Note::default() }.encode())?;
        }
        let stays: BTreeSet<_> = marks.marked.iter().map(|(name, _)| name).filter(|n| !plan.done.contains(n)).collect();
        for note in &marks.names {
            let is_done = match note.sort {
                Sort::Marked => plan.done.contains(&note.name),
                Sort::Kept if marks.is_doubtful => true,
                Sort::Kept => false,
                Sort::Removing => !note.is_alive(now),
            };
            // What cannot be read made no mark count: all is marked anew.
            if is_done || marks.is_doubtful && note.sort == Sort::Marked {
                self.place.remove(&format!("index/{}", note.file_name()))?;
            }
        }
        for note in marks.kept.iter().filter(|note| !note.of.iter().any(|name| stays.contains(name))) {
            let bytes = note.encode();
            let dealt = marks.names.iter().find(|name| name.sort == Sort::Kept && name.name.fits(&bytes));
            if let Some(name) = dealt {
                self.place.remove(&format!("index/{}", name.file_name()))?;
            }
        }
        Ok(())
    }

    /// Writes what is needed of some packs into new ones; what is told afterwards comes back.
    fn rewrite(&self, store: &Store, catalog: &Catalog, left: Segment, rewrite: &BTreeSet<PackId>) -> Result<Segment> {
        let live = Trees::new(self, store).reach(catalog, &left.roots.keys().copied().collect())?;
        let mut fresh = Fresh::new(self);
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
