//! Tests of remotes without the command line: stores of two clones, and a remote in a folder.

use std::collections::BTreeSet;
use std::path::Path;

use super::push::{PushRequest, RunEntry};
use super::*;
use crate::event::{Silent, StopSignal};
use crate::store::pack::format::PackWriter;
use crate::store::trees::{Entry, EntryKind, Tree};
use crate::store::{LinkTypes, Store};

/// A clone with the remote in the folder `lab`.
struct Clone {
    store: Store,
    remote: Remote,
}

fn clone(dir: &Path, name: &str) -> Clone {
    std::fs::create_dir_all(dir.join("lab")).unwrap();
    let address = Address::parse(&dir.join("lab").to_string_lossy().into_owned().into()).unwrap();
    let backend = Backend::open(
        "lab",
        &"lab".into(),
        &address,
        Options::default(),
        dir,
        &Default::default(),
        StopSignal::never(),
    )
    .unwrap();
    let remote = Remote {
        name: "lab".into(),
        backend,
        memory: Memory::new(dir.join(name).join("remotes")),
        area: crate::store::WritableArea::new(&dir.join(name), &[]),
        is_of_repository: false,
        unwritable: None,
        read_only: false,
        jobs: 3,
        now: 1000,
        known: Mutex::default(),
        start_over: String::new(),
    };
    Clone { store: Store::open(&dir.join(name).join("store"), LinkTypes::default()), remote }
}

/// Opens the clone again, so that the remote is read again.
fn again(clone: Clone, dir: &Path, name: &str) -> Clone {
    drop(clone);
    self::clone(dir, name)
}

fn store_file(store: &Store, bytes: Vec<u8>) -> Pin {
    let size = bytes.len() as u64;
    let mut batch = store.batch();
    let id = batch.add_bytes(ObjectKind::Content, bytes);
    batch.commit(&Silent).unwrap();
    Pin { id, size, files: None, executable: false }
}

/// A folder of `n` files; those of equal `seed` are equal.
fn store_folder(store: &Store, n: usize, seed: impl Fn(usize) -> usize) -> Pin {
    let mut batch = store.batch();
    let mut tree = Tree::default();
    for file in 0..n {
        let bytes = format!("{file} {} ", seed(file)).repeat(1000).into_bytes();
        let size = bytes.len() as u64;
        let id = batch.add_bytes(ObjectKind::Content, bytes);
        tree.entries.push(Entry { name: format!("{file:05}").into(), kind: EntryKind::File, id, size, files: 1 });
    }
    batch.add_bytes(ObjectKind::Tree, tree.encode());
    batch.commit(&Silent).unwrap();
    tree.pin()
}

fn wanted(pins: &[Pin]) -> Vec<Wanted> {
    pins.iter().map(|pin| Wanted { name: pin.id.hex(), pin: *pin }).collect()
}

fn push(clone: &Clone, pins: &[Pin]) -> push::PushResult {
    let request = PushRequest { wanted: wanted(pins), ..PushRequest::default() };
    clone.remote.push(&clone.store, &request, &Silent).unwrap()
}

/// Whether all of an output was fetched.
fn fetch(clone: &Clone, pin: Pin) -> bool {
    let fetched = clone.remote.fetch(&clone.store, &wanted(&[pin]), &Silent).unwrap();
    fetched.lost.is_empty() && fetched.absent.is_empty()
}

/// A clone that did not make the data that it changes still sends only the change: it knows the packs that it fetched.
#[test]
fn what_others_pushed_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (clone(dir.path(), "a"), clone(dir.path(), "b"));
    let first = store_folder(&a.store, 300, |_| 0);
    assert_eq!(push(&a, &[first]).objects, 301);
    assert!(fetch(&b, first));
    let second = store_folder(&b.store, 300, |file| usize::from(file == 7));
    let b = again(b, dir.path(), "b");
    assert_eq!(push(&b, &[first, second]).objects, 2);

    // A clone that fetched nothing reads the index of the pack instead of sending the bytes.
    let c = clone(dir.path(), "c");
    let third = store_folder(&c.store, 300, |file| usize::from(file == 9));
    let pushed = push(&c, &[third]);
    assert_eq!(pushed.objects, 2);
    let a = again(a, dir.path(), "a");
    for pin in [second, third] {
        assert!(fetch(&a, pin));
        assert!(a.store.holds(&pin));
    }
    // Each change arrived alone: the earlier pack is in the store.
    assert!(a.remote.spent().received < 100_000, "{:?}", a.remote.spent());
}

