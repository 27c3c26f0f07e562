//! Garbage collection: removes unneeded objects.
//!
//! Needed objects are those that are reachable from the pins in scope (see `scope`); from results of the run
//! cache that are young or whose outputs are all needed; and from all young objects, since another process may be about
//! to refer to them. An unneeded result is removed together with its objects.
//!
//! Refuses to guess: a lock or a reference that cannot be read, another project of the store that is missing, and a
//! needed folder that is damaged, so that its content is not known, are errors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::cache::entries;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::project::Project;
use crate::remote::{Catalog, Remote};
use crate::retention::pins::{PinnedPath, of_run};
use crate::retention::scope::{CommitScope, PinSource, PinSources, ScopeRequest, gather, other_projects};
use crate::store::gc::{self, Census, FoundRun, GcResult, GcRules, Plan};
use crate::store::{LinkType, ObjectId, Pin, ReachableObjects, Store};

/// Small enough for a pack in every store.
const PACKED: u64 = 16 << 10;
/// A temporary file older than this belongs to a process that died.
pub(super) const DEAD: Duration = Duration::from_secs(24 * 3600);

/// The options of `gc`.
#[derive(Clone, Debug, Default)]
pub struct GcOptions {
    /// The states whose pins are kept.
    pub request: ScopeRequest,
    /// Younger objects stay.
    pub min_age: Duration,
    /// Keep what no remote has.
    pub not_in_remote: bool,
    /// The remote to ask for the removed data; `None` for all remotes.
    pub remote: Option<String>,
}

/// A pinned path that is removed, because only removed states refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedPath {
    /// The path and its pin.
    pub pinned: PinnedPath,
    /// The newest commit that pins it; `None` for a result of the run cache.
    pub commit: Option<String>,
}

/// The plan, with everything it is based on.
pub struct GcPlan {
    /// The files of the store that are removed or written again.
    pub plan: Plan,
    /// All files of the store, as of the plan.
    pub census: Census,
    needed: HashSet<ObjectId>,
    /// Results of the run cache that are removed.
    pub runs: Vec<FoundRun>,
    pub young: YoungContent,
    /// Last copies: no remote has them.
    pub lost: Vec<RemovedPath>,
    /// Removed data that a remote has.
    pub elsewhere: Vec<RemovedPath>,
    /// The errors of remotes that did not answer.
    pub unasked: Vec<Error>,
    /// The catalogs of the remotes that answered; `None` if no remote had to be asked.
    asked: Option<Catalogs>,
    /// Locks and refs that were skipped: their pins are not known.
    pub unreadable: Vec<Error>,
    /// Shallow clones whose older commits are in scope.
    pub shallow: Vec<PathBuf>,
    /// The number of states in scope of the given number of other projects.
    pub states: usize,
    /// The number of other projects that use the store.
    pub others: usize,
}

/// Content that is kept only because it is young.
#[derive(Clone, Copy, Debug, Default)]
pub struct YoungContent {
    /// Results of the run cache.
    pub results: usize,
    /// What only these results need: number of objects and bytes.
    pub of_results: (usize, u64),
    /// Other objects: number and bytes. Those of a young folder may be older.
    pub objects: (usize, u64),
}

impl GcPlan {
    /// The approximate space that is freed, in bytes of files.
    pub fn bytes(&self) -> u64 {
        self.plan.bytes + self.runs.iter().map(|run| run.size).sum::<u64>()
    }

    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.runs.is_empty()
    }
}

/// Plans the removal. Changes nothing.
pub fn plan(project: &Project, options: &GcOptions, sink: &dyn Sink) -> Result<GcPlan> {
    plan_with(project, options, None, sink)
}

