//! The stat index: the content of every tracked path at its last scan, so that an unchanged file costs one stat.
//!
//! It stores tracked tops (deps, outs, data; files or folders), each under its path. A scan compares the disk with the
//! rows of a top (`scan`), lists and hashes where they differ (`walk`), and remembers the result. Loaded rows are never
//! changed; new rows stay in memory beside them until [`StatIndex::save`] writes both into one new file.
//!
//! Known weaknesses: writes through a mapping that was dirty before the scan show in the stat only when the kernel
//! writes them back, as for Git; on a file system whose inode numbers change from mount to mount all files are read
//! again after a mount.

pub(super) mod build;
mod content;
pub(super) mod format;
mod links;
mod outside;
mod read;
pub(super) mod rows;
mod scan;
mod stored;
#[cfg(test)]
mod tests;
mod walk;

pub(super) use self::content::Content;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use self::format::{BaseVersion, FileRow, LoadedIndex, RACY, Rows, StoredMark, TopMarks, View};
use self::links::{LinkBase, special};
use self::read::Reader;
use self::rows::{file_pin, find_file, folder_pin, same_but_renamed, single};
use self::walk::Walk;
use super::id::{ObjectId, Pin};
use crate::document::Bounds;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::store::fs::paths::{self, TrackedPath, join};
use crate::store::fs::stat::{Clock, Seen, Stamp};
use crate::store::trees::EntryKind;

/// One thread scans fewer paths than this.
const FEW: usize = 16;

/// The rules that exclude files below a dep, an output or data.
pub trait Rules: Sync {
    /// `path` is relative to the top of the repository, or absolute if it is outside. Asked only for names below a
    /// scanned path, never for that path itself.
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool;

    /// Changes whenever an answer may change.
    fn id(&self) -> u64;
}

/// Rules that exclude no file.
pub struct NoRules;

impl Rules for NoRules {
    fn ignored(&self, _: &[u8], _: bool) -> bool {
        false
    }

    fn id(&self) -> u64 {
        0
    }
}

/// An entry below a folder at its last scan. Paths are relative to that folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Relative to the folder, with `/` between components.
    pub path: Vec<u8>,
    /// A file, with its executable bit, a link or a folder.
    pub kind: EntryKind,
    /// The id of its content, or of its tree.
    pub id: ObjectId,
    /// In bytes; of a folder, of all files below it.
    pub size: u64,
}

/// Writing an index of this many bytes costs as much as hashing one byte in the next scan.
const SIZE_TO_WORK: u64 = 4;

/// The index of one worktree, loaded from its file. Shared by threads.
pub struct StatIndex {
    file: PathBuf,
    top: PathBuf,
    /// Do executable bits count?
    file_mode: bool,
    loaded: LoadedIndex,
    /// Changes since the load, by key; `None` for a deleted entry.
    learnt: RwLock<HashMap<Vec<u8>, Option<Arc<Top>>>>,
    /// Is there unsaved knowledge that a scan cannot find out?
    unsaved: AtomicBool,
    /// The work that the next scan repeats if nothing is saved, in bytes hashed.
    unsaved_work: AtomicU64,
    /// Where stored content may be.
    bounds: Bounds,
    clock: Clock,
    top_fd: OnceLock<Option<OwnedFd>>,
    /// Tops that are symlinks themselves, by key, as of the last scan.
    links: RwLock<HashSet<Vec<u8>>>,
}

#[derive(Clone, Default)]
struct Top {
    rows: Rows,
    marks: TopMarks,
}

/// The rows of a top, loaded or changed.
enum TopRows<'a> {
    LoadedIndex(View<'a>, TopMarks),
    Learnt(Arc<Top>),
    Nothing,
}

impl TopRows<'_> {
    fn view(&self) -> View<'_> {
        match self {
            TopRows::LoadedIndex(view, _) => *view,
            TopRows::Learnt(top) => top.rows.view(),
            TopRows::Nothing => View::default(),
        }
    }

    fn marks(&self) -> TopMarks {
        match self {
            TopRows::LoadedIndex(_, marks) => *marks,
            TopRows::Learnt(top) => top.marks,
            TopRows::Nothing => TopMarks::default(),
        }
    }

    fn to_top(&self) -> Top {
        match self {
            TopRows::Learnt(top) => (**top).clone(),
            _ => Top { rows: self.view().to_rows(), marks: self.marks() },
        }
    }
}

