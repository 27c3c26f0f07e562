//! What nobody needs goes.
//!
//! Needed is what claims in scope pin (see [`super::scope`]), and all that it leads to; results of the run cache whose
//! outputs are all needed, or that are young, with their outputs; and all that is young, with what it leads to, since a
//! neighbour may be about to refer to it. A result that is not needed goes together with its objects.
//!
//! Refused is what would be a guess: a lock or a reference that cannot be read, another project of the store that is not
//! there, a folder that is needed, was damaged, and so cannot say what it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::cache::entries;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::project::Project;
use crate::remote::{Catalog, Remote};
use crate::retention::pins::{Claim, of_run};
use crate::retention::scope::{Found, Request, State, Which, gather, others};
use crate::store::gc::{self, Census, FoundRun, GcResult, Plan, Rules};
use crate::store::{LinkType, ObjectId, Pin, ReachableObjects, Store};

/// Small enough for a pack wherever the store lies.
const PACKED: u64 = 16 << 10;
/// Whoever writes a temporary file is done with it after this time.
pub(super) const DEAD: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub request: Request,
    /// What is younger stays.
    pub min_age: Duration,
    /// Keep what no remote has.
    pub not_in_remote: bool,
    /// Ask this remote whether it has what goes; else all that there are.
    pub remote: Option<String>,
}

/// Something that only what goes refers to, and that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub claim: Claim,
    /// The newest commit that pins it; `None` for a result of the run cache.
    pub commit: Option<String>,
}

/// What would be done, and all that is known of it.
pub struct Planned {
    pub plan: Plan,
    pub census: Census,
    needed: HashSet<ObjectId>,
    pub runs: Vec<FoundRun>,
    /// Last copies: no remote has them.
    pub lost: Vec<Lost>,
    /// What goes and a remote has.
    pub elsewhere: Vec<Lost>,
    /// Remotes that could not be asked.
    pub unasked: Vec<Error>,
    /// What those that could be asked have; `None` if there was nothing to ask for.
    asked: Option<Catalogs>,
    pub unreadable: Vec<Error>,
    /// Shallow clones whose older commits were asked for.
    pub shallow: Vec<PathBuf>,
    /// How many states of how many other projects count.
    pub states: usize,
    pub others: usize,
}

impl Planned {
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.runs.is_empty()
    }
}

/// Decides; nothing is touched.
pub fn plan(project: &Project, options: &Options, sink: &dyn Sink) -> Result<Planned> {
    plan_with(project, options, None, sink)
}

