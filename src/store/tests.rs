//! Tests of the store as a whole: storing, restoring, and failures in between.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::document::Bounds;
use crate::error::{Kind, Result};
use crate::event::Silent;
use crate::path::RepoPath;

pub(super) struct Sandbox {
    pub dir: tempfile::TempDir,
    pub top: PathBuf,
    pub index: StatIndex,
    pub store: Store,
}

impl Sandbox {
    pub fn with(links: LinkTypes) -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        fs::create_dir(&top).unwrap();
        let at = dir.path().join("store");
        let bounds = Bounds::new(&top, [], Some(&at.join("objects")));
        let index = StatIndex::open(&dir.path().join("meta/index"), &top, true).within(bounds);
        let store = Store::open(&at, links);
        Sandbox { dir, top, index, store }
    }

    pub fn new() -> Sandbox {
        Sandbox::with(LinkTypes::default())
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    pub fn pin(&self, at: &str) -> Pin {
        self.index.scan(&[place(at)], &NoRules, &Silent).remove(0).unwrap().unwrap()
    }

    pub fn put(&self, at: &str) -> Pin {
        let pin = self.pin(at);
        let mut batch = self.store.batch();
        batch.add(&self.index, &place(at), &pin).unwrap();
        batch.commit(&Silent).unwrap();
        pin
    }

    pub fn writable(&self, at: &str) -> Result<WritablePath> {
        WritableArea::new(self.index.top(), &[]).path(&repo(at))
    }

    pub fn restore(&self, at: &str, pin: &Pin) -> Result<()> {
        restore(&self.store, &self.index, &self.writable(at)?, pin, &NoRules, &Silent)
            .map(|left| assert_eq!(left, None))
    }

    /// The names in a folder of the workspace: no temporary sibling may be left.
    pub fn names(&self, at: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.top.join(at))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn temps(&self) -> usize {
        fs::read_dir(self.store.dir().join("tmp")).map_or(0, |d| d.count())
    }
}

pub(super) fn repo(path: &str) -> RepoPath {
    RepoPath::root().join(path).unwrap()
}

pub(super) fn place(path: &str) -> TrackedPath {
    repo(path).into()
}

