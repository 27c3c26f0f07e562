//! `checkout`: brings outs and data in the workspace to the versions that the lock pins.

use std::collections::BTreeMap;
use std::collections::HashSet;

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::plan::data_version::{DataVersion, DataVersions};
use crate::plan::select::Selection;
use crate::project::{Definitions, Locks, Project};
use crate::shell::{word, words};
use crate::store::trees::join::Versions;
use crate::store::{Pin, TrackedPath, unprotect};
use crate::workspace::gitignore;
use crate::workspace::guard::Workspace;
use crate::workspace::join_data::join_stored;
use crate::workspace::leftovers::remove_leftovers;
use crate::workspace::orphans::{UnlistedData, unlisted_data};
use crate::workspace::restore::restore;
use crate::workspace::store_pins::store_pins;

/// The options of `checkout`.
#[derive(Clone, Debug, Default)]
pub struct CheckoutOptions {
    /// Overwrite changes without another copy.
    pub force: bool,
    /// Merge data that was changed locally with the version that the lock pins now.
    pub merge: bool,
    /// Link again what is in place already.
    pub relink: bool,
    /// Remove outputs that only another branch has.
    pub clean: bool,
    pub command: String,
}

/// The result of `checkout`.
#[derive(Debug, Default)]
pub struct CheckoutOutcome {
    pub restored: Vec<RepoPath>,
    /// Data that has the changes of both the workspace and the lock.
    pub joined: Vec<RepoPath>,
    /// Ignore files that got new lines.
    pub written: Vec<RepoPath>,
    /// Pinned, but missing from the store.
    pub missing: Vec<RepoPath>,
    /// Neither pinned nor in the workspace: no run made these outputs, and no command recorded these data.
    pub never_made: Vec<RepoPath>,
    /// Outputs and data of another branch, which the store has.
    pub removed: Vec<RepoPath>,
    /// Data that only locks list.
    pub unlisted: Vec<UnlistedData>,
    /// Changed by hand, without another copy, and left unchanged.
    pub unsaved: Vec<RepoPath>,
}

