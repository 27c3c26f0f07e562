//! What is damaged, missing or of a newer format at a remote is told by its name, and never gets into a workspace.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;
use crate::sharing::{clone, files, fine, lab, same};

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

type Change = fn(&mut Vec<u8>);

const CHANGES: [(&str, Change); 4] = [
    ("flipped", |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    }),
    ("end", |bytes| {
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
    }),
    ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
    ("gone", Vec::clear),
];

fn harm(file: &Path, (how, change): &(&str, Change)) {
    if *how == "gone" { fs::remove_file(file).unwrap() } else { rewrite(file, change) }
}

/// Every object and pack of the remote, damaged in turn and in several ways: the other clone gets the outputs that do not
/// need it, and an error that names the file and the others, never a wrong byte; and `push --again` mends it.
#[test]
fn damage_is_named_never_restored_and_mended() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let mut told = 0;
    for file in &[files(&sandbox, "objects"), files(&sandbox, "packs")].concat() {
        let name = file.strip_prefix(sandbox.path("../lab")).unwrap().to_str().unwrap();
        let good = fs::read(file).unwrap();
        for change in &CHANGES {
            harm(file, change);
            let b = clone(&sandbox, "b");
            let out = sandbox.run_in(&b, &["pull"]);
            if out.code == 0 {
                // A pack with nothing but entries of the run cache is not looked at.
                let is_right = same(&sandbox, "", &b, &["d", "small", "large"]);
                assert!(is_right && good.len() < 10_000, "{name} {}: {out}", change.0);
            } else {
                assert!([3, 4].contains(&out.code) && out.stderr.contains(name), "{name} {}: {out}", change.0);
                let needed = out.stderr.split("needed by ").nth(1).unwrap().lines().next().unwrap();
                for out in ["d", "small", "large"] {
                    let is_here = sandbox.exists(&format!("../b/{out}"));
                    let is_needed = needed.split(", ").any(|name| name == out);
                    assert!(is_here != is_needed, "{name} {}: {out} is {is_here} here, needed by {needed}", change.0);
                    assert!(!is_here || same(&sandbox, "", &b, &[out]), "{name} {}: {out} is wrong", change.0);
                }
                told += 1;
            }
            fine(&sandbox.run(&["push", "-q", "--again"]));
            let out = sandbox.run_in(&b, &["pull"]);
            assert!(out.code == 0 && same(&sandbox, "", &b, &["d", "small", "large"]), "{name} {}: {out}", change.0);
            sandbox.remove("../b");
            assert_eq!(fs::read(file).unwrap(), good, "{name} {}", change.0);
        }
    }
    // Two large files and a pack.
    assert_eq!(told, 3 * CHANGES.len());
}

#[test]
fn a_damaged_index_is_named_and_mended() {
    for change in &CHANGES {
        let sandbox = lab();
        fine(&sandbox.run(&["push", "-q"]));
        let segment = files(&sandbox, "index").into_iter().find(|file| !file.ends_with("all")).unwrap();
        let name = segment.strip_prefix(sandbox.path("../lab")).unwrap().to_str().unwrap().to_string();
        harm(&segment, change);
        let b = clone(&sandbox, "b");
        let out = sandbox.run_in(&b, &["pull"]);
        // An index that is gone without a trace is an empty remote.
        let want = if change.0 == "gone" { 3 } else { 4 };
        assert_eq!((out.code, out.stderr.contains(&name)), (want, want == 4), "{}: {out}", change.0);
        // This clone knows the segment by heart; another one does not.
        let c = clone(&sandbox, "c");
        fine(&sandbox.run(&["push", "-q", "--again"]));
        for folder in [&b, &c] {
            fine(&sandbox.run_in(folder, &["pull", "-q"]));
            assert!(same(&sandbox, "", folder, &["d", "small", "large"]));
            fine(&sandbox.run_in(folder, &["-q", "status", "-c"]));
        }
    }
}

#[test]
fn a_newer_remote_is_left_alone() {
    let sandbox = lab();
    sandbox.write("../lab/lockstep-remote", "lockstep-remote 2\n");
    for verb in ["push", "fetch", "pull"] {
        sandbox.remove("small");
        let _ = fs::remove_dir_all(sandbox.path(".git/lockstep/store"));
        let out = sandbox.run(&[verb]);
        assert_eq!(out.code, 4, "{out}");
        assert!(out.stderr.contains("has format 2; this lockstep knows format 1"), "{out}");
        sandbox.write("small", "");
    }
    sandbox.write("../lab/lockstep-remote", "something else\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["remote", "check"])), @r"
    exit 4
    --- stderr
    error: the remote lab (../lab) has a file lockstep-remote that is not lockstep's
      hint: use another folder or prefix
    ");
}

#[test]
fn a_folder_that_is_not_there_is_no_empty_remote() {
    let sandbox = lab();
    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 4
    --- stderr
    error: the remote lab (../lab) is not there: cannot read from it
      because: there is no such folder
      hint: is the disk mounted? lockstep remote list
    ");
}

#[test]
fn a_full_or_forbidden_remote_records_nothing() {
    let sandbox = lab();
    // A file where a folder should be: nobody, not even root, writes below it.
    sandbox.write("../lab/packs", "in the way");
    let out = sandbox.run(&["push"]);
    assert_eq!(out.code, 4, "{out}");
    assert!(out.stderr.contains("error: the remote lab (../lab)"), "{out}");
    assert!(files(&sandbox, "index").is_empty() && files(&sandbox, "tmp").is_empty());
    sandbox.remove("../lab/packs");
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["pull", "-q"]));
}