/// The same, with catalogs that were read before.
fn plan_with(project: &Project, options: &GcOptions, asked: Option<Catalogs>, sink: &dyn Sink) -> Result<GcPlan> {
    // Damaged objects are not moved to quarantine here: only a repair does that.
    let store = &project.store().read_only();
    let found = gather(project, &options.request)?;
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs() as i64;
    let census = gc::census(store)?;
    let mut reach = ReachableObjects::default();
    for pinned in pinned_paths(&found.states) {
        reach.add(store, &pinned.pin)?;
    }
    let pinned = reach.objects.clone();
    let RunSelection { mut removable, young } = removable_runs(store, &census, &mut reach, old)?;
    let with_results = reach.objects.clone();
    keep_young_folders(store, &census, &mut reach, old)?;
    let mut young = YoungContent {
        results: young,
        of_results: sum(&census, |id| with_results.contains(id) && !pinned.contains(id)),
        objects: sum(&census, |id| reach.objects.contains(id) && !with_results.contains(id)),
    };
    let named = named(project, options, &found.states, &reach, &removable)?;
    let mut unasked = Vec::new();
    let asked = match asked {
        None if !named.is_empty() => Some(ask(project, options, &mut unasked)?),
        asked => asked,
    };
    let is_elsewhere =
        |one: &RemovedPath| asked.iter().flatten().any(|all| all.lasting_root(&one.pinned.pin).is_some());
    let (elsewhere, mut lost): (Vec<RemovedPath>, Vec<RemovedPath>) = named.into_iter().partition(is_elsewhere);
    if options.not_in_remote {
        for one in lost.drain(..) {
            reach.add(store, &one.pinned.pin)?;
        }
        removable = removable_runs(store, &census, &mut reach, old)?.removable;
    }
    refuse_damaged_folders(store, &census, &reach.missing, options, sink)?;
    let rules = GcRules { old, dead: (now.saturating_sub(DEAD)).as_secs() as i64, packed: pack_limit(store, &found) };
    let plan = gc::plan(&census, &reach.objects, rules);
    young.objects = (young.objects.0 + plan.young.0, young.objects.1 + plan.young.1);
    // Removed objects may be in a pack that stays for now.
    let gone: HashSet<ObjectId> = plan.gone.iter().map(|(id, _)| *id).collect();
    let goes = |one: &RemovedPath| gone.contains(&one.pinned.pin.id);
    Ok(GcPlan {
        lost: lost.into_iter().filter(goes).collect(),
        elsewhere: elsewhere.into_iter().filter(goes).collect(),
        needed: reach.objects,
        runs: removable,
        young,
        unasked,
        asked,
        unreadable: found.unreadable,
        shallow: found.shallow.into_iter().filter(|clone| clone.is_asked).map(|clone| clone.repository).collect(),
        states: found.states.len(),
        others: found.others.len(),
        plan,
        census,
    })
}

/// Carries out the plan under the exclusive lock of the store, after planning again. If the new plan removes last
/// copies that the old one did not name, nothing is done, since the user has not agreed to it; unless `forced`.
pub fn apply(
    project: &Project,
    options: &GcOptions,
    planned: &GcPlan,
    forced: bool,
    sink: &dyn Sink,
) -> Result<GcResult> {
    let store = project.store();
    let _alone = store.lock_exclusive("lockstep store gc", sink)?;
    // Other processes must not wait for the network while the store is locked.
    let now = plan_with(project, options, planned.asked.clone(), sink)?;
    let known: HashSet<(ObjectId, Option<&str>)> =
        planned.lost.iter().map(|one| (one.pinned.pin.id, one.commit.as_deref())).collect();
    let is_known = |one: &&RemovedPath| forced || known.contains(&(one.pinned.pin.id, one.commit.as_deref()));
    if let Some(new) = now.lost.iter().find(|one| !is_known(one)) {
        let message = format!("something changed: {} would be removed, too", new.pinned.path);
        return Err(Error::new(Kind::Busy, message).hint("run the command again"));
    }
    for user in other_projects(project)?.iter().filter(|user| options.request.forgotten.contains(&user.home)) {
        store.remove_project(user)?;
    }
    gc::apply(store, &now.census, &now.needed, &now.plan, &now.runs)
}

