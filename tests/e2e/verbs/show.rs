//! `params show` and `metrics show`.

use crate::sandbox::Sandbox;

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("params.yaml", "lr: 0.1\nmodel: {depth: 3, act: relu}\nunused: 1\n");
    sandbox.write("conf/extra.toml", "seed = 7\n[opt]\nnesterov = true\n");
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: echo '{\"acc\":0.5,\"n\":{\"m\":1}}' > m.json\n    params: [lr, model.depth]\n    \
         metrics: [m.json: {cache: false}]\n  other:\n    cmd: 'echo loss: 1e-5 > sub/o.yaml'\n    \
         params: [model.act]\n    metrics: [sub/o.yaml: {cache: false}]\n\
         params: [conf/extra.toml]\nmetrics: [by-hand.json]\n",
    );
    sandbox.write("by-hand.json", "{\"score\": 2}");
    sandbox.write("sub/x", "");
    sandbox
}

#[test]
fn params() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show"])), @r"
    exit 0
    --- stdout
    file             key           value
    conf/extra.toml  seed          7
    conf/extra.toml  opt.nesterov  true
    params.yaml      lr            0.1
    params.yaml      model.depth   3
    params.yaml      model.act     relu
    params.yaml      unused        1
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show", "--deps", "params.yaml"])), @r"
    exit 0
    --- stdout
    file         key          value
    params.yaml  lr           0.1
    params.yaml  model.act    relu
    params.yaml  model.depth  3
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show", "train", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "params.yaml": {
        "lr": 0.1,
        "model.depth": 3
      }
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["params", "show", "../conf"])), @r"
    exit 0
    --- stdout
    file                key           value
    ../conf/extra.toml  seed          7
    ../conf/extra.toml  opt.nesterov  true
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show", "trian"])), @r"
    exit 3
    --- stderr
    error: `trian` is neither a file with params nor a stage
      hint: did you mean `train`?
    ");
    sandbox.write("conf/extra.toml", "seed = = 7\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show", "conf/extra.toml"])), @r"
    exit 2
    --- stderr
    error: conf/extra.toml:1:8: no valid TOML: extra `=`, expected nothing
      |
    1 | seed = = 7
      |        ^
    ");
}

#[test]
fn metrics_that_are_missing_are_named() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show"])), @r"
    exit 3
    --- stdout
    file          key    value
    by-hand.json  score  2
    --- stderr
    error: m.json does not exist
      hint: make it: lockstep repro, or bring it back: lockstep checkout
    error: sub/o.yaml does not exist
      hint: make it: lockstep repro, or bring it back: lockstep checkout
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show", "--json", "train", "by-hand.json"])), @r#"
    exit 3
    --- stdout
    {
      "by-hand.json": {
        "score": 2
      },
      "m.json": null
    }
    --- stderr
    error: m.json does not exist
      hint: make it: lockstep repro, or bring it back: lockstep checkout
    "#);
}

#[test]
fn metrics_as_tables_and_json() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show"])), @r"
    exit 0
    --- stdout
    file          key    value
    by-hand.json  score  2
    m.json        acc    0.5
    m.json        n.m    1
    sub/o.yaml    loss   1e-05
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show", "--md", "m.json"])), @r"
    exit 0
    --- stdout
    | file   | key | value |
    | ------ | --- | ----- |
    | m.json | acc | 0.5   |
    | m.json | n.m | 1     |
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "by-hand.json": {
        "score": 2
      },
      "m.json": {
        "acc": 0.5,
        "n": {
          "m": 1
        }
      },
      "sub/o.yaml": {
        "loss": 0.00001
      }
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["metrics", "show", "o.yaml"])), @r"
    exit 0
    --- stdout
    file    key   value
    o.yaml  loss  1e-05
    ");
}

#[test]
fn nothing_to_show() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo}}\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show"])), @r"
    exit 0
    --- stderr
    no metrics here
    ");
}

#[test]
fn what_templates_use_is_a_param() {
    let sandbox = Sandbox::new();
    sandbox.write("params.yaml", "lr: 1\n");
    sandbox.write("conf/v.toml", "depth = 3\nother = 1\n");
    sandbox.write("sub/own.json", "{\"act\": \"relu\", \"rest\": 1}");
    sandbox.write(
        "pipeline.yaml",
        "vars: ['conf/v.toml:depth']\nstages:\n  a:\n    cmd: echo ${lr} ${depth} > o\n    outs: [o]\n  b:\n    wdir: sub\n    \
         vars: [own.json]\n    cmd: echo ${act} > p\n    outs: [p]\n",
    );
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox.write("params.yaml", "lr: 2\n");
    sandbox.write("conf/v.toml", "depth = 4\nother = 2\n");
    sandbox.write("sub/own.json", "{\"act\": \"tanh\", \"rest\": 1}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "diff"])), @r"
    exit 0
    --- stdout
    file          param  HEAD  workspace
    conf/v.toml   depth  3     4
    params.yaml   lr     1     2
    sub/own.json  act    relu  tanh
    ");
    let out = sandbox.run(&["params", "diff", "--deps"]);
    assert!(out.stdout.is_empty() && out.stderr.contains("no params differ"), "{out}");
}
