//! Gathers outs and data of two snapshots for [`super::data::compare`].
//!
//! For a commit, these are the pins of its locks, with folders read from the store. For the worktree, these are the
//! current files, read through the stat index, so that uncommitted edits are shown.
//!
//! The outputs of a pipeline file that one side cannot read are not compared.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::data::{ComparedNode, Differences, Side, compare};
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::plan::facts::read_pins;
use crate::project::Snapshot;
use crate::store::trees::{Entry, EntryKind};
use crate::store::{Pin, TrackedPath};

/// Two snapshots, and the selected part of them (everything, without targets).
pub struct SnapshotPair<'a, 'p> {
    /// The earlier snapshot.
    pub old: &'a Snapshot<'p>,
    /// The later snapshot.
    pub new: &'a Snapshot<'p>,
    /// Paths of which everything at and below is compared; empty for all.
    pub targets: &'a [RepoPath],
}

/// Returns the differences, and the paths that the new side, if it is the worktree, pins and that are neither in the
/// worktree nor in the store.
pub fn differences(asked: &SnapshotPair<'_, '_>, sink: &dyn Sink) -> Result<(Differences, Vec<String>)> {
    let targets = asked.targets;
    let unknown: BTreeSet<&RepoPath> =
        undeclared(asked.old, asked.new).chain(undeclared(asked.new, asked.old)).collect();
    let concerns = |path: &RepoPath| {
        !unknown.contains(path) && (targets.is_empty() || targets.iter().any(|t| path.is_in(t) || t.is_in(path)))
    };
    let old = Gathered::of(asked.old, &concerns, sink)?;
    let mut new = Gathered::of(asked.new, &concerns, sink)?;
    // A missing file is not a deletion: it is compared by its pin, and reported separately.
    let absent = std::mem::take(&mut new.absent);
    for path in &absent {
        if let Some(pin) = old.roots.get(path) {
            new.roots.insert(path.clone(), *pin);
        }
    }
    let (open_old, open_new) = (Gathered::opener(asked.old), Gathered::opener(asked.new));
    let (old, new) = (Side { roots: old.roots, open: &open_old }, Side { roots: new.roots, open: &open_new });
    for target in targets {
        let is_declared = |snapshot| declared(snapshot).any(|out| out.is_in(target) || target.is_in(out));
        let is_known = match (old.has(target), new.has(target)) {
            (None, None) => is_declared(asked.old) || is_declared(asked.new),
            (old, new) => old == Some(true) || new == Some(true),
        };
        if !target.is_root() && !is_known && !unknown.iter().any(|path| path.is_in(target) || target.is_in(path)) {
            let message =
                format!("`{target}` is neither an output nor data of {} or {}", asked.old.name, asked.new.name);
            return Err(Error::missing(message).hint("see them: lockstep list -R"));
        }
    }
    let mut found = compare(&old, &new, &concerns);
    let within = |path: &str| {
        let path = RepoPath::root().join(path).unwrap_or_default();
        targets.is_empty() || targets.iter().any(|t| path.is_in(t))
    };
    found.changes.retain(|change| within(&change.path));
    Ok((found, absent.iter().map(RepoPath::to_string).collect()))
}

/// Outs and data of the pipeline files that the other side cannot read.
fn undeclared<'a>(one: &'a Snapshot<'_>, other: &'a Snapshot<'_>) -> impl Iterator<Item = &'a RepoPath> {
    let pipelines = &one.definitions.pipelines;
    let is_broken = |path: &RepoPath| other.definitions.broken.iter().any(|(broken, _)| broken == path);
    let files = pipelines.files.iter().filter(move |file| is_broken(&file.path));
    files.flat_map(|file| {
        let outs = file.stages.iter().flat_map(|id| &pipelines.stage(*id).outs).map(|out| &out.path);
        outs.chain(file.data.iter().map(|data| &data.path))
    })
}

/// Outs and data of a snapshot, pinned or not.
fn declared<'a>(snapshot: &'a Snapshot<'_>) -> impl Iterator<Item = &'a RepoPath> {
    let pipelines = &snapshot.definitions.pipelines;
    let outs = pipelines.stages.iter().flat_map(|stage| &stage.outs).map(|out| &out.path);
    outs.chain(pipelines.files.iter().flat_map(|file| &file.data).map(|data| &data.path))
}

