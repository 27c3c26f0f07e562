//! Pushing: what a remote lacks is planned from its catalog, transferred, and then listed in a new segment.

pub(super) mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::remote::backend::StreamError;
use crate::remote::backend::transfer::{PackReader, Permits, run_parallel};
use crate::remote::catalog::marks::{LEASE, Note, NoteKind, NoteName, ObjectSet};
use crate::remote::catalog::segment::{Location, PackRow, Root, RunRow, Segment, SegmentName, Slice, root_key};
use crate::remote::catalog::{self, Catalog, packs_of};
use crate::remote::{MARKER, Remote, Wanted, is_large, object_path, pack_path};
use crate::store::pack::Pack;
use crate::store::pack::format::{MOST_OBJECTS, PackId, PackIndex, PackWriter, TARGET};
use crate::store::{ObjectId, ObjectKind, ObjectRef, Pin, Store};
use plan::{PushPlan, plan};

/// More segments than this are merged into one.
const MOST_SEGMENTS: usize = 64;
/// How often a push reads a remote again when objects are marked during the push.
const PATIENCE: usize = 5;
/// No upload takes this many seconds: an older temporary object is a leftover of a killed process.
const LEFT: u64 = 24 * 60 * 60;
/// The number of packs in memory while they are made.
const PACKS_AT_ONCE: usize = 2;

/// An entry of the run cache to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// The stage key.
    pub key: ObjectId,
    /// The entry as it is in the run cache.
    pub bytes: Vec<u8>,
    /// Its outputs: an entry is useful only with all of them.
    pub outs: Vec<Pin>,
    /// When it ran, in seconds since 1970.
    pub time: u64,
}

/// The input of a push.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// Outputs and data to send, whatever the remote has.
    pub wanted: Vec<Wanted>,
    /// Results of the run cache; one is sent only if the remote then has all its outputs.
    pub runs: Vec<RunEntry>,
    /// Send everything, even what the remote lists: something there was damaged.
    pub again: bool,
}

/// The result of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushResult {
    /// Outputs that this push added to the remote.
    pub pushed: Vec<Wanted>,
    /// Outputs that neither the store nor the remote has.
    pub absent: Vec<Wanted>,
    /// The number of results that were sent.
    pub runs: usize,
    /// The number of objects that were sent, trees included.
    pub objects: usize,
    /// Bytes of these objects and results.
    pub bytes: u64,
}

