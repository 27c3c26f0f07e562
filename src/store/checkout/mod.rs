//! Checkout: restores a path of the workspace to a pin.
//!
//! The new content is built beside the path, each object verified, and then renamed over it in one step, so that other
//! processes never see a part of it; on any failure the path stays as it was. Files of an old folder that are already
//! right are hard-linked into the new one, so that they are neither copied nor read. Ignored files in an old folder
//! move into the new one, since they belong to the user. The caller decides whether unsaved content would be lost; if
//! the path changed since the caller scanned it, this is detected after the swap, and the old content is put back.

pub(super) mod export;
pub(super) mod free_space;
pub(super) mod hashed_copy;
pub(super) mod materialise;
pub(super) mod preserve;
pub(super) mod race;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rayon::prelude::*;
use rustix::fs::{AtFlags, RenameFlags};

use super::id::{ObjectId, Pin};
use super::index::build::{Folder, FolderNode, flatten};
use super::index::format::{FOLLOWED, FileRow, FolderRow, RACY, Rows, View};
use super::index::rows::{find_file, same_but_renamed};
use super::index::{Rules, StatIndex};
use super::objects::{Generation, Store};
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::store::fs::open_folder::OpenFolder;
use crate::store::fs::paths::{self, TrackedPath, join, to_path};
use crate::store::fs::rename::{move_away, remove};
use crate::store::fs::stat::Seen;
use crate::store::fs::writable::WritablePath;
use crate::store::id::ObjectKind;
use crate::store::trees::rules::{check_link, depth_of, levels_below};
use crate::store::trees::{Entry, EntryKind};
use free_space::check_free_space;
use materialise::{MaterialisedFile, Materialiser};
use preserve::{carry_over, strip};
use race::changed;

/// From this size on it pays to wait a tick, so that the next scan need not read the new files.
const WORTH_A_WAIT: u64 = 1 << 20;

struct Checkout<'a> {
    store: &'a Store,
    index: &'a StatIndex,
    rules: &'a dyn Rules,
    maker: Materialiser<'a>,
    key: &'a [u8],
    /// The parent folder of the destination, in which all changes happen.
    folder: &'a OpenFolder,
    /// The name of the destination in `folder`.
    name: &'a OsStr,
    /// The rows of the index for the destination: the content that the caller saw.
    old: Rows,
    /// Is it a folder whose files may be taken over?
    is_folder: bool,
    /// Files that were taken over: their stat changes when the old folder is removed.
    reused: Mutex<Vec<Vec<u8>>>,
}

/// A folder that was built, with its rows for the index.
struct BuiltFolder {
    folder: OpenFolder,
    rows: Rows,
}

