//! Which bytes a user means by `PATH` or `PATH@REVISION`.
//!
//! A file of that very name comes first, `@` or not, and needs no repository. Else the part behind an `@` is a revision,
//! and the path is looked up there: what Git has, else what the lock pins, a file inside a pinned folder too. A lone
//! `digits@v1.2.0` or `digits#prod` names an artifact of the pipeline as that version has it.

use std::path::Path;

use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::Place;
use crate::project::{Project, Rev, Snapshot};
use crate::store::{ObjectKind, Pin};
use crate::value::Value;

/// An object below this may lie in a pack, and is read whole.
const SMALL: u64 = 1 << 20;

/// A file as it is now, if there is one of that very name.
pub fn on_disk(cwd: &Path, spec: &str) -> Result<Option<Source>> {
    let path = cwd.join(spec);
    match path.try_exists() {
        Ok(true) => Source::open(&path, spec).map(Some),
        Ok(false) => Ok(None),
        Err(_) if spec.contains('@') => Ok(None),
        Err(e) => Err(Error::io("look at", spec, e)),
    }
}

pub fn absent(spec: &str) -> Error {
    Error::missing(format!("{spec} does not exist"))
        .hint("bring back what is pinned: lockstep checkout; an older version: PATH@REVISION")
}

/// `PATH@REVISION`, the path as seen from the current folder. Of several `@` the first counts behind which there is a
/// revision.
pub fn at_revision(project: &Project, spec: &str) -> Result<Source> {
    let splits: Vec<(&str, &str)> = spec.match_indices('@').map(|(at, _)| (&spec[..at], &spec[at + 1..])).collect();
    let mut first = None;
    for (path, rev) in splits.iter().filter(|(path, _)| !path.is_empty()) {
        let snapshot = match project.at(&Rev::Named(rev.to_string())) {
            Ok(snapshot) => snapshot,
            Err(e) if e.kind == Kind::Missing => {
                first.get_or_insert(e);
                continue;
            }
            Err(e) => return Err(e),
        };
        let in_repo = project.typed(path).ok_or_else(|| Error::usage(format!("{path} lies outside the repository")))?;
        if let Some(source) = read(&snapshot, &in_repo, spec)? {
            return Ok(source);
        }
        return Err(Error::missing(format!("{path} is neither in Git nor pinned at {rev}"))
            .hint(format!("see what is there: lockstep list --rev {rev}")));
    }
    // The tag of a version is named after its artifact.
    if let Ok(snapshot) = project.at(&Rev::Named(spec.to_string()))
        && let Some(name) = spec.split(['@', '#']).next()
        && let Some(path) = artifact(&snapshot, name)
    {
        return read(&snapshot, &path, spec)?
            .ok_or_else(|| Error::missing(format!("{path}, which is the artifact {name}, is not pinned at {spec}")));
    }
    Err(first.unwrap_or_else(|| Error::missing(format!("{spec} does not exist"))))
}

/// The path of an artifact as a snapshot declares it.
fn artifact(snapshot: &Snapshot, name: &str) -> Option<RepoPath> {
    let name = name.strip_prefix(':').unwrap_or(name);
    let (folder, name) = name.rsplit_once(':').map_or((None, name), |(folder, name)| (Some(folder), name));
    snapshot.definitions.pipelines.files.iter().find_map(|file| {
        let beside = file.path.parent()?;
        if folder.is_some_and(|folder| folder != beside.as_str() && folder != file.path.as_str()) {
            return None;
        }
        let (_, artifact) = file.artifacts.iter().find(|(key, _)| key == name)?;
        let Value::Map(keys) = artifact else { return None };
        beside.join(&keys.iter().find(|(key, _)| key == "path")?.1.to_text())
    })
}

/// The bytes of a file of a snapshot; `None` if it has no such file.
pub fn read(snapshot: &Snapshot, path: &RepoPath, name: &str) -> Result<Option<Source>> {
    if let Some(bytes) = snapshot.files().read(&Place::Repo(path.clone()))? {
        return Ok(Some(Source::of_bytes(bytes, name)));
    }
    let Some(pin) = snapshot.pin(path)? else { return Ok(None) };
    if pin.is_dir() {
        return Err(Error::usage(format!("{path} is a folder")).hint("name a file in it"));
    }
    pinned(snapshot, &pin, name).map(Some).map_err(|e| snapshot.absent(path, e))
}

fn pinned(snapshot: &Snapshot, pin: &Pin, name: &str) -> Result<Source> {
    let store = snapshot.project.store();
    if pin.size < SMALL {
        return store.read(&pin.id, ObjectKind::Content).map(|bytes| Source::of_bytes(bytes, name));
    }
    Source::of_file(store.open_large(&pin.id)?, name)
}