/// The key of `path` below the top with this key.
fn key_below(key: &[u8], path: &[u8]) -> Vec<u8> {
    join(key, path)
}

impl StatIndex {
    /// Opens the index in `file`, of the repository at the absolute path `top`. A damaged one is empty.
    pub fn open(file: &Path, top: &Path, file_mode: bool) -> StatIndex {
        StatIndex {
            file: file.to_path_buf(),
            top: top.to_path_buf(),
            file_mode,
            loaded: LoadedIndex::read(file, u32::from(file_mode)),
            learnt: RwLock::default(),
            unsaved: AtomicBool::new(false),
            unsaved_work: AtomicU64::new(0),
            bounds: Bounds::new(top, [], None),
            clock: Clock::new(),
            top_fd: OnceLock::new(),
            links: RwLock::default(),
        }
    }

    /// Restricts stored content to `bounds` [default: below the top].
    pub fn within(self, bounds: Bounds) -> StatIndex {
        StatIndex { bounds, ..self }
    }

    /// The folder that paths inside are relative to: the root of the worktree.
    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// Was the file on disk written by a newer lockstep? Then it is not replaced, and nothing is saved.
    pub fn is_newer(&self) -> bool {
        self.loaded.newer
    }

    /// Scans each path and returns its pin; `None` for a path that does not exist. Hashes new and changed files.
    pub fn scan(&self, places: &[TrackedPath], rules: &dyn Rules, sink: &dyn Sink) -> Vec<Result<Option<Pin>>> {
        let reader = Reader::new(self, sink);
        let reader = |place: &TrackedPath| self.scan_path(place, rules, &reader);
        // For a few paths, waking the other threads takes longer.
        if places.len() < FEW {
            return places.iter().map(reader).collect();
        }
        places.par_iter().with_min_len(FEW / 2).map(reader).collect()
    }

