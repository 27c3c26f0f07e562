//! "Everything" is said of what was looked at and is whole, of nothing else.

use crate::sandbox::{Output, Sandbox};

const PIPELINE: &str = "\
data:
- path: d
stages:
  a:
    cmd: echo 1 > o
    outs: [o]
  b:
    cmd: mkdir p && echo 2 > p/x && echo 1 > m.json
    outs: [p]
    metrics: [{m.json: {cache: false}}]
";

fn run(sandbox: &Sandbox, args: &[&str], code: i32) -> Output {
    let out = sandbox.run(args);
    assert_eq!(out.code, code, "{args:?}: {out}");
    out
}

fn with_pipeline() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    run(&sandbox, &["remote", "add", "-q", "-d", "lab", "../lab"], 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    sandbox
}

#[test]
fn outputs_that_no_run_made_are_missing() {
    let sandbox = with_pipeline();
    for args in [&["checkout"][..], &["pull"]] {
        let out = run(&sandbox, args, 3);
        for text in ["3 outputs never made: o, p, m.json", "lockstep repro", "data not pinned yet: d", "lockstep add d"]
        {
            assert!(out.stderr.contains(text), "{text}: {out}");
        }
        assert!(!out.stdout.contains("everything") && !out.stderr.contains("everything"), "{out}");
    }
    for args in [&["checkout", "o"][..], &["pull", "o"], &["checkout", "d"], &["pull", "a"]] {
        run(&sandbox, args, 3);
    }
    for args in [&["checkout", "--allow-missing"][..], &["pull", "--allow-missing"]] {
        let out = run(&sandbox, args, 0);
        assert!(out.stderr.contains("3 outputs never made"), "{out}");
    }
    // Somebody made one by hand: it is there, and no lock says otherwise.
    sandbox.write("o", "mine");
    run(&sandbox, &["checkout", "o"], 0);
}

#[test]
fn a_remote_has_everything_once_everything_has_a_pin() {
    let sandbox = with_pipeline();
    let said = |args: &[&str], code: i32| {
        let out = run(&sandbox, args, code);
        format!("{}{}", out.stdout, out.stderr)
    };
    for args in [&["push"][..], &["fetch"], &["status", "-c"]] {
        let text = said(args, 0);
        assert!(text.contains("2 outputs not pinned yet: o, p"), "{text}");
        assert!(!text.contains("has everything") && !text.contains("everything is here"), "{text}");
    }
    for args in [&["push", "o"][..], &["fetch", "o"], &["status", "-c", "o"]] {
        assert!(said(args, 3).contains("1 output not pinned yet: o"));
    }
    sandbox.write("d", "data");
    run(&sandbox, &["add", "d"], 0);
    run(&sandbox, &["repro", "a"], 0);
    assert!(said(&["push"], 0).contains("lab has more now"));
    run(&sandbox, &["repro", "b"], 0);
    assert!(said(&["push"], 0).contains("lab has everything now"));
    assert!(said(&["fetch"], 0).contains("everything is here"));
    assert!(said(&["checkout"], 0).contains("everything is in place"));
}

#[test]
fn a_push_that_lacks_bytes_does_not_say_that_the_remote_has_everything() {
    let sandbox = with_pipeline();
    sandbox.write("d", "data");
    run(&sandbox, &["add", "d"], 0);
    run(&sandbox, &["repro"], 0);
    sandbox.remove(".git/lockstep/store");
    sandbox.remove("o");
    sandbox.write("d", "data");
    run(&sandbox, &["add", "d"], 0);
    let out = run(&sandbox, &["push"], 3);
    assert!(
        format!("{out}").contains("lab has more now")
            && out.stderr.contains("2 outputs neither here nor at the remote"),
        "{out}"
    );
}

#[test]
fn targets_of_a_comparison_have_to_exist() {
    let sandbox = with_pipeline();
    sandbox.write("d", "data");
    run(&sandbox, &["add", "d"], 0);
    run(&sandbox, &["repro"], 0);
    for typo in ["typo", "p/y", "p/x/z", "pipeline.yaml", "d/x"] {
        let out = run(&sandbox, &["diff", "--targets", typo], 3);
        assert!(out.stderr.contains(&format!("`{typo}` is no output and no data of HEAD or workspace")), "{out}");
    }
    for known in ["p/x", "p", ".", "o", "d"] {
        let out = run(&sandbox, &["diff", "--targets", known], 0);
        assert!(out.stdout.contains("added"), "{known}: {out}");
    }
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "2"]);
    // One side suffices.
    sandbox.remove("p");
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    assert!(run(&sandbox, &["diff", "--targets", "p/x"], 0).stdout.contains("deleted"));
}

#[test]
fn pipelines_of_dvc_alone_are_not_up_to_date() {
    let sandbox = Sandbox::new();
    sandbox.write("sub/dvc.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    let verbs: [&[&str]; 13] = [
        &["status"],
        &["status", "--json"],
        &["checkout"],
        &["pull"],
        &["fetch"],
        &["push"],
        &["metrics", "show"],
        &["params", "show"],
        &["metrics", "diff"],
        &["params", "diff"],
        &["diff"],
        &["dag"],
        &["repro"],
    ];
    for args in verbs {
        let out = run(&sandbox, args, 3);
        assert!(out.stderr.contains("git mv sub/dvc.yaml sub/pipeline.yaml"), "{args:?}: {out}");
    }
    let pointers = Sandbox::new();
    pointers.write("f.dvc", "outs:\n- md5: d3b07384d113edec49eaa6238ad5ff00\n  size: 4\n  path: f\n");
    let out = run(&pointers, &["status"], 3);
    assert!(out.stderr.contains("lockstep add f tracks its data here"), "{out}");
}

#[test]
fn a_repository_without_pipelines_tracks_nothing() {
    let sandbox = Sandbox::new();
    for args in [&["checkout"][..], &["pull"]] {
        let out = run(&sandbox, args, 0);
        assert!(format!("{out}").contains("nothing is tracked here"), "{out}");
    }
}
