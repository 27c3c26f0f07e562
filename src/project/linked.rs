//! Resolves symlinks in the paths that pipelines name, so that each file has one path.
//!
//! The graph joins stages by paths. A dep `lnk/o`, where `lnk` is a link to `real`, is the output `real/o` of another
//! stage, so the path of a dep or params file is resolved before the graph is made; the lock keeps its spelling. Paths
//! that lockstep writes (outs, data, scratch, the working folder) are refused behind such a link, because two names
//! could have two owners. A path that leaves a linked folder by `..` is refused as well: paths are normalised by their
//! spelling, but the system follows the link first.
//!
//! Links change without an edit of a pipeline file, so the compiled form holds paths as spelled, and they are resolved
//! each time. Discovery of the pipeline files reports which entries are links; each folder costs one stat, whatever the
//! number of paths in it. A link that is itself an output or data is not resolved: its target belongs to the stage that
//! makes it.

use std::collections::HashSet;
use std::path::Path;

use crate::error::Error;
use crate::path::RepoPath;
use crate::path::links::{FolderLinks, resolve, step_back};
use crate::pipeline::problem::{Problem, render};
use crate::pipeline::stage::{BackStep, InputLocation, PipelineFile, Pipelines};
use crate::value::Mark;

/// Resolves the paths that stages read. `listed` are the links that discovery found. Returns whether a path changed.
///
/// Errors (usage): a written path is behind a link into the repository, or a path leaves a link by `..`.
pub fn resolve_links(pipelines: &mut Pipelines, top: &Path, listed: &[RepoPath]) -> Result<bool, Error> {
    let mut links = Links { top, listed: listed.iter().collect(), folders: FolderLinks::below(top) };
    let problems = refused(pipelines, &mut links);
    if !problems.is_empty() {
        return Err(render(&problems));
    }
    let mut resolved: Vec<(usize, bool, usize, RepoPath)> = Vec::new();
    for (id, stage) in pipelines.stages.iter().enumerate() {
        let deps = stage.deps.iter().enumerate().map(|(n, dep)| (false, n, &dep.place));
        let params = stage.params.iter().enumerate().map(|(n, file)| (true, n, &file.place));
        for (is_params, n, place) in deps.chain(params) {
            let InputLocation::Repo(path) = place else { continue };
            if !links.are_on(path) {
                continue;
            }
            if let Some(real) = resolve(top, path, true).filter(|real| real != path) {
                resolved.push((id, is_params, n, real));
            }
        }
    }
    if resolved.is_empty() {
        return Ok(false);
    }
    let owned: HashSet<RepoPath> = super::skipped(pipelines).into_iter().collect();
    let is_owned = |path: &RepoPath| {
        let mut above = std::iter::successors(Some(path.clone()), RepoPath::parent);
        above.any(|path| owned.contains(&path))
    };
    let mut is_changed = false;
    for (id, is_params, n, real) in resolved {
        let stage = &mut pipelines.stages[id];
        let place = if is_params { &mut stage.params[n].place } else { &mut stage.deps[n].place };
        if matches!(place, InputLocation::Repo(path) if !is_owned(path)) {
            *place = InputLocation::Repo(real);
            is_changed = true;
        }
    }
    Ok(is_changed)
}

struct Links<'a> {
    top: &'a Path,
    listed: HashSet<&'a RepoPath>,
    folders: FolderLinks,
}

impl Links<'_> {
    /// Whether the path, or a folder above it, is a link.
    fn are_on(&mut self, path: &RepoPath) -> bool {
        (!self.listed.is_empty() && self.listed.contains(path)) || self.folders.is_linked(path)
    }

    /// The error for a path that is written and is behind a link, or for a working folder that is a link; `from` is the
    /// folder to which the file's paths are relative. `None` if the link leads out of the repository: no other name in
    /// it means the same file, and code that writes there refuses the path, while other stages continue.
    fn problem(&self, file: &RepoPath, mark: Mark, at: &str, path: &RepoPath, from: &RepoPath) -> Option<Problem> {
        let above: Vec<RepoPath> = std::iter::successors(Some(path.clone()), RepoPath::parent).collect();
        let link = above.into_iter().rev().find(|folder| folder.on_disk(self.top).is_symlink())?;
        let (shown, link_shown) = (path.relative_to(from), link.relative_to(from));
        let is_link = link == *path;
        let real = resolve(self.top, path, is_link)?;
        let message = match is_link {
            true => format!("{at}: `{shown}` is a symlink"),
            false => format!("{at}: `{shown}` lies behind the symlink `{link_shown}`"),
        };
        let hint = format!("write where it really is: `{}`", real.relative_to(from));
        Some(Problem::new(file.to_string(), Some(mark), message).hint(hint))
    }
}

/// An error for each path that leaves a linked folder by `..`: the command would open another file.
fn stepped_back(pipelines: &Pipelines, top: &Path) -> Vec<Problem> {
    let steps = pipelines.files.iter().flat_map(|file| file.back_steps.iter().map(move |step| (file, step)));
    let problem = |(file, step): (&PipelineFile, &BackStep)| {
        let (spelled, real) = step_back(&step.base.on_disk(top), &step.spelling)?;
        let shown = |path: &Path| {
            RepoPath::from_absolute(top, path).map_or_else(|| path.display().to_string(), |p| p.relative_to(&step.base))
        };
        let (at, spelling, spelled, real) = (&step.at, &step.spelling, shown(&spelled), shown(&real));
        let message = format!(
            "{at}: `{spelling}` leaves a symlinked folder by `..`: for a command it is `{real}`, and by its spelling `{spelled}`"
        );
        let hint = format!("write where it really is: `{real}`");
        Some(Problem::new(file.path.to_string(), Some(step.mark), message).hint(hint))
    };
    steps.filter_map(problem).collect()
}

/// An error for each written path that is behind a link.
fn refused(pipelines: &Pipelines, links: &mut Links<'_>) -> Vec<Problem> {
    let mut problems = stepped_back(pipelines, links.top);
    for stage in &pipelines.stages {
        let file = &pipelines.file(stage.file).path;
        let at = |key: &str| format!("stage `{}`, `{key}`", stage.name);
        if links.folders.is_linked_folder(&stage.wdir) {
            let folder = file.parent().unwrap_or_default();
            problems.extend(links.problem(file, stage.mark, &at("wdir"), &stage.wdir, &folder));
            continue;
        }
        for out in &stage.outs {
            if links.folders.is_linked(&out.path) {
                let key = match (out.metric, &out.plot) {
                    (true, _) => "metrics",
                    (false, Some(_)) => "plots",
                    _ => "outs",
                };
                problems.extend(links.problem(file, out.mark, &at(key), &out.path, &stage.wdir));
            }
        }
        for scratch in &stage.scratch {
            if links.folders.is_linked(&scratch.path) {
                problems.extend(links.problem(file, stage.mark, &at("scratch"), &scratch.path, &stage.wdir));
            }
        }
    }
    for file in &pipelines.files {
        for data in &file.data {
            if links.folders.is_linked(&data.path) {
                let folder = file.path.parent().unwrap_or_default();
                problems.extend(links.problem(&file.path, data.mark, "`data`", &data.path, &folder));
            }
        }
    }
    problems
}