/// The same, by what remotes said before.
fn plan_with(project: &Project, options: &Options, asked: Option<Catalogs>, sink: &dyn Sink) -> Result<Planned> {
    // What is damaged stays where it is until somebody asks for it to be mended.
    let store = &project.store().read_only();
    let found = gather(project, &options.request)?;
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs() as i64;
    let census = gc::census(store)?;
    let mut reach = ReachableObjects::default();
    for claim in claims(&found.states) {
        reach.add(store, &claim.pin)?;
    }
    let mut going = going_runs(store, &census, &mut reach, old)?;
    young(store, &census, &mut reach, old)?;
    let named = named(project, options, &found.states, &reach, &going)?;
    let mut unasked = Vec::new();
    let asked = match asked {
        None if !named.is_empty() => Some(ask(project, options, &mut unasked)?),
        asked => asked,
    };
    let is_elsewhere = |one: &Lost| asked.iter().flatten().any(|all| all.lasting_root(&one.claim.pin).is_some());
    let (elsewhere, mut lost): (Vec<Lost>, Vec<Lost>) = named.into_iter().partition(is_elsewhere);
    if options.not_in_remote {
        for one in lost.drain(..) {
            reach.add(store, &one.claim.pin)?;
        }
        going = going_runs(store, &census, &mut reach, old)?;
    }
    known(store, &census, &reach.missing, options, sink)?;
    let rules = Rules { old, dead: (now.saturating_sub(DEAD)).as_secs() as i64, packed: packed(store, &found) };
    let plan = gc::plan(&census, &reach.objects, rules);
    // What is pinned and goes may lie in a pack that stays for now.
    let gone: HashSet<ObjectId> = plan.gone.iter().map(|(id, _)| *id).collect();
    let goes = |one: &Lost| gone.contains(&one.claim.pin.id);
    Ok(Planned {
        lost: lost.into_iter().filter(goes).collect(),
        elsewhere: elsewhere.into_iter().filter(goes).collect(),
        needed: reach.objects,
        runs: going,
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

/// Does it, with the store to itself: what is needed is looked at again once nobody else uses the store. Where that would
/// take last copies that the plan of before did not name, nothing is done, since they were not agreed to; unless `forced`,
/// by who agrees to anything.
pub fn apply(
    project: &Project,
    options: &Options,
    planned: &Planned,
    forced: bool,
    sink: &dyn Sink,
) -> Result<GcResult> {
    let store = project.store();
    let _alone = store.lock_exclusive("lockstep store gc", sink)?;
    // Nobody is to wait for a network with us.
    let now = plan_with(project, options, planned.asked.clone(), sink)?;
    let known: HashSet<(ObjectId, Option<&str>)> =
        planned.lost.iter().map(|one| (one.claim.pin.id, one.commit.as_deref())).collect();
    let is_known = |one: &&Lost| forced || known.contains(&(one.claim.pin.id, one.commit.as_deref()));
    if let Some(new) = now.lost.iter().find(|one| !is_known(one)) {
        let message = format!("something changed meanwhile: {} would go, too", new.claim.path);
        return Err(Error::new(Kind::Busy, message).hint("run the command again"));
    }
    for user in others(project)?.iter().filter(|user| options.request.forgotten.contains(&user.home)) {
        store.remove_project(user)?;
    }
    gc::apply(store, &now.census, &now.needed, &now.plan, &now.runs)
}

fn claims(states: &[State]) -> impl Iterator<Item = &Claim> {
    // Many commits share a lock; what it pins is looked at once.
    let mut seen = HashSet::new();
    let locks = states.iter().flat_map(|state| &state.claims);
    locks.filter(move |claims| seen.insert(std::rc::Rc::as_ptr(claims))).flat_map(|claims| claims.iter())
}

/// Results that go: those that are old and of which something is not needed. What the others need is needed.
pub(super) fn going_runs(
    store: &Store,
    census: &Census,
    reach: &mut ReachableObjects,
    old: i64,
) -> Result<Vec<FoundRun>> {
    let mut by_key: BTreeMap<&str, Vec<&FoundRun>> = BTreeMap::new();
    for run in &census.runs {
        by_key.entry(&run.key).or_default().push(run);
    }
    let mut going = Vec::new();
    let mut kept = Vec::new();
    for runs in by_key.values() {
        for run in runs {
            match outs(store, run) {
                Some(pins) if run.time > old => kept.extend(pins),
                Some(pins) if pins.iter().all(|pin| reach.objects.contains(&pin.id)) => {}
                // An entry of a newer version, or a torn one, says nothing; it is small.
                None if run.time > old => {}
                _ => going.push((*run).clone()),
            }
        }
    }
    for pin in kept {
        reach.add(store, &pin)?;
    }
    Ok(going)
}

pub(super) fn outs(store: &Store, run: &FoundRun) -> Option<Vec<Pin>> {
    let (entry, _) = entries::parse(&store.read_run(&run.path)?, &run.key.parse().ok()?)?;
    Some(entry.outs.values().map(|out| out.pin).collect())
}

/// Young folders that nothing refers to keep what they name: it may have been there for long.
pub(super) fn young(store: &Store, census: &Census, reach: &mut ReachableObjects, old: i64) -> Result<()> {
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

/// A folder that is needed, and was found damaged, cannot say what it holds. One that can be read now was stored by another
/// process after it was looked for: the plan that is carried out is made with the store held alone.
fn known(store: &Store, census: &Census, missing: &[ObjectId], options: &Options, sink: &dyn Sink) -> Result<()> {
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
        .hint("get it again: lockstep fetch, or, if a stage makes it: lockstep repro")
        .hint("or go on without it: --skip-unreadable"))
}

/// What goes, by the names of those that refer to it: commits out of scope, and results of the run cache.
fn named(
    project: &Project,
    options: &Options,
    states: &[State],
    reach: &ReachableObjects,
    going: &[FoundRun],
) -> Result<Vec<Lost>> {
    let is_here = |pin: &Pin| project.store().size(&pin.id).is_some();
    let mut lost: HashMap<ObjectId, Lost> = HashMap::new();
    let mut add = |claim: &Claim, commit: Option<&str>| {
        if !reach.objects.contains(&claim.pin.id) && is_here(&claim.pin) {
            let one = || Lost { claim: claim.clone(), commit: commit.map(str::to_string) };
            lost.entry(claim.pin.id).or_insert_with(one);
        }
    };
    if !options.request.which.all_commits {
        let everything = Request { which: Which::everything(), skip_unreadable: true, ..options.request.clone() };
        let all: Found = gather(project, &everything)?;
        for state in all.states.iter().filter(|state| state.commit.is_some()) {
            state.claims.iter().flat_map(|claims| claims.iter()).for_each(|claim| add(claim, Some(&state.name)));
        }
    }
    debug_assert!(!states.is_empty());
    for run in going {
        let Ok(key) = run.key.parse::<ObjectId>() else { continue };
        let bytes = project.store().read_run(&run.path);
        if let Some((entry, _)) = bytes.and_then(|bytes| entries::parse(&bytes, &key)) {
            of_run(&key, &entry).iter().for_each(|claim| add(claim, None));
        }
    }
    let mut lost: Vec<Lost> = lost.into_values().collect();
    lost.sort_by(|a, b| (&a.claim.path, &a.commit, a.claim.pin.id).cmp(&(&b.claim.path, &b.commit, b.claim.pin.id)));
    Ok(lost)
}

/// What remotes have.
type Catalogs = Vec<Arc<Catalog>>;

/// Asks every remote once; those that cannot be asked are noted.
fn ask(project: &Project, options: &Options, unasked: &mut Vec<Error>) -> Result<Catalogs> {
    let names: Vec<&str> = match &options.remote {
        Some(name) => vec![name],
        None => project.config.remotes(),
    };
    let mut catalogs = Vec::new();
    for name in names {
        match Remote::open(project, Some(name), None).and_then(|remote| remote.known()) {
            Ok(catalog) => catalogs.push(catalog),
            Err(e) if options.not_in_remote || options.remote.is_some() => return Err(e),
            Err(e) => unasked.push(e),
        }
    }
    Ok(catalogs)
}

/// Small loose objects go into packs, unless somebody links to them by their path.
pub(super) fn packed(store: &Store, found: &Found) -> u64 {
    let links = store.links().iter().any(|link| link == LinkType::Symlink);
    if links || !found.others.is_empty() { 0 } else { PACKED }
}
