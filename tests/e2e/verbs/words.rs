//! What the program says to people who made a small mistake, and shapes that programs rely on.

use crate::sandbox::{Sandbox, output};

#[test]
fn conflict_markers_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo 1 > o\n    params: [lr]\n    outs: [o]\n");
    sandbox.write("params.yaml", "<<<<<<< HEAD\nlr: 1\n=======\nlr: 2\n>>>>>>> other\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["params", "show"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    params.yaml:1:1: the file holds the markers of a merge conflict
      |
    1 | <<<<<<< HEAD
      | ^
      hint: keep what is right and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`; `git checkout --ours FILE` or `--theirs FILE` takes one side whole
    ");
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: x\n    metrics: [m.json]\n");
    sandbox.remove("params.yaml");
    sandbox.write("m.json", "<<<<<<< HEAD\n{}\n=======\n{\"a\": 1}\n>>>>>>> other\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show"])), @r"
    exit 2
    --- stderr
    error: m.json:1:1: the file holds the markers of a merge conflict
      |
    1 | <<<<<<< HEAD
      | ^
      hint: keep what is right and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`; `git checkout --ours FILE` or `--theirs FILE` takes one side whole
    ");
}

#[test]
fn a_param_that_the_file_lacks_is_missing() {
    let sandbox = Sandbox::new();
    let pipeline = "stages:\n  s:\n    cmd: echo 1 > o\n    params: [lr]\n    outs: [o]\n";
    sandbox.write("pipeline.yaml", pipeline);
    sandbox.write("params.yaml", "lr: 1\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.write("pipeline.yaml", pipeline.replace("[lr]", "[lr, zzz]"));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 0
    --- stdout
    s
      param params.yaml:zzz is missing
    --- stderr
    1 stage stale, 0 up to date
    ");
}

#[test]
fn a_mistake_of_yaml_says_what_to_quote() {
    let sandbox = Sandbox::new();
    for (stage, want) in [
        ("cmd: echo \"a: b\"", "text with `: ` in it needs quotes: cmd: 'echo \"a: b\"'"),
        ("cmd: echo 'a: b'", "text with `: ` in it needs quotes: cmd: 'echo ''a: b'''"),
        ("cmd: x\n    outs: [out-${item}.txt]", "between brackets text with `${` needs quotes: \"out-${item}.txt\""),
        ("cmd: x\n    outs: [a, ${item}.txt]", "between brackets text with `${` needs quotes: \"${item}.txt\""),
    ] {
        sandbox.write("pipeline.yaml", format!("stages:\n  s:\n    {stage}\n"));
        let out = sandbox.run(&["status"]);
        assert!(out.code == 2 && out.stderr.contains(&format!("hint: {want}\n")), "{stage}: {out}");
    }
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: x\n     deps: [a]\n");
    assert!(!sandbox.run(&["status"]).stderr.contains("quotes"), "an indentation is not text");
    sandbox.write("params.yaml", "nope: 1\n");
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo ${nope} ${a.b\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    pipeline.yaml:3:23: stage `s`, `cmd`: a `${` is never closed
      |
    3 |     cmd: echo ${nope} ${a.b
      |                       ^
      hint: write `\${` for a `${` that lockstep shall leave alone
    ");
}

#[test]
fn help_is_a_command_too() {
    let sandbox = Sandbox::new();
    for (one, other) in [(&["help"][..], &["--help"][..]), (&["help", "repro"], &["repro", "--help"])] {
        let (one, other) = (sandbox.run(one), sandbox.run(other));
        assert_eq!((one.code, &one.stdout), (0, &other.stdout), "{one}");
    }
    let lists = sandbox.run(&["config", "--help"]).stdout;
    for key in ["cache.mode", "cache.sign", "cache.trust", "cache.verify_keys", "remote.NAME.url"] {
        assert!(lists.contains(&format!("  {key}  ")), "{key}: {lists}");
    }
}

/// What bash would put behind each command line, a tab pressed at its end.
#[test]
fn completion_types_no_dash() {
    let sandbox = Sandbox::new();
    sandbox.write("script", sandbox.run(&["completion", "bash"]).stdout);
    let complete = |words: &str| {
        let line = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); \
             _lockstep lockstep \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let out = output(sandbox.command("bash".as_ref(), "").args(["-c", &line]));
        assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{words}");
        out.stdout
    };
    assert_eq!([complete("lockstep logs ''"), complete("lockstep model show ''")], ["\n", "\n"]);
    assert!(complete("lockstep logs --").contains("--follow"));
    assert!(complete("lockstep model ''").contains("show"));
    assert!(complete("lockstep ''").contains("help"));
}

#[test]
fn names_cannot_move_the_cursor() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data:\n- path: raw\n");
    sandbox.write("raw/é", "1");
    sandbox.write("raw/a\u{1b}[2J\nb", "2");
    assert_eq!(sandbox.run(&["commit", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    sandbox.write("raw/a\u{1b}[2J\nb", "3");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["list", "-R", "raw"])), @r#"
    exit 0
    --- stdout
    a\u{1b}[2J\nb
    é
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff"])), @r#"
    exit 0
    --- stdout
    modified
      raw/a\u{1b}[2J\nb  1 B
    --- stderr
    1 modified
    "#);
}

#[test]
fn shapes_for_programs_are_always_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: cp src m.json\n    deps: [src]\n    metrics: [{m.json: {cache: false}}]\n",
    );
    sandbox.write("src", "{\"acc\": 0.5}");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "stages": {},
      "data": {},
      "follow": [],
      "unknown": []
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["metrics", "show", "--json", "--rev", "HEAD"])), @r#"
    exit 0
    --- stdout
    [
      {
        "rev": "HEAD",
        "names": [
          "HEAD"
        ],
        "commit": "[HASH]",
        "files": {
          "m.json": {
            "acc": 0.5
          }
        }
      }
    ]
    "#);
}

#[test]
fn status_counts_what_follows_and_what_it_cannot_judge() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: cp x a\n    deps: [x]\n    outs: [a]\n  b:\n    cmd: cp a b\n    deps: [a]\n    outs: [b]\n  \
         c:\n    cmd: cp b c\n    deps: [b]\n    outs: [c]\n  d:\n    cmd: echo > d\n    params: [p.json: [k]]\n    outs: [d]\n  \
         e:\n    cmd: echo > e\n    outs: [e]\n",
    );
    sandbox.write("x", "1");
    sandbox.write("p.json", "{\"k\": 1}");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.write("x", "2");
    sandbox.write("p.json", "{");
    let out = sandbox.run(&["status"]);
    assert!(out.code == 2 && out.stderr.contains("1 stage stale, 2 may follow, 1 not known, 1 up to date"), "{out}");
    let json: serde_json::Value = serde_json::from_str(&sandbox.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!((&json["follow"], &json["unknown"]), (&serde_json::json!(["b", "c"]), &serde_json::json!(["d"])));
}