/// A file that another clone pushed within a folder is found, and is not sent as a file of its own.
#[test]
fn a_file_within_a_folder_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let a = clone(dir.path(), "a");
    let folder = store_folder(&a.store, 40, |_| 0);
    push(&a, &[folder]);
    let one = a.store.read_tree(&folder.id, 0).unwrap().entries[3].pin();
    let a = again(a, dir.path(), "a");
    assert_eq!(push(&a, &[one]).objects, 0);
    let b = clone(dir.path(), "b");
    assert!(fetch(&b, one));
    assert!(b.store.holds(&one) && !b.store.contains(&folder));
}

/// An output that is incomplete in the store cannot be pushed; the others are.
#[test]
fn an_output_that_is_not_all_here_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (clone(dir.path(), "a"), clone(dir.path(), "b"));
    let whole = store_folder(&a.store, 5, |_| 0);
    let mut batch = b.store.batch();
    batch.add_bytes(ObjectKind::Tree, a.store.read_tree(&whole.id, 0).unwrap().encode());
    batch.commit(&Silent).unwrap();
    let other = store_file(&b.store, b"here".to_vec());
    let nowhere = Pin { id: ObjectId([9; 32]), size: 5, files: Some(1), executable: false };
    let pushed = push(&b, &[whole, other, nowhere]);
    let ids = |all: &[Wanted]| all.iter().map(|w| w.pin.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&pushed.pushed), [other.id].into());
    assert_eq!(ids(&pushed.absent), [whole.id, nowhere.id].into());
    let fetched = a.remote.fetch(&a.store, &wanted(&[other, nowhere]), &Silent).unwrap();
    assert_eq!((fetched.fetched.len(), ids(&fetched.absent)), (1, [nowhere.id].into()));
}

/// However many files are looked up, each known index is read once.
#[test]
fn many_files_in_many_packs_are_found_by_one_look_at_each() {
    let dir = tempfile::tempdir().unwrap();
    let a = clone(dir.path(), "a");
    let (packs, files) = (100, 10);
    let mut all = Vec::new();
    let mut segment = crate::remote::catalog::segment::Segment::default();
    for pack in 0..packs {
        let mut bytes = Vec::new();
        let mut writer = PackWriter::new(&mut bytes).unwrap();
        for file in 0..files {
            let content = format!("{pack} {file}").into_bytes();
            let id = ObjectId::of(&content);
            writer.add(id, ObjectKind::Content, &content).unwrap();
            all.push(Pin { id, size: content.len() as u64, files: None, executable: false });
        }
        let (index, id) = writer.finish().unwrap();
        let length = bytes.len() as u64;
        let row = crate::remote::catalog::segment::PackRow {
            length,
            index: length - index.tail().len() as u64,
            count: files,
        };
        segment.packs.insert(id, row);
        a.remote.memory.cache_index(&index);
        a.remote.backend.put(&pack_path(&id), bytes, false).unwrap();
    }
    a.remote.write_marker().unwrap();
    a.remote.record(&Catalog::default(), segment).unwrap();
    let fetched = a.remote.fetch(&a.store, &wanted(&all), &Silent).unwrap();
    assert_eq!((fetched.fetched.len(), fetched.absent.len()), (1000, 0));
    assert_eq!(a.remote.memory.reads.load(std::sync::atomic::Ordering::Relaxed), packs);
}

