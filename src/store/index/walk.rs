//! The slow path: lists the folders that changed, hashes new files, and makes the new rows of a top.
//!
//! Rows and subtrees that are known to be clean are taken over; the rest is listed, compared name by name with the old
//! rows, hashed where needed on all cores, and combined into trees from the leaves up.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::build::{self, Folder, FolderNode};
use super::format::{FOLLOWED, FileRow, FolderRow, RACY, Rows, View};
use super::links::{LinkBase, LinkContent, special};
use super::read::Reader;
use super::scan::Dirty;
use super::{Rules, key_below};
use crate::error::{Error, Kind, Result};
use crate::store::fs::paths::{join, to_path};
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::hash;
use crate::store::trees::rules::DEEPEST;
use crate::store::trees::{self, EntryKind};

/// A walk over one top.
pub struct Walk<'a> {
    pub top: &'a OwnedFd,
    pub path: PathBuf,
    pub key: &'a [u8],
    pub rules: &'a dyn Rules,
    pub old: View<'a>,
    /// `None` if the top has no rows yet.
    pub dirty: Option<Dirty>,
    pub reader: &'a Reader<'a>,
    pub home: OnceLock<LinkBase>,
}

/// The folders from the top down to this one, to detect a link that leads back up.
struct Chain<'a> {
    device: u64,
    inode: u64,
    up: Option<&'a Chain<'a>>,
}

/// One name of a listed folder.
enum ScannedItem {
    File(FileRow, Vec<u8>),
    Folder(Vec<u8>, u8),
    Skipped,
}

