use super::*;
use crate::pipeline::stage::Import;

/// A stage with a command alone.
fn stage(name: &str) -> NewStage {
    NewStage { name: name.into(), cmd: "run".into(), ..NewStage::default() }
}

#[test]
fn a_stage_is_added_wherever_stages_are() {
    let new = "  n:\n    cmd: run\n";
    for (before, after) in [
        ("", format!("stages:\n{new}")),
        ("# mine\n", format!("# mine\nstages:\n{new}")),
        ("---\n", format!("---\nstages:\n{new}")),
        ("vars:\n- a: 1", format!("vars:\n- a: 1\nstages:\n{new}")),
        ("stages: {}\n", format!("stages:\n{new}")),
        ("stages: {} # none yet\nvars: []\n", format!("stages: # none yet\n{new}vars: []\n")),
        ("stages:\n", format!("stages:\n{new}")),
        ("stages: # soon\nvars: []\n", format!("stages: # soon\n{new}vars: []\n")),
        ("stages:\n  a:\n    cmd: x", format!("stages:\n  a:\n    cmd: x\n{new}")),
        (
            "stages:\n  a:\n    cmd: x # why\n    # deps: later\n\n# not of a stage\nvars: []\n",
            format!("stages:\n  a:\n    cmd: x # why\n    # deps: later\n{new}\n# not of a stage\nvars: []\n"),
        ),
        (
            "stages:\n  a:\n    cmd: x\n\n  # second\n  b:\n    cmd: |\n      y\n\n      z\n\nvars: []\n",
            format!(
                "stages:\n  a:\n    cmd: x\n\n  # second\n  b:\n    cmd: |\n      y\n\n      z\n\n{new}\nvars: []\n"
            ),
        ),
        (
            "stages:\r\n  a:\r\n    cmd: x\r\nvars: []\r\n",
            "stages:\r\n  a:\r\n    cmd: x\r\n  n:\r\n    cmd: run\r\nvars: []\r\n".into(),
        ),
        ("stages:\n    a:\n        cmd: x\n", "stages:\n    a:\n        cmd: x\n    n:\n        cmd: run\n".into()),
        ("stages: {a: {cmd: x}}\n", "stages: {a: {cmd: x}, n: {cmd: run}}\n".into()),
        ("stages: {\n  a: {cmd: x}, # why\n}\n", "stages: {\n  a: {cmd: x}, n: {cmd: run}, # why\n}\n".into()),
        ("{stages: {a: {cmd: x}}}\n", "{stages: {a: {cmd: x}, n: {cmd: run}}}\n".into()),
        ("{}\n", "{stages: {n: {cmd: run}}}\n".into()),
        ("stages:\n  a:\n    cmd:\n    - é\n", format!("stages:\n  a:\n    cmd:\n    - é\n{new}")),
        ("stages:\n  a: &a\n    cmd: x\n  b: *a\n", format!("stages:\n  a: &a\n    cmd: x\n  b: *a\n{new}")),
    ] {
        assert_eq!(put_stage("p", before, &stage("n"), false).unwrap(), after, "{before}");
        if before.matches("cmd").count() > 0 && !before.ends_with("x") {
            assert_eq!(remove_stage("p", &after, "n").unwrap(), before, "and back");
        }
    }
}

#[test]
fn lists_are_indented_as_in_the_file() {
    let new = NewStage { deps: vec!["d.py".into()], ..stage("n") };
    let text = "stages:\n  a:\n    cmd: x\n    deps:\n      - y\n";
    let want = format!("{text}  n:\n    cmd: run\n    deps:\n      - d.py\n");
    assert_eq!(put_stage("p", text, &new, false).unwrap(), want);
}