/// A well-formed index with false numbers: a claim is refused before it is read, and the correct rest is fetched.
#[test]
fn an_index_that_lies_costs_what_it_lies_about() {
    let dir = tempfile::tempdir().unwrap();
    let a = clone(dir.path(), "a");
    let [good, bad] = [b"good".to_vec(), b"wanted".to_vec()].map(|bytes| (ObjectId::of(&bytes), bytes));
    let entry = |name: &str, (id, bytes): &(ObjectId, Vec<u8>)| Entry {
        name: name.into(),
        kind: EntryKind::File,
        id: *id,
        size: bytes.len() as u64,
        files: 1,
    };
    let whole = Tree { entries: vec![entry("a", &good)] };
    let broken = Tree { entries: vec![entry("a", &good), entry("b", &bad)] };
    let mut bytes = Vec::new();
    let mut writer = PackWriter::new(&mut bytes).unwrap();
    writer.add(good.0, ObjectKind::Content, &good.1).unwrap();
    writer.add(bad.0, ObjectKind::Content, &[7; 100_000]).unwrap();
    for tree in [&whole, &broken] {
        writer.add(tree.pin().id, ObjectKind::Tree, &tree.encode()).unwrap();
    }
    let (index, id) = writer.finish().unwrap();
    let length = bytes.len() as u64;
    a.remote.backend.put(&pack_path(&id), bytes, false).unwrap();
    let mut segment = crate::remote::catalog::segment::Segment::default();
    let row = crate::remote::catalog::segment::PackRow { length, index: length - index.tail().len() as u64, count: 4 };
    segment.packs.insert(id, row);
    for pin in [whole.pin(), broken.pin()] {
        let location = crate::remote::catalog::segment::Location::Tree(vec![id]);
        let root = crate::remote::catalog::segment::Root { size: pin.size, files: pin.files.unwrap(), location };
        segment.roots.insert(crate::remote::catalog::segment::root_key(pin.id, ObjectKind::Tree), root);
    }
    a.remote.write_marker().unwrap();
    a.remote.record(&Catalog::default(), segment).unwrap();
    // The first time the pack is fetched whole; then its index is known, and ranges of it are read.
    for _ in 0..2 {
        let fetched = a.remote.fetch(&a.store, &wanted(&[whole.pin(), broken.pin()]), &Silent).unwrap();
        assert!(a.store.holds(&whole.pin()) && !a.store.contains(&broken.pin()));
        let [loss] = &fetched.lost[..] else { panic!("{:?}", fetched.lost) };
        assert_eq!((loss.error.kind, loss.outs.len()), (Kind::Remote, 1));
        assert!(loss.error.causes[0].contains(&bad.0.hex()), "{:?}", loss.error);
    }
}

/// Entries of the run cache: the newest first, only with all their outputs, and gone when withdrawn.
#[test]
fn entries_are_found_by_key_until_they_are_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let a = clone(dir.path(), "a");
    let (key, out) = (ObjectId([1; 32]), store_file(&a.store, b"result".to_vec()));
    let absent = Pin { id: ObjectId([9; 32]), ..out };
    let run = |text: &str, time, outs: &[Pin]| RunEntry { key, bytes: text.into(), outs: outs.to_vec(), time };
    let runs = vec![run("old", 5, &[out]), run("new", 7, &[out]), run("broken", 9, &[out, absent])];
    let pushed = a.remote.push(&a.store, &PushRequest { runs, ..PushRequest::default() }, &Silent).unwrap();
    assert_eq!((pushed.runs, pushed.pushed.len(), pushed.absent.len()), (2, 0, 0));
    let b = clone(dir.path(), "b");
    let texts = |clone: &Clone| -> Vec<Vec<u8>> {
        clone.remote.find_runs(&key).unwrap().0.into_iter().map(|(_, bytes)| bytes).collect()
    };
    assert_eq!(texts(&b), [&b"new"[..], b"old"]);
    assert!(b.remote.find_runs(&ObjectId([2; 32])).unwrap().0.is_empty());
    assert!(fetch(&b, out));
    assert_eq!(
        (b.remote.fetch_runs(&b.store, None).unwrap().0, b.remote.fetch_runs(&b.store, None).unwrap().0),
        (2, 0)
    );
    assert_eq!(b.store.get_runs(&key.hex()).unwrap().found, [&b"new"[..], b"old"]);

    let bad = BTreeSet::from([ObjectId::of(b"new"), ObjectId::of(b"never")]);
    assert_eq!((b.remote.withdraw(&bad).unwrap(), b.remote.withdraw(&bad).unwrap()), (1, 0));
    let a = again(a, dir.path(), "a");
    assert_eq!(texts(&a), [b"old"]);
    // It does not come back by itself.
    let runs = vec![run("new", 7, &[out])];
    assert_eq!(a.remote.push(&a.store, &PushRequest { runs, ..PushRequest::default() }, &Silent).unwrap().runs, 0);
}

