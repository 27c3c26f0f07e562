//! The index on disk: one file, read in one call into aligned memory and used as it is, without parsing or allocation.
//!
//! ```text
//! header (64 bytes) | tops | folder rows | file rows | names
//! ```
//! A top is one tracked path (a dep, an output, data) with the rows of its content; its row holds their ranges. Numbers
//! have the byte order of the machine: a file of the other byte order fails its magic number and counts as empty. The
//! header holds a BLAKE3 of the rest. A damaged file means an empty index, never an error, since this is a cache. A
//! file of a newer version is not replaced, and nothing is saved until the program is new enough.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::document;
use crate::store::fs::stat::FileStat;
use crate::store::id::ObjectId;

const MAGIC: u64 = u64::from_ne_bytes(*b"lockidx\n");
const VERSION: u32 = 2;

/// The row was made in the tick in which the file changed: read the file again before trusting it.
pub const RACY: u8 = 1;
/// Reached through a symlink that leads out of its top: the stat is that of the target.
pub const FOLLOWED: u8 = 2;

/// A file, or a symlink that stays a symlink.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FileRow {
    pub id: ObjectId,
    /// For a link, the stat of the link itself.
    pub stat: FileStat,
    /// The offset in the names of the top.
    pub name_at: u32,
    pub name_len: u16,
    /// An [`EntryKind`](crate::store::trees::EntryKind).
    pub kind: u8,
    pub flags: u8,
}

/// A folder. The rows of a top are in preorder, the top itself first.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FolderRow {
    /// The id of its tree.
    pub id: ObjectId,
    pub stat: FileStat,
    /// Bytes of all files below.
    pub bytes: u64,
    /// Files below, links included.
    pub count: u64,
    /// The id of the rules with which its names were listed.
    pub rules: u64,
    /// The offset of the path, relative to the top, in the names of the top.
    pub path_at: u32,
    pub path_len: u32,
    /// The files of this folder are `first..first + files` of the file rows of the top, sorted by name.
    pub first: u32,
    pub files: u32,
    /// The row after its last descendant.
    pub end: u32,
    pub flags: u32,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct TopRow {
    key_at: u64,
    key_len: u64,
    folders: [u64; 2],
    files: [u64; 2],
    names: [u64; 2],
    marks: TopMarks,
}

/// "This id was complete in that generation of the store"; zeroes for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct StoredMark {
    pub id: ObjectId,
    pub generation: [u8; 16],
}

impl StoredMark {
    /// Content was stored at this path, but no stage has it as an output any more. No content has this id.
    pub const RELEASED: StoredMark = StoredMark { id: ObjectId([0; 32]), generation: [0xff; 16] };

    /// Is the record of stored content valid?
    pub fn counts(&self) -> bool {
        *self != StoredMark::default() && *self != StoredMark::RELEASED
    }
}

/// The pin in the lock when it last matched the content of this path; zeroes for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct BaseVersion {
    pub id: ObjectId,
    pub size: u64,
    /// For a folder, the number of files plus one; 0 for a file.
    pub files: u64,
    pub executable: u64,
}

/// Facts about a top, besides its rows, that no scan can find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct TopMarks {
    pub stored: StoredMark,
    pub base: BaseVersion,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    /// Bit 0: executable bits count.
    options: u32,
    tops: u64,
    folders: u64,
    files: u64,
    /// Bytes of names.
    names: u64,
    spare: [u64; 2],
}

const HEADER: usize = size_of::<Header>();
const SUM: usize = 32;
/// Threads share the read in parts of this size, since most of the cost is page faults of new memory.
const READ: usize = 1 << 20;

/// The rows of one top, borrowed.
#[derive(Clone, Copy, Default)]
pub struct View<'a> {
    /// Empty for a top that is a file.
    pub folders: &'a [FolderRow],
    pub files: &'a [FileRow],
    pub names: &'a [u8],
}

