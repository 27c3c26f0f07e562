//! What is damaged, missing or of a newer format at a remote is told by its name, and never gets into a workspace.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;
use crate::{clone, files, fine, lab, same};

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file of the remote, damaged in turn and in several ways: the other clone gets right bytes or an error that
/// names the file, never a wrong byte; and `push --again` mends it.
#[test]
fn damage_is_named_never_restored_and_mended() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let all = [files(&sandbox, "objects"), files(&sandbox, "packs"), files(&sandbox, "index")].concat();
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 4] = [
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
    for file in all.iter().filter(|file| !file.ends_with("all")) {
        let name = file.strip_prefix(sandbox.path("../lab")).unwrap().to_str().unwrap();
        for (how, change) in &changes {
            let good = fs::read(file).unwrap();
            if *how == "gone" {
                fs::remove_file(file).unwrap()
            } else {
                rewrite(file, change)
            }
            let b = clone(&sandbox, "b");
            let out = sandbox.run_in(&b, &["pull"]);
            let is_index = name.starts_with("index");
            if is_index && *how == "gone" {
                assert_eq!(out.code, 3, "{name} {how}: {out}");
            } else {
                assert!([3, 4].contains(&out.code) && out.stderr.contains(name), "{name} {how}: {out}");
            }
            for out in ["d", "small", "large"] {
                assert!(!sandbox.exists(&format!("../b/{out}")), "{name} {how}: {out} was restored");
            }
            fine(&sandbox.run(&["push", "-q", "--again"]));
            let out = sandbox.run_in(&b, &["pull"]);
            assert!(out.code == 0 && same(&sandbox, "", &b, &["d", "small", "large"]), "{name} {how}: {out}");
            sandbox.remove("../b");
            if is_index {
                // The mended remote has a segment of another name.
                return;
            }
            assert_eq!(fs::read(file).unwrap(), good, "{name} {how}");
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
    sandbox.write("pipeline.yaml", crate::PIPELINE);
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
