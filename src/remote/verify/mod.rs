//! Verifies that a remote has everything its index names, and that the bytes are right.
//!
//! One listing of `packs/` and one of `objects/` give presence and length. At a remote that cannot be listed, the last
//! byte of each file is requested. Only reading verifies the bytes: a pack is read in windows and each of its objects
//! is hashed on the way, so memory use does not depend on its size.

pub(super) mod mend;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::event::{Activity, Event, Sink};
use crate::remote::backend::ProbeResult;
use crate::remote::backend::transfer::run_parallel;
use crate::remote::catalog::segment::{Location, PackRow, SegmentName};
use crate::remote::catalog::{self, Catalog};
use crate::remote::fetch::pack_hasher::PackHasher;
use crate::remote::{MARKER, Remote, object_path, pack_path};
use crate::store::hash::Hasher;
use crate::store::pack::format::{HEADER, PackId, PackIndex, Row, check_header};
use crate::store::{ObjectId, ObjectKind};

/// The bytes per request.
const WINDOW: u64 = 8 << 20;
/// The number of windows in memory at once.
const WINDOWS: usize = 8;

/// A problem at a remote.
#[derive(Clone, Debug)]
pub struct RemoteDamage {
    /// The damaged or missing file.
    pub what: RemoteFile,
    /// A sentence without its subject.
    pub problem: String,
}

/// A file, or an object in a pack, at a remote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemoteFile {
    /// The marker file of the remote.
    Marker,
    /// A file of `index/`.
    Segment(SegmentName),
    /// A whole pack.
    Pack(PackId),
    /// One object of a pack.
    Packed(PackId, u64, ObjectId),
    /// A large object in a file of its own.
    Loose(ObjectId),
}

impl RemoteFile {
    /// Its path, relative to the remote's root.
    pub fn path(&self) -> String {
        match self {
            RemoteFile::Marker => MARKER.into(),
            RemoteFile::Segment(name) => format!("index/{}", name.as_str()),
            RemoteFile::Pack(id) => pack_path(id),
            RemoteFile::Packed(pack, offset, _) => format!("{} at {offset}", pack_path(pack)),
            RemoteFile::Loose(id) => object_path(id),
        }
    }

    /// The id of the object, if it is exactly one.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            RemoteFile::Loose(id) | RemoteFile::Packed(_, _, id) => Some(*id),
            _ => None,
        }
    }

    /// The pack that it is, or that contains it.
    pub fn pack(&self) -> Option<PackId> {
        match self {
            RemoteFile::Pack(id) | RemoteFile::Packed(id, ..) => Some(*id),
            _ => None,
        }
    }
}

/// The result of a verification.
#[derive(Default)]
pub struct Inspection {
    /// What the segments list.
    pub catalog: Arc<Catalog>,
    /// Damaged and missing files.
    pub damaged: Vec<RemoteDamage>,
    /// The number of packs that the index lists.
    pub packs: usize,
    /// Objects in files of their own.
    pub loose: usize,
    /// Bytes of all packs and large objects that the index lists.
    pub bytes: u64,
    /// Files that were read, and their bytes.
    pub read: (usize, u64),
}

/// Selects from the files that may be read, by their ids and sizes.
pub type FileChoice<'c> = &'c dyn Fn(&[(ObjectId, u64)]) -> Vec<usize>;

/// A file that the index names.
#[derive(Clone, Copy)]
enum File {
    Pack(PackId, PackRow),
    Loose(ObjectId, u64),
}

impl File {
    fn remote_file(&self) -> RemoteFile {
        match self {
            File::Pack(id, _) => RemoteFile::Pack(*id),
            File::Loose(id, _) => RemoteFile::Loose(*id),
        }
    }

    fn size(&self) -> u64 {
        match self {
            File::Pack(_, row) => row.length,
            File::Loose(_, size) => *size,
        }
    }

    fn id(&self) -> ObjectId {
        match self {
            File::Pack(id, _) => id.0,
            File::Loose(id, _) => *id,
        }
    }
}