fn pinned_paths(states: &[PinSource]) -> impl Iterator<Item = &PinnedPath> {
    // Many commits share a lock; its pins are processed once.
    let mut seen = HashSet::new();
    let locks = states.iter().flat_map(|state| &state.pinned_paths);
    locks
        .filter(move |pinned_paths| seen.insert(std::rc::Rc::as_ptr(pinned_paths)))
        .flat_map(|pinned_paths| pinned_paths.iter())
}

/// The number and bytes of the objects in a store that a condition selects.
fn sum(census: &Census, is_meant: impl Fn(&ObjectId) -> bool) -> (usize, u64) {
    let loose = census.loose.iter().map(|loose| (loose.id, loose.size));
    let packed = census.packs.iter().flat_map(|found| found.pack.index.iter().map(|row| (row.id, row.length)));
    let meant = loose.chain(packed).filter(|(id, _)| is_meant(id));
    meant.fold((0, 0), |(number, bytes), (_, size)| (number + 1, bytes + size))
}

/// Which results of the run cache are removed.
pub(super) struct RunSelection {
    pub removable: Vec<FoundRun>,
    /// The number of results that are kept only because they are young.
    pub young: usize,
}

/// Results to remove: old ones with an output that is not needed. Everything that the other results reach is needed.
pub(super) fn removable_runs(
    store: &Store,
    census: &Census,
    reach: &mut ReachableObjects,
    old: i64,
) -> Result<RunSelection> {
    let mut by_key: BTreeMap<&str, Vec<&FoundRun>> = BTreeMap::new();
    for run in &census.runs {
        by_key.entry(&run.key).or_default().push(run);
    }
    let mut going = Vec::new();
    let mut kept = Vec::new();
    let mut young = 0;
    for runs in by_key.values() {
        for run in runs {
            match outs(store, run) {
                Some(pins) if pins.iter().all(|pin| reach.covers(pin)) => {}
                Some(pins) if run.time > old => {
                    young += 1;
                    kept.extend(pins);
                }
                // An entry of a newer version, or a torn one, cannot be read; it is small.
                None if run.time > old => {}
                _ => going.push((*run).clone()),
            }
        }
    }
    for pin in kept {
        reach.add(store, &pin)?;
    }
    Ok(RunSelection { removable: going, young })
}

pub(super) fn outs(store: &Store, run: &FoundRun) -> Option<Vec<Pin>> {
    let (entry, _) = entries::parse(&store.read_run(&run.path)?, &run.key.parse().ok()?)?;
    Some(entry.outs.values().map(|out| out.pin).collect())
}

/// Young folders that nothing refers to keep their content, which may be older.
pub(super) fn keep_young_folders(store: &Store, census: &Census, reach: &mut ReachableObjects, old: i64) -> Result<()> {
    let mut trees = Vec::new();
    for loose in census.loose.iter().filter(|l| l.time > old && !reach.objects.contains(&l.id)) {
        if store.is_tree(&loose.id, loose.size) {
            trees.push(loose.id);
        }
    }
    for found in census.packs.iter().filter(|found| found.time > old) {
        let rows = found.pack.index.iter();
        let is_tree = |kind| kind == crate::store::ObjectKind::Tree;
        trees
            .extend(rows.filter(|row| is_tree(row.kind) && !found.pack.tombstoned.contains(&row.id)).map(|row| row.id));
    }
    for id in trees {
        reach.add(store, &Pin { id, size: 0, files: Some(0), executable: false })?;
    }
    Ok(())
}

