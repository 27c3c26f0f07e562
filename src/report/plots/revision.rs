//! The files of a commit, without checking it out: from Git, otherwise from the store, as pinned.

use std::collections::BTreeSet;

use super::source::{PathContent, PlotSource, Worktree};
use crate::error::Result;
use crate::git::EntryKind;
use crate::path::RepoPath;
use crate::project::Snapshot;
use crate::store::Pin;
use crate::store::{TreeWalk, WalkStep};

impl PlotSource for Snapshot<'_> {
    fn label(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &RepoPath) -> Result<PathContent> {
        let Some(commit) = self.git() else {
            return Worktree::of(self.project).read(path);
        };
        let found = commit.find(path)?;
        if !matches!(found, None | Some((EntryKind::Folder, _))) {
            return Ok(commit.read(path)?.map_or(PathContent::Missing, PathContent::File));
        }
        let pin = self.pin(path)?;
        if pin.is_some_and(|pin| !pin.is_dir()) {
            return Ok(self.read_file(path)?.map_or(PathContent::Missing, PathContent::File));
        }
        let mut files = BTreeSet::new();
        if found.is_some() {
            in_git(self, path, &mut files)?;
        }
        if let Some(pin) = pin {
            in_store(self, &pin, path, &mut files)?;
        }
        for inside in self.pinned()?.iter().filter(|pinned| pinned.path != *path && pinned.path.is_in(path)) {
            if inside.pin.is_dir() {
                in_store(self, &inside.pin, &inside.path, &mut files)?;
            } else {
                files.insert(inside.path.clone());
            }
        }
        let is_there = found.is_some() || !files.is_empty();
        let mut files: Vec<RepoPath> = files.into_iter().collect();
        files.sort();
        Ok(if is_there { PathContent::Folder(files) } else { PathContent::Missing })
    }
}

/// All files of Git below a folder.
fn in_git(snapshot: &Snapshot<'_>, folder: &RepoPath, files: &mut BTreeSet<RepoPath>) -> Result<()> {
    let Some(commit) = snapshot.git() else { return Ok(()) };
    let Some(entries) = commit.list(folder)? else { return Ok(()) };
    for entry in entries.iter() {
        let Some(path) = std::str::from_utf8(&entry.name).ok().and_then(|name| folder.join(name)) else { continue };
        match entry.kind {
            EntryKind::Folder => in_git(snapshot, &path, files)?,
            EntryKind::Submodule => {}
            _ => {
                files.insert(path);
            }
        }
    }
    Ok(())
}

/// All files of a pinned folder.
fn in_store(snapshot: &Snapshot<'_>, pin: &Pin, folder: &RepoPath, files: &mut BTreeSet<RepoPath>) -> Result<()> {
    let mut walk = TreeWalk::new(snapshot.project.store(), pin);
    while let Some(step) = walk.next() {
        // A name that is not UTF-8 cannot be a path here.
        let Some(path) = std::str::from_utf8(walk.path()).ok().and_then(|path| folder.join(path)) else { continue };
        match step {
            WalkStep::File(..) => drop(files.insert(path)),
            WalkStep::Tree(tree) => drop(walk.open(&tree).map_err(|e| snapshot.missing_object(&path, e))?),
            WalkStep::End(..) => {}
        }
    }
    Ok(())
}
