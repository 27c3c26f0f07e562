//! Another writer of a shared store puts bytes of his own under an id, with the times that say "verified".

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sandbox::Sandbox;

const OTHER: u32 = 65534;

/// As `seal_of` in `store/objects/mod.rs`.
fn seal(id: &[u8], seconds: u64) -> u64 {
    let number = u64::from_le_bytes(id[..8].try_into().unwrap());
    (number.wrapping_add(seconds).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1_000_000_000
}

fn objects(store: &Path) -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    files(store.join("objects")).into_iter().flat_map(files).collect()
}

/// Replaces an object, which gets this owner and mode.
fn forge(object: &Path, bytes: &[u8], owner: u32, mode: u32) {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let hex = name(object.parent().unwrap()) + &name(object);
    let id: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();
    fs::remove_file(object).unwrap();
    fs::write(object, bytes).unwrap();
    fs::set_permissions(object, fs::Permissions::from_mode(mode)).unwrap();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = UNIX_EPOCH + Duration::new(seconds, seal(&id, seconds) as u32);
    fs::File::open(object).unwrap().set_modified(time).unwrap();
    chown(object, Some(owner), None).unwrap();
}

fn project(links: &str) -> (Sandbox, PathBuf, tempfile::TempDir) {
    let shared = tempfile::tempdir().unwrap();
    let store = shared.path().join("store");
    let sandbox = Sandbox::new();
    sandbox.use_store("", &store);
    assert_eq!(sandbox.run(&["config", "--local", "cache.links", links]).code, 0);
    sandbox.write("tool.sh", "good\n");
    assert_eq!(sandbox.run(&["add", "-q", "tool.sh"]).code, 0);
    fs::remove_file(sandbox.path("tool.sh")).unwrap();
    (sandbox, store, shared)
}

/// The mode alone: others may have written to it.
#[test]
fn one_that_others_may_write_to_is_read_before_use() {
    for links in ["hardlink", "reflink", "copy"] {
        let (sandbox, store, _shared) = project(links);
        let [object] = &objects(&store)[..] else { panic!("one object") };
        let me = fs::metadata(object).unwrap().uid();
        forge(object, b"evil\n", me, 0o666);
        let out = sandbox.run(&["checkout"]);
        assert!(out.code != 0 && out.stderr.contains("damaged") && !sandbox.exists("tool.sh"), "{links} {out}");
    }
}

#[test]
#[ignore = "needs root, for a file of another user"]
fn one_of_another_user_is_read_before_use() {
    for links in ["hardlink", "reflink", "copy"] {
        for mode in [0o666, 0o444] {
            let (sandbox, store, _shared) = project(links);
            let [object] = &objects(&store)[..] else { panic!("one object") };
            forge(object, b"evil\n", OTHER, mode);
            let out = sandbox.run(&["verify"]);
            assert!(out.code == 1 && out.stdout.contains("do not match"), "{links} {mode:o} {out}");
            let out = sandbox.run(&["checkout"]);
            assert!(out.code != 0 && out.stderr.contains("damaged") && !sandbox.exists("tool.sh"), "{links} {out}");
        }
    }
}

/// A colleague's objects are used, and never linked to: he could write to the file of this workspace.
#[test]
#[ignore = "needs root, for a file of another user"]
fn a_good_one_of_another_user_is_copied() {
    for links in ["hardlink", "reflink", "copy"] {
        let (sandbox, store, _shared) = project(links);
        let [object] = &objects(&store)[..] else { panic!("one object") };
        forge(object, b"good\n", OTHER, 0o444);
        let out = sandbox.run(&["checkout"]);
        assert!(out.code == 0 && sandbox.read("tool.sh") == "good\n", "{links} {out}");
        let [theirs, mine] = [object.clone(), sandbox.path("tool.sh")].map(|path| fs::metadata(path).unwrap());
        assert!(theirs.ino() != mine.ino() && mine.uid() != OTHER, "{links}");
        let out = sandbox.run(&["verify"]);
        assert_eq!(out.code, 0, "{links} {out}");
    }
}

/// The repository may ask for copies, and for nothing that hands out the files of the store.
#[test]
fn the_repository_asks_for_no_hard_links() {
    let sandbox = Sandbox::new();
    sandbox.write("lockstep.toml", "[cache]\nlinks = [\"hardlink\"]\n");
    sandbox.write("d", "1");
    assert_eq!(sandbox.run(&["add", "-q", "d"]).code, 0);
    fs::remove_file(sandbox.path("d")).unwrap();
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 0 && fs::metadata(sandbox.path("d")).unwrap().nlink() == 1, "{out}");
    let out = sandbox.run(&["config", "--show-origin"]);
    assert!(format!("{out}").contains("allows more than reflink,copy"), "{out}");
}
