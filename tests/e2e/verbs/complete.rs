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
        assert!(out.stderr.contains(&format!("`{typo}` is neither an output nor data of HEAD or workspace")), "{out}");
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
    pointers.git(&["add", "-A"]);
    pointers.git(&["commit", "-qm", "1"]);
    for args in
        verbs.iter().copied().chain([&["repro", "-P"][..], &["status", "-c"], &["check"], &["list", "--dvc-only"]])
    {
        let out = run(&pointers, args, 3);
        let told = "error: there is no pipeline.yaml in this repository\n  hint: f.dvc is DVC's: lockstep add f tracks";
        assert!(out.stderr.contains(told), "{args:?}: {out}");
        assert!(!format!("{out}").contains("nothing to do"), "{args:?}: {out}");
    }
    let out = run(&pointers, &["list"], 0);
    assert!(
        out.stdout.contains("f.dvc") && out.stderr.contains("there is no pipeline.yaml in this repository"),
        "{out}"
    );
}

#[test]
fn a_repository_without_pipelines_tracks_nothing() {
    let sandbox = Sandbox::new();
    for args in [&["checkout"][..], &["pull"]] {
        let out = run(&sandbox, args, 0);
        assert!(format!("{out}").contains("nothing is tracked here"), "{out}");
    }
}

/// What is pinned and not here is brought, not made.
#[test]
fn a_locked_run_hints_at_what_brings_outputs() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n  b:\n    cmd: cat o > p\n    deps: [o]\n    outs: [p]\n",
    );
    run(&sandbox, &["repro", "-q"], 0);
    run(&sandbox, &["remote", "add", "-q", "-d", "lab", "../lab"], 0);
    run(&sandbox, &["push", "-q"], 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    sandbox.git(&["clone", "-q", ".", "../other"]);
    let there = |args: &[&str]| sandbox.run_in("../other", args);
    let out = there(&["repro", "--locked"]);
    assert!(out.code == 3 && out.stderr.contains("hint: fetch what was pushed: lockstep pull"), "{out}");
    let out = there(&["repro", "--locked", "-s", "b"]);
    assert!(out.code == 1 && out.stderr.contains("lockstep checkout, or lockstep pull"), "{out}");
    assert!(!out.stderr.contains("run `lockstep repro`"), "{out}");
    assert_eq!(there(&["pull", "-q"]).code, 0);
    assert_eq!(there(&["repro", "--locked"]).code, 0);
    // What really changed is to be run.
    sandbox.write("../other/o", "2");
    let out = there(&["repro", "--locked", "-s", "b"]);
    assert!(out.code == 1 && out.stderr.contains("run `lockstep repro` and commit"), "{out}");
}

/// Data that is refused is no stage, and the run has done nothing.
#[test]
fn a_run_in_which_data_was_refused_says_nothing_of_being_done() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
    sandbox.write("d", "1");
    run(&sandbox, &["repro", "-q"], 0);
    sandbox.write("d", "2");
    let out = run(&sandbox, &["repro", "--locked"], 1);
    assert!(out.stderr.contains("1 stale in ") && !out.stderr.contains("nothing to do"), "{out}");
    sandbox.remove("d");
    std::fs::remove_dir_all(sandbox.path(".git/lockstep/store")).unwrap();
    let out = run(&sandbox, &["repro", "d"], 3);
    assert!(out.stderr.contains("nothing was done in ") && !out.stderr.contains("nothing to do"), "{out}");
    let out = run(&sandbox, &["ci", "report"], 0);
    assert!(out.stdout.contains("nothing was done") && !out.stdout.contains("nothing to do"), "{out}");
}
