//! Garbage collection of a remote: the same pins as for the store, and the remote's own plan.
//!
//! Only the locks of this repository, and of projects that share its store, are read. Other clones that push to the
//! remote are not known, so the command asks for the remote's URL before anything is marked.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::project::Project;
use crate::remote::Remote;
use crate::remote::gc::apply::{CleanupPlan, CleanupResult, NeededData};
use crate::retention::pins::PinnedPath;
use crate::retention::scope::{CommitScope, PinSources, ScopeRequest, gather};
use crate::store::ObjectId;

/// The options of `gc -c`.
#[derive(Clone, Debug, Default)]
pub struct RemoteGcOptions {
    /// The states whose pins are kept.
    pub request: ScopeRequest,
    /// The remote; `None` for the default one.
    pub remote: Option<String>,
    /// How long data is marked before it is removed; younger results stay.
    pub min_age: Duration,
}

/// An output or data at the remote that is not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// The path and the commit that pinned it, if this project ever did.
    pub known: Option<(PinnedPath, String)>,
    /// In bytes, of all files of a folder.
    pub size: u64,
}

/// The remote's plan, with names.
pub struct RemoteGcPlan {
    /// The remote that is cleaned.
    pub remote: Remote,
    /// The plan by objects.
    pub planned: CleanupPlan,
    needs: NeededData,
    /// What is removed now, and what is marked, by name.
    pub going: Vec<Unneeded>,
    /// What is marked now, to be removed by a later run.
    pub marked: Vec<Unneeded>,
    /// Locks and refs that were skipped: their pins are not known.
    pub unreadable: Vec<Error>,
}

/// Plans the removal. Changes nothing.
pub fn plan(project: &Project, options: &RemoteGcOptions) -> Result<RemoteGcPlan> {
    let remote = Remote::open(project, options.remote.as_deref(), None)?;
    let (needs, unreadable) = needs(project, options)?;
    let planned = remote.garbage(&project.store().read_only(), &needs)?;
    let names = names(project, options)?;
    let named = |roots: &std::collections::BTreeSet<(ObjectId, bool)>| {
        let one = |key: &(ObjectId, bool)| Unneeded {
            known: names.get(key).cloned(),
            size: planned.catalog.all.roots.get(key).map_or(0, |root| root.size),
        };
        let mut all: Vec<Unneeded> = roots.iter().map(one).collect();
        all.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        all
    };
    let (going, marked) = (named(&planned.plan.remove.roots), named(&planned.plan.mark.roots));
    Ok(RemoteGcPlan { remote, planned, needs, going, marked, unreadable })
}

/// Carries out the plan. The needed data is determined again, since a commit may have been made in between.
pub fn apply(project: &Project, options: &RemoteGcOptions, agreed: &RemoteGcPlan) -> Result<CleanupResult> {
    let now = needs(project, options)?.0;
    let needs = NeededData { roots: agreed.needs.roots.union(&now.roots).copied().collect(), ..agreed.needs };
    let clock = || (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    agreed.remote.clean(&project.store().read_only(), &needs, &agreed.planned, &clock)
}

fn needs(project: &Project, options: &RemoteGcOptions) -> Result<(NeededData, Vec<Error>)> {
    let found = gather(project, &options.request)?;
    // In every case: such a clone lacks branches and tags that are in scope.
    if let Some(clone) = found.shallow.first().filter(|_| !options.request.skip_unreadable) {
        let clone = clone.repository.display();
        let what = format!("{clone} is a shallow clone: what its older commits need at the remote is not known");
        return Err(Error::missing(what)
            .hint("git fetch --unshallow — run there, gets those commits")
            .hint("nothing was touched; --skip-unreadable goes on without them"));
    }
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs();
    let roots = pinned_paths(&found).map(|(pinned, _)| (pinned.pin.id, pinned.pin.is_dir())).collect();
    Ok((NeededData { roots, old }, found.unreadable))
}

fn pinned_paths(found: &PinSources) -> impl Iterator<Item = (&PinnedPath, &str)> {
    found.states.iter().flat_map(|state| {
        let pinned_paths = state.pinned_paths.iter().flat_map(|pinned_paths| pinned_paths.iter());
        pinned_paths.map(|pinned| (pinned, state.name.as_str()))
    })
}

/// The names of everything that this project pins in any commit it can reach.
fn names(project: &Project, options: &RemoteGcOptions) -> Result<HashMap<(ObjectId, bool), (PinnedPath, String)>> {
    let request = ScopeRequest { which: CommitScope::everything(), skip_unreadable: true, ..options.request.clone() };
    let found = gather(project, &request)?;
    let mut names = HashMap::new();
    for (pinned, name) in pinned_paths(&found) {
        let key = (pinned.pin.id, pinned.pin.is_dir());
        names.entry(key).or_insert_with(|| (pinned.clone(), name.to_string()));
    }
    Ok(names)
}

fn sort_key(one: &Unneeded) -> (bool, Option<(&str, &str)>) {
    (one.known.is_none(), one.known.as_ref().map(|(pinned, commit)| (pinned.path.as_str(), commit.as_str())))
}