fn sample(s: &Sandbox) {
    s.write("d/a", "alpha");
    s.write("d/sub/b", "beta");
    s.write("d/sub/deep/c", vec![7u8; 3 << 20]);
    s.write("d/run.sh", "#!/bin/sh\n");
    fs::set_permissions(s.top.join("d/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("sub/b", s.top.join("d/link")).unwrap();
    fs::write(s.top.join("d").join(std::ffi::OsStr::from_bytes(b"\xfe\xff")), "bytes").unwrap();
    fs::create_dir(s.top.join("d/empty")).unwrap();
}

#[test]
fn what_is_stored_comes_back() {
    for links in [&[LinkType::Copy][..], &[LinkType::Reflink], &[LinkType::Hardlink], &[LinkType::Symlink]] {
        let s = Sandbox::with(LinkTypes::new(links.iter().copied()));
        sample(&s);
        assert!(!s.store.dir().exists() && s.store.generation().is_none());
        let pin = s.put("d");
        assert!(s.store.contains(&pin) && s.store.generation().is_some() && s.temps() == 0);
        fs::remove_dir_all(s.top.join("d")).unwrap();
        s.restore("d", &pin).unwrap();
        assert_eq!(s.names("."), ["d"]);
        assert_eq!(s.pin("d"), pin, "{links:?}");
        let fresh = StatIndex::open(Path::new("/nonexistent/x"), &s.top, true);
        assert_eq!(fresh.scan(&[place("d")], &NoRules, &Silent).remove(0).unwrap(), Some(pin), "{links:?}");
        assert_eq!(fs::read_link(s.top.join("d/link")).unwrap(), Path::new("sub/b"));
        let writable = fs::metadata(s.top.join("d/a")).unwrap().mode() & 0o200 != 0;
        assert_eq!(writable, matches!(links[0], LinkType::Copy | LinkType::Reflink));
        assert_eq!(fs::metadata(s.store.path(&s.pin("d/a").id)).unwrap().mode() & 0o777, 0o444);
    }
}

#[test]
fn a_restore_takes_over_what_is_right_and_hashes_nothing_afterwards() {
    struct Hashed(std::sync::atomic::AtomicU64);
    impl crate::event::Sink for Hashed {
        fn event(&self, event: crate::event::Event<'_>) {
            if let crate::event::Event::WorkDone { doing: crate::event::Activity::Hashing, bytes } = event {
                self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    struct NoCache;
    impl Rules for NoCache {
        fn ignored(&self, path: &[u8], _: bool) -> bool {
            path.ends_with(b"__pycache__")
        }
        fn id(&self) -> u64 {
            1
        }
    }
    let s = Sandbox::new();
    sample(&s);
    std::thread::sleep(Duration::from_millis(40));
    let look = |sink: &dyn crate::event::Sink| s.index.scan(&[place("d")], &NoCache, sink).remove(0).unwrap().unwrap();
    look(&Silent);
    let pin = s.put("d");
    s.write("d/a", "changed");
    s.write("d/extra", "x");
    s.write("d/sub/__pycache__/m.pyc", "mine");
    std::thread::sleep(Duration::from_millis(40));
    look(&Silent);
    let inode = |path: &str| fs::metadata(s.top.join(path)).unwrap().ino();
    let before = inode("d/sub/b");
    restore(&s.store, &s.index, &s.writable("d").unwrap(), &pin, &NoCache, &Silent).unwrap();
    assert_eq!((inode("d/sub/b"), s.names(".")), (before, vec!["d".to_string()]));
    assert!(s.top.join("d/sub/__pycache__/m.pyc").exists() && !s.top.join("d/extra").exists());
    let hashed = Hashed(Default::default());
    assert_eq!(look(&hashed), pin);
    assert_eq!(hashed.0.into_inner(), 0);
}

#[test]
fn a_file_replaces_a_folder_and_the_other_way_round() {
    let s = Sandbox::new();
    s.write("f", "file");
    s.write("d/x", "x");
    fs::set_permissions(s.top.join("f"), fs::Permissions::from_mode(0o755)).unwrap();
    let (file, folder) = (s.put("f"), s.put("d"));
    assert!(file.executable);
    s.restore("d", &file).unwrap();
    s.restore("f", &folder).unwrap();
    symlink("f", s.top.join("link")).unwrap();
    s.pin("link");
    s.restore("link", &folder).unwrap();
    s.restore("new/deep/f", &file).unwrap();
    assert_eq!((s.pin("d"), s.pin("f"), s.pin("link"), s.pin("new/deep/f")), (file, folder, folder, file));
    assert_eq!(s.names("."), ["d", "f", "link", "new"]);
    symlink(s.dir.path(), s.top.join("out")).unwrap();
    assert!(s.restore("out/x", &file).unwrap_err().message.contains("its folder out is a symlink"));
}

#[test]
fn damage_is_found_set_aside_and_never_restored() {
    for links in [LinkType::Copy, LinkType::Hardlink, LinkType::Reflink] {
        let s = Sandbox::with(LinkTypes::new([links]));
        sample(&s);
        let pin = s.put("d");
        let victim = s.pin("d/sub/b");
        let generation = s.store.generation();
        let object = s.store.path(&victim.id);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, "BETA").unwrap();
        fs::remove_dir_all(s.top.join("d")).unwrap();
        s.write("d/mine", "stays");
        let e = s.restore("d", &pin).unwrap_err();
        assert_eq!(e.kind, Kind::Missing);
        assert!(e.message.contains(&victim.id.hex()) && e.message.contains("sub/b"), "{e}");
        assert_eq!((s.names("."), s.names("d")), (vec!["d".to_string()], vec!["mine".to_string()]));
        assert_eq!(fs::read_dir(s.store.dir().join("quarantine")).unwrap().count(), 1);
        assert!(!s.store.contains(&pin) && s.store.generation() != generation);
        let gone = s.restore("d", &pin).unwrap_err();
        assert!(gone.message.contains("is not in the store") && gone.kind == Kind::Missing);
    }
}

#[test]
fn storing_again_heals() {
    let s = Sandbox::new();
    sample(&s);
    let pin = s.put("d");
    let object = s.store.path(&s.pin("d/a").id);
    for bad in ["ALPHA", "short", ""] {
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, bad).unwrap();
        assert_eq!(s.put("d"), pin);
        assert_eq!(fs::read(&object).unwrap(), b"alpha", "{bad}");
    }
    let tree = s.store.path(&pin.id);
    fs::remove_file(&tree).unwrap();
    s.put("d");
    assert!(tree.exists());
}

#[test]
fn a_source_that_changed_is_not_stored() {
    let s = Sandbox::new();
    s.write("f", "first");
    s.write("d/f", "other");
    let (file, folder) = (s.pin("f"), s.pin("d"));
    s.write("f", "later");
    s.write("d/f", "LATER");
    for (at, pin) in [("f", file), ("d", folder)] {
        let mut batch = s.store.batch();
        batch.add(&s.index, &place(at), &pin).unwrap();
        assert!(batch.commit(&Silent).unwrap_err().message.contains("changed while it was stored"));
        assert!(!s.store.contains(&pin) && s.temps() == 0);
    }
    s.pin("d");
    assert!(s.store.batch().add(&s.index, &place("d"), &folder).is_err());
}

#[test]
fn many_batches_at_once() {
    let s = Sandbox::new();
    for i in 0..40 {
        s.write(&format!("d/{}/{i}", i % 4), format!("{}", i % 25));
    }
    let pin = s.pin("d");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let store = Store::open(s.store.dir(), LinkTypes::default());
                let mut batch = store.batch();
                batch.add(&s.index, &place("d"), &pin).unwrap();
                batch.commit(&Silent).unwrap();
                assert!(store.contains(&pin));
            });
        }
    });
    assert!(s.temps() == 0 && !s.store.dir().join("quarantine").exists());
    fs::remove_dir_all(s.top.join("d")).unwrap();
    s.restore("d", &pin).unwrap();
    assert_eq!(s.pin("d"), pin);
}