impl Walk<'_> {
    /// Walks the top and returns its new rows.
    pub fn run(&self) -> Result<Rows> {
        let old = (!self.old.folders.is_empty()).then_some(0);
        let found = self.folder(Vec::new(), 0, old, None)?;
        let mut rows = Rows::default();
        build::flatten(found, self.old, &mut rows).ok_or_else(|| {
            Error::new(Kind::Io, format!("{} holds more names than the index can keep", self.path.display()))
        })?;
        Ok(rows)
    }

    fn folder(&self, path: Vec<u8>, flags: u8, old: Option<usize>, up: Option<&Chain<'_>>) -> Result<FolderNode> {
        if path.iter().filter(|b| **b == b'/').count() >= DEEPEST {
            let message = format!("{} holds folders more than {DEEPEST} levels deep", self.path.display());
            return Err(Error::usage(message).hint("pack them into an archive, or list them in .lockstepignore"));
        }
        let known = old.zip(self.dirty.as_ref());
        if let Some((at, dirty)) = known
            && self.old.folders[at].flags as u8 & FOLLOWED == flags & FOLLOWED
        {
            if dirty.none_in(at, self.old.end(at)) {
                return Ok(FolderNode::Unchanged(at));
            }
            if dirty.none_in(at, at + 1) {
                return self.same_names(path, at, up);
            }
        }
        let follow = if flags & FOLLOWED != 0 || path.is_empty() { OFlags::empty() } else { OFlags::NOFOLLOW };
        let spelled: &[u8] = if path.is_empty() { b"." } else { &path };
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | follow;
        let fd = rustix::fs::openat(self.top, spelled, open, Mode::empty()).map_err(|e| self.io("open", &path, e))?;
        let seen = Seen::from(rustix::fs::fstat(&fd).map_err(|e| self.io("look at", &path, e))?);
        let chain = self.step(&path, flags, &seen, up)?;
        let mut names = self.list(&fd, &path)?;
        self.reader.listed(names.len());
        names.sort_unstable();
        let items: Vec<ScannedItem> =
            names.into_par_iter().with_min_len(16).map(|n| self.item(&fd, &path, n, old)).collect::<Result<_>>()?;
        drop(fd);
        let (mut files, mut blob, mut below) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                ScannedItem::File(mut row, name) => {
                    row.name_at = blob.len() as u32;
                    blob.extend_from_slice(&name);
                    files.push(row);
                }
                ScannedItem::Folder(name, flags) => below.push((name, flags)),
                ScannedItem::Skipped => {}
            }
        }
        let before: Vec<usize> = old.map(|at| self.old.folders_of(at).collect()).unwrap_or_default();
        let folders = below
            .into_par_iter()
            .map(|(name, flags)| {
                let child = join(&path, &name);
                let old = before.binary_search_by(|i| self.old.path(&self.old.folders[*i]).cmp(&child)).ok();
                let old = old.map(|found| before[found]);
                self.folder(child, flags, old, Some(&chain))
            })
            .collect::<Result<_>>()?;
        let racy = if self.reader.stamp().is_racy(&seen) { RACY } else { 0 };
        Ok(self.finish(path, seen.stat, flags | racy, files, blob, folders))
    }

    /// A folder whose own names and files are clean, while a folder further down is not.
    fn same_names(&self, path: Vec<u8>, at: usize, up: Option<&Chain<'_>>) -> Result<FolderNode> {
        let row = &self.old.folders[at];
        let spelled: &[u8] = if path.is_empty() { b"." } else { &path };
        let seen = rustix::fs::statat(self.top, spelled, AtFlags::empty()).map_err(|e| self.io("look at", &path, e))?;
        let chain = self.step(&path, row.flags as u8, &Seen::from(seen), up)?;
        let below: Vec<usize> = self.old.folders_of(at).collect();
        let folders = below
            .into_par_iter()
            .map(|at| {
                let child = &self.old.folders[at];
                let flags = child.flags as u8 & FOLLOWED;
                self.folder(self.old.path(child).to_vec(), flags, Some(at), Some(&chain))
            })
            .collect::<Result<_>>()?;
        let (mut files, mut names) = (self.old.files_of(row).to_vec(), Vec::new());
        for file in &mut files {
            let name = self.old.name(file);
            file.name_at = names.len() as u32;
            names.extend_from_slice(name);
        }
        Ok(self.finish(path, row.stat, row.flags as u8, files, names, folders))
    }

    fn step<'c>(&self, path: &[u8], flags: u8, seen: &Seen, up: Option<&'c Chain<'c>>) -> Result<Chain<'c>> {
        let mut above = up;
        while let Some(chain) = above.filter(|_| flags & FOLLOWED != 0) {
            if (chain.device, chain.inode) == (seen.device, seen.stat.inode) {
                let path = self.on_disk(path);
                return Err(Error::usage(format!("{} is a symlink to a folder that it lies in", path.display()))
                    .hint("remove the link, or list it in .lockstepignore"));
            }
            above = chain.up;
        }
        Ok(Chain { device: seen.device, inode: seen.stat.inode, up })
    }

    fn list(&self, fd: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(fd).map_err(|e| self.io("list", path, e))? {
            let entry = entry.map_err(|e| self.io("list", path, e))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    fn item(&self, fd: &OwnedFd, folder: &[u8], name: Vec<u8>, old: Option<usize>) -> Result<ScannedItem> {
        let path = join(folder, &name);
        let mut seen = match rustix::fs::statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Seen::from(stat),
            // Deleted since it was listed.
            Err(rustix::io::Errno::NOENT) => return Ok(ScannedItem::Skipped),
            Err(e) => return Err(self.io("look at", &path, e)),
        };
        if self.rules.ignored(&key_below(self.key, &path), seen.is_dir()) {
            return Ok(ScannedItem::Skipped);
        }
        if seen.is_dir() {
            return Ok(ScannedItem::Folder(name, 0));
        }
        let mut row = FileRow { name_len: name.len() as u16, ..bytemuck::Zeroable::zeroed() };
        if seen.is_link() {
            match self.home()?.resolve(&path)? {
                LinkContent::Kept(text) => {
                    row.id = hash::hash_bytes(&text);
                    // The normalised text may differ from the raw one. It is read at every scan, so no race matters.
                    row.stat = FileStat { size: text.len() as u64, ..seen.stat };
                    row.kind = EntryKind::Symlink as u8;
                    return Ok(ScannedItem::File(row, name));
                }
                LinkContent::Folder => return Ok(ScannedItem::Folder(name, FOLLOWED)),
                LinkContent::File => {
                    let stat = rustix::fs::statat(fd, &name, AtFlags::empty());
                    seen = Seen::from(stat.map_err(|e| self.io("look at", &path, e))?);
                    row.flags = FOLLOWED;
                }
            }
        }
        if !seen.is_file() {
            return Err(special(&self.on_disk(&path)));
        }
        let mark = row.flags;
        let known = old.and_then(|at| self.old_file(at, &name));
        if let Some(known) = known.filter(|k| k.stat == seen.stat && k.flags == mark && k.kind != 2) {
            row = *known;
        } else {
            let read = self.reader.read(fd, &name, &self.on_disk(&path), &key_below(self.key, &path), &seen)?;
            row = FileRow { id: read.id, stat: read.seen.stat, flags: mark | read.racy, ..row };
            seen = read.seen;
        }
        let executable = seen.executable && self.reader.file_mode;
        row.kind = if executable { EntryKind::Executable } else { EntryKind::File } as u8;
        Ok(ScannedItem::File(row, name))
    }

    fn old_file(&self, at: usize, name: &[u8]) -> Option<&FileRow> {
        let files = self.old.files_of(&self.old.folders[at]);
        files.binary_search_by(|row| self.old.name(row).cmp(name)).ok().map(|i| &files[i])
    }

    fn home(&self) -> Result<&LinkBase> {
        if self.home.get().is_none() {
            let _ = self.home.set(LinkBase::new(&self.path)?);
        }
        self.home.get().ok_or_else(|| Error::new(Kind::Bug, "a cell that was set is empty"))
    }

    fn on_disk(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(to_path(path)) }
    }

    fn io(&self, doing: &str, path: &[u8], e: rustix::io::Errno) -> Error {
        Error::io(doing, self.on_disk(path), e)
    }

    fn finish(
        &self,
        path: Vec<u8>,
        stat: FileStat,
        flags: u8,
        files: Vec<FileRow>,
        names: Vec<u8>,
        folders: Vec<FolderNode>,
    ) -> FolderNode {
        let mut row: FolderRow = bytemuck::Zeroable::zeroed();
        (row.stat, row.flags, row.rules) = (stat, u32::from(flags), self.rules.id());
        let own = View { folders: &[], files: &files, names: &names };
        let below = folders.iter().map(|found| found.row(self.old));
        let encoded = build::encode(own, &files, below);
        (row.id, row.bytes, row.count) = (trees::id_of(&encoded.0), encoded.1, encoded.2);
        FolderNode::New(Box::new(Folder { path, row, files, names, folders }))
    }
}