/// One transfer.
enum Transfer<'p> {
    Whole(&'p Pack),
    /// A new pack of small objects and entries of the run cache.
    NewPack(Vec<ObjectRef>, &'p [RunEntry]),
    Large(ObjectRef),
}

impl Remote {
    /// Sends the requested data that the remote lacks.
    ///
    /// Errors: the remote may not be written, or does not answer; [`Kind::Busy`] while another process removes data
    /// from it. Objects that were sent before the error are listed by no segment yet.
    pub fn push(&self, store: &Store, request: &PushRequest, sink: &dyn Sink) -> Result<PushResult> {
        self.must_be_writable()?;
        let mut catalog = self.load_catalog(request.again)?;
        let mut plan = self.plan_push(store, &catalog, request)?;
        // Marked data that this push relies on is kept: the note is written first and the catalog read again, so that a
        // concurrent removal sees it.
        let mut counted = relied_on(&catalog, &plan, request).intersection(&catalog.marked);
        let is_counted = !counted.is_empty();
        for _ in 0..PATIENCE {
            if counted.is_empty() {
                break;
            }
            self.write_kept_note(&catalog, counted)?;
            catalog = self.read_catalog_again()?;
            plan = self.plan_push(store, &catalog, request)?;
            counted = relied_on(&catalog, &plan, request).intersection(&catalog.marked);
        }
        if is_counted || !plan.is_empty() {
            self.must_be_free(&catalog)?;
        }
        let mut pushed = PushResult { absent: plan.absent.clone(), ..PushResult::default() };
        for (_, error) in &catalog.damaged {
            sink.event(Event::Warning { text: &format!("{}; its data is sent again", error.message) });
        }
        if plan.is_empty() {
            if catalog.listed().next().is_some() {
                self.warn_of_summary(self.repair_summary(&catalog), sink)?;
            }
            return Ok(pushed);
        }
        if catalog.names.is_empty() {
            self.backend.make_folder(MARKER)?;
            self.write_marker()?;
        }
        let segment = self.send(store, &catalog, &plan, request.again, sink)?;
        let written = self.record(&catalog, segment)?;
        if request.again {
            for (name, _) in catalog.damaged.iter().filter(|(name, _)| *name != written) {
                self.remove_segments([name])?;
            }
        }
        self.warn_of_summary(self.publish(), sink)?;
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = None;
        // Every writer removes old temporary objects; a leftover does no harm.
        let _ = self.backend.remove_stale_uploads(self.now.saturating_sub(LEFT));
        pushed.pushed = plan.roots.iter().map(|(wanted, _)| wanted.clone()).filter(|w| !w.name.is_empty()).collect();
        (pushed.runs, pushed.objects, pushed.bytes) = (plan.runs.len(), plan.objects(), plan.bytes());
        Ok(pushed)
    }

    /// Withdraws entries of the run cache, so that readers do not find them any more. Returns how many of them the
    /// remote had.
    pub fn withdraw(&self, entries: &BTreeSet<ObjectId>) -> Result<usize> {
        self.must_be_writable()?;
        let catalog = self.catalog()?;
        let is_there = |id: &&ObjectId| catalog.all.runs.contains_key(*id) && !catalog.all.withdrawn.contains(*id);
        let withdrawn: BTreeSet<ObjectId> = entries.iter().filter(is_there).copied().collect();
        let gone = withdrawn.len();
        if gone > 0 {
            self.record(&catalog, Segment { withdrawn, ..Segment::default() })?;
            self.publish()?;
            *self.known.lock().unwrap_or_else(|e| e.into_inner()) = None;
        }
        Ok(gone)
    }

    /// Writes a `kept` note: objects that are needed despite the existing marks.
    fn write_kept_note(&self, catalog: &Catalog, things: ObjectSet) -> Result<()> {
        let of = catalog.marks.marked.iter().map(|(name, _)| name.clone()).collect();
        self.put_note(NoteKind::Kept, self.now, &Note { of, things }.encode()).map(drop)
    }

    fn must_be_free(&self, catalog: &Catalog) -> Result<()> {
        catalog.marks.removing(self.now).map_or(Ok(()), |note| Err(self.busy(note)))
    }

    pub(super) fn busy(&self, note: &NoteName) -> Error {
        let message =
            format!("another process is removing data from the remote {} ({}) right now", self.name, self.url());
        let minutes = note.name.seconds().saturating_add(LEASE).saturating_sub(self.now).div_ceil(60);
        Error::new(Kind::Busy, message).hint("try again in a few minutes").hint(format!(
            "if that process was killed: its lease ends in {minutes} minutes, or remove index/{} there",
            note.file_name()
        ))
    }

    /// Plans a push.
    fn plan_push(&self, store: &Store, catalog: &Catalog, request: &PushRequest) -> Result<PushPlan> {
        let packs = &catalog.all.packs;
        let any_new = request.wanted.iter().any(|wanted| catalog.root(&wanted.pin).is_none()) && !request.again;
        let mut indexes: Vec<Arc<PackIndex>> =
            if any_new { packs.keys().filter_map(|id| self.memory.index(id)).collect() } else { Vec::new() };
        let first = plan(store, catalog, &indexes, request)?;
        // Indexes of packs from other clones are read if that may save much more than it costs.
        let known: HashSet<PackId> = indexes.iter().map(|index| index.id()).collect();
        let unknown: Vec<(PackId, PackRow)> =
            packs.iter().filter(|(id, _)| !known.contains(id)).map(|(id, row)| (*id, *row)).collect();
        let cost: u64 = unknown.iter().map(|(_, row)| row.length - row.index + (64 << 10)).sum();
        if !any_new || unknown.is_empty() || first.small_bytes() / 4 < cost {
            return Ok(first);
        }
        let more: Mutex<Vec<Arc<PackIndex>>> = Mutex::default();
        run_parallel(self.jobs, &unknown, |(id, row)| {
            // A missing index costs duplicates, nothing more.
            if let Ok(Ok(index)) = self.index(id, row) {
                more.lock().unwrap_or_else(|e| e.into_inner()).push(index);
            }
            Ok(())
        })?;
        indexes.extend(more.into_inner().unwrap_or_else(|e| e.into_inner()));
        plan(store, catalog, &indexes, request)
    }

    /// Transfers the data and returns the new locations.
    fn send(&self, store: &Store, catalog: &Catalog, plan: &PushPlan, again: bool, sink: &dyn Sink) -> Result<Segment> {
        let mut jobs: Vec<Transfer> = plan.whole.iter().map(|pack| Transfer::Whole(pack)).collect();
        let mut some = Vec::new();
        let mut size = 0;
        for object in &plan.small {
            let is_full = size + object.size > TARGET || some.len() + plan.runs.len() >= MOST_OBJECTS;
            if is_full && !some.is_empty() {
                jobs.push(Transfer::NewPack(std::mem::take(&mut some), &[]));
                size = 0;
            }
            size += object.size;
            some.push(*object);
        }
        if !some.is_empty() || !plan.runs.is_empty() {
            jobs.push(Transfer::NewPack(some, &plan.runs));
        }
        jobs.extend(plan.large.iter().map(|object| Transfer::Large(*object)));
        sink.event(Event::WorkPlanned { doing: Activity::Pushing, bytes: plan.bytes() });
        let done = |bytes| sink.event(Event::WorkDone { doing: Activity::Pushing, bytes });
        let (segment, permits) = (Mutex::new(Segment::default()), Permits::new(PACKS_AT_ONCE));
        let packed: Mutex<HashMap<ObjectId, Slice>> = Mutex::default();
        let told = |index: &PackIndex| {
            let pack = index.id();
            let length = index.file_length();
            let row = PackRow { length, index: length - index.tail().len() as u64, count: index.len() as u64 };
            self.memory.cache_index(index);
            let mut packed = packed.lock().unwrap_or_else(|e| e.into_inner());
            packed.extend(index.iter().map(|r| (r.id, Slice { pack, offset: r.offset, length: r.length })));
            segment.lock().unwrap_or_else(|e| e.into_inner()).packs.insert(pack, row);
        };
        self.backend.set_jobs(self.jobs.min(jobs.len()));
        run_parallel(self.jobs, &jobs, |job| match job {
            Transfer::Whole(pack) => {
                self.send_pack(store, pack, again, &done)?;
                told(&pack.index);
                Ok(())
            }
            Transfer::NewPack(objects, runs) => permits.with(|| {
                let (bytes, index) = make_pack(store, objects, runs)?;
                // The same objects make the same pack, which may be marked for removal.
                if catalog.marked.packs.contains(&index.id()) {
                    self.write_kept_note(catalog, ObjectSet { packs: [index.id()].into(), ..ObjectSet::default() })?;
                    self.must_be_free(&*self.read_catalog_again()?)?;
                }
                self.backend.put(&pack_path(&index.id()), bytes, again)?;
                done(index.iter().map(|row| row.length).sum());
                told(&index);
                Ok(())
            }),
            Transfer::Large(object) => {
                self.send_large(store, object, again, &done)?;
                let mut segment = segment.lock().unwrap_or_else(|e| e.into_inner());
                segment.loose.insert(object.id, object.size);
                Ok(())
            }
        })?;
        let mut segment = segment.into_inner().unwrap_or_else(|e| e.into_inner());
        let packed = packed.into_inner().unwrap_or_else(|e| e.into_inner());
        self.add_rows(plan, &packed, &mut segment)?;
        Ok(segment)
    }

    /// Sends a local pack and verifies each object on the way.
    pub(super) fn send_pack(&self, store: &Store, pack: &Pack, again: bool, done: &dyn Fn(u64)) -> Result<()> {
        let cannot = |e| Error::io("read", &pack.path, e);
        self.with_retries(|| {
            let mut reader = PackReader::open(pack).map_err(|e| StreamError::Remote(cannot(e)))?;
            let sent =
                self.backend.put_stream(&pack_path(&pack.id), &mut reader, pack.index.file_length(), again, done);
            sent.map_err(|broken| match (broken, reader.damaged) {
                // The store finds the damage too, quarantines the pack and reports it.
                (StreamError::Source(e), Some(row)) => {
                    StreamError::Remote(store.read(&row.id, row.kind).err().unwrap_or_else(|| cannot(e)))
                }
                (StreamError::Source(e), None) => StreamError::Remote(cannot(e)),
                (broken, _) => broken,
            })
        })
    }

    fn with_retries(&self, attempt: impl FnMut() -> Result<(), StreamError>) -> Result<()> {
        self.backend.with_retries(attempt).map_err(|broken| match broken {
            StreamError::Remote(e) | StreamError::Again(e) => e,
            StreamError::Source(e) => Error::new(Kind::Io, "what is pushed cannot be read").because(e),
        })
    }

    pub(super) fn send_large(&self, store: &Store, object: &ObjectRef, again: bool, done: &dyn Fn(u64)) -> Result<()> {
        self.with_retries(|| {
            let mut reader = store.open_content(&object.id).map_err(StreamError::Remote)?;
            let sent = self.backend.put_stream(&object_path(&object.id), &mut reader, object.size, again, done);
            sent.map_err(|broken| match broken {
                StreamError::Source(e) => StreamError::Remote(reader.fault(store, e)),
                broken => broken,
            })
        })
    }

    /// The locations of the new roots and entries, as rows of the segment.
    fn add_rows(&self, plan: &PushPlan, packed: &HashMap<ObjectId, Slice>, segment: &mut Segment) -> Result<()> {
        let catalog = self.catalog()?;
        let mut indexes: BTreeMap<PackId, Option<Arc<PackIndex>>> = BTreeMap::new();
        let mut old_packs = BTreeSet::new();
        let mut slice = |id: &ObjectId| -> Option<Slice> {
            if let Some(slice) = packed.get(id) {
                return Some(*slice);
            }
            let pack = *plan.there.get(id)?;
            let index = indexes.entry(pack).or_insert_with(|| self.memory.index(&pack));
            let row = index.as_ref()?.find(id)?;
            old_packs.insert(pack);
            Some(Slice { pack, offset: row.offset, length: row.length })
        };
        let lost = |id: &ObjectId| Error::new(Kind::Bug, format!("the location of {id} is not known"));
        for (wanted, objects) in &plan.roots {
            let pin = &wanted.pin;
            let location = if pin.is_dir() {
                let mut packs = BTreeSet::new();
                for object in objects.iter().filter(|object| !is_large(object.kind, object.size)) {
                    packs.insert(
                        match packed.get(&object.id).map(|s| s.pack).or_else(|| plan.there.get(&object.id).copied()) {
                            Some(pack) => pack,
                            None => return Err(lost(&object.id)),
                        },
                    );
                }
                Location::Tree(packs.into_iter().collect())
            } else if is_large(ObjectKind::Content, pin.size) {
                Location::Loose
            } else {
                Location::Packed(slice(&pin.id).ok_or_else(|| lost(&pin.id))?)
            };
            let kind = if pin.is_dir() { ObjectKind::Tree } else { ObjectKind::Content };
            let root = Root { size: pin.size, files: pin.files.unwrap_or(0), location };
            segment.roots.insert(root_key(pin.id, kind), root);
        }
        for run in &plan.runs {
            let entry = ObjectId::of(&run.bytes);
            let slice = slice(&entry).ok_or_else(|| lost(&entry))?;
            segment.runs.insert(entry, RunRow { key: run.key, entry, slice, time: run.time.min(self.now) });
        }
        // A segment is self-contained: it includes the packs that its rows name.
        for pack in packs_of(segment.roots.values()).into_iter().chain(old_packs) {
            if let Some(row) = catalog.all.packs.get(&pack) {
                segment.packs.entry(pack).or_insert(*row);
            }
        }
        Ok(())
    }

    /// Writes the segment, merging if there are many. [`Remote::publish`] follows it.
    pub(super) fn record(&self, catalog: &Catalog, segment: Segment) -> Result<SegmentName> {
        if catalog.names.len() < MOST_SEGMENTS {
            return self.put_segment(&segment);
        }
        let mut all = catalog.all.clone();
        all.absorb(segment.clone());
        let merged = self.put_segment(&all)?;
        // Another push that merged, or a `gc -c`, removed some of them: their rows must not be repeated.
        if catalog.names.is_subset(&catalog::list(&self.backend)?.segments) {
            self.replace_segments(&catalog.names, &merged)?;
            return Ok(merged);
        }
        self.remove_segments([&merged])?;
        self.put_segment(&segment)
    }

    /// Writes a segment, after the summary that announces it.
    pub(super) fn put_segment(&self, segment: &Segment) -> Result<SegmentName> {
        self.must_have_marker()?;
        let bytes = segment.encode();
        let name = SegmentName::for_bytes(&bytes, self.now);
        let mut names = catalog::list(&self.backend)?.segments;
        names.insert(name.clone());
        self.announce(&names);
        self.backend.put(&format!("index/{}", name.as_str()), bytes.clone(), false)?;
        self.memory.cache_segment(&name, &bytes);
        Ok(name)
    }

    /// Removes segments whose rows another one includes. They are removed from the summary first, so that its readers
    /// do not request them.
    pub(super) fn replace_segments(&self, old: &BTreeSet<SegmentName>, by: &SegmentName) -> Result<()> {
        let mut old = old.clone();
        old.remove(by);
        self.announce(&(&catalog::list(&self.backend)?.segments - &old));
        self.remove_segments(&old)
    }

    /// Writes a note with the time `now`, in seconds since 1970.
    pub(super) fn put_note(&self, kind: NoteKind, now: u64, bytes: &[u8]) -> Result<NoteName> {
        let note = NoteName { kind, name: SegmentName::for_bytes(bytes, now) };
        self.backend.put(&format!("index/{}", note.file_name()), bytes.to_vec(), false)?;
        Ok(note)
    }

    pub(super) fn remove_segments<'n>(&self, names: impl IntoIterator<Item = &'n SegmentName>) -> Result<()> {
        let names: Vec<&SegmentName> = names.into_iter().collect();
        run_parallel(self.jobs, &names, |name| self.backend.remove(&format!("index/{}", name.as_str())))
    }
}

