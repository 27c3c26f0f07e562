//! Resolves `PATH` or `PATH@REVISION` to bytes, or to a folder of files.
//!
//! A file or folder with exactly that name comes first, with or without `@`, and needs no repository. Otherwise the part after an
//! `@` is a revision, and the path is looked up there: files of Git, then pins of the lock, including files inside a
//! pinned folder. `digits@v1.2.0` or `digits#prod` alone is looked up in the registry (the artifact has the path).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::register::snapshot_of;
use super::signed;
use crate::error::{Error, Kind, Result};
use crate::git::EntryKind;
use crate::model::artifact;
use crate::model::folder::{self, FILES, FolderFile, ModelFolder};
use crate::model::registry::Registry;
use crate::model::source::Source;
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::project::listing::{Browser, BrowserItem, ItemKind};
use crate::project::{Project, Rev, Snapshot};
use crate::shell::word;
use crate::store::{ObjectKind, Pin};
use crate::tag::{self, ModelRequest};

/// A smaller object may be in a pack, and is read whole.
const SMALL: u64 = 1 << 20;

/// A model: one file, or a folder of files.
pub enum ModelSource<'p> {
    /// One file.
    File(Source),
    /// A folder.
    Folder(ModelFolder<'p>),
}

/// The current file or folder with exactly that name, if it exists. `store` gives the folder of the store's objects.
pub fn on_disk(cwd: &Path, spec: &str, store: &dyn Fn() -> Option<PathBuf>) -> Result<Option<ModelSource<'static>>> {
    let path = cwd.join(spec);
    match path.try_exists() {
        Ok(true) if path.is_dir() => Ok(Some(ModelSource::Folder(ModelFolder::on_disk(&path, spec, store)?))),
        Ok(true) => Source::open(&path, spec).map(|source| Some(ModelSource::File(source))),
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
pub fn at_revision<'p>(project: &'p Project, spec: &str) -> Result<ModelSource<'p>> {
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
        if let Some(source) = read(snapshot, &in_repo, spec)? {
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
fn registered<'p>(project: &'p Project, spec: &str) -> Result<Option<ModelSource<'p>>> {
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
    let lost = || format!("{}, which is the artifact {}, is not pinned at {spec}", artifact.path, artifact.name);
    let found = read(snapshot, &artifact.path, spec)?;
    found.map(Some).ok_or_else(|| Error::missing(lost()))
}

/// A file or folder of a snapshot; `None` if it has none at this path.
fn read<'p>(snapshot: Snapshot<'p>, path: &RepoPath, name: &str) -> Result<Option<ModelSource<'p>>> {
    let in_git = snapshot.git().map(|commit| commit.find(path)).transpose()?.flatten();
    if !matches!(in_git, Some((EntryKind::Folder, _)))
        && let Some(bytes) = snapshot.files().read(&InputLocation::Repo(path.clone()))?
    {
        return Ok(Some(ModelSource::File(Source::of_bytes(bytes, name))));
    }
    if let Some(pin) = snapshot.pin(path)?.filter(|pin| !pin.is_dir()) {
        let source = pinned(&snapshot, &pin, name).map_err(|e| snapshot.missing_object(path, e))?;
        return Ok(Some(ModelSource::File(source)));
    }
    let browser = Browser::new(&snapshot)?;
    let Some(folder) = browser.find(path)?.filter(|item| item.what.is_folder()) else { return Ok(None) };
    let mut items = BTreeMap::new();
    let mut count = 0;
    let mut list = |folder: &BrowserItem, deeper: bool| -> Result<Vec<BrowserItem>> {
        let mut folders = Vec::new();
        for item in browser.list(folder, false)? {
            count += 1;
            if count > FILES {
                return Err(folder::too_many(name));
            }
            let file = item.path.relative_to(path);
            if file.split('/').any(|part| part.starts_with('.')) {
                continue;
            }
            if item.what.is_folder() {
                folders.push(item);
            } else if matches!(item.what, ItemKind::Link { .. } | ItemKind::PinnedLink(_)) {
                items.insert(file, (FolderFile::Outside, item));
            } else {
                items.insert(file, (FolderFile::Regular(browser.size(&item)?.unwrap_or(0)), item));
            }
        }
        Ok(if deeper { folders } else { Vec::new() })
    };
    for below in list(&folder, true)? {
        list(&below, false)?;
    }
    let files = items.iter().map(|(file, (kind, _))| (file.clone(), *kind)).collect();
    let shown = name.to_string();
    let open = move |file: &str| {
        let name = format!("{file} of {shown}");
        match items.get(file).map(|(_, item)| (&item.what, &item.path)) {
            Some((ItemKind::Pinned(pin), path)) => {
                pinned(&snapshot, pin, &name).map_err(|e| snapshot.missing_object(path, e))
            }
            Some((ItemKind::File { .. }, path)) => {
                let bytes = snapshot.files().read(&InputLocation::Repo(path.clone()))?;
                let bytes = bytes.ok_or_else(|| Error::missing(format!("{path} does not exist")))?;
                Ok(Source::of_bytes(bytes, &name))
            }
            _ => Err(Error::missing(format!("{name} does not exist"))),
        }
    };
    Ok(Some(ModelSource::Folder(ModelFolder::new(name, files, open))))
}

fn pinned(snapshot: &Snapshot, pin: &Pin, name: &str) -> Result<Source> {
    let store = snapshot.project.store();
    if pin.size < SMALL {
        return store.read(&pin.id, ObjectKind::Content).map(|bytes| Source::of_bytes(bytes, name));
    }
    Source::of_file(store.open_large(&pin.id)?, name)
}