impl<'a> View<'a> {
    pub fn name(&self, row: &FileRow) -> &'a [u8] {
        self.names.get(row.name_at as usize..row.name_at as usize + row.name_len as usize).unwrap_or(b"")
    }

    pub fn path(&self, row: &FolderRow) -> &'a [u8] {
        self.names.get(row.path_at as usize..row.path_at as usize + row.path_len as usize).unwrap_or(b"")
    }

    /// The rows of the files directly in a folder.
    pub fn files_of(&self, row: &FolderRow) -> &'a [FileRow] {
        self.files.get(row.first as usize..row.first as usize + row.files as usize).unwrap_or(&[])
    }

    /// The rows of the direct subfolders of the folder at `at`, in the order of their names.
    pub fn folders_of(self, at: usize) -> impl Iterator<Item = usize> + use<'a> {
        let end = self.end(at);
        let mut next = at + 1;
        std::iter::from_fn(move || {
            let here = next;
            next = self.end(here);
            (here < end).then_some(here)
        })
    }

    /// The row after the last descendant of the folder at `at`; always greater than `at`.
    pub fn end(&self, at: usize) -> usize {
        self.folders.get(at).map_or(at + 1, |f| (f.end as usize).clamp(at + 1, self.folders.len()))
    }
}

/// The rows of one top, owned.
#[derive(Clone, Default)]
pub struct Rows {
    pub folders: Vec<FolderRow>,
    pub files: Vec<FileRow>,
    pub names: Vec<u8>,
}

impl Rows {
    pub fn view(&self) -> View<'_> {
        View { folders: &self.folders, files: &self.files, names: &self.names }
    }

    /// Adds `name` and returns its offset; `None` if the names of one top exceed 4 GiB.
    pub fn add_name(&mut self, name: &[u8]) -> Option<u32> {
        let at = u32::try_from(self.names.len()).ok()?;
        self.names.extend_from_slice(name);
        Some(at)
    }
}

/// A whole index as read from the disk.
#[derive(Default)]
pub struct LoadedIndex {
    /// Eight bytes each, so that every row is aligned.
    memory: Vec<u64>,
    tops: Range<usize>,
    folders: Range<usize>,
    files: Range<usize>,
    names: Range<usize>,
    /// It was written by a newer lockstep, so it must not be replaced.
    pub newer: bool,
}

impl LoadedIndex {
    /// Reads an index; a missing, damaged or newer file gives an empty one.
    pub fn read(path: &Path, options: u32) -> LoadedIndex {
        LoadedIndex::try_read(path, options).unwrap_or_default()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.memory.len() as u64 * 8
    }

