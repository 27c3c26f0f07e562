//! `--repair`: what is damaged goes into quarantine, and comes back from where it can be had.

use std::fs;

use crate::verify::{files, fine, flip, gives, lab, loose, packed, pushed, rot, shown, store};

#[test]
fn from_the_workspace() {
    let sandbox = lab();
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"7 2\n");
    flip(&pack, at);
    flip(&loose(&sandbox, &[b'2'; 150_000]), 7);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--repair"])), @r"
    exit 0
    --- stdout
    objects/2e/[HASH]: its bytes do not match its id
      needed by large of use: workspace, main ([v2])
      repaired: restored from the workspace
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: workspace, main ([v2])
      repaired: restored from the workspace
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: repaired
    ");
    fine(&sandbox.run(&["verify", "--read-data"]));
    assert!(gives(&sandbox, "v2", "d") && gives(&sandbox, "v2", "large"));
    // Kept, never deleted.
    let kept = files(&store(&sandbox).join("quarantine"));
    assert!(kept.len() == 2 && kept.iter().any(|path| fs::read(path).unwrap().len() == 150_000), "{kept:?}");
    // Again: nothing is left to do.
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 0 && out.stdout.is_empty() && out.stderr.contains("nothing is damaged"), "{out}");
}

/// Folders whose trees are damaged: that of v2 is also in the workspace, that of v1 is nowhere.
#[test]
fn trees_from_the_workspace() {
    let sandbox = lab();
    for pack in files(&store(&sandbox).join("packs")) {
        let bytes = fs::read(&pack).unwrap();
        if let Some(at) = bytes.windows(4).position(|window| window == b"\x02\x00f7") {
            rot(&pack, at as u64 + 2);
        }
    }
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("restored from the workspace"), "{out}");
    assert!(gives(&sandbox, "v2", "d") && !gives(&sandbox, "v1", "d"), "{out}");
}

/// The workspace shares its bytes with the store: what is damaged here is damaged there.
#[test]
fn a_hard_link_is_no_second_copy() {
    let sandbox = lab();
    fine(&sandbox.run(&["config", "--local", "cache.links", "hardlink"]));
    fine(&sandbox.run(&["checkout", "-q", "--relink"]));
    rot(&loose(&sandbox, &[b'2'; 150_000]), 7);
    let out = sandbox.run(&["verify", "--read-data", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("lost: neither the workspace nor a remote has it"), "{out}");
    assert!(!gives(&sandbox, "v2", "large"));
}

#[test]
fn from_a_remote() {
    let sandbox = pushed();
    flip(&loose(&sandbox, &[b'1'; 200_000]), 7);
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    rot(&pack, at);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--read-data", "--repair"])), @r"
    exit 0
    --- stdout
    objects/2f/[HASH]: its bytes do not match its id
      needed by d of gen: v1 ([v1])
      repaired: restored from lab
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: v1 ([v1])
      repaired: restored from lab
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: repaired
    read 129 objects ([SIZE])
    ");
    fine(&sandbox.run(&["verify", "--read-data"]));
    fs::rename(sandbox.path("../lab"), sandbox.path("../away")).unwrap();
    assert!(gives(&sandbox, "v1", "d"));
}

/// The first remote cannot help; the second one does.
#[test]
fn from_the_remote_that_has_it() {
    let sandbox = pushed();
    fine(&sandbox.run(&["remote", "add", "-q", "away", "../nowhere"]));
    flip(&loose(&sandbox, &[b'1'; 150_000]), 7);
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 0 && out.stdout.contains("restored from lab"), "{out}");
    assert!(out.stderr.contains("warning: the remote away (../nowhere) is not there"), "{out}");
}

#[test]
fn nowhere_to_take_it_from() {
    let sandbox = lab();
    flip(&loose(&sandbox, &[b'1'; 150_000]), 7);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--repair"])), @r"
    exit 1
    --- stdout
    objects/93/[HASH]: its bytes do not match its id
      needed by large of use: v1 ([v1])
      lost: neither the workspace nor a remote has it
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: 1 damaged
    removed 1 result from the run cache: an output is lost
    hint: large as another commit has it: git switch --detach v1, then lockstep repro use
    ");
    // It stays lost, and that is told; the result that led to it is gone.
    let again = sandbox.run(&["verify", "--repair"]);
    assert!(again.code == 1 && !again.stderr.contains("dropped"), "{again}");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 1
    --- stdout
    quarantine/[HASH].[N]: it was found damaged earlier, and was not replaced
      needed by large of use: v1 ([v1])
    --- stderr
    128 objects (565.9 kB), 2 packs, 3 results: 1 damaged
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
    // What the hint says mends it.
    sandbox.git(&["checkout", "-q", "v1"]);
    fine(&sandbox.run(&["repro", "-q", "use"]));
    assert_eq!(sandbox.ran(), ["use"]);
    fine(&sandbox.run(&["verify", "--read-data"]));
}

