//! A model of the registry: `digits`, `digits@v1.2.0`, `digits#prod`. Its bytes are copied out of the store, or out of Git,
//! into a private folder.

use std::fs;
use std::path::Path;

use super::private_folder::PrivateFolder;
use super::release::{Release, ReleaseFacts, choose_file};
use crate::error::{Error, Result};
use crate::event::Silent;
use crate::import::get::{Destination, WriteMode, get_over};
use crate::model::registry::{Registry, signed};
use crate::model::trace::Trace;
use crate::project::{Project, Rev, Surroundings};
use crate::store::OpenFolder;
use crate::tag::{self, ModelRequest, Which};

/// The full name of the model that is asked for.
///
/// Errors: it is no name, or the registry lacks it.
pub fn request_of(project: &Project, registry: &Registry, typed: &str) -> Result<ModelRequest> {
    let asked: ModelRequest = typed.parse().map_err(Error::usage)?;
    let known = registry.models.keys().cloned().collect();
    let name = tag::resolve_name(&asked.name, &known, &project.cwd)?;
    Ok(ModelRequest { name, ..asked })
}

/// What the tags say now: the version and the commit. The same text means the same bytes.
pub fn identity(around: &Surroundings, typed: &str) -> Result<String> {
    let project = Project::open(around.clone())?;
    let registry = Registry::read(&project.repo)?;
    let asked = request_of(&project, &registry, typed)?;
    let (_, event, version) = registry.find(&asked)?;
    let version = version.map_or_else(|| event.commit.short(), ToString::to_string);
    Ok(format!("{version} {}", event.commit.hex()))
}

/// The files of the version, in a private folder.
///
/// Errors: the registry lacks it, its tag has no good signature where one is required, its bytes are nowhere.
pub fn release(around: &Surroundings, typed: &str) -> Result<Release> {
    let project = Project::open(around.clone())?;
    let registry = Registry::read(&project.repo)?;
    let asked = request_of(&project, &registry, typed)?;
    let (model, event, version) = registry.find(&asked)?;
    let version = version.map_or_else(|| event.commit.short(), ToString::to_string);
    if signed::is_required(&project.at(&Rev::Worktree)?, &model.name)? {
        signed::require(&project.repo, model, Some(&asked.which), model.index_of(event))?;
    }
    let trace = Trace::load(&project, &registry, &asked)?;
    if !trace.agrees() {
        return Err(Error::usage(format!("{typed} is not served")).because(trace.remarks.join("; ")));
    }
    let (Some(snapshot), Some(artifact)) = (&trace.snapshot, &trace.artifact) else {
        return Err(Error::missing(format!("{typed} cannot be loaded")).because(trace.remarks.join("; ")));
    };
    let copy = PrivateFolder::create(&project.repo.serve_dir())?;
    let name = artifact.path.name().to_string();
    let folder = copy.files();
    fs::create_dir(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let discard = |_: &Path| Ok(());
    let open = || OpenFolder::open(&folder);
    let to = folder.join(&name);
    let destination = Destination { to: &to, earlier: &to, open: &open, mode: WriteMode::Into(&discard) };
    get_over(snapshot, &artifact.path, &destination, &Silent)?;
    let file = match folder.join(&name).is_dir() {
        true => choose_file(files_below(&folder, &name)?.iter().map(String::as_str))
            .map_err(|why| Error::usage(format!("{typed} cannot be served")).because(why))?,
        false => name,
    };
    let facts = ReleaseFacts {
        version,
        blake3: trace.pin().map(|pin| pin.id),
        commit: Some(event.commit.hex()),
        repository: Some(project.repo.name()),
        path: Some(artifact.path.to_string()),
        label: match &asked.which {
            Which::Label(label) => Some(label.to_string()),
            _ => None,
        },
        size: trace.pin().map_or(0, |pin| pin.size),
        metrics: trace.event.note.as_ref().map(|note| note.metrics.clone()).unwrap_or_default(),
    };
    Ok(Release { facts, folder, files: None, file, copy: Some(copy) })
}

/// The files below a folder of a copy, as `net/model.onnx`.
fn files_below(copy: &Path, name: &str) -> Result<Vec<String>> {
    let (mut files, mut open) = (Vec::new(), vec![name.to_string()]);
    while let Some(name) = open.pop() {
        let path = copy.join(&name);
        if !path.is_dir() {
            files.push(name);
            continue;
        }
        for entry in fs::read_dir(&path).map_err(|e| Error::io("list", &path, e))? {
            let entry = entry.map_err(|e| Error::io("list", &path, e))?;
            open.push(format!("{name}/{}", entry.file_name().to_string_lossy()));
        }
    }
    files.sort();
    Ok(files)
}
