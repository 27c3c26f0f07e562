//! Metrics as Python writes them, and metrics files that cannot be read.

use crate::sandbox::{Output, Sandbox};

const PIPELINE: &str = "\
stages:
  a:
    cmd: cp a.src a.json
    deps: [a.src]
    metrics: [{a.json: {cache: false}}]
  b:
    cmd: cp b.src b.json && echo weights > m.bin
    deps: [b.src]
    outs: [m.bin]
    metrics: [{b.json: {cache: false}}]
artifacts:
  m: {path: m.bin}
checks: [acc >= 0.05]
";

fn project(a: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("a.src", a);
    sandbox.write("b.src", "{\"acc\": 0.5}\n");
    let ran = sandbox.run(&["repro", "-q"]);
    assert_eq!(ran.code, 0, "{ran}");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    sandbox
}

fn repro(sandbox: &Sandbox, a: &str) {
    sandbox.write("a.src", a);
    let ran = sandbox.run(&["repro", "-q"]);
    assert_eq!(ran.code, 0, "{ran}");
    sandbox.git(&["commit", "-qam", "next"]);
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output}"))
}

#[test]
fn python_s_words_for_numbers_are_numbers() {
    let sandbox = project("{\"loss\": 0.5, \"acc\": 0.01}");
    repro(&sandbox, "{\"loss\": NaN, \"acc\": 0.01, \"deep\": {\"top\": [Infinity], \"low\": -Infinity}}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show"])), @r#"
    exit 0
    --- stdout
    file    key       value
    a.json  loss      nan
    a.json  acc       0.01
    a.json  deep.top  ["Infinity"]
    a.json  deep.low  -inf
    b.json  acc       0.5
    "#);
    let lock = sandbox.read("pipeline.lock");
    assert!(lock.contains("          acc: 0.01\n          deep.low: -.inf\n          loss: .nan\n"), "{lock}");
    let status = sandbox.run(&["status", "--quiet"]);
    assert_eq!(status.code, 0, "the lock is read back: {status}");
    let shown = json(&sandbox.run(&["metrics", "show", "--json"]));
    assert_eq!(shown["a.json"]["loss"], "NaN");
    assert_eq!(shown["a.json"]["deep"]["top"][0], "Infinity");
    let loss = &json(&sandbox.run(&["metrics", "diff", "HEAD~1", "--json"]))["a.json"]["loss"];
    assert_eq!(*loss, serde_json::json!({"old": 0.5, "new": "NaN", "diff": "NaN"}));
    let all = json(&sandbox.run(&["metrics", "show", "--all-commits", "--json"]));
    let losses: Vec<_> = all.as_array().unwrap().iter().map(|rev| rev["files"]["a.json"]["loss"].clone()).collect();
    assert_eq!(losses, [serde_json::json!("NaN"), serde_json::json!("NaN"), serde_json::json!(0.5)]);
}

#[test]
fn a_gate_is_not_opened_by_nan() {
    let sandbox = project("{\"loss\": NaN, \"acc\": 0.01}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["check"])), @r"
    exit 1
    --- stdout
    FAIL  acc >= 0.05: several metrics files have a number `acc`
    --- stderr
    hint: write `a.json:acc` or `b.json:acc`
    0 of 1 check hold
    ");
    sandbox.write("pipeline.yaml", PIPELINE.replace("acc >= 0.05", "loss != 5"));
    let check = sandbox.run(&["check", "--json"]);
    assert_eq!((check.code, json(&check)[0]["value"].clone()), (1, "NaN".into()), "{check}");
}

/// What such a file holds is not known: no gate opens, nothing counts as gone, and every reader names it.
#[test]
fn a_metrics_file_that_cannot_be_read_is_never_passed_over() {
    let sandbox = project("{\"acc\": 0.01}");
    repro(&sandbox, "{\"acc\": 0.01,, \"loss\": 1}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["check"])), @r#"
    exit 1
    --- stdout
    FAIL  acc >= 0.05: a.json:1:14: no valid JSON: key must be a string
      |
    1 | {"acc": 0.01,, "loss": 1}
      |              ^
    --- stderr
    hint: or name the file that is meant: b.json:acc
    0 of 1 check hold
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "diff", "HEAD~1", "--json"])), @r#"
    exit 2
    --- stdout
    {}
    --- stderr
    error: a.json:1:14: no valid JSON: key must be a string
      |
    1 | {"acc": 0.01,, "loss": 1}
      |              ^
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "diff", "HEAD~1", "HEAD"])), @r#"
    exit 0
    --- stderr
    warning: left out, of HEAD: a.json:1:14: no valid JSON: key must be a string
      |
    1 | {"acc": 0.01,, "loss": 1}
      |              ^
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show", "-a"])), @r#"
    exit 0
    --- stdout
    revision   acc
    workspace  0.5
    main       0.5
    --- stderr
    warning: left out, of workspace, main: a.json:1:14: no valid JSON: key must be a string
      |
    1 | {"acc": 0.01,, "loss": 1}
      |              ^
    "#);
    sandbox.write("pipeline.yaml", PIPELINE.replace("checks: [acc >= 0.05]\n", ""));
    sandbox.git(&["commit", "-qam", "no checks"]);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "register", "m", "--version", "v1.0.0"])), @r#"
    exit 1
    --- stderr
    error: m v1.0.0 is not registered: its metrics cannot be read
      because: a.json:1:14: no valid JSON: key must be a string
      hint: --force registers it nevertheless, and the tag records it
    "#);
}
