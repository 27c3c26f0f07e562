//! `logs`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

#[test]
fn the_output_of_the_last_run_and_of_earlier_ones() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "one\n");
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: cat in; echo end >&2, deps: [in]}, b: {cmd: 'true'}}\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "a"])), @r"
    exit 3
    --- stderr
    error: a has not run in this workspace
      hint: run it: lockstep repro a
    ");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.write("in", "two\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "a"])), @r"
    exit 0
    --- stdout
    two
    end
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "a", "--run", "1"])), @r"
    exit 0
    --- stdout
    one
    end
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "a", "--run", "7"])), @r"
    exit 3
    --- stderr
    error: there is no run 7 of a here
      hint: see which there are: lockstep logs a --list
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "-f", "b"])), @r"exit 0");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "c"])), @r"
    exit 3
    --- stderr
    error: `c` is neither a stage nor an output
      hint: see the stages: lockstep stage list --all
    ");

    let list = sandbox.run(&["logs", "a", "--list"]);
    assert_eq!((list.code, list.stdout.lines().count()), (0, 2), "{list}");
    let list: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["logs", "a", "--list", "--json"]).stdout).unwrap();
    assert_eq!((&list[1]["run"], &list[1]["running"], &list[1]["bytes"]), (&2.into(), &false.into(), &8.into()));

    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "--prune"])), @r"
    exit 0
    --- stderr
    nothing to remove
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "--prune", "--all"])), @r"
    exit 0
    --- stderr
    removed 4 logs
    ");
    assert_eq!(sandbox.run(&["logs", "a"]).code, 3);
}

#[test]
fn a_run_is_followed_until_it_ends() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd:\n    - echo first; while [ ! -e go ]; do sleep 0.05; done\n    - echo last\n",
    );
    let mut repro = sandbox.lockstep("").args(["repro", "-q"]).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while sandbox.run(&["logs", "a"]).stdout.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "the stage never began");
    }
    assert!(sandbox.run(&["logs", "a", "--list"]).stdout.contains("running"));
    let follower = sandbox.lockstep("").args(["logs", "--follow", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.write("go", "");
    let out = follower.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "first\nlast\n");
    assert!(out.status.success() && repro.wait().unwrap().success());
}

#[test]
fn a_group_is_no_stage() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {foreach: [1, 2], do: {cmd: 'echo ${item}'}}}\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["logs", "a"])), @r"
    exit 2
    --- stderr
    error: `a` selects several stages: a@1, a@2
      hint: name one: lockstep logs a@1
    ");
}
