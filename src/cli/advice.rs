//! Warnings, hints and next steps that several commands print.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::cli::output::Output;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::project::origin::Origin;
use crate::project::{Definitions, Project, Snapshot};
use crate::shell::{word, words};
use crate::url::redact_text;
use crate::workspace::orphans::{Orphan, UnlistedData};

/// The exit code of a command about all pipelines. A pipeline file that cannot be read makes it at least 2.
pub fn exit_code_of_all(code: u8, definitions: &Definitions) -> u8 {
    if code == 0 && !definitions.broken.is_empty() { crate::error::Kind::Usage.exit_code() } else { code }
}

/// Warns of settings in lockstep.toml that are ignored because a repository may not make them.
pub fn warn_ignored_settings(project: &Project, keys: &[&str], out: &Output) {
    for (key, note) in keys.iter().flat_map(|key| project.config.notes(key).iter().map(move |note| (key, note))) {
        if note.ignored {
            let value = redact_text(&note.value.to_string());
            out.warn(format!("{} sets {key} to {value}, which is ignored: {}", note.origin, note.reason));
            if note.may_be_wanted() {
                out.hint(format!("if you want it: lockstep config --local {key} {}", word(&value)));
            }
        }
    }
}

/// Warns of pipeline files that cannot be read. They are an error only where the targets need them.
pub fn warn_broken_pipelines(definitions: &Definitions, project: &Project, out: &Output) {
    for (path, error) in &definitions.broken {
        out.warn_of(format!("{} is left out:", path.relative_to(&project.cwd)), error);
    }
    for error in &definitions.unreadable {
        out.warn_of("pipelines there are left out:", error);
    }
    for file in &definitions.pipelines.files {
        for warning in &file.warnings {
            out.warn(warning);
        }
    }
    if out.verbose > 0 {
        for path in &definitions.foreign {
            out.status(format!("{} has no key of a pipeline file and is skipped", path.relative_to(&project.cwd)));
        }
    }
}

/// Warns of pipeline files of a revision that cannot be read: for the worktree as [`warn_broken_pipelines`], for a commit
/// of the broken files alone, and the warning names the commit.
pub fn warn_broken_pipelines_of(snapshot: &Snapshot<'_>, out: &Output) {
    if snapshot.commit.is_none() {
        return warn_broken_pipelines(&snapshot.definitions, snapshot.project, out);
    }
    for (path, error) in &snapshot.definitions.broken {
        out.warn_of(format!("{path} of {} is left out:", snapshot.name), error);
    }
}

/// Prints the paths that a checkout removed.
pub fn print_removed(removed: &[RepoPath], project: &Project, out: &Output) {
    for path in removed {
        out.status(format!("removed {}: no longer an output here, still in the store", path.relative_to(&project.cwd)));
    }
}

/// Warns of paths whose entry was removed from a pipeline file by hand, with a hint for the files.
pub fn warn_orphans(orphans: &[Orphan], project: &Project, out: &Output) {
    const MOST: usize = 10;
    for orphan in orphans.iter().take(MOST) {
        let (text, hints) = orphan.describe(project);
        out.warn(text);
        hints.into_iter().for_each(|hint| out.hint(hint));
    }
    if orphans.len() > MOST {
        out.warn(format!(
            "{} more paths are no longer an output or data of a pipeline file (lockstep status --json)",
            orphans.len() - MOST
        ));
    }
}

pub fn warn_unlisted_data(unlisted: &[UnlistedData], project: &Project, out: &Output) {
    const MOST: usize = 10;
    for data in unlisted.iter().take(MOST) {
        let (text, hint) = data.describe(project);
        out.warn(text);
        out.hint(hint);
    }
    if unlisted.len() > MOST {
        let more = unlisted.len() - MOST;
        out.warn(format!("no pipeline file lists {more} more pins (lockstep status --json)"));
    }
}

/// Adds hints for outputs and data that are missing here. Imports and data are not made by a stage.
pub fn hint_missing(error: Error, missing: &[RepoPath], definitions: &Definitions, project: &Project) -> Error {
    let is_import = |path: &RepoPath| Origin::of(definitions, path).is_some();
    let is_made = |path: &RepoPath| definitions.graph.producer(path).is_some();
    let mut error = error;
    if !project.config.remotes().is_empty() {
        error = error.hint("fetch what was pushed: lockstep pull");
    } else if missing.iter().any(is_import) {
        error = error.hint("fetch imports from their repositories: lockstep pull");
    }
    if missing.iter().any(is_made) { error.hint("make them again: lockstep repro") } else { error }
}

