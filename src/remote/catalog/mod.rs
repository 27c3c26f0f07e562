//! The content of a remote according to its segments: one listing of `index/`, and a request for each segment that is
//! not cached yet. Segments never change, so the clone caches them, and the indexes of packs as well:
//!
//! ```text
//! <git common dir>/lockstep/remotes/<hash of the url>/
//!   index/<name>       segments, as they are at the remote
//!   packs/<id>.index   tails of packs
//! ```
//!
//! A damaged or missing file of the cache is fetched again, and a segment that the remote does not list any more is
//! ignored. A cached segment also shows that this clone has used the remote: see `lost`.

pub mod lost;
pub mod marks;
pub(super) mod segment;
pub(super) mod summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::remote::backend::Backend;
use crate::remote::backend::cap;
use crate::remote::catalog::marks::{Marks, Note, NoteKind, NoteName, ObjectSet};
use segment::{Location, Root, RunRow, Segment, SegmentName, root_key};

use crate::replace::write_named;
use crate::store::pack::format::{PackId, PackIndex};
use crate::store::{ObjectId, ObjectKind, Pin};

/// How often the list is read again: a segment that vanishes during the read was merged into another one.
const PATIENCE: usize = 5;

/// All segments of a remote, merged.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Whether the file `lockstep-remote` exists. Without it the location may be new, or the URL wrong.
    pub has_marker: bool,
    /// The readable segments of the listing; [`Catalog::listed`] includes damaged ones.
    pub names: BTreeSet<SegmentName>,
    /// The rows of all readable segments, merged.
    pub all: Segment,
    /// Segments that cannot be read, with the error: their content is not known.
    pub damaged: Vec<(SegmentName, Error)>,
    /// The notes beside the segments.
    pub marks: Marks,
    /// What the notes mark for removal.
    pub marked: ObjectSet,
    by_key: HashMap<ObjectId, Vec<ObjectId>>,
}

impl Catalog {
    fn new(segments: impl IntoIterator<Item = (SegmentName, Segment)>) -> Catalog {
        let mut catalog = Catalog::default();
        for (name, segment) in segments {
            catalog.names.insert(name);
            catalog.all.absorb(segment);
        }
        for run in catalog.all.runs.values() {
            catalog.by_key.entry(run.key).or_default().push(run.entry);
        }
        catalog
    }

    /// All segments of the listing, including damaged ones.
    pub fn listed(&self) -> impl Iterator<Item = &SegmentName> {
        self.names.iter().chain(self.damaged.iter().map(|(name, _)| name))
    }

    /// The location of an output, if the remote has all of it.
    pub fn root(&self, pin: &Pin) -> Option<&Root> {
        let kind = if pin.is_dir() { ObjectKind::Tree } else { ObjectKind::Content };
        self.all.roots.get(&root_key(pin.id, kind))
    }

    /// The entries of a stage key that are not withdrawn, the newest first.
    pub fn runs(&self, key: &ObjectId) -> Vec<RunRow> {
        let entries = self.by_key.get(key).into_iter().flatten();
        let mut runs: Vec<RunRow> = entries
            .filter(|entry| !self.all.withdrawn.contains(*entry))
            .filter_map(|entry| self.all.runs.get(entry).copied())
            .collect();
        runs.sort_by_key(|run| (std::cmp::Reverse(run.time), run.entry));
        runs
    }

    /// The same, but `None` if it is marked for removal: to rely on it, a push has to write a `kept` note.
    pub fn lasting_root(&self, pin: &Pin) -> Option<&Root> {
        self.root(pin).filter(|_| !self.marked.roots.contains(&(pin.id, pin.is_dir())))
    }
}

/// The packs that some outputs need.
pub fn packs_of<'a>(roots: impl IntoIterator<Item = &'a Root>) -> BTreeSet<PackId> {
    let mut packs = BTreeSet::new();
    for root in roots {
        match &root.location {
            Location::Loose => {}
            Location::Packed(slice) => drop(packs.insert(slice.pack)),
            Location::Tree(more) => packs.extend(more),
        }
    }
    packs
}

/// The cache of a remote in this clone.
pub struct Memory {
    dir: PathBuf,
    /// How many pack indexes were read.
    #[cfg(test)]
    pub reads: std::sync::atomic::AtomicUsize,
}

