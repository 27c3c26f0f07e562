//! Which outputs go where: `remote:`, `push: false`, targets, and repositories without a remote.

use crate::sandbox::Sandbox;
use crate::{clone, fine};

#[test]
fn outputs_go_to_their_own_remote_or_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: echo a > a; echo b > b; echo c > c\n    outs:\n    - a\n    - b: {remote: other}\n    - c: {push: false}\n",
    );
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    insta::assert_snapshot!(run(&["push"]), @r"
    exit 3
    --- stderr
    error: there is no remote `other`
      hint: lockstep remote add other URL
    ");
    fine(&sandbox.run(&["remote", "add", "-q", "other", "../other"]));
    insta::assert_snapshot!(run(&["push"]), @r"
    exit 0
    --- stderr
    pushed a (2 B)
    lab has everything now: 2 B in 1 object sent
    pushed b (2 B)
    other has everything now: 2 B in 1 object sent
    ");
    insta::assert_snapshot!(run(&["status", "-c"]), @r"
    exit 0
    --- stderr
    lab has everything, and so has this clone
    other has everything, and so has this clone
    ");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 0
    --- stderr
    restored a
    restored b
    4 B in 2 objects fetched
    1 output not shared (`push: false`), lockstep repro makes them: c
    ");
    assert_eq!(
        (sandbox.read("../b/a"), sandbox.read("../b/b"), sandbox.exists("../b/c")),
        ("a\n".into(), "b\n".into(), false)
    );
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull", "c"])), @r"
    exit 3
    --- stderr
    error: 1 output not in the store: c
      because: what is not pushed (`push: false`) cannot be pulled
      hint: make them again: lockstep repro
    ");
    // With -r what belongs to another remote is left alone.
    insta::assert_snapshot!(run(&["push", "-r", "other", "-v"]), @r"
    exit 0
    --- stderr
    pushed a (2 B)
    other has everything now: 2 B in 1 object sent
    other: 5 requests, 369 B sent, 18 B received
    ");
}

#[test]
fn without_a_remote_the_next_step_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo a > a, outs: [a]}}\n");
    fine(&sandbox.run(&["repro", "-q"]));
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    insta::assert_snapshot!(run(&["push"]), @r"
    exit 2
    --- stderr
    error: there is no remote
      hint: name one: lockstep remote add -d NAME URL
    ");
    insta::assert_snapshot!(run(&["fetch"]), @r"
    exit 0
    --- stderr
    everything is here
    ");
    fine(&sandbox.run(&["remote", "add", "-q", "one", "../one"]));
    fine(&sandbox.run(&["remote", "add", "-q", "two", "../two"]));
    insta::assert_snapshot!(run(&["push"]), @r"
    exit 2
    --- stderr
    error: which remote? There are one, two
      hint: name one: -r NAME
      hint: or say which counts: lockstep remote default NAME
    ");
    fine(&sandbox.run(&["remote", "modify", "-q", "one", "read_only", "true"]));
    insta::assert_snapshot!(run(&["push", "-r", "one"]), @r"
    exit 4
    --- stderr
    error: the remote one (../one) may only be read
      hint: allow writing: lockstep remote modify one read_only false
    ");
    sandbox.remove("a");
    insta::assert_snapshot!(run(&["push", "nothing"]), @r"
    exit 3
    --- stderr
    error: `nothing` is neither a stage nor an output
      hint: see the stages: lockstep stage list --all
    ");
}

#[test]
fn data_is_shared_like_an_output() {
    let sandbox = Sandbox::new();
    sandbox.write("raw/a", "1");
    sandbox.write("raw/b/c", "2");
    fine(&sandbox.run(&["add", "-q", "raw"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push"])), @r"
    exit 0
    --- stderr
    pushed raw (2 B)
    lab has everything now: 152 B in 4 objects sent
    ");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["pull", "-q", "raw"]));
    assert_eq!(sandbox.read("../b/raw/b/c"), "2");
}

/// Earlier commits, tags and branches: what they pin is pushed and fetched without checking them out.
#[test]
fn what_any_commit_pins_is_shared() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}\n");
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    for text in ["first", "second", "third"] {
        sandbox.write("in", text);
        fine(&sandbox.run(&["repro", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", text]);
        if text == "first" {
            sandbox.git(&["tag", "v1"]);
        }
    }
    sandbox.git(&["branch", "old", "HEAD~1"]);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push", "--rev", "v1"])), @r"
    exit 0
    --- stderr
    pushed a (5 B)
    lab has everything now: 707 B in 1 object, 1 run sent
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push", "-a", "-T"])), @r"
    exit 0
    --- stderr
    pushed a (5 B)
    pushed a (6 B)
    lab has everything now: 1.5 kB in 2 objects, 2 runs sent
    ");
    let b = clone(&sandbox, "b");
    let run = |args: &[&str]| sandbox.shown(&sandbox.run_in(&b, args));
    insta::assert_snapshot!(run(&["fetch", "--rev", "v1", "a"]), @r"
    exit 0
    --- stderr
    fetched a (5 B)
    5 B in 1 object from lab
    ");
    insta::assert_snapshot!(run(&["get", "a", "--rev", "v1", "-o", "old"]), @r"
    exit 0
    --- stderr
    old: 1 file, 5 B, of v1
    ");
    assert_eq!(sandbox.read("../b/old"), "first");
    insta::assert_snapshot!(run(&["fetch", "--rev", "HEAD~1", "b"]), @r"
    exit 3
    --- stderr
    error: nothing is pinned there for b
      hint: see what is: lockstep list --rev REV
    ");
    insta::assert_snapshot!(run(&["fetch", "--rev", "nothing"]), @r"
    exit 3
    --- stderr
    error: there is no revision `nothing`
      hint: if it is new at the origin: git fetch --tags
    ");
    insta::assert_snapshot!(run(&["pull", "--rev", "HEAD~1"]), @r"
    exit 0
    --- stderr
    restored a
    11 B in 2 objects fetched
    ");
    assert_eq!(sandbox.read("../b/a"), "third");
}