/// Restores `dest` to `pin` and updates the index. Returns the path of an ignored file or folder that could not move
/// into the new folder, if any; the caller has to move it.
///
/// Errors: [`Kind::Check`] if the content of the path differs from the index; the path is not touched then.
pub fn restore(
    store: &Store,
    index: &StatIndex,
    dest: &WritablePath,
    pin: &Pin,
    rules: &dyn Rules,
    sink: &dyn Sink,
) -> Result<Option<PathBuf>> {
    let _lock = store.lock_shared(sink)?;
    let path = dest.path();
    let at = TrackedPath::Inside(path.clone());
    dest.create_parents()?;
    let folder = dest.open_folder()?;
    let name = dest.file_name().unwrap_or_default();
    let there = folder.join(name);
    let old = index.rows(&at);
    let is_folder = fs::symlink_metadata(&there).is_ok_and(|m| m.is_dir());
    let named = |e: Error| Error { message: format!("{path} cannot be restored: {}", e.message), ..e };
    check_free_space(store, pin, &there, is_folder).map_err(|e| named(folder.with_user_paths(e)))?;
    sink.event(Event::WorkPlanned { doing: Activity::Restoring, bytes: pin.size });
    let maker = Materialiser::new(store, sink);
    let checkout = Checkout {
        store,
        index,
        rules,
        maker,
        key: at.key(),
        folder: &folder,
        name,
        old,
        is_folder,
        reused: Mutex::default(),
    };
    let new = paths::temp_sibling(Path::new(name)).into_os_string();
    let give_up = || drop(remove(&folder.join(&new)));
    let made = checkout.make(&folder.join(&new), pin).inspect_err(|_| give_up());
    let made = made.map_err(|e| named(folder.with_user_paths(e)))?;
    check_folder_path(dest, &folder).inspect_err(|_| give_up())?;
    let aside = swap(&new, dest, &folder).inspect_err(|_| give_up())?;
    if let Some(old) = &aside
        && let Some(what) = changed(&folder.join(old), checkout.old.view(), at.key(), rules)
    {
        let new = swap(old, dest, &folder)?;
        let _ = new.map(|new| remove(&folder.join(new)));
        return Err(changed_meanwhile(path, &what));
    }
    // Files that are added to the folder from now on must not be covered by its stat.
    let placed = Seen::lstat(&there).map_err(|e| Error::io("look at", dest.on_disk(), e))?;
    let built = made.as_ref().map_or(there.as_path(), |made| made.folder.path());
    let (moved, left) = aside.map(|old| checkout.discard(&old, built)).unwrap_or_default();
    // While the lock is held, the store stays in one generation.
    let generation = store.generation();
    if let Some(made) = made {
        checkout.remember(&at, made, pin, generation, &placed, &moved);
        return Ok(left);
    }
    index.trust(&at, pin)?;
    if let Some(generation) = generation {
        index.mark_stored(&at, pin, generation);
    }
    Ok(left)
}

/// Checks that the parent folder still has the same path, so that the new content appears at that path.
fn check_folder_path(dest: &WritablePath, folder: &OpenFolder) -> Result<()> {
    if dest.open_folder()?.is(folder) {
        return Ok(());
    }
    let message = format!("the folder of {} was replaced while it was restored; it was not touched", dest.path());
    Err(Error::new(Kind::Check, message).hint("run the command again when nothing else works there"))
}

fn changed_meanwhile(path: &crate::path::RepoPath, what: &Path) -> Error {
    let place = Path::new(path.as_str());
    let named = if what.as_os_str().is_empty() { place.into() } else { place.join(what) };
    let message = format!("{} was changed while {path} was restored; it was not touched", named.display());
    Error::new(Kind::Check, message).hint("run the command again when no other process changes it")
}

