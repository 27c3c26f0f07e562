//! `import` and `update`: tracks data from another repository, pinned to one of its commits.
//!
//! The bytes are written as `get` writes them and then tracked as `add` tracks them, with their origin in the entry of
//! the pipeline file. The written bytes must match the other repository's lock: the two pins are compared.

use std::path::{Path, PathBuf};

use super::add::{AddOptions, AddOutcome, add_within, nearest_pipeline, tracked_at};
use crate::edit::draft::draft;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::git::EntryKind;
use crate::git::program::clone;
use crate::import::get::{Destination, WriteMode, folder_in_the_way, get_over, is_real_folder, place_for};
use crate::import::origin::address;
use crate::path::RepoPath;
use crate::path::home::below_home;
use crate::pipeline::edit;
use crate::pipeline::stage::Import;
use crate::plan::data_version::{DataVersions, UnrecordableData};
use crate::plan::facts::IgnoreRules;
use crate::project::hub;
use crate::project::listing::{Browser, ItemKind};
use crate::project::origin::Origin;
use crate::project::{Definitions, OpenedRepository, Project, Rev, Snapshot, open_repository};
use crate::remote::settings::grant;
use crate::shell::word;
use crate::store::{self, Pin, TrackedPath};
use crate::url::Url;
use crate::url::form::{AddressForm, folder_url};
use crate::workspace::preserve::discard_old;
use crate::workspace::restore::restore;
use crate::workspace::worktree_lock;

/// The options of `import`.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// `--desc`: the `desc` of the new entry.
    pub desc: Option<String>,
    /// Replace an existing file, tracked or not.
    pub force: bool,
}

/// The result of one import.
#[derive(Debug)]
pub struct ImportOutcome {
    /// The path of the data, relative to the root of the repository.
    pub path: RepoPath,
    /// The origin, with the commit that it is now pinned to.
    pub import: Import,
    /// The previous commit, for an update; `None` if the import is new.
    pub old: Option<String>,
    /// Changed files that Git tracks.
    pub written: Vec<RepoPath>,
}