/// Restores the selected outs and data. If an unsaved change would be overwritten, nothing is changed, unless forced.
pub fn checkout(
    project: &Project,
    definitions: &Definitions,
    selected: &Selection,
    options: &CheckoutOptions,
    sink: &dyn Sink,
) -> Result<CheckoutOutcome> {
    let mut workspace = Workspace::hold(project, definitions, &options.command, sink)?;
    workspace.reader.sweep_outs(&selected.named);
    let mut outcome = CheckoutOutcome::default();
    if options.clean {
        outcome.unlisted = unlisted_data(definitions, &workspace.locks, &[]);
    }
    let mut todo: Vec<(&RepoPath, Pin, bool)> = Vec::new();
    let mut ignored: BTreeMap<RepoPath, Vec<&str>> = BTreeMap::new();
    let mut joins: Vec<PendingMerge> = Vec::new();
    let mut diverged = Vec::new();
    let mut behind = Vec::new();
    let data: HashSet<&RepoPath> =
        definitions.pipelines.files.iter().flat_map(|file| &file.data).map(|d| &d.path).collect();
    let mut versions = DataVersions::new(project, definitions);
    for (path, pin, is_stored) in wanted(definitions, selected, &workspace.locks) {
        let now = workspace.reader.out(path);
        let Some(pin) = pin else {
            if matches!(now, Ok(None)) {
                outcome.never_made.push(path.clone());
            }
            continue;
        };
        let now = now?;
        // Outs that Git tracks are restored only if they are missing and were named.
        if !is_stored && (now.is_some() || !selected.files.is_empty()) {
            continue;
        }
        let fits = now.is_some_and(|now| now.same_content(&pin));
        let version = now.filter(|_| data.contains(path)).map(|now| versions.version(path, &now, Some(&pin)));
        if fits && !options.relink {
            continue;
        }
        project.writable(path)?;
        if !project.store().contains(&pin) {
            if !fits {
                outcome.missing.push(path.clone());
            }
            continue;
        }
        if let (Some(now), Some(base)) = (now, project.index().base(&TrackedPath::from(path)))
            && options.merge
            && version == Some(DataVersion::Diverged)
        {
            joins.push(PendingMerge { path, base, now, locked: pin });
            continue;
        }
        if options.merge && version == Some(DataVersion::Edited) {
            // The workspace contains the pinned version already.
            continue;
        }
        if let Some(now) = now
            && !fits
            && !options.force
            && is_unsaved(project, path, version, &now)
        {
            match version {
                Some(DataVersion::Diverged) => diverged.push(path.clone()),
                Some(DataVersion::NotCheckedOut) => behind.push(path.clone()),
                _ => {}
            }
            outcome.unsaved.push(path.clone());
            continue;
        }
        todo.push((path, pin, fits));
        if is_stored {
            ignored.entry(path.parent().unwrap_or_default()).or_default().push(path.name());
        }
    }
    if !outcome.unsaved.is_empty() {
        return Err(unsaved_error(project, &outcome.unsaved, &diverged, &behind, selected.files.is_empty()));
    }
    let joined = join_all(project, &joins, sink)?;
    if options.clean {
        outcome.removed = remove_leftovers(project, definitions, &workspace.locks, &workspace.backups, sink)?;
    }
    for (path, pin, fits) in todo {
        if fits {
            // Relinking must not reuse what the index knows about the path.
            project.index().distrust(&TrackedPath::from(path));
        }
        restore(project, definitions, path, &pin, sink)?;
        outcome.restored.push(path.clone());
    }
    // The current branch may lack the lines that keep these paths out of Git.
    for (folder, names) in ignored {
        if gitignore::edit(project, &folder, &names, &[])? {
            outcome.written.extend(folder.join(".gitignore"));
        }
    }
    for (join, pin) in joins.iter().zip(joined) {
        restore(project, definitions, join.path, &pin, sink)?;
        // No lock pins the result yet, so it must not be a link to an object that gc may delete.
        unprotect(&project.writable(join.path)?)?;
        // From here on it is an edit of the version that the lock pins.
        project.index().set_base(&TrackedPath::from(join.path), &join.locked);
        project.index().release(&TrackedPath::from(join.path));
        outcome.joined.push(join.path.clone());
    }
    workspace.finish(Vec::new(), &[])?;
    Ok(outcome)
}

/// Whether content would be lost if another version replaced it. Stored bytes of changed data are not enough, because
/// gc deletes what is not pinned, unless a run or a checkout wrote them here.
fn is_unsaved(project: &Project, path: &RepoPath, version: Option<DataVersion>, now: &Pin) -> bool {
    match version {
        Some(DataVersion::Diverged) => true,
        Some(DataVersion::Edited | DataVersion::Unknown)
            if !project.index().was_stored(&TrackedPath::from(path), now) =>
        {
            true
        }
        _ => !project.store().holds(now),
    }
}

/// Data that changed in the workspace and in the lock since the last checkout.
struct PendingMerge<'a> {
    path: &'a RepoPath,
    base: Pin,
    now: Pin,
    locked: Pin,
}