impl Checkout<'_> {
    /// Builds the new content at `new`; returns the rows if it is a folder.
    fn make(&self, new: &Path, pin: &Pin) -> Result<Option<BuiltFolder>> {
        if !pin.is_dir() {
            self.maker.file(&pin.id, pin.size, pin.executable, new)?;
            self.wait_for_tick(pin.size, new);
            return Ok(None);
        }
        let folder = OpenFolder::create(new)?;
        let found =
            self.folder(folder.path(), Vec::new(), &pin.id, Some(pin)).map_err(|e| folder.with_user_paths(e))?;
        let new = folder.path();
        let mut rows = Rows::default();
        flatten(found, View::default(), &mut rows)
            .ok_or_else(|| Error::new(Kind::Io, "it holds more names than the index can keep"))?;
        self.wait_for_tick(pin.size + 4096 * rows.files.len() as u64, new);
        let stamp = self.index.stamp();
        let device = Seen::lstat(new).map(|s| s.device).unwrap_or(0);
        let racy = |stat| {
            if stamp.is_racy_after_rename(&stat, device) { RACY } else { 0 }
        };
        for row in &mut rows.files {
            row.flags |= if row.kind == EntryKind::Symlink as u8 { 0 } else { racy(row.stat) };
        }
        for row in &mut rows.folders {
            row.flags |= u32::from(racy(row.stat));
        }
        Ok(Some(BuiltFolder { folder, rows }))
    }

    /// No other process writes to content that is not yet in place: once its times are a tick old they can be trusted.
    fn wait_for_tick(&self, bytes: u64, new: &Path) {
        if bytes < WORTH_A_WAIT {
            return;
        }
        let Ok(mut newest) = Seen::lstat(new) else { return };
        newest.stat.mtime = newest.stat.ctime;
        for _ in 0..10 {
            if !self.index.stamp().is_racy_after_rename(&newest.stat, newest.device) {
                break;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Fills an empty folder.
    fn folder(&self, on_disk: &Path, path: Vec<u8>, id: &ObjectId, pin: Option<&Pin>) -> Result<FolderNode> {
        let tree = self.store.read_tree(id, levels_below(&path))?;
        if pin.is_some_and(|pin| tree.pin() != *pin) {
            return Err(Error::missing(format!("the folder {id} in the store is not of the size that the lock says")));
        }
        tree.check(&path)?;
        let made: Vec<(Option<FileRow>, Option<FolderNode>)> = tree
            .entries
            .par_iter()
            .with_min_len(8)
            .map(|entry| {
                let (to, below) = (on_disk.join(to_path(&entry.name)), join(&path, &entry.name));
                let named = |e: Error| Error { message: format!("{}: {}", to_path(&below).display(), e.message), ..e };
                if entry.kind != EntryKind::Tree {
                    return Ok((Some(self.entry(entry, &to, &below).map_err(named)?), None));
                }
                let expected = entry.pin();
                fs::create_dir(&to).map_err(|e| named(Error::io("create", &to, e)))?;
                Ok((None, Some(self.folder(&to, below.clone(), &entry.id, Some(&expected))?)))
            })
            .collect::<Result<_>>()?;
        let seen = Seen::lstat(on_disk).map_err(|e| Error::io("look at", on_disk, e))?;
        let mut row: FolderRow = bytemuck::Zeroable::zeroed();
        let sum = tree.pin();
        (row.id, row.stat, row.rules) = (*id, seen.stat, self.rules.id());
        (row.bytes, row.count) = (sum.size, sum.files.unwrap_or(0));
        let mut new = Folder { path, row, files: Vec::new(), names: Vec::new(), folders: Vec::new() };
        for ((file, folder), entry) in made.into_iter().zip(&tree.entries) {
            if let Some(mut file) = file {
                file.name_at = new.names.len() as u32;
                file.name_len = entry.name.len() as u16;
                new.names.extend_from_slice(&entry.name);
                new.files.push(file);
            }
            new.folders.extend(folder);
        }
        Ok(FolderNode::New(Box::new(new)))
    }

    /// A file or a symlink of a tree.
    fn entry(&self, entry: &Entry, to: &Path, path: &[u8]) -> Result<FileRow> {
        let mut row: FileRow = bytemuck::Zeroable::zeroed();
        (row.id, row.kind) = (entry.id, entry.kind as u8);
        if entry.kind == EntryKind::Symlink {
            let text = self.store.read(&entry.id, ObjectKind::Content)?;
            check_link(depth_of(path), &text).map_err(Error::usage)?;
            std::os::unix::fs::symlink(to_path(&text), to).map_err(|e| Error::io("create the symlink", to, e))?;
            row.stat = Seen::lstat(to).map_err(|e| Error::io("look at", to, e))?.stat;
            row.stat.size = text.len() as u64;
            return Ok(row);
        }
        let made = if self.take_over(entry, to, path) {
            self.reused.lock().unwrap_or_else(|e| e.into_inner()).push(path.to_vec());
            MaterialisedFile::File(None)
        } else {
            self.maker.file(&entry.id, entry.size, entry.kind == EntryKind::Executable, to)?
        };
        if let MaterialisedFile::File(Some(stat)) = made {
            row.stat = stat;
            return Ok(row);
        }
        let seen = if made == MaterialisedFile::Symlink {
            row.flags = FOLLOWED;
            Seen::stat(to)
        } else {
            Seen::lstat(to)
        };
        row.stat = seen.map_err(|e| Error::io("look at", to, e))?.stat;
        Ok(row)
    }

    /// Links the same file of the old folder, if it exists and is unchanged since it was hashed.
    fn take_over(&self, entry: &Entry, to: &Path, path: &[u8]) -> bool {
        let Some(row) = find_file(self.old.view(), path).filter(|_| self.is_folder) else { return false };
        let from = self.folder.join(self.name).join(to_path(path));
        row.id == entry.id
            && (row.kind, row.flags) == (entry.kind as u8, 0)
            && Seen::lstat(&from).is_ok_and(|seen| seen.stat == row.stat)
            && fs::hard_link(&from, to).is_ok()
    }

    /// Removes the old content, except for ignored files, which move to the new folder. Returns the folders into which
    /// files moved, and the path of the old folder if some files could not move.
    fn discard(&self, old: &OsStr, new: &Path) -> (Vec<Vec<u8>>, Option<PathBuf>) {
        let there = self.folder.join(old);
        let carried = carry_over(&there, new, self.key, self.rules);
        if carried.left {
            // Files that cannot be removed move with the rest.
            let _ = strip(&there, self.key, self.rules);
            return (carried.moved, Some(self.folder.user_path(old)));
        }
        // A folder that cannot be removed keeps a name that tells which program made it.
        let _ = remove(&there);
        (carried.moved, None)
    }

    /// Puts the rows into the index, with the stat of the files after the rename.
    fn remember(
        &self,
        at: &TrackedPath,
        BuiltFolder { folder: built, mut rows }: BuiltFolder,
        pin: &Pin,
        generation: Option<Generation>,
        placed: &Seen,
        moved: &[Vec<u8>],
    ) {
        let top = &mut rows.folders[0];
        if !same_but_renamed(&top.stat, &placed.stat) {
            top.flags |= u32::from(RACY);
        }
        top.stat = placed.stat;
        let mut reused = self.reused.lock().unwrap_or_else(|e| e.into_inner());
        reused.sort_unstable();
        let Rows { folders, files, names } = &mut rows;
        for folder in folders.iter_mut() {
            let path = names[folder.path_at as usize..][..folder.path_len as usize].to_vec();
            if moved.contains(&path) {
                folder.flags |= u32::from(RACY);
            }
            for file in &mut files[folder.first as usize..][..folder.files as usize] {
                let path = join(&path, &names[file.name_at as usize..][..file.name_len as usize]);
                if reused.binary_search(&path).is_ok()
                    && let Ok(seen) = Seen::lstat(&built.join(to_path(&path)))
                {
                    // The link changed the ctime; any other difference is a change by another process.
                    let same = (seen.stat.mtime, seen.stat.size) == (file.stat.mtime, file.stat.size);
                    file.stat = seen.stat;
                    file.flags = if same { 0 } else { RACY };
                }
            }
        }
        // Files that were taken over were not checked in the store.
        let complete = generation.filter(|_| reused.is_empty());
        self.index.adopt(at, rows, complete.map(|generation| (pin.id, generation)));
    }
}

/// Renames `new`, a name in the open folder, to `dest` in one step; returns the new name of the old content, if there
/// was any.
fn swap(new: &OsStr, dest: &WritablePath, folder: &OpenFolder) -> Result<Option<OsString>> {
    let fail = |e: io::Error| Error::io("replace", dest.on_disk(), e);
    let (fd, to) = (folder.fd(), dest.file_name().unwrap_or_default());
    if rustix::fs::statat(fd, to, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        return rustix::fs::renameat(fd, new, fd, to).map(|()| None).map_err(|e| fail(e.into()));
    }
    if rustix::fs::renameat_with(fd, new, fd, to, RenameFlags::EXCHANGE).is_ok() {
        return Ok(Some(new.to_os_string()));
    }
    let aside = paths::temp_sibling(Path::new(to)).into_os_string();
    move_away(&folder.join(to), &folder.join(&aside)).map_err(fail)?;
    rustix::fs::renameat(fd, new, fd, to).map_err(|e| {
        let _ = rustix::fs::renameat(fd, &aside, fd, to);
        fail(e.into())
    })?;
    Ok(Some(aside))
}