    fn try_read(path: &Path, options: u32) -> Option<LoadedIndex> {
        let file = document::open(path).ok()?;
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        if length < HEADER + SUM {
            return None;
        }
        let mut memory = vec![0u64; length.div_ceil(8)];
        let bytes = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut memory)[..length];
        let read = |(at, part): (usize, &mut [u8])| file.read_exact_at(part, (at * READ) as u64);
        bytes.par_chunks_mut(READ).enumerate().try_for_each(read).ok()?;
        let header: Header = bytemuck::pod_read_unaligned(&bytes[..HEADER]);
        if header.magic != MAGIC {
            return None;
        }
        if header.version > VERSION {
            return Some(LoadedIndex { newer: true, ..LoadedIndex::default() });
        }
        if header.version != VERSION || header.options != options || checksum(bytes).0 != bytes[HEADER..HEADER + SUM] {
            return None;
        }
        let mut at = HEADER + SUM;
        let mut range = |count: u64, size: usize| -> Option<Range<usize>> {
            let end = usize::try_from(count).ok()?.checked_mul(size)?.checked_add(at)?;
            Some(std::mem::replace(&mut at, end)..end)
        };
        let tops = range(header.tops, size_of::<TopRow>())?;
        let folders = range(header.folders, size_of::<FolderRow>())?;
        let files = range(header.files, size_of::<FileRow>())?;
        let names = range(header.names, 1)?;
        (names.end == length).then_some(LoadedIndex { memory, tops, folders, files, names, newer: false })
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        bytemuck::cast_slice::<u64, u8>(&self.memory).get(range.clone()).unwrap_or(&[])
    }

    fn rows<T: Pod>(&self, range: &Range<usize>) -> &[T] {
        bytemuck::try_cast_slice(self.bytes(range)).unwrap_or(&[])
    }

    fn top(&self, row: &TopRow) -> View<'_> {
        View {
            folders: part(self.rows(&self.folders), row.folders),
            files: part(self.rows(&self.files), row.files),
            names: part(self.bytes(&self.names), row.names),
        }
    }

    fn key(&self, row: &TopRow) -> &[u8] {
        part(self.bytes(&self.names), [row.key_at, row.key_len])
    }

    /// The top with this key.
    pub fn find(&self, key: &[u8]) -> Option<(View<'_>, TopMarks)> {
        let tops: &[TopRow] = self.rows(&self.tops);
        let at = tops.binary_search_by(|row| self.key(row).cmp(key)).ok()?;
        Some((self.top(&tops[at]), tops[at].marks))
    }

    /// All tops in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], View<'_>, TopMarks)> {
        self.rows::<TopRow>(&self.tops).iter().map(|row| (self.key(row), self.top(row), row.marks))
    }
}

fn part<T>(all: &[T], [at, count]: [u64; 2]) -> &[T] {
    let range = || Some(usize::try_from(at).ok()?..usize::try_from(at.checked_add(count)?).ok()?);
    range().and_then(|r| all.get(r)).unwrap_or(&[])
}

/// The checksum of everything except its own field.
fn checksum(bytes: &[u8]) -> ObjectId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..HEADER]).update_rayon(&bytes[HEADER + SUM..]);
    ObjectId(*hasher.finalize().as_bytes())
}

/// The bytes of an index that holds `tops`, which are sorted by key.
pub fn encode(tops: &[(&[u8], View<'_>, TopMarks)], options: u32) -> Vec<u8> {
    let mut header =
        Header { magic: MAGIC, version: VERSION, options, tops: 0, folders: 0, files: 0, names: 0, spare: [0; 2] };
    let mut rows = Vec::with_capacity(tops.len());
    for (key, view, marks) in tops {
        let names = [header.names, view.names.len() as u64];
        rows.push(TopRow {
            key_at: names[0] + names[1],
            key_len: key.len() as u64,
            folders: [header.folders, view.folders.len() as u64],
            files: [header.files, view.files.len() as u64],
            names,
            marks: *marks,
        });
        header.tops += 1;
        header.folders += view.folders.len() as u64;
        header.files += view.files.len() as u64;
        header.names += (view.names.len() + key.len()) as u64;
    }
    let body = rows.len() * size_of::<TopRow>()
        + header.folders as usize * size_of::<FolderRow>()
        + header.files as usize * size_of::<FileRow>()
        + header.names as usize;
    let mut bytes = Vec::with_capacity(HEADER + SUM + body);
    bytes.extend_from_slice(bytemuck::bytes_of(&header));
    bytes.extend_from_slice(&[0; SUM]);
    bytes.extend_from_slice(bytemuck::cast_slice(&rows));
    tops.iter().for_each(|(_, view, _)| bytes.extend_from_slice(bytemuck::cast_slice(view.folders)));
    tops.iter().for_each(|(_, view, _)| bytes.extend_from_slice(bytemuck::cast_slice(view.files)));
    for (key, view, _) in tops {
        bytes.extend_from_slice(view.names);
        bytes.extend_from_slice(key);
    }
    let sum = checksum(&bytes);
    bytes[HEADER..HEADER + SUM].copy_from_slice(&sum.0);
    bytes
}