impl Memory {
    /// A cache in `dir`, which is created by the first write.
    pub(super) fn new(dir: PathBuf) -> Memory {
        Memory {
            dir,
            #[cfg(test)]
            reads: Default::default(),
        }
    }

    fn segment_path(&self, name: &SegmentName) -> PathBuf {
        self.dir.join("index").join(name.as_str())
    }

    /// A segment and its size in bytes.
    fn segment(&self, name: &SegmentName) -> Option<(Segment, u64)> {
        let bytes = fs::read(self.segment_path(name)).ok()?;
        let length = bytes.len() as u64;
        Segment::parse(&bytes).ok().filter(|_| name.fits(&bytes)).map(|segment| (segment, length))
    }

    /// The bytes of a segment, if it is cached.
    pub fn segment_bytes(&self, name: &SegmentName) -> Option<Vec<u8>> {
        fs::read(self.segment_path(name)).ok().filter(|bytes| name.fits(bytes) && Segment::parse(bytes).is_ok())
    }

    /// The names of the cached segments.
    pub fn segments(&self) -> BTreeSet<SegmentName> {
        let entries = fs::read_dir(self.dir.join("index")).into_iter().flatten().flatten();
        entries.filter_map(|entry| SegmentName::parse(entry.file_name().to_str()?)).collect()
    }