#[test]
fn a_tree_that_lies_is_refused() {
    let s = Sandbox::new();
    s.write("f", "file");
    let file = s.put("f");
    let mut batch = s.store.batch();
    let entry = crate::store::trees::Entry {
        name: b"f".to_vec(),
        kind: crate::store::trees::EntryKind::File,
        id: file.id,
        size: 9,
        files: 1,
    };
    let lie = crate::store::trees::Tree { entries: vec![entry] };
    batch.add_bytes(ObjectKind::Tree, lie.encode());
    let hostile = [&[1u8, 1, 0, 0, 0, 0, 4, 0][..], b"../x", &[0; 40]].concat();
    let hostile = batch.add_bytes(ObjectKind::Tree, hostile);
    batch.commit(&Silent).unwrap();
    assert!(!s.store.contains(&lie.pin()) && s.restore("d", &lie.pin()).is_err());
    assert!(s.store.read_tree(&hostile, 0).unwrap_err().message.contains("cannot be used"));
    assert!(s.store.read_tree(&file.id, 0).is_err(), "content is not a tree");
    assert!(!s.top.join("d").exists());
}

/// Each level of folders costs a stack frame in every recursive function, so a tree that is too deep is refused.
#[test]
fn a_chain_of_folders_without_end_is_refused() {
    let s = Sandbox::new();
    let mut batch = s.store.batch();
    let id = batch.add_bytes(ObjectKind::Content, b"x".to_vec());
    let mut entry = crate::store::trees::Entry {
        name: b"f".to_vec(),
        kind: crate::store::trees::EntryKind::File,
        id,
        size: 1,
        files: 1,
    };
    let mut pins = Vec::new();
    for _ in 0..20_000 {
        let tree = crate::store::trees::Tree { entries: vec![entry] };
        let pin = tree.pin();
        batch.add_bytes(ObjectKind::Tree, tree.encode());
        pins.push(pin);
        entry = crate::store::trees::Entry {
            name: b"d".to_vec(),
            kind: crate::store::trees::EntryKind::Tree,
            id: pin.id,
            size: 1,
            files: 1,
        };
    }
    batch.commit(&Silent).unwrap();
    let (fine, deep) = (pins[200], *pins.last().unwrap());
    // Without optimisation a level takes ten times the stack.
    let large = rayon::ThreadPoolBuilder::new().stack_size(64 << 20).build().unwrap();
    large.install(|| s.restore("fine", &fine).unwrap());
    assert_eq!(large.install(|| s.pin("fine")), fine);
    // A new process: this one has no memory of the objects.
    let store = Store::open(s.store.dir(), LinkTypes::default());
    assert!(!store.contains(&deep) && !store.holds(&deep));
    let words = "levels deep";
    let failed = |result: Result<()>| assert!(result.unwrap_err().message.contains(words));
    failed(store.missing_objects(&deep).map(drop));
    failed(store.list_objects(&deep).map(drop));
    failed(ReachableObjects::default().add(&store, &deep));
    failed(export(&store, &deep, &s.top.join("deep"), &Silent));
    failed(large.install(|| s.restore("deeper", &deep)));
    assert!(!s.top.join("deeper").exists());
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let s = Sandbox::new();
    s.write("f", "file");
    let pin = s.pin("f");
    fs::create_dir_all(s.store.dir()).unwrap();
    fs::set_permissions(s.store.dir(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(s.store.dir().join("probe"), "").is_ok() {
        println!("skipped: this user may write anywhere");
        return;
    }
    let mut batch = s.store.batch();
    batch.add(&s.index, &place("f"), &pin).unwrap();
    let e = batch.commit(&Silent).unwrap_err();
    assert!(e.message.contains("cannot be written") && e.message.contains(s.store.dir().to_str().unwrap()), "{e}");
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    let s = Sandbox::new();
    let small = s.dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&small).output();
    if !mount.is_ok_and(|o| o.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    for i in 0..30 {
        s.write(&format!("d/{i}"), vec![i as u8; 300_000]);
    }
    let pin = s.pin("d");
    let store = Store::open(&small.join("store"), LinkTypes::default());
    let mut batch = store.batch();
    batch.add(&s.index, &place("d"), &pin).unwrap();
    let e = batch.commit(&Silent).unwrap_err();
    let temps = fs::read_dir(store.dir().join("tmp")).map_or(0, |d| d.count());
    let whole = !store.contains(&pin);
    let _ = std::process::Command::new("umount").arg(&small).output();
    assert!(e.message.contains("No space left") && !e.hints.is_empty() && temps == 0 && whole, "{e}");
}

#[test]
fn a_store_of_a_newer_format_is_read_and_never_written() {
    let s = Sandbox::new();
    sample(&s);
    let pin = s.put("d");
    let marker = s.store.dir().join("generation");
    fs::write(&marker, "lockstep-store 2\nsomething else\n").unwrap();
    assert!(s.store.contains(&pin) && s.store.generation().is_none());
    s.write("e", "new");
    let pin = s.pin("e");
    let mut batch = s.store.batch();
    batch.add(&s.index, &TrackedPath::Inside(RepoPath::root().join("e").unwrap()), &pin).unwrap();
    let e = batch.commit(&Silent).unwrap_err();
    assert!(e.message.contains("has format 2"), "{e}");
    assert!(s.store.put_run(&pin.id.hex(), b"x").is_err());
    assert_eq!(fs::read_to_string(&marker).unwrap(), "lockstep-store 2\nsomething else\n");
}

/// A disk that fails to read an object: the error names it, it moves to quarantine, no file is left at the destination,
/// and it can be stored again. An object that is only unavailable stays where it is.
#[cfg(target_os = "linux")]
#[test]
fn what_the_disk_cannot_read_is_named_and_set_aside() {
    let s = Sandbox::new();
    s.write("f", "x");
    s.put("f");
    let (store, id) = (&s.store, hash::hash_bytes(b""));
    let (place, to) = (store.path(&id), s.top.join("to"));
    for how in ["file", "stream"] {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // The memory of a process returns EIO where nothing is mapped.
        symlink("/proc/self/mem", &place).unwrap();
        let fault = if how == "file" {
            crate::store::checkout::materialise::Materialiser::new(store, &Silent).file(&id, 0, false, &to).unwrap_err()
        } else {
            let location = store.locate(&id, 0).unwrap();
            store.read_error(&id, &location, location.read().unwrap_err())
        };
        assert_eq!(fault.kind, Kind::Missing, "{fault}");
        assert!(fault.message.contains(&id.hex()) && fault.causes[0].contains("Input/output error"), "{fault}");
        assert!(fs::symlink_metadata(&place).is_err() && !to.exists(), "{how}");
    }
    fs::create_dir_all(&place).unwrap();
    let Err(fault) = store.locate(&id, 0) else { panic!("a folder is not an object") };
    assert_eq!(fault.kind, Kind::Io, "{fault}");
    assert!(fault.message.contains("it is a folder") && place.exists());
}

/// A tree from a remote: one set of entries has one encoding, and its sums do not overflow.
#[test]
fn fuzz_trees() {
    let entry = |name: &str, kind| crate::store::trees::Entry {
        name: name.into(),
        kind,
        id: ObjectId::of(name.as_bytes()),
        size: name.len() as u64,
        files: if kind == crate::store::trees::EntryKind::Tree { 3 } else { 1 },
    };
    let names = ["a", "b.txt", "c", "folder"];
    let kinds = [
        crate::store::trees::EntryKind::File,
        crate::store::trees::EntryKind::Executable,
        crate::store::trees::EntryKind::Symlink,
        crate::store::trees::EntryKind::Tree,
    ];
    let whole = crate::store::trees::Tree {
        entries: names.into_iter().zip(kinds).map(|(name, kind)| entry(name, kind)).collect(),
    };
    let corpus = vec![whole.encode(), crate::store::trees::Tree::default().encode()];
    crate::fuzz::fuzz("trees", corpus, None, |bytes| match crate::store::trees::Tree::parse(bytes) {
        Ok(tree) => {
            assert_eq!(tree.encode(), bytes);
            assert_eq!(tree.pin().files, Some(tree.entries.iter().map(|entry| entry.files).sum()));
            for entry in &tree.entries {
                assert!(!entry.name.is_empty() && !entry.name.contains(&b'/') && !entry.name.contains(&0));
                assert!(entry.name != b"." && entry.name != b"..");
            }
            "fine".into()
        }
        Err(why) => why.to_string(),
    });
}