impl Remote {
    /// Verifies everything that the remote's index names; reads the chosen files.
    pub fn inspect(&self, read: Option<FileChoice>, sink: &dyn Sink) -> Result<Inspection> {
        self.refuse_absent()?;
        let mut inspected = Inspection::default();
        let damaged = Mutex::new(Vec::new());
        let tell = |what: RemoteFile, problem: String| {
            damaged.lock().unwrap_or_else(|e| e.into_inner()).push(RemoteDamage { what, problem });
        };
        // The cache does not show what the remote has now.
        let known = if !self.marker()? && self.backend.can_list() && !self.backend.list("index")?.is_empty() {
            tell(RemoteFile::Marker, "it is missing, so this is not recognised as a remote".into());
            Arc::new(catalog::read(&self.backend, &self.memory, true)?)
        } else {
            let known = self.load_catalog(true)?;
            if !known.has_marker {
                return Err(self.missing_marker_error()?);
            }
            known
        };
        for (name, error) in &known.damaged {
            tell(RemoteFile::Segment(name.clone()), error.causes.first().unwrap_or(&error.message).clone());
        }
        let files = named(&known);
        inspected.packs = files.iter().filter(|file| matches!(file, File::Pack(..))).count();
        inspected.loose = files.len() - inspected.packs;
        inspected.bytes = files.iter().map(File::size).sum();
        self.check_presence(&files, &tell)?;
        let is_there: BTreeSet<RemoteFile> = {
            let damaged = damaged.lock().unwrap_or_else(|e| e.into_inner());
            damaged.iter().map(|d: &RemoteDamage| d.what.clone()).collect()
        };
        if let Some(choose) = read {
            let files: Vec<File> = files.into_iter().filter(|file| !is_there.contains(&file.remote_file())).collect();
            let sizes: Vec<(ObjectId, u64)> = files.iter().map(|file| (file.id(), file.size())).collect();
            let chosen: Vec<File> = choose(&sizes).into_iter().map(|at| files[at]).collect();
            let bytes = chosen.iter().map(File::size).sum();
            sink.event(Event::WorkPlanned { doing: Activity::Verifying, bytes });
            let jobs = self.jobs.min(WINDOWS);
            self.backend.set_jobs(jobs);
            run_parallel(jobs, &chosen, |file| match file {
                File::Pack(id, row) => self.read_pack(id, row, &tell, sink),
                File::Loose(id, size) => self.read_loose(id, *size, &tell, sink),
            })?;
            inspected.read = (chosen.len(), bytes);
        }
        inspected.damaged = damaged.into_inner().unwrap_or_else(|e| e.into_inner());
        inspected.damaged.sort_by(|a, b| a.what.cmp(&b.what));
        inspected.catalog = known;
        Ok(inspected)
    }

