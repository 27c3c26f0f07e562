//! `gc` end to end: what stays by which option, who is heard, and that nobody loses what is needed.

mod cloud;
mod damaged;
mod stress;

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::process::Signal;
use crate::sandbox::{Output, Sandbox};

const PIPELINE: &str = r#"
stages:
  gen:
    cmd: "mkdir -p d; for i in $(seq 60); do echo $i $(cat n) $((i % 30 * $(cat n))) > d/f$i; done; head -c 200000 /dev/zero | tr '\\0' $(cat n) > d/big"
    deps: [n]
    outs: [d]
"#;

/// Three commits, tagged v1 to v3, each with an output of its own.
fn history() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    grow(&sandbox);
    sandbox
}

fn grow(sandbox: &Sandbox) {
    for n in ["1", "2", "3"] {
        sandbox.write("n", n);
        fine(&sandbox.run(&["repro", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", n]);
        sandbox.git(&["tag", &format!("v{n}")]);
    }
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// Which of the three outputs the store can give back, whole, without any remote.
fn kept(sandbox: &Sandbox) -> String {
    let (remote, away) = (sandbox.path("../lab"), sandbox.path("../away"));
    let moved = fs::rename(&remote, &away).is_ok();
    let whole = |n: &&str| {
        let to = format!("../got-{n}");
        let out = sandbox.run(&["get", "-q", ".", "d", "--rev", &format!("v{n}"), "-o", &to]);
        let good = out.code == 0
            && (1..=60).all(|i: u32| {
                let times = i % 30 * n.parse::<u32>().unwrap();
                sandbox.read(&format!("{to}/f{i}")) == format!("{i} {n} {times}\n")
            })
            && sandbox.read(&format!("{to}/big")) == n.repeat(200_000);
        let _ = fs::remove_dir_all(sandbox.path(&to));
        good
    };
    let kept = ["1", "2", "3"].into_iter().filter(whole).collect();
    if moved {
        fs::rename(&away, &remote).unwrap();
    }
    kept
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

#[test]
fn an_option_says_what_is_needed() {
    let sandbox = history();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["gc"])), @r"
    exit 2
    --- stderr
    error: no option says what to keep
      hint: what the workspace needs: lockstep store gc -w
      hint: what all branches and tags pin: lockstep store gc -a -T
      hint: what any commit pins: lockstep store gc -A
      hint: see first what would go: --dry
    ");
    for (scope, left) in [
        (&["-A"][..], "123"),
        (&["-T"], "123"),
        (&["--rev", "v1"], "13"),
        (&["--rev", "HEAD", "-n", "2"], "23"),
        (&["-a"], "3"),
        (&["-w"], "3"),
    ] {
        let sandbox = history();
        let args = [&["gc", "-f", "--min-age", "0"], scope].concat();
        fine(&sandbox.run(&args));
        assert_eq!(kept(&sandbox), left, "{scope:?}");
        // Whatever went, what the workspace needs is there, and the pipeline runs nothing.
        sandbox.remove("d");
        sandbox.ran();
        fine(&sandbox.run(&["repro", "-q", "--locked"]));
        fine(&sandbox.run(&["checkout", "-q"]));
        let again = sandbox.run(&args);
        assert!(again.stderr.contains("nothing to remove"), "{again}");
    }
}

#[test]
fn what_is_young_stays() {
    let sandbox = history();
    let before = files(&sandbox.path(".git/lockstep/store"));
    let out = sandbox.run(&["gc", "-w", "-f"]);
    fine(&out);
    assert!(out.stderr.contains("nothing to remove"), "{out}");
    assert_eq!(files(&sandbox.path(".git/lockstep/store")), before);
}

#[test]
fn a_dry_run_shows_and_touches_nothing() {
    let sandbox = history();
    let before = files(&sandbox.path(".git/lockstep/store"));
    let out = sandbox.run(&["gc", "-w", "--dry", "--min-age", "0"]);
    fine(&out);
    assert!(out.stdout.contains("would remove") && out.stdout.contains("at no remote:\n  d ("), "{out}");
    let json = sandbox.run(&["gc", "-w", "--dry", "--min-age", "0", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["plan"]["at_no_remote"].as_array().unwrap().len(), 2);
    assert_eq!(files(&sandbox.path(".git/lockstep/store")), before);
    assert_eq!(kept(&sandbox), "123");
}

#[test]
fn last_copies_go_after_a_yes_alone() {
    let sandbox = history();
    let gc = ["gc", "-w", "--min-age", "0"];
    let out = sandbox.run(&gc);
    assert!(out.code == 1 && out.stderr.contains("nothing was removed"), "{out}");
    assert_eq!(kept(&sandbox), "123");
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["push", "-q", "--rev", "v1"]));
    fine(&sandbox.run(&[&gc[..], &["--not-in-remote"]].concat()));
    assert_eq!(kept(&sandbox), "23");
    fine(&sandbox.run(&["push", "-q", "--rev", "v2"]));
    fine(&sandbox.run(&gc));
    assert_eq!(kept(&sandbox), "3");
    fine(&sandbox.run(&["fetch", "-q", "-T"]));
    assert_eq!(kept(&sandbox), "123");
}

/// The stash, Git's index, other worktrees, and a run that was killed before it wrote its lock.
#[test]
fn what_no_commit_has_is_needed_too() {
    let gc = ["gc", "-f", "-w", "--min-age", "0"];
    let sandbox = history();
    sandbox.git(&["checkout", "-q", "v1", "--", "pipeline.lock"]);
    sandbox.git(&["stash", "-q"]);
    fine(&sandbox.run(&gc));
    assert_eq!(kept(&sandbox), "13", "the stash");

    let sandbox = history();
    let then = sandbox.git(&["show", "v2:pipeline.lock"]);
    let now = sandbox.read("pipeline.lock");
    sandbox.write("pipeline.lock", then);
    sandbox.git(&["add", "pipeline.lock"]);
    sandbox.write("pipeline.lock", now);
    fine(&sandbox.run(&gc));
    assert_eq!(kept(&sandbox), "23", "the index");

    let sandbox = history();
    sandbox.git(&["worktree", "add", "-q", "../other", "v1"]);
    fine(&sandbox.run(&gc));
    assert_eq!(kept(&sandbox), "13", "another worktree");

    let sandbox = history();
    sandbox.git(&["branch", "side", "v1"]);
    sandbox.git(&["update-ref", "-d", "refs/tags/v2"]);
    sandbox.git(&["tag", "-d", "v1"]);
    fine(&sandbox.run(&["gc", "-f", "-a", "--min-age", "0"]));
    sandbox.git(&["tag", "v1", "side"]);
    sandbox.git(&["tag", "v2", "HEAD~1"]);
    assert_eq!(kept(&sandbox), "13", "a branch");
}

#[test]
fn a_killed_runs_journal_is_needed() {
    let sandbox = Sandbox::new();
    let wait = crate::sandbox::process::wait_for("go");
    let slow = format!("  slow:\n    cmd: \"{wait}\"\n    deps: [d]\n");
    sandbox.write("pipeline.yaml", format!("{PIPELINE}{slow}"));
    sandbox.write("n", "1");
    let run = sandbox.start(&["repro", "-q"]);
    sandbox.await_sign("go.here");
    let journal = sandbox.path(".git/lockstep/worktree/state/root/journal");
    crate::sandbox::process::until("gen is recorded", || journal.metadata().is_ok_and(|meta| meta.len() > 8));
    run.signal(Signal::KILL);
    run.end();
    sandbox.await_nobody();
    fs::remove_dir_all(sandbox.path(".git/lockstep/store/runs")).unwrap();
    fine(&sandbox.run(&["gc", "-f", "-w", "--min-age", "0"]));
    sandbox.remove("d");
    sandbox.ran();
    fine(&sandbox.run(&["checkout", "-q"]));
    assert_eq!(sandbox.read("d/f7"), "7 1 7\n");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let gc = ["gc", "-f", "-w", "--min-age", "0"];
    let sandbox = history();
    sandbox.write("elsewhere/pipeline.lock", "<<<<<<< ours\n");
    let out = sandbox.run(&gc);
    assert!(out.code == 2 && out.stderr.contains("elsewhere/pipeline.lock"), "{out}");
    assert_eq!(kept(&sandbox), "123");
    fine(&sandbox.run(&[&gc[..], &["--skip-unreadable"]].concat()));
    assert_eq!(kept(&sandbox), "3");

    let sandbox = history();
    let bad = sandbox.git(&["commit-tree", "-m", "bad", "HEAD^{tree}"]);
    sandbox.git(&["update-ref", "refs/heads/bad", bad.trim()]);
    sandbox.remove(&format!(".git/objects/{}/{}", &bad[..2], bad[2..].trim()));
    let out = sandbox.run(&["gc", "-f", "-a", "--min-age", "0"]);
    assert!(out.code == 3 && out.stderr.contains("refs/heads/bad"), "{out}");
    assert_eq!(kept(&sandbox), "123");
}

/// Two projects, one store: either's garbage goes, nobody's needs do.
#[test]
fn a_shared_store_knows_its_projects() {
    let (a, b) = (Sandbox::new(), Sandbox::new());
    let store = a.path("../shared");
    for sandbox in [&a, &b] {
        sandbox.write("pipeline.yaml", PIPELINE);
        sandbox.use_store("", &store);
    }
    b.write("n", "7");
    fine(&b.run(&["repro", "-q"]));
    b.git(&["add", "-A"]);
    b.git(&["commit", "-qm", "7"]);
    grow(&a);
    assert_eq!(files(&store.join("projects")).len(), 2);
    let gc = ["gc", "-f", "-w", "--min-age", "0"];
    fine(&a.run(&gc));
    assert_eq!(kept(&a), "3");
    b.remove("d");
    fine(&b.run(&["checkout", "-q"]));
    assert_eq!(b.read("d/f7"), "7 7 49\n");
    // Of others all commits count.
    fine(&b.run(&gc));
    assert_eq!(kept(&a), "3");

    let gone = b.path(".git").display().to_string();
    let moved = b.path("../moved");
    fs::rename(b.root(), &moved).unwrap();
    let out = a.run(&gc);
    assert!(out.code == 3 && out.stderr.contains(&gone) && out.stderr.contains("--forget"), "{out}");
    let out = a.run(&[&gc[..], &["--forget", &gone]].concat());
    fine(&out);
    assert_eq!(files(&store.join("projects")).len(), 1);
    assert_eq!(kept(&a), "3");
}

/// A neighbour who stores holds gc up, and gc holds him up; killed at any point, nothing that is needed is lost.
#[test]
fn killed_at_any_point() {
    let sandbox = history();
    let gc = ["gc", "-f", "-T", "--min-age", "0"];
    for round in 0..12 {
        // Something goes each time, and packs are written anew.
        sandbox.write("n", "9");
        fine(&sandbox.run(&["repro", "-q"]));
        sandbox.write("n", "3");
        fine(&sandbox.run(&["repro", "-q"]));
        let run = sandbox.start(&gc);
        std::thread::sleep(std::time::Duration::from_millis(7 * round));
        run.signal(Signal::KILL);
        run.end();
        assert_eq!(kept(&sandbox), "123", "round {round}");
    }
    fine(&sandbox.run(&gc));
    assert_eq!(kept(&sandbox), "123");
    assert_eq!(files(&sandbox.path(".git/lockstep/store/runs")).len(), 3);
}

/// Runs and gc at once in clones that share a store: whatever a lock says afterwards can be restored.
#[test]
fn neighbours_lose_nothing() {
    let a = Sandbox::new();
    a.write("pipeline.yaml", PIPELINE);
    a.use_store("", &a.path("../shared"));
    a.write(".gitignore", "/d\n");
    a.write("n", "1");
    fine(&a.run(&["repro", "-q"]));
    a.git(&["add", "-A"]);
    a.git(&["commit", "-qm", "x"]);
    a.git(&["clone", "-q", ".", "../b"]);
    a.use_store("../b", &a.path("../shared"));
    std::thread::scope(|scope| {
        let collect = scope.spawn(|| (0..25).for_each(|_| fine(&a.run(&["gc", "-f", "-w", "--min-age", "1h"]))));
        for (folder, start) in [("", 0u32), ("../b", 5)] {
            let a = &a;
            scope.spawn(move || {
                for round in 0..15u32 {
                    let n = (start + round) % 9 + 1;
                    a.write(format!("{folder}/n").trim_start_matches('/'), n.to_string());
                    fine(&a.run_in(folder, &["repro", "-q"]));
                    fs::remove_dir_all(a.path(folder).join("d")).unwrap();
                    fine(&a.run_in(folder, &["checkout", "-q"]));
                    let got = fs::read_to_string(a.path(folder).join("d/f7")).unwrap();
                    assert_eq!(got, format!("7 {n} {}\n", 7 * n));
                }
            });
        }
        collect.join().unwrap();
    });
}