/// Imports `from` of the repository at `url` to `out`, which is relative to the current folder: see `place_for`.
pub fn import(
    project: &Project,
    url: &Url,
    from: &str,
    rev: Option<&str>,
    out: Option<&Path>,
    options: &ImportOptions,
    sink: &dyn Sink,
) -> Result<ImportOutcome> {
    let (url, rev) = &hub::split_revision(url, rev)?;
    let rev = rev.as_deref();
    if url.has_secret() {
        let without = url.without_secret();
        return Err(Error::usage(format!(
            "the URL {url} holds a password, and pipeline.yaml, where it goes, is committed"
        ))
        .hint("Git asks for it and remembers it: git config --global credential.helper store (or cache)")
        .hint(format!("lockstep import {} {}", word(without.raw()), word(from))));
    }
    let lock = worktree_lock::take(project, "lockstep import", sink)?;
    let definitions = project.definitions()?;
    // The destination depends on whether it is a folder.
    let opened = open_repository(&project.around, url, rev, from, sink)?;
    let source = RepoPath::root().join(from).unwrap_or_default();
    let is_folder = is_folder(&opened, &source)?;
    // A whole repository gets its name, as by `git clone`.
    let whole = url.name().filter(|_| source.is_root()).map(PathBuf::from);
    let out = out.or(whole.as_deref());
    let to = place_for(&project.cwd.on_disk(project.top()), out, &source, is_folder)?;
    let path = project.typed(&to.to_string_lossy());
    let path = path.filter(|p| p.is_in(&project.repo.project_root) && !p.is_root());
    let Some(path) = path else {
        let written = out.unwrap_or(&to).display();
        return Err(Error::usage(format!("`{written}` is outside the project")));
    };
    let to = path.relative_to(&project.cwd);
    if let Some(data) = tracked_at(project, &definitions, &path)? {
        let data = data.relative_to(&project.cwd);
        return Err(Error::usage(format!("{data} is tracked already"))
            .hint(format!("renew an import: lockstep update {}", word(&data)))
            .hint(format!("or stop tracking it first: lockstep stage remove {}", word(&data))));
    }
    if !project.repo.tracked(std::slice::from_ref(&path))?.is_empty() {
        return Err(Error::usage(format!("Git tracks `{to}`, and only one of Git and lockstep can keep it"))
            .hint("import it to another place: -o PATH"));
    }
    let file = nearest_pipeline(project, &definitions)?;
    let import = Import {
        url: spelled(project, url, &file)?,
        path: source.to_string(),
        rev: rev.unwrap_or("HEAD").to_string(),
        commit: opened.commit.hex(),
    };
    let on_disk = project.writable(&path)?;
    if !is_folder && is_real_folder(&on_disk) {
        return Err(folder_in_the_way(&on_disk));
    }
    if !options.force && on_disk.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Check, format!("`{to}` exists already; it was not touched"))
            .hint(format!("{}: add --force", if is_real_folder(&on_disk) { "write into it" } else { "replace it" })));
    }
    let was_there = on_disk.symlink_metadata().is_ok();
    let is_written_into = is_real_folder(&on_disk);
    write_verified(project, &opened, &import.path, &path, is_written_into, sink)?;
    let add =
        AddOptions { desc: options.desc.clone(), import: Some(import.clone()), force: true, ..AddOptions::default() };
    // The user typed this address.
    if let Some(folder) = clone::folder(url, &project.around.cwd, project.around.home.as_deref())? {
        grant::grant_folder(project, &folder)?;
    }
    let AddOutcome { written, .. } =
        add_within(&lock, project, std::slice::from_ref(&to), &add, sink).inspect_err(|_| {
            if !was_there {
                let _ = store::remove(&on_disk);
            }
        })?;
    Ok(ImportOutcome { path, import, old: None, written })
}

/// Updates the imports at `targets`, which are relative to the current folder (none: all), each to its own revision or
/// to `rev`. Imports that are already at their newest commit are not returned, unless they were missing.
pub fn update(
    project: &Project,
    targets: &[String],
    rev: Option<&str>,
    options: &ImportOptions,
    sink: &dyn Sink,
) -> Result<Vec<ImportOutcome>> {
    let lock = worktree_lock::take(project, "lockstep update", sink)?;
    let definitions = project.definitions()?;
    let mut wanted = Vec::new();
    for file in &definitions.pipelines.files {
        for (n, data) in file.data.iter().enumerate() {
            if let Some(import) = &data.import {
                wanted.push((file.path.clone(), n, data.path.clone(), import.clone()));
            }
        }
    }
    for target in targets {
        let path = project.typed(target);
        if !wanted.iter().any(|(_, _, data, _)| Some(data) == path.as_ref()) {
            return Err(Error::missing(format!("`{target}` is not an import"))
                .hint("import something: lockstep import URL PATH"));
        }
    }
    let is_named = |path: &RepoPath| targets.iter().any(|t| project.typed(t).as_ref() == Some(path));
    wanted.retain(|(_, _, path, _)| targets.is_empty() || is_named(path));
    let mut imported = Vec::new();
    for (file, n, path, old) in wanted {
        let rev = rev.unwrap_or(&old.rev);
        let opened = open_repository(&project.around, &address(project, &old.url, &file)?, Some(rev), &old.path, sink)?;
        let new = Import { rev: rev.to_string(), commit: opened.commit.hex(), ..old.clone() };
        if new == old {
            if restore_missing(project, &definitions, &path, sink)? {
                imported.push(ImportOutcome { path, import: new, old: Some(old.commit), written: Vec::new() });
            }
            continue;
        }
        if !options.force {
            refuse_unsaved(project, &path, sink)?;
            refuse_changed(project, &definitions, &path, sink)?;
        }
        write_verified(project, &opened, &new.path, &path, false, sink)?;
        let name = file.relative_to(&project.cwd);
        let mut written = Vec::new();
        let edit_lock = worktree_lock::take_for_edit(project, "lockstep update", sink)?;
        if let Some(draft) = draft(project, &file, &|text| edit::set_import(&name, text, n, &new).map(Some))? {
            draft.write(project)?;
            written.push(file);
        }
        drop(edit_lock);
        let again = path.relative_to(&project.cwd);
        let add = AddOptions { force: true, ..AddOptions::default() };
        let AddOutcome { written: more, .. } = add_within(&lock, project, &[again], &add, sink)?;
        written.extend(more);
        imported.push(ImportOutcome { path, import: new, old: Some(old.commit), written });
    }
    Ok(imported)
}