/// A needed folder that is damaged has unknown content. One that can be read by now was stored by another process after
/// the search: the plan that is carried out is made under the exclusive lock.
fn refuse_damaged_folders(
    store: &Store,
    census: &Census,
    missing: &[ObjectId],
    options: &GcOptions,
    sink: &dyn Sink,
) -> Result<()> {
    let names: Vec<String> =
        census.quarantine.iter().filter_map(|f| Some(f.path.file_name()?.to_str()?.to_string())).collect();
    let is_quarantined = |id: &ObjectId| names.iter().any(|name| name.starts_with(&id.hex()));
    let damaged = missing
        .iter()
        .filter(|id| store.read_tree(id, 0).is_err())
        .find(|id| is_quarantined(id) || store.size(id).is_some());
    let Some(id) = damaged else { return Ok(()) };
    let error = Error::missing(format!("the folder {id} is needed and damaged: what it holds is not known"));
    if options.request.skip_unreadable {
        sink.event(Event::Warning { text: &error.message });
        return Ok(());
    }
    Err(error
        .hint("get it again from a remote: lockstep fetch; or, if a stage makes it: lockstep repro")
        .hint("or go on without it: --skip-unreadable"))
}

/// The removed paths, by what refers to them: commits out of scope, and results of the run cache.
fn named(
    project: &Project,
    options: &GcOptions,
    states: &[PinSource],
    reach: &ReachableObjects,
    going: &[FoundRun],
) -> Result<Vec<RemovedPath>> {
    let is_here = |pin: &Pin| project.store().size(&pin.id).is_some();
    let mut lost: HashMap<ObjectId, RemovedPath> = HashMap::new();
    let mut add = |pinned: &PinnedPath, commit: Option<&str>| {
        if !reach.objects.contains(&pinned.pin.id) && is_here(&pinned.pin) {
            let one = || RemovedPath { pinned: pinned.clone(), commit: commit.map(str::to_string) };
            lost.entry(pinned.pin.id).or_insert_with(one);
        }
    };
    if !options.request.which.all_commits {
        let everything =
            ScopeRequest { which: CommitScope::everything(), skip_unreadable: true, ..options.request.clone() };
        let all: PinSources = gather(project, &everything)?;
        for state in all.states.iter().filter(|state| state.commit.is_some()) {
            state
                .pinned_paths
                .iter()
                .flat_map(|pinned_paths| pinned_paths.iter())
                .for_each(|pinned| add(pinned, Some(&state.name)));
        }
    }
    debug_assert!(!states.is_empty());
    for run in going {
        let Ok(key) = run.key.parse::<ObjectId>() else { continue };
        let bytes = project.store().read_run(&run.path);
        if let Some((entry, _)) = bytes.and_then(|bytes| entries::parse(&bytes, &key)) {
            of_run(&key, &entry).iter().for_each(|pinned| add(pinned, None));
        }
    }
    let mut lost: Vec<RemovedPath> = lost.into_values().collect();
    lost.sort_by(|a, b| {
        (&a.pinned.path, &a.commit, a.pinned.pin.id).cmp(&(&b.pinned.path, &b.commit, b.pinned.pin.id))
    });
    Ok(lost)
}

/// The catalogs of remotes.
type Catalogs = Vec<Arc<Catalog>>;

/// Reads the catalog of every remote once, and records the errors of those that do not answer.
fn ask(project: &Project, options: &GcOptions, unasked: &mut Vec<Error>) -> Result<Catalogs> {
    let names: Vec<&str> = match &options.remote {
        Some(name) => vec![name],
        None => project.config.remotes(),
    };
    let mut catalogs = Vec::new();
    for name in names {
        match Remote::open(project, Some(name), None).and_then(|remote| remote.catalog()) {
            Ok(catalog) => catalogs.push(catalog),
            Err(e) if options.not_in_remote || options.remote.is_some() => return Err(e),
            Err(e) => unasked.push(e),
        }
    }
    Ok(catalogs)
}

/// The size up to which loose objects are packed; 0 if links may refer to them by path.
pub(super) fn pack_limit(store: &Store, found: &PinSources) -> u64 {
    let links = store.links().iter().any(|link| link == LinkType::Symlink);
    if links || !found.others.is_empty() { 0 } else { PACKED }
}
