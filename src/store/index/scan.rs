//! The hot path: is all content of a top as in the index?
//!
//! Each known folder is opened relative to its top and its stat compared. If the stat is unchanged, so is the set of
//! names in the folder: nothing is listed, no rule is asked, and each known file costs one `statat` of a single name.
//! Folders are independent of each other (if one was replaced by a symlink, the stat of its parent differs), so all
//! cores share them. Clean rows cost no allocation; the result is the set of folders that must be walked.

use std::os::fd::{AsFd, OwnedFd};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::format::{FOLLOWED, FileRow, FolderRow, RACY, View};
use super::links::{LinkBase, LinkContent};
use crate::store::fs::paths::join;
use crate::store::fs::stat::FileStat;
use crate::store::hash;
use crate::store::trees::EntryKind;

/// A folder with more files than this is shared among cores.
const MANY: usize = 2048;

/// For every folder row, the number of dirty rows before it: a subtree is clean if its ends agree.
pub struct Dirty(Vec<u32>);

impl Dirty {
    /// Are the folder rows `from..to` all clean?
    pub fn none_in(&self, from: usize, to: usize) -> bool {
        self.0.get(from) == self.0.get(to)
    }
}

/// Compares the disk with the rows of one top, which is open at `top`.
pub fn dirty(top: &OwnedFd, view: View<'_>, rules: u64, home: &(dyn Fn() -> Option<LinkBase> + Sync)) -> Dirty {
    let home = Lazy { cell: std::sync::OnceLock::new(), make: home };
    let one = |folder: &FolderRow| !folder_is_clean(top, view, folder, rules, &home);
    let dirty: Vec<bool> = view.folders.par_iter().map(one).collect();
    let mut sums = Vec::with_capacity(dirty.len() + 1);
    let mut sum = 0;
    sums.push(0);
    for one in dirty {
        sum += u32::from(one);
        sums.push(sum);
    }
    Dirty(sums)
}

/// The base of the links, resolved when the first link is found.
struct Lazy<'a> {
    cell: std::sync::OnceLock<Option<LinkBase>>,
    make: &'a (dyn Fn() -> Option<LinkBase> + Sync),
}

impl Lazy<'_> {
    fn resolve(&self, path: &[u8]) -> Option<LinkContent> {
        self.cell.get_or_init(|| (self.make)()).as_ref()?.resolve(path).ok()
    }
}

fn folder_is_clean(top: &OwnedFd, view: View<'_>, row: &FolderRow, rules: u64, home: &Lazy<'_>) -> bool {
    let flags = row.flags as u8;
    if flags & RACY != 0 || row.rules != rules {
        return false;
    }
    let path = view.path(row);
    let files = view.files_of(row);
    if path.is_empty() {
        return is_same_folder(top, row) && files_are_clean(top, view, path, files, home);
    }
    let follow = if flags & FOLLOWED != 0 { OFlags::empty() } else { OFlags::NOFOLLOW };
    if flags & FOLLOWED != 0 && home.resolve(path) != Some(LinkContent::Folder) {
        return false;
    }
    let Ok(fd) = rustix::fs::openat(top, path, folder_flags() | follow, Mode::empty()) else { return false };
    is_same_folder(&fd, row) && files_are_clean(&fd, view, path, files, home)
}

/// A folder that serves only as a base for `statat` need not be opened for reading.
fn folder_flags() -> OFlags {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    let flags = flags | OFlags::PATH;
    flags
}

fn is_same_folder(fd: impl AsFd, row: &FolderRow) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| {
        let now = FileStat::from(&s);
        (now.mtime, now.ctime, now.inode) == (row.stat.mtime, row.stat.ctime, row.stat.inode)
    })
}

fn files_are_clean(fd: &OwnedFd, view: View<'_>, path: &[u8], files: &[FileRow], home: &Lazy<'_>) -> bool {
    let clean = |row: &FileRow| file_is_clean(fd, view, path, row, home);
    if files.len() > MANY { files.par_iter().with_min_len(256).all(clean) } else { files.iter().all(clean) }
}

fn file_is_clean(fd: &OwnedFd, view: View<'_>, path: &[u8], row: &FileRow, home: &Lazy<'_>) -> bool {
    if row.flags & RACY != 0 {
        return false;
    }
    let name = view.name(row);
    if row.kind == EntryKind::Symlink as u8 {
        let content = home.resolve(&join(path, name));
        return matches!(content, Some(LinkContent::Kept(text)) if hash::hash_bytes(&text) == row.id);
    }
    let follow = row.flags & FOLLOWED != 0;
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    if !rustix::fs::statat(fd, name, flags).is_ok_and(|s| FileStat::from(&s) == row.stat) {
        return false;
    }
    !follow || home.resolve(&join(path, name)) == Some(LinkContent::File)
}
