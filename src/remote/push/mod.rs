//! Pushing: what a remote lacks is planned from what is known of it, moved, and then told in a segment.

pub(super) mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::remote::backend::StreamError;
use crate::remote::backend::transfer::{PackReader, Permits, each};
use crate::remote::catalog::marks::{LEASE, Note, NoteName, Sort, Things};
use crate::remote::catalog::segment::{Location, Name, PackRow, Root, RunRow, Segment, Slice, root_key};
use crate::remote::catalog::{self, Catalog, packs_of};
use crate::remote::{MARKER, Remote, Wanted, is_large, object_path, pack_path};
use crate::store::pack::Pack;
use crate::store::pack::format::{MOST_OBJECTS, PackId, PackIndex, PackWriter, TARGET};
use crate::store::{ObjectId, ObjectKind, ObjectRef, Pin, Store};
use plan::{Plan, plan};

/// More segments than this are merged into one.
const MOST_SEGMENTS: usize = 64;
/// So often a push looks again at a remote where things are marked meanwhile.
const PATIENCE: usize = 5;
/// Nothing is on its way for so many seconds: what lies under a temporary name for longer was left by a kill.
const LEFT: u64 = 24 * 60 * 60;
/// Packs that are in memory at once while they are made.
const PACKS_AT_ONCE: usize = 2;

/// An entry of the run cache to be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The stage key.
    pub key: ObjectId,
    pub bytes: Vec<u8>,
    /// Its outputs: an entry is of use only where all of them are.
    pub outs: Vec<Pin>,
    /// When it ran, in seconds since 1970.
    pub time: u64,
}

/// What is to be pushed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub wanted: Vec<Wanted>,
    pub runs: Vec<Run>,
    /// Send it all, whatever the remote says that it has: something there was damaged.
    pub again: bool,
}

/// What came of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Those that the remote lacked, and has now.
    pub pushed: Vec<Wanted>,
    /// Neither here nor there.
    pub absent: Vec<Wanted>,
    pub runs: usize,
    pub objects: usize,
    pub bytes: u64,
}

