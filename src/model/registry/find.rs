//! Resolves `PATH` or `PATH@REVISION` to bytes.
//!
//! A file with exactly that name comes first, with or without `@`, and needs no repository. Otherwise the part after an
//! `@` is a revision, and the path is looked up there: files of Git, then pins of the lock, including files inside a
//! pinned folder. `digits@v1.2.0` or `digits#prod` alone is looked up in the registry (the artifact has the path).

use std::path::Path;

use super::register::snapshot_of;
use super::signed;
use crate::error::{Error, Kind, Result};
use crate::model::artifact;
use crate::model::registry::Registry;
use crate::model::source::Source;
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::project::{Project, Rev, Snapshot};
use crate::shell::word;
use crate::store::{ObjectKind, Pin};
use crate::tag::{self, ModelRequest};

/// A smaller object may be in a pack, and is read whole.
const SMALL: u64 = 1 << 20;

/// The current file with exactly that name, if it exists.
pub fn on_disk(cwd: &Path, spec: &str) -> Result<Option<Source>> {
    let path = cwd.join(spec);
    match path.try_exists() {
        Ok(true) => Source::open(&path, spec).map(Some),
        Ok(false) => Ok(None),
        Err(_) if spec.contains('@') => Ok(None),
        Err(e) => Err(Error::io("look at", spec, e)),
    }
}

/// The error for a path that does not exist.
pub fn absent(spec: &str) -> Error {
    Error::missing(format!("{spec} does not exist"))
        .hint("bring back what is pinned: lockstep checkout; an older version: PATH@REVISION")
}

/// `PATH@REVISION`, the path relative to the current folder, otherwise a version of the registry. Of several `@`, the
/// first is used whose revision has the path.
pub fn at_revision(project: &Project, spec: &str) -> Result<Source> {
    let splits = spec.match_indices('@').map(|(at, _)| (&spec[..at], &spec[at + 1..]));
    let (mut unknown, mut lacking) = (None, None);
    for (path, rev) in splits.filter(|(path, _)| !path.is_empty()) {
        let snapshot = match project.at(&Rev::Named(rev.to_string())) {
            Ok(snapshot) => snapshot,
            Err(e) if e.kind == Kind::Missing => {
                unknown.get_or_insert(e);
                continue;
            }
            Err(e) => return Err(e),
        };
        let Some(in_repo) = project.typed(path) else {
            lacking.get_or_insert(Error::usage(format!("{path} lies outside the repository")));
            continue;
        };
        if let Some(source) = read(&snapshot, &in_repo, spec)? {
            return Ok(source);
        }
        let error = Error::missing(format!("{path} is neither in Git nor pinned at {rev}"));
        lacking.get_or_insert(error.hint(format!("see what is there: lockstep list --rev {}", word(rev))));
    }
    if let Some(source) = registered(project, spec)? {
        return Ok(source);
    }
    Err(lacking.or(unknown).unwrap_or_else(|| Error::missing(format!("{spec} does not exist"))))
}

/// A version or label of the registry: the path of the artifact in the pipelines of its commit. `None` if no such model
/// is registered.
fn registered(project: &Project, spec: &str) -> Result<Option<Source>> {
    let Ok(asked) = spec.parse::<ModelRequest>() else { return Ok(None) };
    let registry = Registry::read(&project.repo)?;
    let name = tag::resolve_name(&asked.name, &registry.models.keys().cloned().collect(), &project.cwd)?;
    if !registry.models.contains_key(&name) {
        return Ok(None);
    }
    let (model, event, _) = registry.find(&ModelRequest { name, ..asked.clone() })?;
    if project.repo.require_signed {
        signed::require(&project.repo, model, Some(&asked.which), model.index_of(event))?;
    }
    let snapshot = snapshot_of(&project.snapshots(), event.commit, spec)?;
    let artifact = artifact::declared(&snapshot, &model.name)?;
    let found = read(&snapshot, &artifact.path, spec)?;
    let lost = || format!("{}, which is the artifact {}, is not pinned at {spec}", artifact.path, artifact.name);
    found.map(Some).ok_or_else(|| Error::missing(lost()))
}

/// The bytes of a file of a snapshot; `None` if it has no such file.
pub fn read(snapshot: &Snapshot, path: &RepoPath, name: &str) -> Result<Option<Source>> {
    if let Some(bytes) = snapshot.files().read(&InputLocation::Repo(path.clone()))? {
        return Ok(Some(Source::of_bytes(bytes, name)));
    }
    let Some(pin) = snapshot.pin(path)? else { return Ok(None) };
    if pin.is_dir() {
        return Err(Error::usage(format!("{path} is a folder")).hint("name a file in it"));
    }
    pinned(snapshot, &pin, name).map(Some).map_err(|e| snapshot.missing_object(path, e))
}

fn pinned(snapshot: &Snapshot, pin: &Pin, name: &str) -> Result<Source> {
    let store = snapshot.project.store();
    if pin.size < SMALL {
        return store.read(&pin.id, ObjectKind::Content).map(|bytes| Source::of_bytes(bytes, name));
    }
    Source::of_file(store.open_large(&pin.id)?, name)
}
