//! A deployment that is killed, runs out of disk, or runs twice at once.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Site, names};
use crate::promises::{Dice, from_env};
use crate::sandbox::output;

/// Two versions, of which the first is deployed; `after` says which model its service has.
fn site(keys: &str) -> Site {
    let site = Site::new(&format!("after: cat ../srv/current/model.bin > served\n{keys}"));
    site.register("one", "v1.0.0");
    site.register("two", "v2.0.0");
    site.promote("v1.0.0");
    site.ok(&["deploy", "prod"]);
    site.promote("v2.0.0");
    site
}

/// Every moment: `current` is a whole release.
fn check_current(site: &Site, context: &str) {
    let current = fs::read_link(site.srv().join("current")).unwrap_or_else(|e| panic!("{context}: {e}"));
    let (version, model) = match current.to_string_lossy() {
        name if name.contains("v1.0.0") => ("v1.0.0", "model-one"),
        _ => ("v2.0.0", "model-two"),
    };
    assert_eq!(site.current().as_deref(), Some(model), "{context}");
    let manifest = fs::read_to_string(site.srv().join("current/lockstep.json")).unwrap();
    assert!(manifest.contains(version) && manifest.ends_with("}\n"), "{context}");
}

/// The next call finishes: the service has what is current, and nothing is left.
fn check_next_call(site: &Site, context: &str) {
    let out = site.ok(&["deploy", "prod"]);
    assert_eq!(site.current().as_deref(), Some("model-two"), "{context}: {out}");
    assert_eq!(site.sandbox.read("served"), "model-two", "{context}: {out}");
    assert_eq!(site.state(&["--read-data"]), ("ok".into(), vec![]), "{context}");
    assert!(site.staging().is_empty(), "{context}");
    let left = names(&site.srv());
    assert_eq!(left, [".deploy", "current", "releases"], "{context}");
}

#[test]
fn killed_in_a_command_the_next_call_finishes() {
    let marker = "test -e ../once || { touch ../once; kill -9 $PPID; sleep 0.2; exit 1; }";
    for (key, current) in [("check", "model-one"), ("after", "model-two"), ("healthy", "model-two")] {
        let site = site("");
        let out = site.run(&["deploy", "prod", &format!("--{key}"), marker]);
        assert_ne!(out.code, 0, "{key}: {out}");
        assert!(site.sandbox.exists("../once"), "{key}: {out}");
        check_current(&site, key);
        assert_eq!(site.current().as_deref(), Some(current), "{key}");
        if current == "model-two" {
            let (state, problems) = site.state(&[]);
            assert!(state == "behind" && problems[0].contains("was killed"), "{key}: {state} {problems:?}");
        }
        check_next_call(&site, key);
    }
    // On the way back.
    let site = site("");
    let after = "n=$(cat ../n 2>/dev/null || echo 0); echo $((n+1)) > ../n; test $n = 1 && kill -9 $PPID; true";
    let out = site.run(&["deploy", "prod", "--after", after, "--healthy", "false", "--timeout", "300ms"]);
    assert_ne!(out.code, 0, "{out}");
    assert_eq!(site.current().as_deref(), Some("model-one"));
    site.sandbox.write("served", "?");
    check_next_call(&site, "on the way back");
    let events = site.events();
    assert_eq!(events[1..], ["return v2.0.0 failed", "deploy v2.0.0 ok"], "{events:?}");
}

#[test]
fn killed_at_random_moments() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let seed = from_env("LOCKSTEP_KILL_SEED", clock);
    let rounds = from_env("LOCKSTEP_KILL_ROUNDS", 25);
    println!("LOCKSTEP_KILL_SEED={seed} LOCKSTEP_KILL_ROUNDS={rounds}");
    let mut dice = Dice::new(seed);
    let site = site("");
    let started = Instant::now();
    site.ok(&["deploy", "prod"]);
    let usual = started.elapsed().as_micros() as usize;
    let mut cut_short = 0;
    for round in 0..rounds {
        let context = format!("seed {seed}, round {round}");
        // To the first version and back.
        site.ok(&["deploy", "prod", "--rollback", "v1.0.0"]);
        site.ok(&["deploy", "resume", "prod"]);
        if dice.below(2) == 0 {
            let releases = names(&site.srv().join("releases"));
            for name in releases.iter().filter(|name| name.starts_with("v2")) {
                fs::remove_dir_all(site.srv().join("releases").join(name)).unwrap();
            }
        }
        let mut run = site.sandbox.start(&["deploy", "prod"]);
        std::thread::sleep(Duration::from_micros(dice.below(usual * 11 / 10) as u64));
        if !run.is_over() {
            cut_short += 1;
            run.signal(Signal::KILL);
        }
        run.end();
        check_current(&site, &context);
        check_next_call(&site, &context);
    }
    assert!(cut_short > 0);
}