    /// Deletes all cached segments, as if the remote had never been used.
    pub fn forget(&self) -> Result<()> {
        let index = self.dir.join("index");
        match fs::remove_dir_all(&index) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", &index, e)),
            _ => Ok(()),
        }
    }

    /// Caches a segment. A failure is ignored: the segment is fetched again.
    pub fn cache_segment(&self, name: &SegmentName, bytes: &[u8]) {
        write_cached(&self.segment_path(name), bytes);
    }

    fn note(&self, file: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.join("index").join(file)).ok()
    }

    fn cache_note(&self, file: &str, bytes: &[u8]) {
        write_cached(&self.dir.join("index").join(file), bytes);
    }

    /// Deletes cached files that the remote does not list any more.
    fn prune(&self, segments: &BTreeSet<SegmentName>, notes: &BTreeSet<NoteName>) {
        for entry in fs::read_dir(self.dir.join("index")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_listed = SegmentName::parse(name).is_some_and(|name| segments.contains(&name));
            if !is_listed && NoteName::parse(name).is_none_or(|note| !notes.contains(&note)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn index_path(&self, pack: &PackId) -> PathBuf {
        self.dir.join("packs").join(format!("{pack}.index"))
    }

    /// The cached index of a pack.
    pub fn index(&self, pack: &PackId) -> Option<Arc<PackIndex>> {
        #[cfg(test)]
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let index = PackIndex::parse(fs::read(self.index_path(pack)).ok()?).ok()?;
        (index.id() == *pack).then(|| Arc::new(index))
    }

    /// Caches the index of a pack. A failure is ignored.
    pub fn cache_index(&self, index: &PackIndex) {
        write_cached(&self.index_path(&index.id()), index.tail());
    }
}

fn write_cached(path: &Path, bytes: &[u8]) {
    let made = path.parent().map(fs::create_dir_all);
    if made.is_some_and(|made| made.is_ok()) {
        let _ = write_named(path, bytes);
    }
}

/// Reads the catalog of a remote. A remote that was never written to is empty. With `from_scratch` the cache is
/// ignored: the segments at the remote may be damaged by now.
///
/// Where nothing can be listed the summary may be out of date: cached segments are requested as well. An announced
/// segment that is missing (a push is under way, or was killed) is skipped once a second read finds the same.
pub fn read(backend: &Backend, memory: &Memory, from_scratch: bool) -> Result<Catalog> {
    let mut gone_before = None;
    for _ in 0..PATIENCE {
        let listed = list(backend)?;
        let unlisted = if backend.can_list() { BTreeSet::new() } else { &memory.segments() - &listed.segments };
        let (mut segments, mut left) = (BTreeMap::new(), cap::SEGMENTS);
        let mut damaged = Vec::new();
        let mut gone = BTreeSet::new();
        for name in listed.segments.iter().chain(&unlisted) {
            let is_listed = listed.segments.contains(name);
            let (segment, length) = match memory.segment(name).filter(|_| !from_scratch && is_listed) {
                Some(known) => known,
                None => match fetch(backend, memory, name, left.min(cap::SEGMENT))? {
                    SegmentState::Whole(segment, length) => (segment, length),
                    SegmentState::Damaged(error) => {
                        damaged.push((name.clone(), error));
                        continue;
                    }
                    SegmentState::Gone => {
                        gone.extend(is_listed.then(|| name.clone()));
                        continue;
                    }
                },
            };
            left = left.saturating_sub(length);
            segments.insert(name.clone(), segment);
        }
        if gone.is_empty() || !backend.can_list() && gone_before.as_ref() == Some(&gone) {
            let there = segments.keys().chain(damaged.iter().map(|(name, _)| name)).cloned().collect();
            memory.prune(&there, &listed.notes);
            let marks = marks(backend, memory, listed.notes)?;
            let marked = marks.all_marked();
            return Ok(Catalog { has_marker: true, damaged, marks, marked, ..Catalog::new(segments) });
        }
        gone_before = Some(gone);
    }
    let gone = gone_before.iter().flatten().map(SegmentName::as_str).next().unwrap_or_default();
    let message = format!("the remote {} lists index/{gone} and does not have it", backend.url());
    Err(Error::new(Kind::Remote, message).hint("another process may be writing to it: try again in a moment"))
}

/// The content of `index/`.
pub struct Listed {
    /// The names of segments; files with other names are ignored.
    pub segments: BTreeSet<SegmentName>,
    /// The names of notes; empty where nothing can be listed.
    pub notes: BTreeSet<NoteName>,
}

/// Lists `index/`, or reads the summary where nothing can be listed.
pub fn list(backend: &Backend) -> Result<Listed> {
    if !backend.can_list() {
        return Ok(Listed { segments: summary::read_alone(backend)?, notes: BTreeSet::new() });
    }
    let files = backend.list("index")?;
    let segments = files.iter().filter_map(|name| SegmentName::parse(name)).collect();
    Ok(Listed { segments, notes: files.iter().filter_map(|name| NoteName::parse(name)).collect() })
}

/// Reads the notes. A note that vanishes during the read has been processed.
fn marks(backend: &Backend, memory: &Memory, names: BTreeSet<NoteName>) -> Result<Marks> {
    let mut marks = Marks::default();
    for note in names.iter().filter(|note| note.kind != NoteKind::Removing) {
        let file = note.file_name();
        let known = memory.note(&file).filter(|bytes| note.name.fits(bytes));
        let is_new = known.is_none();
        let Some(bytes) =
            known.map_or_else(|| backend.get(&format!("index/{file}"), cap::NOTE), |bytes| Ok(Some(bytes)))?
        else {
            continue;
        };
        match Note::parse(&bytes).filter(|_| note.name.fits(&bytes)) {
            Some(said) if note.kind == NoteKind::Marked => marks.marked.push((note.name.clone(), said.things)),
            Some(said) => marks.kept.push(said),
            None if note.name.fits(&bytes) && Note::is_newer(&bytes) => {
                return Err(newer(backend, &format!("index/{file}")));
            }
            None => {
                marks.is_doubtful = true;
                continue;
            }
        }
        if is_new {
            memory.cache_note(&file, &bytes);
        }
    }
    Ok(Marks { names, ..marks })
}

enum SegmentState {
    /// The segment and its length in bytes.
    Whole(Segment, u64),
    Damaged(Error),
    Gone,
}

fn fetch(backend: &Backend, memory: &Memory, name: &SegmentName, most: u64) -> Result<SegmentState> {
    let path = format!("index/{}", name.as_str());
    let Some(bytes) = backend.get(&path, most)? else { return Ok(SegmentState::Gone) };
    let damaged = |why: &str| {
        let message = format!("{path} at the remote {} is damaged", backend.url());
        SegmentState::Damaged(Error::new(Kind::Remote, message).because(why))
    };
    match Segment::parse(&bytes) {
        Err(e) if e.is_newer() => Err(newer(backend, &path)),
        Err(e) => Ok(damaged(e.0)),
        Ok(_) if !name.fits(&bytes) => Ok(damaged("its name is not that of its bytes")),
        Ok(segment) => {
            memory.cache_segment(name, &bytes);
            Ok(SegmentState::Whole(segment, bytes.len() as u64))
        }
    }
}

fn newer(backend: &Backend, path: &str) -> Error {
    Error::new(Kind::Remote, format!("{path} at the remote {} was written by a newer lockstep", backend.url()))
        .hint("install a newer lockstep")
}