/// Stores the workspace's version and merges it with the pinned one. The workspace is not changed.
///
/// Errors: both changed the same file; a listing is missing from the store.
fn join_all(project: &Project, joins: &[PendingMerge], sink: &dyn Sink) -> Result<Vec<Pin>> {
    let mut pins = Vec::new();
    let mut conflicts = Vec::new();
    let mut clashing = Vec::new();
    for join in joins {
        let shown = join.path.relative_to(&project.cwd);
        store_pins(project, std::iter::once((join.path, &join.now)), sink)?;
        // No lock pins this version: it must not count as saved.
        project.index().release(&TrackedPath::from(join.path));
        let versions = Versions { base: Some(join.base), ours: Some(join.now), theirs: Some(join.locked) };
        let joined = join_stored(project.store(), versions, &|_| None, sink).map_err(|e| {
            let message = format!("the changes in {shown} cannot be merged with the pinned version: {}", e.message);
            let error = Error { message, ..e };
            let (error, or) = match project.config.remotes().is_empty() {
                true => (error, ""),
                false => (error.hint("bring the listings of earlier versions: lockstep fetch --all-branches"), "or "),
            };
            error.hint(format!(
                "{or}take the pinned version, without the changes here: lockstep checkout --force {}",
                word(&shown)
            ))
        })?;
        match joined.pin {
            Some(pin) if joined.conflicts.is_empty() => pins.push(pin),
            _ => {
                clashing.push(shown.clone());
                conflicts.extend(joined.conflicts.iter().map(|one| {
                    let below = String::from_utf8_lossy(&one.path);
                    let place = if below.is_empty() { shown.clone() } else { format!("{shown}/{below}") };
                    format!("  {place}: {}", one.clash)
                }));
            }
        }
    }
    if conflicts.is_empty() {
        return Ok(pins);
    }
    let names = words(clashing);
    let message = "changes here and in pipeline.lock clash (ours is the workspace); nothing was touched";
    Err(Error::new(Kind::Check, message)
        .with_lines(conflicts)
        .hint(format!("take the pinned version, without the changes here: lockstep checkout --force {names}"))
        .hint(format!("or pin what is here instead of it: lockstep commit --force {names}")))
}

/// The error for changes that a checkout would overwrite. With `is_partial`, hints name the changed paths only.
fn unsaved_error(
    project: &Project,
    unsaved: &[RepoPath],
    diverged: &[RepoPath],
    behind: &[RepoPath],
    is_partial: bool,
) -> Error {
    let typed = |paths: &[RepoPath]| words(paths.iter().map(|path| path.relative_to(&project.cwd)));
    let names: Vec<&str> = unsaved.iter().map(RepoPath::as_str).collect();
    let were = if names.len() == 1 { "was" } else { "were" };
    let what = match behind.len() == unsaved.len() {
        true => "not checked out, and the store has no copy of the version that is here",
        false => "changed and saved nowhere",
    };
    let message = format!("{} {were} {what}; nothing was touched", names.join(", "));
    let of_these = if is_partial { format!(" {}", typed(unsaved)) } else { String::new() };
    let mut error =
        Error::new(Kind::Check, message).hint(format!("throw the changes away: lockstep checkout --force{of_these}"));
    if !diverged.is_empty() {
        error = error.hint(format!(
            "merge the changes with the version that pipeline.lock pins now: lockstep checkout --merge {}",
            typed(diverged)
        ));
    }
    if !behind.is_empty() {
        error = error.hint(format!("or pin the version that is here: lockstep commit --force {}", typed(behind)));
    }
    let is_edited = |path: &&RepoPath| !diverged.contains(path) && !behind.contains(path);
    let edited: Vec<RepoPath> = unsaved.iter().filter(is_edited).cloned().collect();
    if !edited.is_empty() {
        let is_all = edited.len() == unsaved.len() && !is_partial;
        let of_these = if is_all { String::new() } else { format!(" {}", typed(&edited)) };
        error = error.hint(format!("or record them: lockstep commit{of_these}"));
    }
    error
}

/// Every selected path with its pin in the lock, if it has one, and whether lockstep stores it.
pub fn wanted<'a>(
    definitions: &'a Definitions,
    selected: &Selection,
    locks: &Locks,
) -> Vec<(&'a RepoPath, Option<Pin>, bool)> {
    let mut all = Vec::new();
    for id in &selected.named {
        let stage = definitions.pipelines.stage(*id);
        let entry = locks.of_file(stage.file).stages.get(&stage.name);
        for out in stage.outs.iter().filter(|out| selected.takes(*id, &out.path)) {
            let locked = entry.and_then(|entry| entry.outs.get(&out.spelled));
            all.push((&out.path, locked.map(|locked| locked.pin), out.cache));
        }
    }
    for (f, file) in definitions.pipelines.files.iter().enumerate() {
        let whole = selected.files.iter().any(|id| id.0 as usize == f);
        for data in &file.data {
            if whole || selected.data.iter().any(|d| d.is_in(&data.path)) {
                all.push((&data.path, locks.all[f].data.get(&data.spelled).copied(), true));
            }
        }
    }
    all
}