/// The errors for outputs and data that no lock pins.
pub fn unpinned_errors(paths: &[RepoPath], outs_are: &str, definitions: &Definitions, project: &Project) -> Vec<Error> {
    let (outs, data): (Vec<&RepoPath>, Vec<&RepoPath>) =
        paths.iter().partition(|path| definitions.graph.producer(path).is_some());
    let names = |paths: &[&RepoPath]| paths.iter().map(|path| path.relative_to(&project.cwd)).collect::<Vec<_>>();
    let mut errors = Vec::new();
    if !outs.is_empty() {
        let message = format!("{} {outs_are}: {}", text::count(outs.len(), "output"), names(&outs).join(", "));
        errors.push(Error::missing(message).hint("make them: lockstep repro"));
    }
    if !data.is_empty() {
        let message = format!("data not pinned yet: {}", names(&data).join(", "));
        errors.push(Error::missing(message).hint(format!("pin them: lockstep add {}", words(names(&data)))));
    }
    errors
}

/// Warns of inputs that only DVC tracks (`dvc add`): they would be missing in every clone.
pub fn warn_dvc_data(definitions: &Definitions, project: &Project, out: &Output) {
    let pointed = |pointer: &RepoPath| pointer.parent()?.join(pointer.name().strip_suffix(".dvc")?);
    let pointers: BTreeMap<RepoPath, &RepoPath> =
        definitions.dvc.iter().filter_map(|pointer| Some((pointed(pointer)?, pointer))).collect();
    if pointers.is_empty() {
        return;
    }
    let pipelines = &definitions.pipelines;
    let tracked: HashSet<&RepoPath> = pipelines.files.iter().flat_map(|f| &f.data).map(|data| &data.path).collect();
    let up = |path: &RepoPath| std::iter::successors(Some(path.clone()), RepoPath::parent);
    let read = pipelines.stages.iter().flat_map(|s| &s.deps).filter_map(|dep| match &dep.place {
        InputLocation::Repo(path) => Some(path),
        _ => None,
    });
    let read: BTreeSet<RepoPath> = read.flat_map(up).filter(|path| pointers.contains_key(path)).collect();
    for data in read.iter().filter(|data| !up(data).any(|above| tracked.contains(&above))) {
        let (pointer, data) = (pointers[data].relative_to(&project.cwd), data.relative_to(&project.cwd));
        out.warn(format!("{pointer} is DVC's: lockstep does not track {data}, which stages read"));
        out.hint(format!("lockstep add {}", word(&data)));
    }
}

/// Adds a hint where the repository has only DVC's files.
pub fn hint_dvc(error: Error, definitions: &Definitions) -> Error {
    match dvc_hint(definitions) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Refuses a repository that has only DVC's files, which lockstep does not read: "up to date" would be wrong.
pub fn refuse_dvc_only(definitions: &Definitions) -> Result<()> {
    match dvc_hint(definitions) {
        Some(hint) => Err(Error::missing("there is no pipeline.yaml in this repository").hint(hint)),
        None => Ok(()),
    }
}

/// The same for a comparison. It goes on if one side has pipelines, and shows them as added or deleted.
pub fn refuse_dvc_on_both_sides(old: &Definitions, new: &Definitions) -> Result<()> {
    let has_pipelines = |side: &Definitions| !side.pipelines.files.is_empty() || !side.broken.is_empty();
    if has_pipelines(old) || has_pipelines(new) { Ok(()) } else { refuse_dvc_only(old).and(refuse_dvc_only(new)) }
}

fn dvc_hint(definitions: &Definitions) -> Option<String> {
    if !definitions.pipelines.files.is_empty() || !definitions.broken.is_empty() {
        return None;
    }
    if let Some(dvc) = definitions.dvc.iter().find(|path| path.name() == "dvc.yaml") {
        let ours = dvc.parent().and_then(|d| d.join("pipeline.yaml")).unwrap_or_default();
        return Some(format!("{dvc} is DVC's: the format is the same, so `git mv {dvc} {ours}` may be all it takes"));
    }
    let pointer = definitions.dvc.first()?.to_string();
    let data = pointer.strip_suffix(".dvc").unwrap_or(&pointer);
    Some(format!("{pointer} is DVC's: lockstep add {} tracks its data here", word(data)))
}