/// Restores an import that is missing from the workspace; false if it exists.
fn restore_missing(project: &Project, definitions: &Definitions, path: &RepoPath, sink: &dyn Sink) -> Result<bool> {
    let pin = locked_pin(project, definitions, path)?;
    let (Some(pin), Some(origin)) = (pin, Origin::of(definitions, path)) else { return Ok(false) };
    if project.writable(path)?.symlink_metadata().is_ok() {
        return Ok(false);
    }
    if !project.store().contains(&pin) {
        origin.fetch(project, &definitions.rules, &pin, sink)?;
    }
    restore(project, definitions, path, &pin, sink)?;
    Ok(true)
}

/// The lock's pin of data.
fn locked_pin(project: &Project, definitions: &Definitions, path: &RepoPath) -> Result<Option<Pin>> {
    let locks = project.locks(definitions)?;
    let files = definitions.pipelines.files.iter().zip(&locks.all);
    let mut data = files.flat_map(|(file, lock)| file.data.iter().map(move |data| (data, lock)));
    let found = data.find(|(data, _)| data.path == *path);
    Ok(found.and_then(|(data, lock)| lock.data.get(&data.spelled)).copied())
}

/// Writes the other repository's content to its place here, or into the folder there, and verifies it.
fn write_verified(
    project: &Project,
    opened: &OpenedRepository,
    from: &str,
    to: &RepoPath,
    is_written_into: bool,
    sink: &dyn Sink,
) -> Result<()> {
    let snapshot = opened.project.at(&Rev::Commit(opened.commit))?;
    let from = RepoPath::root().join(from).unwrap_or_default();
    let expected = expected(&snapshot, &from)?;
    let before = project.definitions_without_graph()?;
    let discard_old = |old: &Path| discard_old(project, &IgnoreRules(&before.rules), to, old, sink);
    let place = project.writable(to)?;
    let open = || {
        place.create_parents()?;
        place.open_folder()
    };
    let mode = if is_written_into { WriteMode::Into(&discard_old) } else { WriteMode::Replace(&discard_old) };
    let destination = Destination { to: &place, earlier: &place, open: &open, mode };
    let written = get_over(&snapshot, &from, &destination, sink)?;
    let definitions = project.definitions_without_graph()?;
    let seen = crate::plan::facts::read_pins(project, &definitions, &[TrackedPath::from(to)], sink)
        .pop()
        .unwrap_or(Ok(None))?;
    match (expected, seen) {
        (_, Some(seen)) if is_written_into && seen.is_dir() => {
            let own = seen.files.unwrap_or(0).saturating_sub(written.files);
            if own > 0 {
                let text = format!("{to} held {own} other files, which stay and are tracked with it");
                sink.event(Event::Note { text: &text });
            }
            Ok(())
        }
        // Files that the local ignore rules hide are not seen here.
        (Some(expected), Some(seen)) if expected.files == seen.files && expected.id != seen.id => {
            Err(Error::new(Kind::Bug, format!("{to} is not what {} pins", opened.rev)))
        }
        _ => Ok(()),
    }
}

