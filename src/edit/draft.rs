//! A command's change of a pipeline file: created, checked as part of the whole repository, and only then written.

use std::path::Path;

use crate::error::{Error, Result};
use crate::git;
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::pipeline::{Files, load};
use crate::pipeline::{build_graph, problem};
use crate::project::{Definitions, Project, Worktree, resolve_links, skipped};
use crate::replace::replace_file;

/// A new text of a pipeline file that is not written yet.
pub struct Draft {
    /// The pipeline file, relative to the root of the repository.
    pub path: RepoPath,
    /// `None` if there is no file yet.
    old: Option<Vec<u8>>,
    /// `None` if the file would be empty and is deleted.
    new: Option<Vec<u8>>,
    /// The definitions with the new text.
    pub definitions: Definitions,
}

/// Changes the text of a pipeline file; `None` if `change` has nothing to change. Errors: the new text is invalid, or
/// the graph with it.
pub fn draft(
    project: &Project,
    path: &RepoPath,
    change: &dyn Fn(&str) -> Result<Option<String>>,
) -> Result<Option<Draft>> {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    project.writable(path)?;
    let old = project.files().read(&InputLocation::Repo(path.clone()))?;
    let bytes = old.as_deref().unwrap_or_default();
    let (mark, body) = if bytes.starts_with(BOM) { bytes.split_at(BOM.len()) } else { (&[][..], bytes) };
    let text = std::str::from_utf8(body)
        .map_err(|_| Error::usage(format!("{} is not UTF-8 text", path.relative_to(&project.cwd))))?;
    let Some(new) = change(text)? else { return Ok(None) };
    let new = (!new.trim().is_empty()).then(|| [mark, new.as_bytes()].concat());
    let definitions = definitions_with(project, path, new.as_deref())?;
    Ok(Some(Draft { path: path.clone(), old, new, definitions }))
}

impl Draft {
    /// Writes the new text, or deletes the file.
    pub fn write(&self, project: &Project) -> Result<()> {
        put(project, &self.path, self.new.as_deref())
    }

    /// Undoes [`Draft::write`], unless the file was edited since. Returns whether it was undone.
    pub fn undo(&self, project: &Project) -> Result<bool> {
        if project.files().read(&InputLocation::Repo(self.path.clone()))? != self.new {
            return Ok(false);
        }
        put(project, &self.path, self.old.as_deref()).map(|()| true)
    }

    /// Whether the pipeline file did not exist before.
    pub fn is_new_file(&self) -> bool {
        self.old.is_none()
    }
}

fn put(project: &Project, path: &RepoPath, bytes: Option<&[u8]>) -> Result<()> {
    let on_disk = project.writable(path)?;
    match bytes {
        Some(bytes) => replace_file(&on_disk, bytes),
        None => std::fs::remove_file(&on_disk).map_err(|e| Error::io("remove", &*on_disk, e)),
    }
}

/// The files of the worktree, one of them with another text.
struct ChangedFiles<'a> {
    files: Worktree<'a>,
    path: &'a RepoPath,
    text: Option<&'a [u8]>,
}

impl Files for ChangedFiles<'_> {
    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
        match place {
            InputLocation::Repo(path) if path == self.path => Ok(self.text.map(<[u8]>::to_vec)),
            _ => self.files.read(place),
        }
    }

    fn top(&self) -> &Path {
        self.files.top()
    }
}

/// All pipelines with this text in a pipeline file, or without the file.
fn definitions_with(project: &Project, path: &RepoPath, text: Option<&[u8]>) -> Result<Definitions> {
    let files = ChangedFiles { files: project.files(), path, text };
    let mut skip = Vec::new();
    let mut rounds = 0;
    let (found, mut loaded) = loop {
        let found = git::discover(&project.repo, &skip)?;
        let mut paths = found.pipelines.clone();
        paths.retain(|p| p != path);
        paths.extend(text.is_some().then(|| path.clone()));
        let loaded = load::load(&files, &paths, &project.repo.project_root);
        let next = skipped(&loaded.pipelines);
        rounds += 1;
        if next == skip || rounds > 1 {
            break (found, loaded);
        }
        skip = next;
    };
    let name = path.relative_to(&project.cwd);
    let refuse = |mut e: Error| {
        let why = std::mem::replace(&mut e.message, format!("{name} stays as it is: with this change"));
        e.lines.insert(0, why);
        e
    };
    if let Some((_, problems)) = loaded.broken.iter().find(|(p, _)| p == path) {
        return Err(refuse(problem::render(problems)));
    }
    resolve_links(&mut loaded.pipelines, project.top(), &found.links).map_err(refuse)?;
    let graph = build_graph(&loaded.pipelines).map_err(refuse)?;
    if text.is_some() && !loaded.pipelines.files.iter().any(|f| f.path == *path) && !loaded.foreign.contains(path) {
        return Err(Error::usage(format!("{name} would lie inside an output or tracked data, where it is not read")));
    }
    Ok(Definitions::of(loaded, found, graph))
}