    /// Checks the presence and length of each file.
    fn check_presence(&self, files: &[File], tell: &(dyn Fn(RemoteFile, String) + Sync)) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        if !self.backend.can_list() {
            return run_parallel(self.jobs, files, |file| {
                let end = file.size();
                if end == 0 {
                    return Ok(());
                }
                match self.backend.probe(&file.remote_file().path(), end - 1..end)? {
                    ProbeResult::Bytes(_) => {}
                    ProbeResult::Gone => tell(file.remote_file(), "it is gone".into()),
                    ProbeResult::Unreadable(_) => tell(file.remote_file(), format!("it is shorter than {end} bytes")),
                }
                Ok(())
            });
        }
        let mut there: HashMap<String, u64> = HashMap::new();
        for folder in ["packs", "objects"] {
            there.extend(self.backend.list_all(folder)?);
        }
        for file in files {
            match there.get(&file.remote_file().path()) {
                None => tell(file.remote_file(), "it is gone".into()),
                Some(size) if *size != file.size() => {
                    tell(file.remote_file(), format!("it has {size} bytes, and {} were sent", file.size()));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn read_loose(
        &self,
        id: &ObjectId,
        size: u64,
        tell: &(dyn Fn(RemoteFile, String) + Sync),
        sink: &dyn Sink,
    ) -> Result<()> {
        let mut hasher = Hasher::new(ObjectKind::Content);
        let problem = self.windows(&object_path(id), 0..size, sink, &mut |bytes| hasher.update(bytes))?;
        match problem {
            Some(problem) => tell(RemoteFile::Loose(*id), problem),
            None if hasher.id() != *id => tell(RemoteFile::Loose(*id), "its bytes do not match its id".into()),
            None => {}
        }
        Ok(())
    }

    fn read_pack(
        &self,
        id: &PackId,
        row: &PackRow,
        tell: &(dyn Fn(RemoteFile, String) + Sync),
        sink: &dyn Sink,
    ) -> Result<()> {
        let whole = |problem: String| tell(RemoteFile::Pack(*id), problem);
        let index = match self.tail(id, row)? {
            Ok(index) => index,
            Err(problem) => {
                whole(problem);
                sink.event(Event::WorkDone { doing: Activity::Verifying, bytes: row.length });
                return Ok(());
            }
        };
        let mut rows: Vec<Row> = index.iter().collect();
        rows.sort_unstable_by_key(|row| (row.offset, row.length));
        let mut passing = PackHasher::new(&rows);
        let mut header = Vec::new();
        let problem = self.windows(&pack_path(id), 0..row.index, sink, &mut |bytes| {
            let missing = (HEADER as usize).saturating_sub(header.len()).min(bytes.len());
            header.extend_from_slice(&bytes[..missing]);
            passing.pass(bytes);
        })?;
        sink.event(Event::WorkDone { doing: Activity::Verifying, bytes: row.length - row.index });
        if let Some(problem) = problem {
            whole(problem);
        } else if let Some(Err(e)) = header.first_chunk().map(check_header) {
            whole(e.to_string());
        }
        for bad in passing.finish() {
            tell(RemoteFile::Packed(*id, bad.offset, bad.id), "its bytes do not match its id".into());
        }
        Ok(())
    }

    /// The index of a pack as it is at the remote now; the inner error describes its damage.
    pub(super) fn tail(&self, id: &PackId, row: &PackRow) -> Result<Result<PackIndex, String>> {
        Ok(match self.backend.probe(&pack_path(id), row.index..row.length)? {
            ProbeResult::Gone => Err("it is gone".into()),
            ProbeResult::Unreadable(problem) => Err(problem),
            ProbeResult::Bytes(bytes) => match PackIndex::parse(bytes) {
                Ok(index) if index.id() == *id => Ok(index),
                Ok(_) => Err("its index is that of another pack".into()),
                Err(e) => Err(e.to_string()),
            },
        })
    }

    /// Reads a file window by window; returns the description of its damage.
    fn windows(
        &self,
        path: &str,
        range: Range<u64>,
        sink: &dyn Sink,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<String>> {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + WINDOW);
            match self.backend.probe(path, at..end)? {
                ProbeResult::Bytes(bytes) => take(&bytes),
                ProbeResult::Gone => return Ok(Some("it is gone".into())),
                ProbeResult::Unreadable(problem) => return Ok(Some(problem)),
            }
            sink.event(Event::WorkDone { doing: Activity::Verifying, bytes: end - at });
            at = end;
        }
        Ok(None)
    }

    /// The error for a remote without data.
    pub fn no_data_error(&self) -> Error {
        Error::missing(format!("there is nothing yet at the remote {} ({})", self.name, self.url()))
            .hint(format!("lockstep push -r {}", self.name))
    }
}

/// All files that are in use: packs that outputs or results need, and large objects.
fn named(catalog: &Catalog) -> Vec<File> {
    let all = &catalog.all;
    let mut packs = catalog::packs_of(all.roots.values());
    let runs = all.runs.values().filter(|run| !all.withdrawn.contains(&run.entry));
    packs.extend(runs.map(|run| run.slice.pack));
    let mut loose: BTreeMap<ObjectId, u64> = all.loose.clone();
    for ((id, _), root) in &all.roots {
        if root.location == Location::Loose {
            loose.insert(*id, root.size);
        }
    }
    let packs = packs.iter().filter_map(|id| Some(File::Pack(*id, *all.packs.get(id)?)));
    packs.chain(loose.iter().map(|(id, size)| File::Loose(*id, *size))).collect()
}
