//! Which outputs go where: `remote:`, `push: false`, targets, and repositories without a remote.

use crate::sandbox::Sandbox;
use crate::sharing::{clone, fine};

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
    other: 10 requests, 425 B sent, 18 B received
    ");
}

/// The run cache is no way around it: neither with the entries of the stages, nor with all of them.
#[test]
fn what_stays_does_not_leave_with_the_run_cache() {
    let sandbox = Sandbox::new();
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["remote", "add", "-q", "other", "../other"]));
    for (n, outs) in [("1", "[a, c: {push: false}]"), ("2", "[a, c: {push: false}]"), ("3", "[a, b: {remote: other}]")]
    {
        let cmd = format!("echo plain{n} > a; echo licensed{n} > b; echo secret{n} > c");
        sandbox.write("pipeline.yaml", format!("stages:\n  s:\n    cmd: {cmd}\n    outs: {outs}\n"));
        fine(&sandbox.run(&["repro", "-q"]));
        if n != "3" {
            fine(&sandbox.run(&["push", "-q"]));
            fine(&sandbox.run(&["push", "-q", "--run-cache"]));
        }
    }
    let bytes = |below: &str| -> Vec<u8> {
        let files = crate::sharing::files(&sandbox, &format!("../{below}"));
        files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect()
    };
    let has = |below: &str, text: &str| bytes(below).windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has("lab", "plain2\n") && !has("lab", "secret1\n") && !has("lab", "secret2\n"));
    fine(&sandbox.run(&["push", "-q"]));
    assert!(has("lab", "plain3\n") && !has("lab", "licensed3\n") && has("other", "licensed3\n"));
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
    let pushed = |args: &[&str]| {
        let out = sandbox.run(args);
        fine(&out);
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        let sizes = json["remotes"][0]["pushed"].as_array().unwrap().iter().map(|one| one["size"].as_u64().unwrap());
        (sizes.collect::<Vec<_>>(), json["remotes"][0]["runs"].as_u64().unwrap())
    };
    assert_eq!(pushed(&["push", "--rev", "v1", "--json"]), (vec![5], 1));
    assert_eq!(pushed(&["push", "-a", "-T", "--json"]), (vec![5, 6], 2));
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
      hint: if it was pushed from another clone: git fetch --tags
    ");
    insta::assert_snapshot!(run(&["pull", "--rev", "HEAD~1"]), @r"
    exit 0
    --- stderr
    restored a
    11 B in 2 objects fetched
    ");
    assert_eq!(sandbox.read("../b/a"), "third");
}

/// An output that is named comes alone, whatever else its stage makes; a stage that is named comes whole.
#[test]
fn an_output_that_is_named_goes_alone() {
    let sandbox = crate::sharing::lab();
    let out = sandbox.run(&["push", "small"]);
    assert!(out.code == 0 && out.stderr.contains("pushed small") && !out.stderr.contains("large"), "{out}");
    assert!(!out.stderr.contains("run"), "an entry of the run cache is of use with all its outputs: {out}");
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    let here = || ["d", "small", "large"].map(|out| sandbox.exists(&format!("../b/{out}")));
    fine(&sandbox.run_in(&b, &["fetch", "-q", "small"]));
    fine(&sandbox.run_in(&b, &["checkout", "-q", "small"]));
    assert_eq!(here(), [false, true, false]);
    let json = sandbox.run_in(&b, &["pull", "small", "--json"]);
    assert!(json.code == 0 && json.stdout.contains("\"fetched\": []"), "{json}");
    fine(&sandbox.run_in(&b, &["pull", "-q", "small", "use"]));
    assert_eq!(here(), [false, true, true]);
    fine(&sandbox.run_in(&b, &["pull", "-q", "d/sub"]));
    assert_eq!(here(), [true, true, true]);
}