    fn scan_path(&self, place: &TrackedPath, rules: &dyn Rules, reader: &Reader<'_>) -> Result<Option<Pin>> {
        let known = self.known(place.key());
        let seen = match self.stat(place) {
            Ok(seen) => seen,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.forget(place.key());
                return Ok(None);
            }
            Err(e) => return Err(Error::io("look at", place.on_disk(&self.top), e)),
        };
        if seen.is_dir() {
            return self.scan_folder(place, known, rules, reader).map(Some);
        }
        if !seen.is_file() {
            return Err(special(&place.on_disk(&self.top)));
        }
        if let Some(row) = single(known.view()).filter(|row| row.flags == 0 && row.stat == seen.stat) {
            return Ok(Some(file_pin(row)));
        }
        let path = place.on_disk(&self.top);
        let folder = self.open_top().map_err(|e| Error::io("open", &self.top, e))?;
        let spelled = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let read = reader.read(folder, spelled, &path, place.key(), &seen)?;
        let row = self.file_row(read.id, &read.seen, read.racy);
        self.keep(place.key(), Rows { files: vec![row], ..Rows::default() }, known.marks());
        Ok(Some(file_pin(&row)))
    }

    fn scan_folder(
        &self,
        place: &TrackedPath,
        known: TopRows<'_>,
        rules: &dyn Rules,
        reader: &Reader<'_>,
    ) -> Result<Pin> {
        let path = place.on_disk(&self.top);
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&path, open, Mode::empty()).map_err(|e| Error::io("open", &path, e))?;
        let old = known.view();
        let mut dirty = None;
        if let Some(row) = old.folders.first() {
            let all = scan::dirty(&top, old, rules.id(), &|| LinkBase::new(&path).ok());
            if all.none_in(0, old.folders.len()) {
                return Ok(folder_pin(row));
            }
            dirty = Some(all);
        }
        let walk = Walk { top: &top, path, key: place.key(), rules, old, dirty, reader, home: OnceLock::new() };
        let rows = walk.run()?;
        let pin = folder_pin(&rows.folders[0]);
        self.keep(place.key(), rows, known.marks());
        Ok(pin)
    }

    /// Trusts a file that the caller renamed away and back, if only the ctime differs: another process may have written
    /// to it.
    pub fn trust_returned(&self, place: &TrackedPath, pin: &Pin) -> Result<()> {
        if pin.is_dir() {
            return self.trust(place, pin);
        }
        let seen = self.stat(place).map_err(|e| Error::io("look at", place.on_disk(&self.top), e))?;
        let known = self.known(place.key());
        let is_same = single(known.view()).is_some_and(|row| {
            row.flags == 0
                && row.id == pin.id
                && row.stat.size == seen.stat.size
                && same_but_renamed(&row.stat, &seen.stat)
        });
        if is_same {
            return self.trust(place, pin);
        }
        self.forget(place.key());
        Ok(())
    }

    /// Records the content of a path that the caller renamed, linked or wrote itself. For a folder, takes over the
    /// known rows of the folder with this inode and content, so that moving a folder away and back hashes nothing;
    /// without such rows the next scan hashes.
    pub fn trust(&self, place: &TrackedPath, pin: &Pin) -> Result<()> {
        let seen = self.stat(place).map_err(|e| Error::io("look at", place.on_disk(&self.top), e))?;
        let stamp = self.stamp();
        let racy = if stamp.is_racy_after_rename(&seen.stat, seen.device) { RACY } else { 0 };
        let known = self.known(place.key());
        if !pin.is_dir() {
            if !seen.is_file() || seen.stat.size != pin.size {
                self.forget(place.key());
                return Ok(());
            }
            let row = self.file_row(pin.id, &seen, racy);
            self.learn(place.key(), Rows { files: vec![row], ..Rows::default() }, known.marks());
            return Ok(());
        }
        let fits = |view: View<'_>| {
            view.folders.first().is_some_and(|row| row.id == pin.id && same_but_renamed(&row.stat, &seen.stat))
        };
        let found = if fits(known.view()) { Some(known.to_top()) } else { self.find_top(fits) };
        let Some(mut top) = found else {
            self.forget(place.key());
            return Ok(());
        };
        let row = &mut top.rows.folders[0];
        row.stat = seen.stat;
        row.flags |= u32::from(racy);
        self.learn(place.key(), top.rows, TopMarks { base: known.marks().base, ..top.marks });
        Ok(())
    }

    /// The entries below a scanned folder, in the order of the walk; `None` if it was not scanned.
    pub fn list_entries(&self, place: &TrackedPath) -> Option<Vec<ListedEntry>> {
        let known = self.known(place.key());
        let view = known.view();
        view.folders.first()?;
        let mut all = Vec::with_capacity(view.files.len());
        for folder in view.folders {
            let path = view.path(folder);
            if !path.is_empty() && folder.count > 0 {
                let (path, kind) = (path.to_vec(), EntryKind::Tree);
                all.push(ListedEntry { path, kind, id: folder.id, size: folder.bytes });
            }
            all.extend(view.files_of(folder).iter().map(|row| ListedEntry {
                path: join(path, view.name(row)),
                kind: EntryKind::from_byte(row.kind).unwrap_or(EntryKind::File),
                id: row.id,
                size: row.stat.size,
            }));
        }
        Some(all)
    }

    /// Forgets a path: the next scan reads it again.
    pub fn forget_place(&self, place: &TrackedPath) {
        self.forget(place.key());
    }

    /// Keeps the rows of a path but trusts none: the next scan reads the files again, and a checkout takes none of them
    /// over.
    pub fn distrust(&self, place: &TrackedPath) {
        let known = self.known(place.key());
        let mut top = known.to_top();
        top.rows.files.iter_mut().for_each(|row| row.flags |= RACY);
        top.rows.folders.iter_mut().for_each(|row| row.flags |= u32::from(RACY));
        if !matches!(known, TopRows::Nothing) {
            self.learn(place.key(), top.rows, top.marks);
        }
    }

    /// The pin of a path at its last scan, without scanning again.
    pub fn remembered(&self, place: &TrackedPath) -> Option<Pin> {
        let known = self.known(place.key());
        known.view().folders.first().map(folder_pin).or_else(|| single(known.view()).map(file_pin))
    }

    /// Forgets the tops that no longer exist on the disk and that `keep` does not name.
    pub fn drop_missing(&self, keep: &dyn Fn(&[u8]) -> bool) {
        let gone = |key: &[u8]| !keep(key) && rustix::fs::lstat(self.top.join(paths::to_path(key))).is_err();
        for (key, _, _) in self.loaded.iter().filter(|(key, _, _)| gone(key)) {
            self.drop_top(key);
        }
        let learnt: Vec<Vec<u8>> = self.read().keys().filter(|key| gone(key)).cloned().collect();
        learnt.iter().for_each(|key| self.drop_top(key));
    }

    /// Writes the index, unless repeating the new work costs the next scan less than the write. Without fsync: after a
    /// crash a torn file fails its checksum and counts as empty.
    pub fn save(&self) -> Result<()> {
        if self.loaded.newer {
            return Ok(());
        }
        let work = self.unsaved_work.load(Ordering::Relaxed);
        let is_worth_it = work > 0 && work >= self.loaded.size() / SIZE_TO_WORK;
        if !self.unsaved.swap(false, Ordering::AcqRel) && !is_worth_it {
            return Ok(());
        }
        self.unsaved_work.store(0, Ordering::Relaxed);
        // A copy, since the checksum uses all threads, and some of them may wait to change the map.
        let learnt = self.read().clone();
        let mut tops: Vec<_> = self.loaded.iter().filter(|(key, _, _)| !learnt.contains_key(*key)).collect();
        let new = learnt.iter().filter_map(|(key, top)| Some((key.as_slice(), top.as_ref()?)));
        tops.extend(new.map(|(key, top)| (key, top.rows.view(), top.marks)));
        tops.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let bytes = format::encode(&tops, u32::from(self.file_mode));
        let write = || {
            std::fs::create_dir_all(self.file.parent().unwrap_or(&self.top))?;
            let beside = paths::temp_sibling(&self.file);
            std::fs::write(&beside, &bytes).and_then(|()| std::fs::rename(&beside, &self.file)).inspect_err(|_| {
                let _ = std::fs::remove_file(&beside);
            })
        };
        write().map_err(|e: std::io::Error| {
            self.unsaved.store(true, Ordering::Release);
            Error::io("write", &self.file, e)
        })
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.clock.stamp(self.file.parent().unwrap_or(&self.top))
    }

    fn stat(&self, place: &TrackedPath) -> rustix::io::Result<Seen> {
        let TrackedPath::Inside(path) = place else { return Seen::stat(&place.on_disk(&self.top)) };
        let name = if path.is_root() { "." } else { path.as_str() };
        let seen = rustix::fs::statat(self.open_top()?, name, AtFlags::SYMLINK_NOFOLLOW).map(Seen::from)?;
        self.note_link(place.key(), seen.is_link());
        if !seen.is_link() {
            return Ok(seen);
        }
        rustix::fs::statat(self.open_top()?, name, AtFlags::empty()).map(Seen::from)
    }

    fn note_link(&self, key: &[u8], is_link: bool) {
        if is_link != self.is_link(key) {
            let mut links = self.links.write().unwrap_or_else(|e| e.into_inner());
            if is_link {
                links.insert(key.to_vec())
            } else {
                links.remove(key)
            };
        }
    }

    /// Was the top at `key` a symlink at its last scan?
    fn is_link(&self, key: &[u8]) -> bool {
        self.links.read().unwrap_or_else(|e| e.into_inner()).contains(key)
    }

    fn open_top(&self) -> rustix::io::Result<&OwnedFd> {
        let fd = self.top_fd.get_or_init(|| File::open(&self.top).ok().map(OwnedFd::from));
        fd.as_ref().ok_or(Errno::NOENT)
    }

    /// The id of a file that another top holds, or that is a top below the one that is walked.
    fn recall(&self, key: &[u8], seen: &Seen) -> Option<ObjectId> {
        let fits = |row: &FileRow| row.flags == 0 && row.stat == seen.stat && row.kind != EntryKind::Symlink as u8;
        if let Some(row) = single(self.known(key).view()).filter(|row| fits(row)) {
            return Some(row.id);
        }
        let mut cuts: Vec<usize> = key.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect();
        cuts.insert(0, 0);
        cuts.into_iter().find_map(|cut| {
            let known = self.known(&key[..cut]);
            let view = known.view();
            let rest = key[cut..].strip_prefix(b"/").unwrap_or(&key[cut..]);
            find_file(view, rest).filter(|row| fits(row)).map(|row| row.id)
        })
    }

    fn file_row(&self, id: ObjectId, seen: &Seen, racy: u8) -> FileRow {
        let kind = if seen.executable && self.file_mode { EntryKind::Executable } else { EntryKind::File };
        FileRow { id, stat: seen.stat, name_at: 0, name_len: 0, kind: kind as u8, flags: racy }
    }

    fn known(&self, key: &[u8]) -> TopRows<'_> {
        match self.read().get(key) {
            Some(Some(top)) => return TopRows::Learnt(top.clone()),
            Some(None) => return TopRows::Nothing,
            None => {}
        }
        self.loaded.find(key).map_or(TopRows::Nothing, |(view, marks)| TopRows::LoadedIndex(view, marks))
    }

    fn find_top(&self, fits: impl Fn(View<'_>) -> bool) -> Option<Top> {
        let learnt = self.read();
        if let Some(top) = learnt.values().flatten().find(|top| fits(top.rows.view())) {
            return Some((**top).clone());
        }
        let (_, view, marks) = self.loaded.iter().find(|(_, view, _)| fits(*view))?;
        Some(Top { rows: view.to_rows(), marks })
    }

    /// The rows of a folder at its last scan, for a checkout that takes over unchanged files.
    pub(super) fn rows(&self, place: &TrackedPath) -> Rows {
        self.known(place.key()).to_top().rows
    }

    /// Adopts the rows of a folder that a checkout made, with the generation of the store in which it is complete, if
    /// known.
    pub(super) fn adopt(&self, place: &TrackedPath, rows: Rows, stored: Option<(ObjectId, [u8; 16])>) {
        let stored = stored.map(|(id, generation)| StoredMark { id, generation }).unwrap_or_default();
        self.learn(place.key(), rows, TopMarks { stored, ..self.known(place.key()).marks() });
    }

    /// Keeps the result of a scan, which the next scan would find as well.
    fn keep(&self, key: &[u8], rows: Rows, marks: TopMarks) {
        self.write().insert(key.to_vec(), Some(Arc::new(Top { rows, marks })));
    }

    /// Keeps facts that no scan can find out.
    fn learn(&self, key: &[u8], rows: Rows, marks: TopMarks) {
        self.keep(key, rows, marks);
        self.unsaved.store(true, Ordering::Release);
    }

    /// Counts the work of a scan, in bytes hashed.
    fn count_work(&self, work: u64) {
        self.unsaved_work.fetch_add(work, Ordering::Relaxed);
    }

    /// Forgets the content of a path; keeps the version that the lock pinned last.
    fn forget(&self, key: &[u8]) {
        let known = self.known(key);
        let TopMarks { base, .. } = known.marks();
        if base == BaseVersion::default() {
            return self.drop_top(key);
        }
        let (view, marks) = (known.view(), TopMarks { base, ..TopMarks::default() });
        if known.marks() != marks || !view.folders.is_empty() || !view.files.is_empty() {
            self.learn(key, Rows::default(), marks);
        }
    }

    fn drop_top(&self, key: &[u8]) {
        if !matches!(self.known(key), TopRows::Nothing) {
            self.write().insert(key.to_vec(), None);
            self.unsaved.store(true, Ordering::Release);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Vec<u8>, Option<Arc<Top>>>> {
        self.learnt.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Vec<u8>, Option<Arc<Top>>>> {
        self.learnt.write().unwrap_or_else(|e| e.into_inner())
    }
}