/// Killed at each system call that changes the folder.
#[test]
#[ignore = "needs strace, and leave to trace"]
fn killed_at_every_step() {
    let mut killed = 0;
    for call in [
        "mkdir",
        "mkdirat",
        "openat",
        "write",
        "fsync",
        "fdatasync",
        "fchmod",
        "symlink",
        "rename",
        "renameat",
        "unlink",
        "unlinkat",
    ] {
        let site = site("");
        site.ok(&["deploy", "prod"]);
        for step in 1..400 {
            site.ok(&["deploy", "prod", "--rollback", "v1.0.0"]);
            site.ok(&["deploy", "resume", "prod"]);
            for name in names(&site.srv().join("releases")).iter().filter(|name| name.starts_with("v2")) {
                fs::remove_dir_all(site.srv().join("releases").join(name)).unwrap();
            }
            let mut strace = site.sandbox.command("strace".as_ref(), "");
            let folder = site.srv().canonicalize().unwrap();
            strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&folder).arg("-P").arg(folder.join(".deploy"));
            strace.arg("-P").arg(folder.join("releases")).arg("-P").arg(folder.join(".deploy/journal.jsonl"));
            strace.arg(format!("--inject={call}:signal=KILL:when={step}"));
            let out = output(strace.arg(env!("CARGO_BIN_EXE_lockstep")).args(["deploy", "prod"]));
            let context = format!("{call} {step}: {out}");
            check_current(&site, &context);
            check_next_call(&site, &context);
            if out.code == 0 {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 10, "only {killed} steps");
}

#[test]
fn two_at_once_take_turns_or_say_so() {
    let site = site("");
    let run =
        site.sandbox.start(&["deploy", "prod", "--after", "touch ../in; while ! test -e ../go; do sleep 0.05; done"]);
    crate::sandbox::process::until("the command runs", || site.sandbox.exists("../in"));
    let out = site.run(&["deploy", "prod"]);
    assert_eq!(out.code, 5, "{out}");
    assert!(out.stderr.contains("deploys to") && out.stderr.contains("--wait"), "{out}");
    let waiting = site.sandbox.start(&["deploy", "prod", "--wait"]);
    std::thread::sleep(Duration::from_millis(200));
    site.sandbox.write("../go", "");
    assert_eq!(run.end().code, 0);
    let out = waiting.end();
    assert!(out.code == 0 && out.stderr.contains("is current already"), "{out}");
    site.ok(&["deploy", "prod", "--rollback"]);
    site.ok(&["deploy", "resume", "prod"]);
    let all: Vec<_> = (0..8).map(|_| site.sandbox.start(&["deploy", "prod"])).collect();
    for run in all {
        let out = run.end();
        assert!([0, 5].contains(&out.code), "{out}");
    }
    let deployed = site.events().iter().filter(|event| *event == "deploy v2.0.0 ok").count();
    assert_eq!(deployed, 2, "{:?}", site.events());
}

/// Three versions, of which the last is deployed.
fn three() -> Site {
    let site = site("");
    site.ok(&["deploy", "prod"]);
    site.register("three", "v3.0.0");
    site.promote("v3.0.0");
    site.ok(&["deploy", "prod"]);
    site
}

#[test]
fn a_killed_rollback_that_is_repeated_goes_back_once() {
    let marker = "test -e ../once || { touch ../once; kill -9 $PPID; sleep 0.2; exit 1; }";
    for args in [&["deploy", "prod", "--rollback"][..], &["deploy", "prod", "--rollback", "v2.0.0"]] {
        let site = three();
        let out = site.run(&[args, &["--after", marker]].concat());
        assert!(out.code != 0 && site.sandbox.exists("../once"), "{out}");
        assert_eq!(site.current().as_deref(), Some("model-two"), "{out}");
        let out = site.ok(args);
        assert_eq!(site.current().as_deref(), Some("model-two"), "{out}");
        assert_eq!(site.events().last().map(String::as_str), Some("rollback v2.0.0 ok"));
        assert_eq!(site.state(&[]).0, "held");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_a_failure() {
    let site = site("");
    site.ok(&["config", "--local", "shell", "/nowhere/at/all"]);
    let out = site.run(&["deploy", "prod"]);
    assert!(out.code == 6 && out.stderr.contains("returned to v1.0.0"), "{out}");
    assert_eq!(site.current().as_deref(), Some("model-one"));
    site.ok(&["config", "--local", "--unset", "shell"]);
    site.ok(&["deploy", "prod"]);
    assert_eq!(site.current().as_deref(), Some("model-two"));
}

#[test]
fn a_check_of_a_killed_call_that_is_left_out_is_told() {
    let marker = "test -e ../once || { touch ../once; kill -9 $PPID; sleep 0.2; exit 1; }";
    let site = site("");
    site.run(&["deploy", "prod", "--healthy", marker]);
    let out = site.ok(&["deploy", "prod"]);
    assert!(out.stderr.contains("the killed call had `healthy`, and this one has none"), "{out}");
}

/// A kill between the line of the journal and the link.
#[test]
fn a_switch_that_was_never_made_is_closed() {
    let site = site("");
    let journal = site.srv().join(".deploy/journal.jsonl");
    let before = fs::read_to_string(&journal).unwrap();
    site.ok(&["deploy", "prod"]);
    let step = fs::read_to_string(&journal).unwrap();
    let step = step[before.len()..].lines().next().unwrap().to_string();
    assert!(step.contains("\"switching\""), "{step}");
    site.ok(&["deploy", "prod", "--rollback"]);
    let text = fs::read_to_string(&journal).unwrap();
    let step = step.replace("v2.0.0", "v9.0.0");
    fs::write(&journal, format!("{text}{}\n", step.replace("\"from\":\"v9.0.0", "\"from\":\"v1.0.0"))).unwrap();
    let (state, problems) = site.state(&[]);
    assert!(state == "behind" && problems[0].contains("was killed"), "{state} {problems:?}");
    site.ok(&["deploy", "prod"]);
    assert_eq!(site.state(&[]), ("held".into(), vec![]));
}
