//! One damaged object of a pack, through gc: the others stay usable, and it comes back when somebody has it again.

use std::fs;
use std::path::PathBuf;

use crate::gc::{files, fine};
use crate::sandbox::Sandbox;

const LARGE: &str = "0123456789abcdef";

fn content(i: usize) -> String {
    if i == 0 { LARGE.repeat(700) } else { format!("small {i}\n") }
}

/// A folder of which one file takes most of the bytes, in a pack.
fn packed() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    (0..60).for_each(|i| sandbox.write(&format!("data/f{i}"), content(i)));
    fine(&sandbox.run(&["add", "-q", "data"]));
    commit(&sandbox);
    let packs = files(&sandbox.path(".git/lockstep/store/packs"));
    assert_eq!(packs.len(), 1, "{packs:?}");
    (sandbox, packs[0].clone())
}

fn commit(sandbox: &Sandbox) {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "data"]);
}

#[test]
fn a_tombstone_is_written_out_of_its_pack() {
    let (sandbox, pack) = packed();
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(LARGE.len()).position(|window| window == LARGE.as_bytes()).unwrap();
    bytes[at + 100] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    sandbox.remove("data");
    let out = sandbox.run(&["checkout", "-q"]);
    assert!(out.code == 3 && out.stderr.contains("damaged"), "{out}");
    assert!(!sandbox.exists("data"), "nothing is half restored");
    let tombstones = || {
        let all = files(&sandbox.path(".git/lockstep/store/packs"));
        all.into_iter().filter(|file| file.extension().is_some_and(|e| e == "dead")).count()
    };
    assert_eq!(tombstones(), 1);

    let out = sandbox.run(&["gc", "-A", "--min-age", "0"]);
    fine(&out);
    assert!(out.stderr.contains("1 pack rewritten"), "{out}");
    let packs = files(&sandbox.path(".git/lockstep/store/packs"));
    assert_eq!((tombstones(), packs.len(), packs.contains(&pack)), (0, 1, false), "{packs:?}");
    for i in 1..60 {
        fine(&sandbox.run(&["get", "-q", ".", &format!("data/f{i}"), "-o", "one", "-f"]));
        assert_eq!(sandbox.read("one"), content(i));
    }
    let out = sandbox.run(&["get", "-q", ".", "data/f0", "-o", "none"]);
    assert!(out.code == 3 && !sandbox.exists("none"), "{out}");
    // What was damaged is kept, and gc does not take it away.
    let kept = files(&sandbox.path(".git/lockstep/store/quarantine"));
    assert_eq!(kept.len(), 1, "{kept:?}");

    (0..60).for_each(|i| sandbox.write(&format!("data/f{i}"), content(i)));
    fine(&sandbox.run(&["add", "-q", "data"]));
    sandbox.remove("data");
    fine(&sandbox.run(&["checkout", "-q"]));
    (0..60).for_each(|i| assert_eq!(sandbox.read(&format!("data/f{i}")), content(i)));
}

/// Nobody noticed yet: gc reads it when it writes the pack anew, sets it aside, and takes the others over.
#[test]
fn damage_that_gc_is_the_first_to_see() {
    let (sandbox, pack) = packed();
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(7).position(|window| window == b"small 7").unwrap();
    bytes[at] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    // Without its large file most of the pack is dead.
    sandbox.write("data/f0", "now small\n");
    fine(&sandbox.run(&["add", "-q", "data"]));
    commit(&sandbox);
    fine(&sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]));
    assert!(!files(&sandbox.path(".git/lockstep/store/packs")).contains(&pack));
    for i in (1..60).filter(|i| *i != 7) {
        fine(&sandbox.run(&["get", "-q", ".", &format!("data/f{i}"), "-o", "one", "-f"]));
        assert_eq!(sandbox.read("one"), content(i));
    }
}
