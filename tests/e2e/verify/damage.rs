//! Every sort of damage is found, and told with the outputs and commits that it hurts. Nothing is repaired here.

use std::fs;

use crate::verify::{files, fine, flip, lab, loose, packed, rot, shown, store};

#[test]
fn a_loose_object() {
    let sandbox = lab();
    let big = loose(&sandbox, &[b'2'; 200_000]);
    flip(&big, 1000);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    objects/6c/[HASH]: its bytes do not match its id
      needed by d of gen: workspace, main ([v2])
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
    // Cut short, and gone for something else.
    fs::write(&big, "2").unwrap();
    assert!(sandbox.run(&["verify"]).stdout.contains("its bytes do not match its id"));
    fs::remove_file(&big).unwrap();
    fs::create_dir(&big).unwrap();
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains("its name is not that of an object"), "{out}");
}

/// What no time stamp tells of shows by reading alone, and by the size.
#[test]
fn silent_damage() {
    let sandbox = lab();
    rot(&loose(&sandbox, &[b'1'; 150_000]), 1000);
    fine(&sandbox.run(&["verify"]));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--read-data"])), @r"
    exit 1
    --- stdout
    objects/93/[HASH]: its bytes do not match its id
      needed by large of use: v1 ([v1])
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 1 damaged
    read 129 objects ([SIZE])
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
    let of = |n: u32| sandbox.run(&["verify", &format!("--read-data={n}/5")]).code;
    assert_eq!((1..=5).filter(|n| of(*n) == 1).count(), 1);
}

#[test]
fn an_object_of_a_pack() {
    let sandbox = lab();
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"7 2\n");
    flip(&pack, at);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: workspace, main ([v2])
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
    let sandbox = lab();
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"7 2\n");
    rot(&pack, at);
    fine(&sandbox.run(&["verify"]));
    assert_eq!(sandbox.run(&["verify", "--read-data"]).code, 1);
}

/// A folder is read in any case: what it holds has to be known.
#[test]
fn a_tree() {
    let sandbox = lab();
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"\x02\x00f7");
    rot(&pack, at + 2);
    // The place in the pack depends on the order in which the threads read the files.
    let text =
        shown(&sandbox, &sandbox.run(&["verify"])).replace(" at 358:", " at [AT]:").replace(" at 367:", " at [AT]:");
    insta::assert_snapshot!(text, @r"
    exit 1
    --- stdout
    packs/[HASH].pack at [AT]: its bytes do not match its id
      needed by d of gen: v1 ([v1])
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

#[test]
fn the_index_of_a_pack() {
    let sandbox = lab();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 2\n");
    flip(&pack, fs::metadata(&pack).unwrap().len() - 100);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    packs/[HASH].pack: its index is damaged
      needed by d of gen: workspace, main ([v2])
      needed by small of use: workspace, main ([v2])
    --- stderr
    67 objects ([SIZE]), 1 pack, 4 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

#[test]
fn a_pack_that_is_cut_short_or_gone() {
    let sandbox = lab();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 2\n");
    let whole = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &whole[..whole.len() - 1000]).unwrap();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    packs/[HASH].pack: it does not end as a pack
      needed by d of gen: workspace, main ([v2])
      needed by small of use: workspace, main ([v2])
    --- stderr
    67 objects ([SIZE]), 1 pack, 4 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
    // There is no remote that may have it.
    fs::remove_file(&pack).unwrap();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    object [HASH]: it is not in the store, and there is no remote that may have it
      needed by d of gen: workspace, main ([v2])
    object [HASH]: it is not in the store, and there is no remote that may have it
      needed by small of use: workspace, main ([v2])
    --- stderr
    67 objects ([SIZE]), 1 pack, 4 results: 2 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

#[test]
fn entries_of_the_run_cache() {
    let sandbox = lab();
    let runs = files(&store(&sandbox).join("runs"));
    flip(&runs[0], 100);
    // Whole, and under the key of another stage.
    let other = runs[1].parent().unwrap();
    let moved = store(&sandbox).join("runs/ab").join("ab".repeat(32));
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(other, moved).unwrap();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    runs/6e/[HASH]/0000000000-[N]: its checksum is wrong
    runs/ab/[HASH]/0000000000-[N]: it is not a result of its stage key
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 2 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

#[test]
fn small_files_of_the_store() {
    let sandbox = lab();
    let store = store(&sandbox);
    fs::write(store.join("generation"), "rubbish").unwrap();
    fs::write(store.join("objects").join("stray"), "rubbish").unwrap();
    fs::create_dir_all(store.join("objects/ab")).unwrap();
    fs::write(store.join("objects/ab/cd"), "rubbish").unwrap();
    let (pack, _) = packed(&store.join("packs"), b"7 2\n");
    fs::write(pack.with_extension("dead"), "rubbish").unwrap();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    generation: it does not say which format the store has
    objects/ab/cd: its name is not that of an object
    objects/stray: its name is not that of an object
    packs/[HASH].dead: its checksum is wrong: which objects of the pack are damaged is not known
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 4 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

/// A pack of a later format is nobody's damage.
#[test]
fn what_is_newer_is_passed_over() {
    let sandbox = lab();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[8] = 9;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 0 && out.stderr.contains("skipped 1 file that a newer lockstep wrote"), "{out}");
}

/// Worktrees, branches and the stash are told by their names.
#[test]
fn whoever_pins_it_is_named() {
    let sandbox = lab();
    sandbox.git(&["worktree", "add", "-q", "../second", "v1"]);
    sandbox.git(&["branch", "old", "v1"]);
    flip(&loose(&sandbox, &[b'1'; 200_000]), 3);
    let out = sandbox.run(&["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let hurts = &json["damaged"][0]["hurts"];
    assert_eq!((hurts[0]["stage"].as_str(), hurts[0]["path"].as_str()), (Some("gen"), Some("d")), "{out}");
    let states: Vec<&str> = hurts[0]["states"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(states[0].ends_with("/second") && states[1].starts_with("old ("), "{states:?}");
}

/// A lock that cannot be read hides nothing of the others.
#[test]
fn a_broken_lock_is_told_and_passed_over() {
    let sandbox = lab();
    sandbox.write("pipeline.lock", "rubbish");
    flip(&loose(&sandbox, &[b'2'; 200_000]), 3);
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains("needed by d of gen: "), "{out}");
    assert!(out.stderr.contains("warning: pipeline.lock is not a lock file"), "{out}");
}