fn is_folder(opened: &OpenedRepository, from: &RepoPath) -> Result<bool> {
    let snapshot = opened.project.at(&Rev::Commit(opened.commit))?;
    let found = Browser::new(&snapshot)?.find(from);
    // A path in a folder whose listing is missing is examined after the listing was fetched.
    Ok(found.ok().flatten().is_some_and(|item| item.what.is_folder()))
}

/// The pin of the imported content; `None` if Git has it.
fn expected(snapshot: &Snapshot<'_>, from: &RepoPath) -> Result<Option<Pin>> {
    if let Some(commit) = snapshot.git()
        && matches!(commit.find(from)?, Some((EntryKind::Submodule, _)))
    {
        return Err(Error::usage(format!("{from} is a submodule; import from its own repository")));
    }
    Ok(match Browser::new(snapshot)?.find(from)?.map(|item| item.what) {
        Some(ItemKind::Pinned(pin)) => Some(pin),
        _ => None,
    })
}

/// Errors: there is an unsaved edit, which must not be overwritten.
fn refuse_unsaved(project: &Project, path: &RepoPath, sink: &dyn Sink) -> Result<()> {
    let definitions = project.definitions_without_graph()?;
    let seen = crate::plan::facts::read_pins(project, &definitions, &[TrackedPath::from(path)], sink)
        .pop()
        .unwrap_or(Ok(None))?;
    match seen {
        Some(pin) if !project.store().holds(&pin) => {
            Err(Error::new(Kind::Check, format!("{path} was changed and saved nowhere; it was not touched"))
                .hint("throw the changes away: add --force")
                .hint("or keep them: lockstep commit"))
        }
        _ => Ok(()),
    }
}

/// Errors: content that was changed or added after the import, and recorded since, is not in the other repository and
/// must not be overwritten.
fn refuse_changed(project: &Project, definitions: &Definitions, path: &RepoPath, sink: &dyn Sink) -> Result<()> {
    let seen = crate::plan::facts::read_pins(project, definitions, &[TrackedPath::from(path)], sink)
        .pop()
        .unwrap_or(Ok(None))?;
    let (Some(pin), Some(origin)) = (seen, Origin::of(definitions, path)) else { return Ok(()) };
    let mut other = UnrecordableData::default();
    let locked = locked_pin(project, definitions, path)?;
    if other.note(path, DataVersions::new(project, definitions).version(path, &pin, locked.as_ref())) {
        return Err(other
            .error(project)
            .unwrap_or_else(|| Error::new(Kind::Check, format!("{path} is not checked out"))));
    }
    let changed = |error: Error| {
        let target = word(&path.relative_to(&project.cwd)).into_owned();
        let mut refused =
            Error::new(Kind::Check, format!("{path} may differ from what was imported; it was not touched"));
        refused.causes.push(error.message);
        refused.causes.extend(error.causes);
        refused
            .hint(format!("keep it as data of this repository: lockstep stage remove {target}, lockstep add {target}"))
            .hint("or throw the changes away: add --force")
    };
    if origin.has(project, &pin, sink).map_err(changed)? {
        return Ok(());
    }
    origin.fetch(project, &definitions.rules, &pin, sink).map_err(changed)
}

/// The spelling of a repository in the pipeline file: a folder is relative to the file's own folder, so that both can
/// be moved together.
fn spelled(project: &Project, url: &Url, file: &RepoPath) -> Result<Url> {
    let text = match url.form() {
        Ok(AddressForm::Folder(path)) if !path.starts_with('/') && below_home(&path).is_none() => path,
        _ => return Ok(url.clone()),
    };
    let folder = file.parent().unwrap_or_default();
    let up = project.cwd.relative_to(&folder);
    let path = if up == "." { text.to_string() } else { format!("{up}/{text}") };
    Ok(folder_url(&crate::path::normalise(&path)))
}
