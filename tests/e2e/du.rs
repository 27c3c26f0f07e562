//! `du` end to end: every byte of the store is counted once, for whom, and what a remote has.

use std::fs;
use std::path::Path;

use crate::sandbox::{Output, Sandbox};
use serde_json::Value as Json;

const PIPELINE: &str = r#"
stages:
  gen:
    cmd: "mkdir -p d; for i in $(seq 60); do echo $i $(cat n) > d/f$i; done; head -c 2000000 /dev/zero | tr '\\0' $(cat n) > d/big"
    deps: [n]
    outs: [d]
  train:
    cmd: "head -c 500000 d/big > model; cp d/f1 note"
    deps: [d]
    outs: [model, note]
"#;

/// Three commits, tagged v1 to v3; the remote `lab` has the second.
fn history() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    for n in ["1", "2", "3"] {
        sandbox.write("n", n);
        fine(&sandbox.run(&["repro", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", n]);
        sandbox.git(&["tag", &format!("v{n}")]);
    }
    fine(&sandbox.run(&["push", "-q", "--rev", "v2"]));
    sandbox
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

#[track_caller]
fn json(sandbox: &Sandbox, args: &[&str]) -> Json {
    let out = sandbox.run(&[&["du", "--json"], args].concat());
    fine(&out);
    serde_json::from_str(&out.stdout).unwrap()
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { bytes(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

#[test]
fn the_store_by_stage_and_commit() {
    let sandbox = history();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["du"])), @r"
    exit 0
    --- stdout
    STAGE  PATH   SIZE      UNIQUE    AT
    gen    d      2.0 MB    2.0 MB    –
    train  model  500.0 kB  500.0 kB  –
    train  note   4 B       0 B       –

    EARLIER  PATH   SIZE    VERSIONS  AT A REMOTE
    gen      d      4.0 MB  2         1, 2.0 MB
    train    model  1.0 MB  2         1, 500.0 kB

    the workspace pins              2.5 MB  4 B of it in several outputs
    earlier versions                5.0 MB  2.5 MB at a remote, safe to drop: lockstep store gc -w --not-in-remote
    run cache                       6.0 kB  6 results, and what only they lead to
    indexes of packs, book-keeping  9.3 kB
    total                           7.5 MB  [ROOT]/.git/lockstep/store
    --- stderr
    UNIQUE: the part that no other output here has; AT: the remotes that have all of it
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["du", "model"])), @r"
    exit 0
    --- stdout
    STAGE  PATH   SIZE      UNIQUE    AT
    train  model  500.0 kB  500.0 kB  –

    COMMIT  DATE        STAGE  PATH   SIZE      AT
    v2      2026-01-01  train  model  500.0 kB  lab
    v1      2026-01-01  train  model  500.0 kB  –
    --- stderr
    UNIQUE: the part that no other output here has; AT: the remotes that have all of it
    ");
    let out = sandbox.run(&["du", "nobody"]);
    assert!(out.code == 3 && out.stderr.contains("`nobody`"), "{out}");
}

/// Whatever lies in the store, the sums are the bytes on disk.
#[test]
fn the_sums_are_the_bytes_on_disk() {
    let sandbox = history();
    let store = sandbox.path(".git/lockstep/store");
    let all = |step: &str| {
        let found = json(&sandbox, &[]);
        assert_eq!(found["bytes"].as_u64().unwrap(), bytes(&store), "{step}: {found:#}");
        found
    };
    let found = all("three versions");
    assert_eq!(found["unneeded"]["bytes"], 0);
    assert_eq!(found["earlier"]["versions"].as_array().unwrap().len(), 4);

    // A result that no lock has is the run cache's; without it, nobody's.
    sandbox.write("n", "4");
    fine(&sandbox.run(&["repro", "-q"]));
    sandbox.git(&["checkout", "-q", "."]);
    let found = all("a run that is in no lock");
    assert!(found["run_cache"]["bytes"].as_u64().unwrap() > 2_500_000, "{found:#}");
    fs::remove_dir_all(store.join("runs")).unwrap();
    let found = all("nor in the run cache");
    let unneeded = &found["unneeded"];
    assert!(unneeded["bytes"].as_u64().unwrap() > 2_500_000, "{found:#}");
    assert_eq!((&unneeded["freed_by_gc"], &unneeded["young"]), (&Json::from(0), &unneeded["bytes"]));
    let hour = unneeded["young_for_seconds"].as_i64().unwrap();
    assert!((86_000..=86_400).contains(&hour), "{found:#}");

    // What is promised is what gc does.
    let promised = json(&sandbox, &["--min-age", "0"])["unneeded"]["freed_by_gc"].as_u64().unwrap();
    let before = bytes(&store);
    fine(&sandbox.run(&["gc", "-q", "-A", "-f", "--min-age", "0"]));
    let freed = before - bytes(&store);
    assert!(freed.abs_diff(promised) < 10_000, "{freed} {promised}");
    assert_eq!(all("after gc")["unneeded"]["bytes"], 0);

    // Damage: one object of a pack, one that lies alone.
    let pack = fs::read_dir(store.join("packs")).unwrap().flatten().next().unwrap().path();
    let mut content = fs::read(&pack).unwrap();
    content[20] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, content).unwrap();
    sandbox.remove("d");
    sandbox.run(&["checkout", "-q", "d"]);
    sandbox.run(&["get", "-q", ".", "d", "--rev", "v1", "-o", "../v1"]);
    sandbox.run(&["get", "-q", ".", "d", "--rev", "v2", "-o", "../v2"]);
    assert!(all("damaged")["damaged"].as_u64().unwrap() > 0);
    fs::write(store.join("tmp/left"), "by a killed process").unwrap();
    assert_eq!(all("left")["temporary"], 19);
}

#[test]
fn others_are_told_apart() {
    let sandbox = history();
    let shared = sandbox.path("../shared");
    fs::rename(sandbox.path(".git/lockstep/store"), &shared).unwrap();
    sandbox.use_store("", &shared);
    let other = Sandbox::new();
    other.write("pipeline.yaml", PIPELINE);
    other.use_store("", &shared);
    other.write("n", "7");
    fine(&other.run(&["repro", "-q"]));
    sandbox.git(&["worktree", "add", "-q", "../tree", "v1"]);
    fine(&sandbox.run(&["checkout", "-q"]));
    let found = json(&sandbox, &[]);
    let (trees, projects) = (found["worktrees"].as_object().unwrap(), found["projects"].as_object().unwrap());
    assert_eq!((trees.len(), projects.len()), (1, 1), "{found:#}");
    assert!(projects.values().chain(trees.values()).all(|n| n.as_u64().unwrap() > 2_500_000), "{found:#}");
    assert_eq!(found["earlier"]["versions"].as_array().unwrap().len(), 2, "{found:#}");
    assert_eq!(found["bytes"].as_u64().unwrap(), bytes(&shared));

    // One that is gone is no reason to say nothing.
    fs::rename(other.root(), other.path("../moved")).unwrap();
    let found = json(&sandbox, &[]);
    assert_eq!(found["projects"].as_object().unwrap().len(), 0);
    assert!(found["troubles"][0].as_str().unwrap().contains("is not there"), "{found:#}");
}

#[test]
fn a_remote_that_does_not_answer_is_a_warning() {
    let sandbox = history();
    let none = ["remote", "add", "-q", "none", "http://127.0.0.1:9/x"];
    fine(&sandbox.run(&none));
    fine(&sandbox.run(&["remote", "modify", "-q", "none", "retries", "0"]));
    let out = sandbox.run(&["du"]);
    assert!(out.code == 0 && out.stderr.contains("warning:") && out.stderr.contains("none"), "{out}");
    assert!(out.stdout.contains("2.5 MB at a remote"), "{out}");
    let out = sandbox.run(&["du", "-r", "none"]);
    assert!(out.code == 4 && out.stdout.is_empty(), "{out}");
    assert_eq!(json(&sandbox, &["-r", "lab"])["earlier"]["at_a_remote"].as_u64().unwrap() / 100_000, 25);
}