#[test]
fn as_json() {
    let sandbox = pushed();
    sandbox.git(&["clone", "-q", ".", "../c"]);
    fine(&sandbox.run_in("../c", &["fetch", "-q", "small", "large"]));
    let all = files(&sandbox.path("../c/.git/lockstep/store/objects"));
    let large = all.iter().find(|path| fs::read(path).unwrap().len() == 150_000).unwrap();
    flip(large, 7);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run_in("../c", &["verify", "--json"])), @r#"
    exit 1
    --- stdout
    {
      "remote": null,
      "objects": 2,
      "packs": 0,
      "runs": 0,
      "bytes": 150004,
      "read": 150000,
      "read_objects": 1,
      "seed": null,
      "damaged": [
        {
          "id": "[HASH]",
          "where": "objects/2e/[HASH]",
          "problem": "its bytes do not match its id",
          "hurts": [
            {
              "stage": "use",
              "path": "large",
              "states": [
                "workspace",
                "main ([main])",
                "v2 ([v2])"
              ]
            }
          ],
          "repaired": null,
          "from": []
        }
      ],
      "missing": [
        {
          "stage": "gen",
          "path": "d",
          "states": [
            "workspace",
            "main ([main])",
            "v2 ([v2])"
          ],
          "id": "[HASH]",
          "size": 200291
        },
        {
          "stage": "gen",
          "path": "d",
          "states": [
            "v1 ([v1])"
          ],
          "id": "[HASH]",
          "size": 200291
        },
        {
          "stage": "use",
          "path": "large",
          "states": [
            "v1 ([v1])"
          ],
          "id": "[HASH]",
          "size": 150000
        },
        {
          "stage": "use",
          "path": "small",
          "states": [
            "v1 ([v1])"
          ],
          "id": "[HASH]",
          "size": 4
        }
      ],
      "newer": 0,
      "dropped": 0,
      "unreadable": [],
      "failed": []
    }
    "#);
    let out = sandbox.run_in("../c", &["verify", "--json", "--repair"]);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let damaged = &json["damaged"][0];
    assert_eq!((out.code, &damaged["repaired"], &damaged["from"][0]), (0, &true.into(), &"remote lab".into()), "{out}");
}

/// The workspace lost it, too: the stage runs again.
#[test]
fn lost_in_the_workspace() {
    let sandbox = lab();
    flip(&loose(&sandbox, &[b'2'; 150_000]), 7);
    sandbox.remove("large");
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 1 && out.stderr.contains("make it again: lockstep repro use"), "{out}");
    fine(&sandbox.run(&["repro", "-q", "use"]));
    assert_eq!((sandbox.ran().len(), sandbox.read("large").len()), (1, 150_000));
    fine(&sandbox.run(&["verify"]));
}

/// One flipped bit in the index of a pack costs nothing: the objects lie back to back and prove themselves.
#[test]
fn out_of_a_pack_with_a_broken_index() {
    let sandbox = lab();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    let good = fs::read(&pack).unwrap();
    // The trailer, and each sort of byte of some rows: id, kind, offset, length.
    let places = [3, 20, 45, 50, 56 + 49, 56 + 20, 56 + 16, 56 + 10, 56 + 3, 56 + 49 * 7 + 40];
    for from_end in places {
        for at in files(&store(&sandbox).join("packs")) {
            fs::remove_file(at).unwrap();
        }
        let _ = fs::remove_dir_all(store(&sandbox).join("quarantine"));
        fs::write(&pack, &good).unwrap();
        flip(&pack, good.len() as u64 - from_end);
        let out = sandbox.run(&["verify", "--repair"]);
        assert!(out.stdout.contains("restored from what is whole of the pack"), "{from_end}: {out}");
        assert!(gives(&sandbox, "v1", "d") && gives(&sandbox, "v1", "small"), "{from_end}: {out}");
        fine(&sandbox.run(&["verify", "--read-data", "--repair"]));
    }
}

/// Also when another command has put it aside before.
#[test]
fn out_of_a_pack_in_quarantine() {
    let sandbox = lab();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    flip(&pack, fs::metadata(&pack).unwrap().len() - 3);
    assert!(!gives(&sandbox, "v1", "d") && !pack.exists());
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains("its index was found broken earlier"), "{out}");
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 0 && gives(&sandbox, "v1", "d"), "{out}");
    fine(&sandbox.run(&["verify", "--read-data"]));
}

#[test]
fn a_pack_that_is_cut_short_comes_from_a_remote() {
    let sandbox = pushed();
    let (pack, _) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    let whole = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &whole[..500]).unwrap();
    let out = sandbox.run(&["verify"]);
    assert_eq!(out.code, 1, "{out}");
    fine(&sandbox.run(&["verify", "--repair"]));
    fine(&sandbox.run(&["verify", "--read-data"]));
}

/// An object that was found damaged by another command, and set aside.
#[test]
fn what_was_set_aside_before() {
    let sandbox = pushed();
    let (pack, at) = packed(&store(&sandbox).join("packs"), b"7 1\n");
    flip(&pack, at);
    fs::rename(sandbox.path("../lab"), sandbox.path("../away")).unwrap();
    assert!(!gives(&sandbox, "v1", "d"));
    assert!(pack.with_extension("dead").exists());
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains("it was found damaged earlier"), "{out}");
    fs::rename(sandbox.path("../away"), sandbox.path("../lab")).unwrap();
    fine(&sandbox.run(&["verify", "--repair"]));
    fine(&sandbox.run(&["verify", "--read-data"]));
}

#[test]
fn small_files_of_the_store() {
    let sandbox = lab();
    let store = store(&sandbox);
    fs::write(store.join("generation"), "rubbish").unwrap();
    fs::create_dir_all(store.join("objects/ab")).unwrap();
    fs::write(store.join("objects/ab/cd"), "rubbish").unwrap();
    let (pack, at) = packed(&store.join("packs"), b"7 2\n");
    flip(&pack, at);
    fs::write(pack.with_extension("dead"), "rubbish").unwrap();
    flip(&files(&store.join("runs"))[0], 100);
    fine(&sandbox.run(&["verify", "--repair"]));
    let out = sandbox.run(&["verify", "--read-data"]);
    assert!(out.code == 0 && out.stdout.is_empty(), "{out}");
    assert!(gives(&sandbox, "v1", "d") && gives(&sandbox, "v2", "d"));
}
