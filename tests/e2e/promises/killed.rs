//! lockstep itself is killed, at any moment: nothing is lost, nothing false is recorded, the next run comes to the same
//! end as one that was left in peace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockstep::lock::Lock;

use crate::promises::{Dice, files, from_env, id, lock, stale, status};
use crate::sandbox::Sandbox;
use crate::sandbox::process::{Signal, wait_for};

/// Files, folders, a metric, an output in a folder, one that Git keeps, and stages that can run side by side.
const PIPELINE: &str = r#"stages:
  a:
    cmd: echo a >> $CONF_LOG; sleep 0.01; cat src.txt > a.txt
    deps: [src.txt]
    outs: [a.txt]
  b:
    cmd: mkdir b b/deep; cp a.txt b/one; sleep 0.01; cat a.txt a.txt > b/deep/two
    deps: [a.txt]
    outs: [b]
  c:
    cmd: sleep 0.01; echo c | cat - a.txt > c.txt
    deps: [a.txt]
    params: [n]
    outs: [c.txt]
  d:
    cmd: cat b/one b/deep/two > d.txt; sleep 0.01
    deps: [b]
    outs: [d.txt]
  e:
    cmd: |
      cat c.txt d.txt > e.txt
      printf '{"lines": %d}' $(wc -l < e.txt) > m.json
    deps: [c.txt, d.txt]
    outs: [e.txt]
    metrics: [m.json]
  f:
    cmd: mkdir f; for i in 1 2 3 4 5; do (echo $i; cat b/one) > f/$i; done
    deps: [b/one]
    outs: [f]
  g:
    cmd: cat e.txt > sub/g.txt
    deps: [e.txt]
    outs:
    - sub/g.txt: {cache: false}
  h:
    cmd: sleep 0.01; cat f/* sub/g.txt > h.txt
    deps: [f, sub/g.txt]
    outs: [h.txt]
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("sub/keep", "");
    sandbox
}

fn edit(sandbox: &Sandbox, version: usize) {
    sandbox.write("src.txt", format!("version {version}\n").repeat(version % 7 + 1));
    sandbox.write("params.yaml", format!("n: {}\n", version % 3));
}

/// What an undisturbed run of a version comes to: the lock, as facts and as bytes, and the workspace.
struct Truth {
    lock: Lock,
    bytes: String,
    files: BTreeMap<String, Vec<u8>>,
}

fn truth(twin: &Sandbox, version: usize) -> Truth {
    edit(twin, version);
    let out = twin.run(&["repro", "-j3"]);
    assert_eq!(out.code, 0, "{out}");
    Truth { lock: lock(twin), bytes: twin.read("pipeline.lock"), files: files(twin.root()) }
}

#[test]
fn killed_at_any_moment_it_comes_to_the_same_end() {
    let rounds = from_env("LOCKSTEP_KILL_ROUNDS", 25) as usize;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let seed = from_env("LOCKSTEP_KILL_SEED", clock);
    println!("LOCKSTEP_KILL_SEED={seed} LOCKSTEP_KILL_ROUNDS={rounds}");
    let mut dice = Dice::new(seed);
    let (twin, sandbox) = (project(), project());
    let mut truths: BTreeMap<usize, Truth> = BTreeMap::new();
    let started = Instant::now();
    truths.insert(0, truth(&twin, 0));
    let usual = started.elapsed();
    edit(&sandbox, 0);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let mut version = 0;
    let mut cut_short = 0;
    for round in 0..rounds {
        let before = version;
        // Half of the versions come back, so that results are restored too.
        version = if dice.below(2) == 0 { dice.below(rounds / 2 + 1) } else { 1000 + round };
        truths.entry(version).or_insert_with(|| truth(&twin, version));
        edit(&sandbox, version);
        let jobs = if dice.below(2) == 0 { "-j1" } else { "-j3" };
        // The placeholder of a store is not made for this.
        let restores = dice.below(4) > 0;
        let args: &[&str] = if restores { &["repro", jobs] } else { &["repro", jobs, "--no-run-cache"] };
        for _ in 0..1 + dice.below(2) {
            let mut run = sandbox.start(args);
            std::thread::sleep(usual.mul_f64(dice.below(1200) as f64 / 1000.0));
            if !run.is_over() {
                cut_short += 1;
                run.signal(Signal::KILL);
            }
            run.end();
            let context = format!("seed {seed}, round {round}, {args:?}: version {before} to {version}");
            after_a_kill(&sandbox, &truths[&before], &truths[&version], &context);
        }
        let out = sandbox.run(args);
        let context = format!("seed {seed}, round {round}, {args:?}: version {before} to {version}\n{out}");
        assert_eq!(out.code, 0, "{context}");
        let truth = &truths[&version];
        assert_eq!(sandbox.read("pipeline.lock"), truth.bytes, "{context}");
        let now = files(sandbox.root());
        let differing: Vec<&String> =
            now.keys().chain(truth.files.keys()).filter(|name| now.get(*name) != truth.files.get(*name)).collect();
        assert!(differing.is_empty(), "{differing:?} differ: {context}");
        assert_eq!(stale(&sandbox), [""; 0], "{context}");
    }
    sandbox.await_nobody();
    let aside = sandbox.path(".git/lockstep/worktree/state/root/aside");
    assert!(std::fs::read_dir(aside).map_or(0, Iterator::count) == 0, "something is still set aside");
    assert!(cut_short * 3 > rounds, "only {cut_short} of the runs were killed in time to prove something");
    whole_store(&sandbox, &truths[&version]);
}

/// Reading works at once, the lock holds only what is true of the one version or of the other, and what `status` calls
/// up to date has the right bytes.
fn after_a_kill(sandbox: &Sandbox, before: &Truth, after: &Truth, context: &str) {
    let said = status(sandbox);
    let stale: Vec<&String> = said["stages"].as_object().unwrap().keys().collect();
    let now = files(sandbox.root());
    for (name, entry) in &lock(sandbox).stages {
        let is_true = [before, after].iter().any(|truth| truth.lock.stages.get(name) == Some(entry));
        assert!(is_true, "the lock says something false of {name}, {context}\n{}", sandbox.read("pipeline.lock"));
    }
    for (name, entry) in after.lock.stages.iter().filter(|(name, _)| !stale.contains(name)) {
        let is_whole = |truth: &Truth| {
            entry.outs.keys().all(|path| {
                let folder = format!("{path}/");
                let is_in = |(file, _): &(&String, &Vec<u8>)| *file == path || file.starts_with(&folder);
                now.iter().filter(is_in).eq(truth.files.iter().filter(is_in))
            })
        };
        // A stage whose producers did not run yet is up to date with what it was made from.
        assert!(is_whole(before) || is_whole(after), "{name} counts as up to date with half an output, {context}");
    }
}

/// No object says it is what it is not, and all that the lock pins can be had from the store alone.
fn whole_store(sandbox: &Sandbox, truth: &Truth) {
    let store = sandbox.path(".git/lockstep/store");
    for (name, bytes) in files(&store.join("objects")) {
        let hex = name.replace('/', "");
        let pinned = truth.lock.stages.values().flat_map(|s| s.outs.values()).find(|o| o.pin.id.hex() == hex);
        if pinned.is_some_and(|o| o.pin.files.is_none()) {
            assert_eq!(id(bytes).hex(), hex, "half an object");
        }
    }
    for path in ["a.txt", "b", "c.txt", "d.txt", "e.txt", "m.json", "f", "h.txt"] {
        sandbox.remove(path);
    }
    let out = sandbox.run(&["checkout"]);
    assert_eq!(out.code, 0, "{out}");
    assert!(files(sandbox.root()) == truth.files, "the store gives other bytes");
}

/// Two stages; the second waits for the sign `go`. Killed while it does, the first being recorded.
fn killed_in_the_second() -> Sandbox {
    let sandbox = Sandbox::new();
    let wait = wait_for("go");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  first:\n    cmd: echo first >> $CONF_LOG; cat in.txt > a.txt\n    deps: [in.txt]\n    \
             outs: [a.txt]\n  second:\n    cmd: echo second >> $CONF_LOG; cat a.txt > b.txt; {wait}\n    \
             deps: [a.txt]\n    outs: [b.txt]\n"
        ),
    );
    sandbox.write("in.txt", "one\n");
    sandbox.give_sign("go");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.ran();
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox.git(&["branch", "other"]);
    for name in ["go", "go.here"] {
        std::fs::remove_file(sandbox.beside(name)).unwrap();
    }
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    // The first is in the journal when the second is under way, or a moment later.
    crate::sandbox::process::until("the first stage is recorded", || !stale(&sandbox).contains(&"first".to_string()));
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, 137);
    sandbox
}

#[test]
fn what_finished_before_the_kill_is_not_run_again() {
    let sandbox = killed_in_the_second();
    assert_eq!(sandbox.ran(), ["first", "second"]);
    assert_eq!(stale(&sandbox), ["second"]);
    sandbox.give_sign("go");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.ran(), ["second"]);
    assert!(out.stderr.contains("the last good b.txt is back"), "{out}");
    assert_eq!((sandbox.read("a.txt"), sandbox.read("b.txt")), ("two\n".into(), "two\n".into()));
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
fn the_next_command_that_writes_folds_what_finished_whatever_it_is() {
    for command in [&["commit", "-f", "first"][..], &["checkout"], &["repro", "first"]] {
        let sandbox = killed_in_the_second();
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{command:?} {out}");
        assert_eq!(sandbox.read("b.txt"), "one\n", "{command:?}");
        assert_eq!(sandbox.read("a.txt"), "two\n", "{command:?}");
        assert_eq!(stale(&sandbox), ["second"], "{command:?}");
        sandbox.await_nobody();
    }
}

#[test]
fn a_kill_and_then_another_branch_puts_no_foreign_fact_into_its_lock() {
    let sandbox = killed_in_the_second();
    let committed = sandbox.git(&["show", "other:pipeline.lock"]);
    sandbox.git(&["checkout", "-qf", "other"]);
    assert_eq!(sandbox.read("in.txt"), "one\n");
    // The lock still says what it said when the journal was written, but the input is another.
    let said = stale(&sandbox);
    assert!(said.contains(&"first".to_string()), "{said:?}");
    sandbox.give_sign("go");
    let out = sandbox.run(&["repro", "first"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), committed, "{out}");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), committed, "{out}");
    assert_eq!((sandbox.read("a.txt"), sandbox.read("b.txt")), ("one\n".into(), "one\n".into()));
}

#[test]
fn reading_commands_work_between_a_kill_and_the_next_run() {
    let sandbox = killed_in_the_second();
    let started = Instant::now();
    for command in [&["status"][..], &["status", "--json"], &["stage", "list"], &["repro", "--dry"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{command:?} {out}");
    }
    // Nothing was put back by them: they take no lock.
    assert!(!sandbox.exists("b.txt") || sandbox.read("b.txt") == "two\n");
    assert!(started.elapsed() < Duration::from_secs(20));
}