struct Gathered {
    roots: BTreeMap<RepoPath, Pin>,
    /// Pinned, and neither in the worktree nor in the store.
    absent: Vec<RepoPath>,
}

impl Gathered {
    fn of(snapshot: &Snapshot<'_>, concerns: &dyn Fn(&RepoPath) -> bool, sink: &dyn Sink) -> Result<Gathered> {
        let mut gathered = Gathered { roots: BTreeMap::new(), absent: Vec::new() };
        let pinned = snapshot.pinned()?;
        let pinned = pinned.into_iter().filter(|p| p.cache && concerns(&p.path));
        if snapshot.commit.is_some() {
            gathered.roots = pinned.map(|p| (p.path, p.pin)).collect();
            return Ok(gathered);
        }
        let pinned: BTreeMap<RepoPath, Pin> = pinned.map(|p| (p.path, p.pin)).collect();
        let pipelines = &snapshot.definitions.pipelines;
        let outs = pipelines.stages.iter().flat_map(|s| &s.outs).filter(|o| o.cache).map(|o| &o.path);
        let data = pipelines.files.iter().flat_map(|f| &f.data).map(|d| &d.path);
        let mut paths: Vec<&RepoPath> = outs.chain(data).filter(|p| concerns(p)).collect();
        paths.sort();
        paths.dedup();
        let project = snapshot.project;
        let spots: Vec<TrackedPath> = paths.iter().map(|p| TrackedPath::from(*p)).collect();
        for (path, seen) in paths.into_iter().zip(read_pins(project, &snapshot.definitions, &spots, sink)) {
            match (seen?, pinned.get(path)) {
                (Some(pin), _) => drop(gathered.roots.insert(path.clone(), pin)),
                (None, Some(pin)) if !project.store().contains(pin) => gathered.absent.push(path.clone()),
                (None, _) => {}
            }
        }
        // If the index cannot be saved, the files are read again next time.
        let _ = project.index().save();
        Ok(gathered)
    }

    /// The function that opens folders of this side.
    fn opener<'a>(
        snapshot: &'a Snapshot<'a>,
    ) -> impl Fn(&RepoPath, &str, &ComparedNode) -> Result<Vec<Entry>> + use<'a> {
        let listed: RefCell<HashMap<RepoPath, Folders>> = RefCell::default();
        move |root, below, node| {
            if snapshot.commit.is_none() {
                let mut listed = listed.borrow_mut();
                let folders = listed.entry(root.clone()).or_insert_with(|| detail(snapshot, root));
                // The folder is missing in the worktree: its pin is compared.
                if let Some(entries) = folders.get(below) {
                    return Ok(entries.clone());
                }
            }
            let name = if below.is_empty() { root.clone() } else { root.join(below).unwrap_or_default() };
            Ok(snapshot
                .project
                .store()
                .read_tree(&node.id, below.matches('/').count())
                .map_err(|e| snapshot.missing_object(&name, e))?
                .entries)
        }
    }
}

/// Entries by the path of their folder, from the root of an output.
type Folders = HashMap<String, Vec<Entry>>;

/// The scanned content of a folder in the worktree.
fn detail(snapshot: &Snapshot<'_>, root: &RepoPath) -> Folders {
    let mut folders = Folders::new();
    let Some(all) = snapshot.project.index().list_entries(&TrackedPath::from(root)) else { return folders };
    folders.insert(String::new(), Vec::new());
    for one in all {
        let at = one.path.iter().rposition(|b| *b == b'/');
        let (folder, name) = at.map_or((&[][..], &one.path[..]), |at| (&one.path[..at], &one.path[at + 1..]));
        let entry = Entry { name: name.to_vec(), kind: one.kind, id: one.id, size: one.size, files: 1 };
        if one.kind == EntryKind::Tree {
            folders.entry(String::from_utf8_lossy(&one.path).into_owned()).or_default();
        }
        folders.entry(String::from_utf8_lossy(folder).into_owned()).or_default().push(entry);
    }
    folders.values_mut().for_each(|entries| entries.sort_by(|a, b| a.name.cmp(&b.name)));
    folders
}
