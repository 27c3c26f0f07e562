//! What nobody needs at a remote: the same claims as for the store, and the remote's own plan.
//!
//! Only the locks of this repository, and of projects that share its store, are heard. Whoever else pushes to the remote
//! is not, which is why the counter asks for the remote's URL before anything is marked.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::project::Project;
use crate::remote::Remote;
use crate::remote::gc::apply::{Cleaned, Needs, Planned};
use crate::retention::pins::Claim;
use crate::retention::scope::{Found, Request, Which, gather};
use crate::store::ObjectId;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub request: Request,
    /// The remote; else the one that counts where none is named.
    pub remote: Option<String>,
    /// How long something is marked before it goes; results that are younger stay.
    pub min_age: Duration,
}

/// An output or data at the remote that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// The path and the commit that pin it, if any of this project's ever did.
    pub known: Option<(Claim, String)>,
    pub size: u64,
}

pub struct Plan {
    pub remote: Remote,
    pub planned: Planned,
    needs: Needs,
    /// What goes now, and what is marked, by name.
    pub going: Vec<Unneeded>,
    pub marked: Vec<Unneeded>,
    pub unreadable: Vec<Error>,
}

/// Decides; nothing is touched.
pub fn plan(project: &Project, options: &Options) -> Result<Plan> {
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
        all.sort_by(|a, b| order(a).cmp(&order(b)));
        all
    };
    let (going, marked) = (named(&planned.plan.remove.roots), named(&planned.plan.mark.roots));
    Ok(Plan { remote, planned, needs, going, marked, unreadable })
}

/// Does it. What is needed by now is looked at again: a commit may have been made meanwhile.
pub fn apply(project: &Project, options: &Options, agreed: &Plan) -> Result<Cleaned> {
    let now = needs(project, options)?.0;
    let needs = Needs { roots: agreed.needs.roots.union(&now.roots).copied().collect(), ..agreed.needs };
    let clock = || (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    agreed.remote.clean(&project.store().read_only(), &needs, &agreed.planned, &clock)
}

fn needs(project: &Project, options: &Options) -> Result<(Needs, Vec<Error>)> {
    let found = gather(project, &options.request)?;
    // Whatever was asked for: branches and tags that a clone of this sort lacks count as well.
    if let Some(clone) = found.shallow.first().filter(|_| !options.request.skip_unreadable) {
        let clone = clone.repository.display();
        let what = format!("{clone} is a shallow clone: what its older commits need at the remote is not known");
        return Err(Error::missing(what)
            .hint("git fetch --unshallow — run there, gets those commits")
            .hint("nothing was touched; --skip-unreadable goes on without them"));
    }
    let now = (project.around.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(options.min_age).as_secs();
    let roots = claims(&found).map(|(claim, _)| (claim.pin.id, claim.pin.is_dir())).collect();
    Ok((Needs { roots, old }, found.unreadable))
}

fn claims(found: &Found) -> impl Iterator<Item = (&Claim, &str)> {
    found.states.iter().flat_map(|state| {
        let claims = state.claims.iter().flat_map(|claims| claims.iter());
        claims.map(|claim| (claim, state.name.as_str()))
    })
}

/// Who pins what, of everything that this project can reach.
fn names(project: &Project, options: &Options) -> Result<HashMap<(ObjectId, bool), (Claim, String)>> {
    let request = Request { which: Which::everything(), skip_unreadable: true, ..options.request.clone() };
    let found = gather(project, &request)?;
    let mut names = HashMap::new();
    for (claim, name) in claims(&found) {
        let key = (claim.pin.id, claim.pin.is_dir());
        names.entry(key).or_insert_with(|| (claim.clone(), name.to_string()));
    }
    Ok(names)
}

fn order(one: &Unneeded) -> (bool, Option<(&str, &str)>) {
    (one.known.is_none(), one.known.as_ref().map(|(claim, commit)| (claim.path.as_str(), commit.as_str())))
}