/// A thing to send.
enum Job<'p> {
    Whole(&'p Pack),
    /// Small objects, and entries of the run cache.
    Made(Vec<ObjectRef>, &'p [Run]),
    Large(ObjectRef),
}

impl Remote {
    /// Sends what the remote lacks of all this.
    pub fn push(&self, store: &Store, request: &Request, sink: &dyn Sink) -> Result<Pushed> {
        self.must_be_writable()?;
        let mut catalog = self.look(request.again)?;
        let mut plan = self.plan_push(store, &catalog, request)?;
        // What was about to go stays: said first, and then looked at again, so that nobody who removes it overlooks it.
        let mut counted = counts_on(&catalog, &plan, request).both(&catalog.doomed);
        let is_counted = !counted.is_empty();
        for _ in 0..PATIENCE {
            if counted.is_empty() {
                break;
            }
            self.keep(&catalog, counted)?;
            catalog = self.look_again()?;
            plan = self.plan_push(store, &catalog, request)?;
            counted = counts_on(&catalog, &plan, request).both(&catalog.doomed);
        }
        if is_counted || !plan.is_empty() {
            self.must_be_free(&catalog)?;
        }
        let mut pushed = Pushed { absent: plan.absent.clone(), ..Pushed::default() };
        for (_, error) in &catalog.damaged {
            sink.event(Event::Warning { text: &format!("{}; what it told of is sent again", error.message) });
        }
        if plan.is_empty() {
            if catalog.listed().next().is_some() {
                self.warn_of_summary(self.repair_summary(&catalog), sink)?;
            }
            return Ok(pushed);
        }
        if catalog.names.is_empty() {
            self.place.make_folder(MARKER)?;
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
        // Whoever writes tidies up; what cannot be tidied does no harm.
        let _ = self.place.sweep(self.now.saturating_sub(LEFT));
        pushed.pushed = plan.roots.iter().map(|(wanted, _)| wanted.clone()).filter(|w| !w.name.is_empty()).collect();
        (pushed.runs, pushed.objects, pushed.bytes) = (plan.runs.len(), plan.objects(), plan.bytes());
        Ok(pushed)
    }

    /// Withdraws entries of the run cache: nobody finds them there any more. How many of them were there.
    pub fn withdraw(&self, entries: &BTreeSet<ObjectId>) -> Result<usize> {
        self.must_be_writable()?;
        let catalog = self.known()?;
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

    /// Tells those who remove things that these are needed, by whatever was marked until now.
    fn keep(&self, catalog: &Catalog, things: Things) -> Result<()> {
        let of = catalog.marks.marked.iter().map(|(name, _)| name.clone()).collect();
        self.put_note(Sort::Kept, self.now, &Note { of, things }.encode()).map(drop)
    }

    fn must_be_free(&self, catalog: &Catalog) -> Result<()> {
        catalog.marks.removing(self.now).map_or(Ok(()), |note| Err(self.busy(note)))
    }

    pub(super) fn busy(&self, note: &NoteName) -> Error {
        let message = format!("somebody removes things from the remote {} ({}) right now", self.name, self.url());
        let minutes = note.name.seconds().saturating_add(LEASE).saturating_sub(self.now).div_ceil(60);
        Error::new(Kind::Busy, message).hint("try again in a few minutes").hint(format!(
            "if that was killed: it counts no more in {minutes} minutes, or remove index/{} there",
            note.file_name()
        ))
    }

    /// Says what a push would send.
    fn plan_push(&self, store: &Store, catalog: &Catalog, request: &Request) -> Result<Plan> {
        let packs = &catalog.all.packs;
        let any_new = request.wanted.iter().any(|wanted| catalog.root(&wanted.pin).is_none()) && !request.again;
        let mut indexes: Vec<Arc<PackIndex>> =
            if any_new { packs.keys().filter_map(|id| self.memory.index(id)).collect() } else { Vec::new() };
        let first = plan(store, catalog, &indexes, request)?;
        // The indexes of packs that others pushed are read where that may save much more than it costs.
        let known: HashSet<PackId> = indexes.iter().map(|index| index.id()).collect();
        let unknown: Vec<(PackId, PackRow)> =
            packs.iter().filter(|(id, _)| !known.contains(id)).map(|(id, row)| (*id, *row)).collect();
        let cost: u64 = unknown.iter().map(|(_, row)| row.length - row.index + (64 << 10)).sum();
        if !any_new || unknown.is_empty() || first.small_bytes() / 4 < cost {
            return Ok(first);
        }
        let more: Mutex<Vec<Arc<PackIndex>>> = Mutex::default();
        each(self.jobs, &unknown, |(id, row)| {
            // Not having it costs duplicates, nothing more.
            if let Ok(Ok(index)) = self.index(id, row) {
                more.lock().unwrap_or_else(|e| e.into_inner()).push(index);
            }
            Ok(())
        })?;
        indexes.extend(more.into_inner().unwrap_or_else(|e| e.into_inner()));
        plan(store, catalog, &indexes, request)
    }

    /// Moves the bytes, and says where they are now.
    fn send(&self, store: &Store, catalog: &Catalog, plan: &Plan, again: bool, sink: &dyn Sink) -> Result<Segment> {
        let mut jobs: Vec<Job> = plan.whole.iter().map(|pack| Job::Whole(pack)).collect();
        let mut some = Vec::new();
        let mut size = 0;
        for object in &plan.small {
            let is_full = size + object.size > TARGET || some.len() + plan.runs.len() >= MOST_OBJECTS;
            if is_full && !some.is_empty() {
                jobs.push(Job::Made(std::mem::take(&mut some), &[]));
                size = 0;
            }
            size += object.size;
            some.push(*object);
        }
        if !some.is_empty() || !plan.runs.is_empty() {
            jobs.push(Job::Made(some, &plan.runs));
        }
        jobs.extend(plan.large.iter().map(|object| Job::Large(*object)));
        sink.event(Event::WorkPlanned { doing: Activity::Pushing, bytes: plan.bytes() });
        let done = |bytes| sink.event(Event::WorkDone { doing: Activity::Pushing, bytes });
        let (segment, permits) = (Mutex::new(Segment::default()), Permits::new(PACKS_AT_ONCE));
        let packed: Mutex<HashMap<ObjectId, Slice>> = Mutex::default();
        let told = |index: &PackIndex| {
            let pack = index.id();
            let length = index.file_length();
            let row = PackRow { length, index: length - index.tail().len() as u64, count: index.len() as u64 };
            self.memory.keep_index(index);
            let mut packed = packed.lock().unwrap_or_else(|e| e.into_inner());
            packed.extend(index.iter().map(|r| (r.id, Slice { pack, offset: r.offset, length: r.length })));
            segment.lock().unwrap_or_else(|e| e.into_inner()).packs.insert(pack, row);
        };
        self.place.share(self.jobs.min(jobs.len()));
        each(self.jobs, &jobs, |job| match job {
            Job::Whole(pack) => {
                self.send_pack(store, pack, again, &done)?;
                told(&pack.index);
                Ok(())
            }
            Job::Made(objects, runs) => permits.with(|| {
                let (bytes, index) = make_pack(store, objects, runs)?;
                // The same objects make the same pack, which may be on its way out.
                if catalog.doomed.packs.contains(&index.id()) {
                    self.keep(catalog, Things { packs: [index.id()].into(), ..Things::default() })?;
                    self.must_be_free(&*self.look_again()?)?;
                }
                self.place.put(&pack_path(&index.id()), bytes, again)?;
                done(index.iter().map(|row| row.length).sum());
                told(&index);
                Ok(())
            }),
            Job::Large(object) => {
                self.send_large(store, object, again, &done)?;
                let mut segment = segment.lock().unwrap_or_else(|e| e.into_inner());
                segment.loose.insert(object.id, object.size);
                Ok(())
            }
        })?;
        let mut segment = segment.into_inner().unwrap_or_else(|e| e.into_inner());
        let packed = packed.into_inner().unwrap_or_else(|e| e.into_inner());
        self.tell(plan, &packed, &mut segment)?;
        Ok(segment)
    }

    /// A pack that is here, verified object by object on its way.
    pub(super) fn send_pack(&self, store: &Store, pack: &Pack, again: bool, done: &dyn Fn(u64)) -> Result<()> {
        let cannot = |e| Error::io("read", &pack.path, e);
        self.patiently(|| {
            let mut reader = PackReader::open(pack).map_err(|e| StreamError::Remote(cannot(e)))?;
            let sent = self.place.put_stream(&pack_path(&pack.id), &mut reader, pack.index.file_length(), again, done);
            sent.map_err(|broken| match (broken, reader.damaged) {
                // The store finds it damaged too, sets it aside and says so.
                (StreamError::Source(e), Some(row)) => {
                    StreamError::Remote(store.read(&row.id, row.kind).err().unwrap_or_else(|| cannot(e)))
                }
                (StreamError::Source(e), None) => StreamError::Remote(cannot(e)),
                (broken, _) => broken,
            })
        })
    }

    fn patiently(&self, attempt: impl FnMut() -> Result<(), StreamError>) -> Result<()> {
        self.place.patiently(attempt).map_err(|broken| match broken {
            StreamError::Remote(e) | StreamError::Again(e) => e,
            StreamError::Source(e) => Error::new(Kind::Io, "what is pushed cannot be read").because(e),
        })
    }

    pub(super) fn send_large(&self, store: &Store, object: &ObjectRef, again: bool, done: &dyn Fn(u64)) -> Result<()> {
        self.patiently(|| {
            let mut reader = store.open_content(&object.id).map_err(StreamError::Remote)?;
            let sent = self.place.put_stream(&object_path(&object.id), &mut reader, object.size, again, done);
            sent.map_err(|broken| match broken {
                StreamError::Source(e) => StreamError::Remote(reader.fault(store, e)),
                broken => broken,
            })
        })
    }

    /// Where the new roots and entries are: rows for the segment.
    fn tell(&self, plan: &Plan, packed: &HashMap<ObjectId, Slice>, segment: &mut Segment) -> Result<()> {
        let catalog = self.known()?;
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
        let lost = |id: &ObjectId| Error::new(Kind::Bug, format!("nobody knows where {id} went"));
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
        // A segment stands for itself: the packs that its rows name are in it.
        for pack in packs_of(segment.roots.values()).into_iter().chain(old_packs) {
            if let Some(row) = catalog.all.packs.get(&pack) {
                segment.packs.entry(pack).or_insert(*row);
            }
        }
        Ok(())
    }

    /// Writes the segment. Many segments become one. [`Remote::publish`] comes after it.
    pub(super) fn record(&self, catalog: &Catalog, segment: Segment) -> Result<Name> {
        if catalog.names.len() < MOST_SEGMENTS {
            return self.put_segment(&segment);
        }
        let mut all = catalog.all.clone();
        all.absorb(segment.clone());
        let merged = self.put_segment(&all)?;
        // Another push that merged meanwhile, or a `gc -c`, took some of them away: what they said may not be
        // repeated.
        if catalog.names.is_subset(&catalog::list(&self.place)?.segments) {
            self.replace_segments(&catalog.names, &merged)?;
            return Ok(merged);
        }
        self.remove_segments([&merged])?;
        self.put_segment(&segment)
    }

    /// Writes a segment, after the summary that announces it.
    pub(super) fn put_segment(&self, segment: &Segment) -> Result<Name> {
        self.must_have_marker()?;
        let bytes = segment.encode();
        let name = Name::of(&bytes, self.now);
        let mut names = catalog::list(&self.place)?.segments;
        names.insert(name.clone());
        self.announce(&names);
        self.place.put(&format!("index/{}", name.as_str()), bytes.clone(), false)?;
        self.memory.keep_segment(&name, &bytes);
        Ok(name)
    }

    /// Removes segments whose rows another one has now. The summary forgets them first, so that its readers do not look
    /// for them.
    pub(super) fn replace_segments(&self, old: &BTreeSet<Name>, by: &Name) -> Result<()> {
        let mut old = old.clone();
        old.remove(by);
        self.announce(&(&catalog::list(&self.place)?.segments - &old));
        self.remove_segments(&old)
    }

    /// Writes a note, so many seconds after 1970.
    pub(super) fn put_note(&self, sort: Sort, now: u64, bytes: &[u8]) -> Result<NoteName> {
        let note = NoteName { sort, name: Name::of(bytes, now) };
        self.place.put(&format!("index/{}", note.file_name()), bytes.to_vec(), false)?;
        Ok(note)
    }

    pub(super) fn remove_segments<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Result<()> {
        let names: Vec<&Name> = names.into_iter().collect();
        each(self.jobs, &names, |name| self.place.remove(&format!("index/{}", name.as_str())))
    }
}

/// What of a remote a push counts on, or writes again under the name that it had.
fn counts_on(catalog: &Catalog, plan: &Plan, request: &Request) -> Things {
    let pins = request.wanted.iter().map(|wanted| &wanted.pin).chain(request.runs.iter().flat_map(|run| &run.outs));
    let large = plan.roots.iter().flat_map(|(_, objects)| objects).filter(|o| is_large(o.kind, o.size));
    Things {
        roots: pins.filter(|pin| catalog.root(pin).is_some()).map(|pin| (pin.id, pin.is_dir())).collect(),
        runs: request.runs.iter().map(|run| ObjectId::of(&run.bytes)).collect(),
        packs: plan.there.values().copied().chain(plan.whole.iter().map(|pack| pack.id)).collect(),
        objects: large.map(|object| object.id).collect(),
    }
}

/// A pack in memory, of objects that are read here, verified.
fn make_pack(store: &Store, objects: &[ObjectRef], runs: &[Run]) -> Result<(Vec<u8>, PackIndex)> {
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