#[test]
fn everything_that_a_stage_can_have() {
    let s = |items: &[&str]| items.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let out = |path: &str, role, cache, persist| NewOut { path: path.into(), role, cache, persist };
    let new = NewStage {
        wdir: Some("src".into()),
        deps: s(&["a.py", "data"]),
        params: vec![
            (None, s(&["lr", "epochs"])),
            (Some("conf.json".into()), s(&["a.b"])),
            (Some("p.toml".into()), vec![]),
        ],
        env: s(&["CUDA"]),
        outs: vec![
            out("m.bin", Role::Out, true, false),
            out("log", Role::Out, false, true),
            out("metrics.json", Role::Metric, false, false),
            out("roc.csv", Role::Plot, true, false),
        ],
        scratch: s(&["ckpt"]),
        always_changed: true,
        desc: Some("Trains: it".into()),
        ..stage("train")
    };
    insta::assert_snapshot!(put_stage("p", "", &new, false).unwrap(), @"
stages:
  train:
    desc: 'Trains: it'
    cmd: run
    wdir: src
    deps:
    - a.py
    - data
    params:
    - lr
    - epochs
    - conf.json:
      - a.b
    - p.toml:
    env:
    - CUDA
    outs:
    - m.bin
    - log:
        cache: false
        persist: true
    metrics:
    - metrics.json:
        cache: false
    plots:
    - roc.csv
    scratch:
    - ckpt
    always_changed: true
");
}

#[test]
fn a_stage_is_replaced_key_by_key() {
    let before = "\
stages:
  a:
    # how
    cmd: old # why
    deps: # these
    - x # the script
    - y
    frozen: true
    meta: {owner: me}
  b: {cmd: z}
";
    let new = NewStage { deps: vec!["x".into()], ..stage("a") };
    insta::assert_snapshot!(put_stage("p", before, &new, true).unwrap(), @"
stages:
  a:
    # how
    cmd: run # why
    deps: # these
    - x
    meta: {owner: me}
  b: {cmd: z}
");
    let same = NewStage { deps: vec!["x".into(), "y".into()], cmd: "old".into(), ..stage("a") };
    let kept = before.replace("    frozen: true\n", "");
    assert_eq!(put_stage("p", before, &same, true).unwrap(), kept);
    assert_eq!(put_stage("p", before, &stage("b"), true).unwrap(), before.replace("cmd: z", "cmd: run"));
    let group = "stages:\n  g:\n    foreach: [1]\n    do:\n      cmd: x\n  h:\n    cmd: y\n";
    let want = "stages:\n  g:\n    cmd: run\n  h:\n    cmd: y\n";
    assert_eq!(put_stage("p", group, &stage("g"), true).unwrap(), want);
    let error = put_stage("p", before, &stage("a"), false).unwrap_err();
    assert_eq!(error.message, "p:2: there is a stage a already");
}

#[test]
fn a_stage_goes_with_its_lines() {
    for (before, name, after) in [
        ("stages:\n  a:\n    cmd: x\n", "a", ""),
        ("# mine\nstages:\n  a:\n    cmd: x\n", "a", "# mine\n"),
        ("stages:\n  a:\n    cmd: x\nvars: []\n", "a", "vars: []\n"),
        (
            "stages:\n  a:\n    cmd: x\n    # of a\n  # of b\n  b:\n    cmd: y\n",
            "a",
            "stages:\n  # of b\n  b:\n    cmd: y\n",
        ),
        (
            "stages:\n  a:\n    cmd: x\n\n  b:\n    cmd: y\n\n  c:\n    cmd: z\n",
            "b",
            "stages:\n  a:\n    cmd: x\n\n  c:\n    cmd: z\n",
        ),
        ("stages:\n  a:\n    cmd: x\n\n  b:\n    cmd: y\n", "b", "stages:\n  a:\n    cmd: x\n"),
        ("stages: {a: {cmd: x}, b: {cmd: y}}\n", "a", "stages: {b: {cmd: y}}\n"),
        ("stages: {a: {cmd: x}, b: {cmd: y}}\n", "b", "stages: {a: {cmd: x}}\n"),
        ("stages: {a: {cmd: x}}\n", "a", "stages: {}\n"),
        ("stages:\r\n  a:\r\n    cmd: x\r\n  b:\r\n    cmd: y", "b", "stages:\r\n  a:\r\n    cmd: x\r\n"),
        ("stages:\n  a:\n    cmd: |+\n      x\n\n  b:\n    cmd: y\n", "a", "stages:\n  b:\n    cmd: y\n"),
    ] {
        assert_eq!(remove_stage("p", before, name).unwrap(), after, "{before}");
    }
    assert!(remove_stage("p", "stages: {}\n", "a").is_err());
}

#[test]
fn data_comes_and_goes() {
    for (before, after) in [
        ("", "data:\n- path: d/x\n"),
        ("data: []\n", "data:\n- path: d/x\n"),
        ("data:\n- path: y # why\nvars: []\n", "data:\n- path: y # why\n- path: d/x\nvars: []\n"),
        ("data:\n  - path: y\n    desc: z\n", "data:\n  - path: y\n    desc: z\n  - path: d/x\n"),
        ("data: [{path: y}]\n", "data: [{path: y}, {path: d/x}]\n"),
        (
            "stages:\n  a:\n    cmd: x\n    deps:\n      - y",
            "stages:\n  a:\n    cmd: x\n    deps:\n      - y\ndata:\n  - path: d/x\n",
        ),
    ] {
        assert_eq!(add_data("p", before, "d/x", None, None).unwrap(), after);
        let n = before.matches("path").count();
        let back = remove_data("p", after, n).unwrap();
        assert_eq!(back.trim_end(), before.replace("data: []", "").trim_end(), "and back");
    }
    let two = "data:\n- path: a\n  desc: x\n# of b\n- path: b\n";
    assert_eq!(remove_data("p", two, 0).unwrap(), "data:\n# of b\n- path: b\n");
    assert_eq!(add_data("p", "", "12", Some("a: b"), None).unwrap(), "data:\n- path: '12'\n  desc: 'a: b'\n");
}

#[test]
fn an_import_is_written_and_renewed() {
    let mut import = Import { url: "../m".into(), path: "x".into(), rev: "main".into(), commit: "a".repeat(40) };
    let text = add_data("p", "data:\n- path: y # why\n", "x", None, Some(&import)).unwrap();
    let a = "a".repeat(40);
    assert_eq!(
        text,
        format!(
            "data:\n- path: y # why\n- path: x\n  import:\n    url: ../m\n    path: x\n    rev: main\n    commit: {a}\n"
        )
    );
    // A commit of digits alone stays a text.
    (import.rev, import.commit) = ("v2".into(), "1".repeat(40));
    let commented = text.replace("rev: main", "rev: main # ours");
    let renewed = set_import("p", &commented, 1, &import).unwrap();
    let ones = "1".repeat(40);
    assert_eq!(renewed, commented.replace("rev: main", "rev: v2").replace(&a, &format!("'{ones}'")));
    let flow = format!("data: [{{path: x, import: {{url: u, path: x, commit: {a}}}}}]\n");
    import.rev = "HEAD".into();
    assert_eq!(set_import("p", &flow, 0, &import).unwrap(), flow.replace(&a, &format!("'{ones}'")));
}

#[test]
fn freezing_and_back_leaves_the_rest_alone() {
    let cases = [
        (
            "# top\nstages:\n  a:\n    cmd: x # why\n  b: {cmd: y}\n",
            "a",
            "# top\nstages:\n  a:\n    frozen: true\n    cmd: x # why\n  b: {cmd: y}\n",
        ),
        ("stages:\n  b: {cmd: y}\n", "b", "stages:\n  b: {frozen: true, cmd: y}\n"),
        (
            "stages:\n  g:\n    foreach: [1]\n    do:\n      cmd: é ${item}\n",
            "g",
            "stages:\n  g:\n    foreach: [1]\n    do:\n      frozen: true\n      cmd: é ${item}\n",
        ),
        ("stages:\r\n  a:\r\n    cmd: x\r\n", "a", "stages:\r\n  a:\r\n    frozen: true\r\n    cmd: x\r\n"),
    ];
    for (before, stage, after) in cases {
        assert_eq!(set_frozen("p", before, stage, true).unwrap().as_deref(), Some(after));
        assert_eq!(set_frozen("p", after, stage, false).unwrap().as_deref(), Some(before));
        assert_eq!(set_frozen("p", after, stage, true).unwrap(), None);
        assert_eq!(set_frozen("p", before, stage, false).unwrap(), None);
    }
    let off = "stages:\n  a:\n    cmd: x\n    frozen: false # for now\n";
    assert_eq!(set_frozen("p", off, "a", true).unwrap().unwrap(), off.replace("false", "true"));
    assert_eq!(set_frozen("p", off, "a", false).unwrap(), None);
    assert!(set_frozen("p", "stages: {}\n", "a", true).is_err());
}

#[test]
fn what_would_change_something_else_is_refused() {
    let alias = "stages:\n  a: &a\n    cmd: x\n  b: *a\n";
    assert!(set_frozen("p", alias, "b", true).is_err());
    assert!(remove_stage("p", alias, "a").is_err());
    assert_eq!(remove_stage("p", alias, "b").unwrap(), "stages:\n  a: &a\n    cmd: x\n");
    let merge = "x: &x {frozen: true}\nstages:\n  a:\n    <<: *x\n    cmd: x\n";
    assert!(set_frozen("p", merge, "a", false).is_err());
    for text in ["stages: [1]\n", "- 1\n", "text\n", "stages: x\n"] {
        assert!(put_stage("p", text, &stage("n"), false).is_err(), "{text}");
    }
    let error = put_stage("p", "stages: [\n", &stage("n"), false).unwrap_err();
    assert!(error.message.starts_with("p:"), "{error}");
}