/// Large contents, links' texts, empty files, nested folders and equal files, there and back.
#[test]
fn every_sort_of_object_travels() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (clone(dir.path(), "a"), clone(dir.path(), "b"));
    let sizes = [0, 1, 100_000, LARGE as usize - 1, LARGE as usize, 3 << 20];
    let files: Vec<Pin> = sizes.iter().map(|n| store_file(&a.store, vec![7; *n])).collect();
    let entry = |name: &str, pin: &Pin| Entry {
        name: name.into(),
        kind: if pin.is_dir() { EntryKind::Tree } else { EntryKind::File },
        id: pin.id,
        size: pin.size,
        files: pin.files.unwrap_or(1),
    };
    let store_tree = |entries: Vec<Entry>| {
        let tree = Tree { entries };
        let mut batch = a.store.batch();
        batch.add_bytes(ObjectKind::Tree, tree.encode());
        batch.commit(&Silent).unwrap();
        tree.pin()
    };
    let inner = store_tree(vec![entry("0", &files[0]), entry("1", &files[4]), entry("2", &files[4])]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut entries: Vec<Entry> = names.iter().zip(&files).map(|(name, pin)| entry(name, pin)).collect();
    entries.extend([entry("x", &inner), entry("y", &inner)]);
    let outer = store_tree(entries);
    let empty = store_tree(Vec::new());
    let all = [files.clone(), vec![outer, inner, empty]].concat();
    let pushed = push(&a, &all);
    assert_eq!((pushed.pushed.len(), pushed.objects), (all.len(), 6 + 3));
    assert_eq!(std::fs::read_dir(dir.path().join("lab/packs")).unwrap().count(), 1);
    let fetched = b.remote.fetch(&b.store, &wanted(&all), &Silent).unwrap();
    assert_eq!((fetched.fetched.len(), fetched.absent.len()), (all.len(), 0));
    assert!(all.iter().all(|pin| b.store.holds(pin)));
}

#[test]
fn fuzz_segments() {
    use crate::remote::catalog::segment::{Location, PackRow, Root, RunRow, Segment, Slice};
    use crate::store::pack::format::{HEADER, PackId, tail_size};
    let id = |n: u8| ObjectId([n; 32]);
    let mut segment = Segment::default();
    let index = HEADER + 500;
    let pack = PackRow { length: index + tail_size(3).unwrap(), index, count: 3 };
    segment.packs.insert(PackId(id(1)), pack);
    segment.loose.insert(id(2), 5 << 20);
    let slice = Slice { pack: PackId(id(1)), offset: HEADER, length: 100 };
    for (n, location) in
        [Location::Loose, Location::Packed(slice), Location::Tree(vec![PackId(id(1))])].into_iter().enumerate()
    {
        segment.roots.insert((id(n as u8), n == 2), Root { size: 100, files: 0, location });
    }
    segment.runs.insert(id(7), RunRow { key: id(8), entry: id(7), slice, time: 1_700_000_000 });
    segment.withdrawn.insert(id(9));
    let seal = |bytes: &mut Vec<u8>| {
        let Some(body) = bytes.len().checked_sub(32) else { return };
        let sum = ObjectId::of(&bytes[..body]);
        bytes[body..].copy_from_slice(&sum.0);
    };
    let corpus = vec![segment.encode(), Segment::default().encode()];
    crate::fuzz::fuzz("segments", corpus, Some(seal), |bytes| match Segment::parse(bytes) {
        Ok(segment) => {
            assert_eq!(segment.encode(), bytes);
            format!("fine {}", ["none", "some"][usize::from(segment != Segment::default())])
        }
        Err(why) => why.to_string(),
    });
}

/// Notes on what is being removed from a remote.
#[test]
fn fuzz_notes() {
    use crate::remote::catalog::marks::{Note, NoteName, ObjectSet};
    let id = |n: u8| ObjectId([n; 32]);
    let name = crate::remote::catalog::segment::SegmentName::for_bytes(b"bytes", 1_700_000_000);
    let things = ObjectSet {
        roots: [(id(1), false), (id(2), true)].into(),
        runs: [id(3)].into(),
        packs: [crate::store::pack::format::PackId(id(4))].into(),
        objects: [id(5)].into(),
    };
    let note = Note { of: [name.clone()].into(), things };
    let corpus = vec![note.encode(), format!("{}.marked", name.as_str()).into_bytes()];
    crate::fuzz::fuzz("notes", corpus, None, |bytes| {
        let named = std::str::from_utf8(bytes).ok().and_then(NoteName::parse);
        if let Some(named) = named {
            let path = named.file_name();
            assert!(!path.contains('/') && !path.starts_with('.'));
            return "name".into();
        }
        match (Note::parse(bytes), Note::is_newer(bytes)) {
            (Some(note), _) => {
                assert_eq!(Note::parse(&note.encode()).map(|again| again.encode()), Some(note.encode()));
                "note".into()
            }
            (None, true) => "newer".into(),
            (None, false) => "none".into(),
        }
    });
}