/// What a push relies on at the remote, or writes again under the same name.
fn relied_on(catalog: &Catalog, plan: &PushPlan, request: &PushRequest) -> ObjectSet {
    let pins = request.wanted.iter().map(|wanted| &wanted.pin).chain(request.runs.iter().flat_map(|run| &run.outs));
    let large = plan.roots.iter().flat_map(|(_, objects)| objects).filter(|o| is_large(o.kind, o.size));
    ObjectSet {
        roots: pins.filter(|pin| catalog.root(pin).is_some()).map(|pin| (pin.id, pin.is_dir())).collect(),
        runs: request.runs.iter().map(|run| ObjectId::of(&run.bytes)).collect(),
        packs: plan.there.values().copied().chain(plan.whole.iter().map(|pack| pack.id)).collect(),
        objects: large.map(|object| object.id).collect(),
    }
}

/// Makes a pack in memory from local objects, verified.
fn make_pack(store: &Store, objects: &[ObjectRef], runs: &[RunEntry]) -> Result<(Vec<u8>, PackIndex)> {
    let cannot = |e: std::io::Error| Error::new(Kind::Bug, "a pack cannot be made").because(e);
    let size: u64 = objects.iter().map(|object| object.size + 64).sum();
    let mut bytes = Vec::with_capacity(size as usize + 4096);
    let mut writer = PackWriter::new(&mut bytes).map_err(cannot)?;
    let mut written = HashSet::new();
    for run in runs {
        let entry = ObjectId::of(&run.bytes);
        if written.insert(entry) {
            writer.add(entry, ObjectKind::Content, &run.bytes).map_err(cannot)?;
        }
    }
    for object in objects.iter().filter(|object| !written.contains(&object.id)) {
        let read = store.read(&object.id, object.kind)?;
        writer.add(object.id, object.kind, &read).map_err(cannot)?;
    }
    let (index, _) = writer.finish().map_err(cannot)?;
    Ok((bytes, index))
}
