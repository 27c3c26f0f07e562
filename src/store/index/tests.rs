use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::*;
use crate::event::{Activity, Event};
use crate::path::RepoPath;
use crate::store::{hash, trees};

/// Counts the bytes that are hashed.
#[derive(Default)]
struct Hashed(AtomicU64);

impl Sink for Hashed {
    fn event(&self, event: Event<'_>) {
        if let Event::WorkDone { doing: Activity::Hashing, bytes } = event {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

struct Sandbox {
    dir: tempfile::TempDir,
    top: PathBuf,
}

impl Sandbox {
    fn new() -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        fs::create_dir(&top).unwrap();
        Sandbox { dir, top }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn index(&self) -> StatIndex {
        StatIndex::open(&self.dir.path().join("meta/index"), &self.top, true)
    }

    /// Scans with an index read from the disk, saves it, and returns the number of bytes hashed.
    fn look(&self, path: &str) -> (Result<Option<Pin>>, u64) {
        let (index, hashed) = (self.index(), Hashed::default());
        let got = index.scan(&[place(path)], &NoRules, &hashed).remove(0);
        index.save().unwrap();
        (got, hashed.0.into_inner())
    }

    fn pin(&self, path: &str) -> Pin {
        self.look(path).0.unwrap().unwrap()
    }
}

fn place(path: &str) -> TrackedPath {
    if path.starts_with('/') { TrackedPath::Outside(path.into()) } else { RepoPath::root().join(path).unwrap().into() }
}

/// Waits until files are older than the racy window.
fn wait_for_tick() {
    std::thread::sleep(Duration::from_millis(40));
}

fn set_mtime(path: &Path, ns: i64) {
    let time = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

#[test]
fn an_unchanged_tree_is_read_once() {
    let s = Sandbox::new();
    for path in ["d/a", "d/b/c", "d/b-/x", "d/b/z/deep", "f"] {
        s.write(path, path);
    }
    wait_for_tick();
    let (first, read) = s.look("d");
    let pin = first.unwrap().unwrap();
    assert_eq!((pin.size, pin.files, read), (3 + 5 + 6 + 10, Some(4), 24));
    assert_eq!((s.look("d").0.unwrap(), s.look("d").1), (Some(pin), 0));
    assert_eq!(s.pin("f").id, hash::hash_bytes(b"f"));
    assert_eq!(s.look("f").1, 0);
    assert!(s.look("nowhere").0.unwrap().is_none() && s.look("f/x").0.unwrap().is_none());
    let paths: Vec<_> = s.index().list_entries(&place("d")).unwrap().into_iter().map(|l| l.path).collect();
    assert_eq!(paths, [&b"a"[..], b"b", b"b/c", b"b/z", b"b/z/deep", b"b-", b"b-/x"]);
}

#[test]
fn every_kind_of_change_is_seen_and_little_is_read() {
    let s = Sandbox::new();
    for path in ["d/a", "d/b/c", "d/e/f", "d/e/g/h"] {
        s.write(path, path);
    }
    wait_for_tick();
    let mut last = s.pin("d");
    let edits: [(&str, &dyn Fn(), u64); 8] = [
        ("edit", &|| drop(s.write("d/b/c", "other")), 5),
        ("add", &|| drop(s.write("d/e/g/new", "new")), 3),
        ("remove", &|| fs::remove_file(s.top.join("d/a")).unwrap(), 0),
        ("chmod", &|| fs::set_permissions(s.top.join("d/e/f"), fs::Permissions::from_mode(0o755)).unwrap(), 5),
        ("rename", &|| fs::rename(s.top.join("d/e/f"), s.top.join("d/e/F")).unwrap(), 5),
        ("move folder", &|| fs::rename(s.top.join("d/e/g"), s.top.join("d/g")).unwrap(), 7 + 3),
        ("file to folder", &|| drop((fs::remove_file(s.top.join("d/b/c")), s.write("d/b/c/x", "x"))), 1),
        ("folder to file", &|| drop((fs::remove_dir_all(s.top.join("d/g")), s.write("d/g", "gg"))), 2),
    ];
    for (what, edit, bytes) in edits {
        edit();
        wait_for_tick();
        let (now, read) = s.look("d");
        let now = now.unwrap().unwrap();
        assert!(now.id != last.id, "{what} was not seen");
        assert_eq!(read, bytes, "{what}");
        assert_eq!(s.look("d").1, 0, "{what}");
        let fresh = StatIndex::open(Path::new("/nonexistent/x"), &s.top, true);
        assert_eq!(fresh.scan(&[place("d")], &NoRules, &Hashed::default()).remove(0).unwrap(), Some(now), "{what}");
        last = now;
    }
}

#[test]
fn racy_writes_are_never_missed() {
    let s = Sandbox::new();
    for round in 0..60 {
        let text = format!("{round:04}");
        s.write("f", &text);
        s.write("d/f", &text);
        assert_eq!(s.pin("f").id, hash::hash_bytes(text.as_bytes()));
        s.pin("d");
        assert_eq!(
            s.index().list_entries(&place("d")).unwrap()[0].id,
            hash::hash_bytes(text.as_bytes()),
            "round {round}"
        );
        // A name that appears in the tick in which the folder was listed.
        s.write(&format!("d/new{round}"), "");
        assert_eq!(s.pin("d").files, Some(round + 2));
    }
}

#[test]
fn size_and_mtime_may_lie() {
    let s = Sandbox::new();
    for path in ["f", "d/f"] {
        let file = s.write(path, "aaaa");
        set_mtime(&file, 1_000_000_000_000_000_000);
        wait_for_tick();
        let asked = if path == "f" { "f" } else { "d" };
        let before = s.pin(asked);
        fs::write(&file, "bbbb").unwrap();
        set_mtime(&file, 1_000_000_000_000_000_000);
        assert_ne!(s.pin(asked).id, before.id, "{path}");
    }
    assert_eq!(s.index().list_entries(&place("d")).unwrap()[0].id, hash::hash_bytes(b"bbbb"));
}

#[test]
fn setting_aside_and_putting_back_reads_nothing() {
    let s = Sandbox::new();
    s.write("out/a/x", "12345");
    s.write("out/y", "67890");
    s.write("big", "a file");
    wait_for_tick();
    let (pin, file) = (s.pin("out"), s.pin("big"));
    let aside = s.dir.path().canonicalize().unwrap().join("aside");
    let outside = TrackedPath::Outside(aside.clone());
    let index = s.index();
    fs::rename(s.top.join("out"), &aside).unwrap();
    index.trust(&outside, &pin).unwrap();
    s.write("out/other", "written by a run that failed");
    index.scan(&[place("out")], &NoRules, &Hashed::default()).remove(0).unwrap();
    index.save().unwrap();
    let index = s.index();
    fs::remove_dir_all(s.top.join("out")).unwrap();
    fs::rename(&aside, s.top.join("out")).unwrap();
    index.trust(&place("out"), &pin).unwrap();
    fs::rename(s.top.join("big"), s.top.join("big2")).unwrap();
    index.trust(&place("big2"), &file).unwrap();
    index.drop_missing(&|_| false);
    index.save().unwrap();
    assert_eq!((s.look("out").0.unwrap(), s.look("out").1), (Some(pin), 0));
    assert_eq!((s.look("big2").0.unwrap(), s.look("big2").1), (Some(file), 0));
    assert!(s.index().remembered(&outside).is_none() && s.index().remembered(&place("big")).is_none());
}

#[test]
fn links_special_files_and_strange_names() {
    let s = Sandbox::new();
    s.write("d/real", "text");
    s.write("other/x", "text");
    s.write("other/sub/y", "yy");
    let plain = s.pin("d");
    for (at, text) in [("d/in", "real"), ("d/file", "../other/x"), ("d/folder", "../other"), ("d/gone", "../nowhere")] {
        symlink(text, s.top.join(at)).unwrap();
    }
    fs::write(s.top.join("d").join(std::ffi::OsStr::from_bytes(b"\xff\n")), "b").unwrap();
    s.write("d/ünï", "u");
    wait_for_tick();
    assert_eq!(plain.files, Some(1));
    let pin = s.pin("d");
    assert_eq!(pin.files, Some(1 + 3 + 2 + 2), "{:?}", s.index().list_entries(&place("d")));
    assert_eq!(s.look("d").1, 0);
    s.write("other/x", "TEXT");
    wait_for_tick();
    let changed = s.pin("d");
    assert_ne!(changed.id, pin.id, "what an outward link points to is content");
    s.write("nowhere", "here now");
    assert_eq!(s.pin("d").files, Some(8));
    assert_ne!(s.pin("d").id, changed.id, "a dangling link that came to life");
    symlink("d", s.top.join("link")).unwrap();
    assert_eq!(s.pin("link").id, s.pin("d").id);
    symlink("..", s.top.join("other/up")).unwrap();
    symlink(s.top.join("other"), s.top.join("d/again")).unwrap();
    let e = s.look("d").0.unwrap_err();
    assert!(e.message.contains("d/again/up") || e.message.contains("up/d") || e.message.contains("folder/up"), "{e}");
    fs::remove_file(s.top.join("other/up")).unwrap();
    rustix::fs::mknodat(CWD, s.top.join("d/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(s.look("d").0.unwrap_err().message.contains("d/fifo"));
    assert!(s.look("d/fifo").0.unwrap_err().message.contains("d/fifo"));
}

#[test]
fn empty_folders_are_not_content_but_an_empty_top_is() {
    let s = Sandbox::new();
    fs::create_dir_all(s.top.join("d/empty/er")).unwrap();
    let pin = s.pin("d");
    assert_eq!((pin.files, pin.size, pin.id), (Some(0), 0, trees::id_of(&trees::Writer::default().finish())));
    s.write("d/empty/er/x", "x");
    assert_eq!(s.pin("d").files, Some(1));
}

#[test]
fn rules_are_obeyed_and_their_change_is_noticed() {
    struct No(&'static str);
    impl Rules for No {
        fn ignored(&self, path: &[u8], _: bool) -> bool {
            path == self.0.as_bytes()
        }
        fn id(&self) -> u64 {
            self.0.len() as u64
        }
    }
    let s = Sandbox::new();
    s.write("d/a", "a");
    s.write("d/skip/x", "x");
    wait_for_tick();
    let index = s.index();
    let files = |rules: &No| index.scan(&[place("d")], rules, &Hashed::default()).remove(0).unwrap().unwrap().files;
    assert_eq!(
        [files(&No("d")), files(&No("d/a")), files(&No("d/skip")), files(&No(""))].map(Option::unwrap),
        [2, 1, 1, 2]
    );
}

#[test]
fn one_top_lends_its_hashes_to_another() {
    let s = Sandbox::new();
    s.write("d/sub/a", "aaa");
    s.write("d/b", "bb");
    wait_for_tick();
    s.pin("d");
    assert_eq!(s.look("d/sub").1 + s.look("d/b").1, 0);
    let t = Sandbox::new();
    t.write("d/sub/a", "aaa");
    wait_for_tick();
    t.pin("d/sub/a");
    assert_eq!(t.look("d").1, 0);
}

#[test]
fn marks_of_the_store_last_as_long_as_the_content() {
    let s = Sandbox::new();
    s.write("d/a", "a");
    wait_for_tick();
    let pin = s.pin("d");
    let index = s.index();
    index.mark_stored(&place("d"), &pin, [7; 16]);
    index.save().unwrap();
    let index = s.index();
    assert!(index.is_stored(&place("d"), &pin, [7; 16]) && !index.is_stored(&place("d"), &pin, [8; 16]));
    s.write("d/a", "b");
    let new = index.scan(&[place("d")], &NoRules, &Hashed::default()).remove(0).unwrap().unwrap();
    assert!(!index.is_stored(&place("d"), &new, [7; 16]));
}

#[test]
fn damage_means_empty_and_a_newer_version_is_left_alone() {
    let s = Sandbox::new();
    for i in 0..20 {
        s.write(&format!("d/{}/f{i}", i % 3), &format!("{i}"));
    }
    wait_for_tick();
    let pin = s.pin("d");
    let file = s.dir.path().join("meta/index");
    let good = fs::read(&file).unwrap();
    let step = (good.len() / 200).max(1);
    for at in (0..good.len()).step_by(step) {
        for bad in [good[..at].to_vec(), {
            let mut b = good.clone();
            b[at] ^= 1 << (at % 8);
            b
        }] {
            fs::write(&file, &bad).unwrap();
            assert_eq!(s.index().scan(&[place("d")], &NoRules, &Hashed::default()).remove(0).unwrap(), Some(pin));
        }
    }
    let mut newer = good.clone();
    newer[8] = 9;
    fs::write(&file, &newer).unwrap();
    assert!(s.index().is_newer());
    assert_eq!(s.pin("d"), pin);
    assert_eq!(fs::read(&file).unwrap(), newer);
}

#[test]
fn a_file_that_is_written_to_is_an_error() {
    let s = Sandbox::new();
    let file = s.write("f", "");
    fs::write(&file, vec![1u8; 64 << 20]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            let mut f = fs::File::options().append(true).open(&file).unwrap();
            while !stop.load(Ordering::Relaxed) {
                f.write_all(b"x").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let got = s.look("f").0;
        stop.store(true, Ordering::Relaxed);
        assert!(got.unwrap_err().message.contains("changed while it was read"));
    });
}

#[test]
fn a_large_index_is_not_written_for_a_small_edit() {
    let s = Sandbox::new();
    for n in 0..5000 {
        s.write(&format!("data/{}/{n}", n / 50), "before");
    }
    wait_for_tick();
    s.pin("data");
    let file = s.dir.path().join("meta/index");
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
    let before = inode();
    s.write("data/0/0", "after");
    wait_for_tick();
    let edited = s.look("data");
    assert_eq!((edited.1, inode()), (5, before));
    assert_eq!(s.look("data").1, 5, "it is read again, since nothing was written");
    for n in 0..50 {
        s.write(&format!("data/0/{n}"), "after");
    }
    wait_for_tick();
    let more = s.look("data");
    assert_eq!(more.1, 250);
    assert_ne!(inode(), before);
    assert_eq!(s.look("data").1, 0);
}