/// A damaged object of the store never arrives at a remote.
#[test]
fn local_damage_does_not_travel() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", crate::sharing::PIPELINE);
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["remote", "add", "-q", "lab", "../lab"]));
    let store = sandbox.path(".git/lockstep/store");
    let packs: Vec<_> = fs::read_dir(store.join("packs")).unwrap().map(|e| e.unwrap().path()).collect();
    let pack = packs.iter().find(|path| path.extension().is_some_and(|e| e == "pack")).unwrap();
    rewrite(pack, |bytes| bytes[100_000] ^= 1);
    let out = sandbox.run(&["push"]);
    assert_eq!(out.code, 3, "{out}");
    assert!(out.stderr.contains("is damaged"), "{out}");
    assert!(files(&sandbox, "index").is_empty());
    // The workspace still has the bytes.
    fine(&sandbox.run(&["commit", "-q", "--force"]));
    fine(&sandbox.run(&["push", "-q"]));
}

/// Two of three outputs hold a damaged object: the third arrives, both objects are named with what needs them, and once
/// they are mended nothing but them is fetched.
#[test]
fn damage_holds_up_nothing_else() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let of_size =
        |size: u64| files(&sandbox, "objects").into_iter().find(|f| f.metadata().unwrap().len() == size).unwrap();
    let (large, big) = (of_size(2_000_000), of_size(1_500_000));
    rewrite(&large, |bytes| bytes[1_000_000] ^= 1);
    fs::rename(&big, sandbox.path("../big")).unwrap();
    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 3
    --- stderr
    restored small
    1.2 MB in 62 objects fetched
    error: 2 objects and packs are damaged or missing at the remote
      because: objects/30/[HASH] at the remote lab (../lab) is damaged: object [HASH] arrived damaged: its bytes do not match its id; needed by large
      because: objects/9e/[HASH] is gone from the remote lab (../lab): its index names it; needed by d
      hint: where the data is: lockstep push --again -r lab
    ");
    assert!(same(&sandbox, "", &b, &["small"]) && !sandbox.exists("../b/d") && !sandbox.exists("../b/large"));
    fs::rename(sandbox.path("../big"), &big).unwrap();
    rewrite(&large, |bytes| bytes[1_000_000] ^= 1);
    let out = sandbox.run_in(&b, &["pull", "--json"]);
    fine(&out);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let received = json["remotes"][0]["cost"]["received"].as_u64().unwrap();
    assert!((3_500_000..3_520_000).contains(&received), "{received}");
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
}

/// A run that pulls restores what it can, and runs the stage whose result is damaged there.
#[test]
fn a_run_misses_only_what_is_damaged() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let large = files(&sandbox, "objects").into_iter().find(|f| f.metadata().unwrap().len() == 2_000_000).unwrap();
    rewrite(&large, |bytes| bytes[1_000_000] ^= 1);
    let b = clone(&sandbox, "b");
    let out = sandbox.run_in(&b, &["repro", "--pull"]);
    fine(&out);
    assert_eq!(sandbox.ran(), ["use"], "{out}");
    assert!(out.stderr.contains("what use needs cannot be fetched: objects/"), "{out}");
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
}

/// One bad object in a pack that comes whole costs the outputs that hold it, and no other.
#[test]
fn the_good_objects_of_a_bad_pack_arrive() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let mut packs = files(&sandbox, "packs");
    packs.sort_by_key(|pack| pack.metadata().unwrap().len());
    // The content of one of the sixty files, and not the one that is `small` as well.
    rewrite(packs.last().unwrap(), |bytes| bytes[800_000] ^= 1);
    let b = clone(&sandbox, "b");
    let out = sandbox.run_in(&b, &["pull"]);
    assert!(out.code == 4 && out.stderr.contains("needed by d\n"), "{out}");
    assert!(same(&sandbox, "", &b, &["small", "large"]) && !sandbox.exists("../b/d"));
    fine(&sandbox.run(&["push", "-q", "--again"]));
    let out = sandbox.run_in(&b, &["pull", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(json["remotes"][0]["cost"]["received"].as_u64().unwrap() < 40_000, "{out}");
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
}
