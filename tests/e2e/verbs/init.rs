//! `init`, and the example from end to end.

use std::process::Command;

use crate::sandbox::{Sandbox, output};

#[test]
fn in_git_there_is_nothing_to_set_up() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "-q"])), @r"exit 0");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init"])), @r"
    exit 0
    --- stderr
    nothing to create: in a Git repository a pipeline.yaml is enough
    hint: write one (see `lockstep init --example DIR` for a project to copy from), then: lockstep repro
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "--no-scm"])), @r"
    exit 2
    --- stderr
    error: [ROOT] is a Git repository: --no-scm is for folders without one
      hint: a project in a folder of a repository: create a lockstep.toml there, it may be empty
    ");
    assert_eq!(sandbox.git(&["status", "--short"]), "");
    assert!(!sandbox.exists(".git/lockstep") && !sandbox.exists(".lockstep"));
}

#[test]
fn outside_git_it_is_asked_for() {
    let sandbox = Sandbox::without_git();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init"])), @r"
    exit 3
    --- stderr
    error: neither [ROOT] nor a folder above it is a Git repository
      hint: git init — makes one; lockstep needs no further set-up in it
      hint: lockstep init --no-scm — works without Git, in this folder
      hint: lockstep init --example DIR — creates a repository with an example project
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "--no-scm"])), @r"
    exit 0
    --- stderr
    created [ROOT]/.lockstep: a project without Git
    hint: write a pipeline.yaml, then: lockstep repro
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "--no-scm"])), @r"
    exit 0
    --- stderr
    this is a project already
    ");
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo x > out, outs: [out]}}\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.remove("out");
    // On a busy machine even this took long enough to be worth a word.
    let shown = sandbox.shown(&sandbox.run(&["repro"])).replace("; the run cache saved [TIME]", "");
    insta::assert_snapshot!(shown, @"
    exit 0
    --- stderr
    restored a in [TIME]
    1 restored in [TIME]
    ");
}

#[test]
fn a_dvc_yaml_alone_gives_a_hint() {
    let sandbox = Sandbox::new();
    sandbox.write("dvc.yaml", "stages: {a: {cmd: echo}}\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 3
    --- stderr
    error: there is no pipeline.yaml in this repository
      hint: dvc.yaml is DVC's: the format is the same, so `git mv dvc.yaml pipeline.yaml` may be all it takes
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["stage", "list"])), @r"
    exit 3
    --- stderr
    error: there is no pipeline.yaml here
      hint: see all stages: lockstep stage list --all
      hint: dvc.yaml is DVC's: the format is the same, so `git mv dvc.yaml pipeline.yaml` may be all it takes
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 3
    --- stderr
    error: there is no pipeline.yaml in this repository
      hint: dvc.yaml is DVC's: the format is the same, so `git mv dvc.yaml pipeline.yaml` may be all it takes
    ");
}

#[test]
fn what_dvc_tracks_is_told_of() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: cp in/x a, deps: [in/x], outs: [a]}}\n");
    sandbox.write("in/x", "1\n");
    for pointer in ["in.dvc", "other.dvc"] {
        sandbox.write(pointer, "outs:\n- path: in\n");
    }
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @"
    exit 0
    --- stdout
    a
      never run
    --- stderr
    warning: in.dvc is DVC's: lockstep does not track in, which stages read
    hint: lockstep add in
    1 stage stale, 0 up to date
    ");
    assert_eq!(sandbox.run(&["add", "in"]).code, 0);
    assert!(!sandbox.run(&["status"]).stderr.contains("DVC"));
}

#[test]
fn the_example_wants_an_empty_folder() {
    let sandbox = Sandbox::without_git();
    sandbox.write("full/x", "");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "--example", "full"])), @r"
    exit 2
    --- stderr
    error: [ROOT]/full is not empty
      hint: choose a folder that does not exist
    ");
}

#[test]
fn without_a_name_nothing_is_committed() {
    let sandbox = Sandbox::without_git();
    let mut command = sandbox.lockstep("");
    for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        command.env_remove(name);
    }
    insta::assert_snapshot!(sandbox.shown(&output(command.args(["init", "--example", "x"]))), @r"
    exit 0
    --- stderr
    created the example in x
    its files are not committed: Git does not know your name
    hint: git config --global user.name NAME && git config --global user.email MAIL
    next: cd x && lockstep repro
    ");
}

/// The whole of it: a first model, a change that reruns what it must and no more, a failure that costs nothing.
#[test]
fn the_example_from_end_to_end() {
    let sandbox = Sandbox::without_git();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["init", "--example", "repo-of-digits"])), @r"
    exit 0
    --- stderr
    created the example in repo-of-digits
    its files are committed
    next: cd repo-of-digits && lockstep repro
    ");
    let git = |args: &[&str]| {
        let folder = sandbox.path("repo-of-digits");
        let out = output(
            Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
                .arg("-C")
                .arg(folder)
                .args(args),
        );
        assert_eq!(out.code, 0, "{out}");
        out.stdout
    };
    assert_eq!(git(&["status", "--short"]), "");
    let run = |args: &[&str]| {
        let mut command = sandbox.lockstep("repo-of-digits");
        output(command.args(args).env("DIGITS_QUICK", ""))
    };
    let results = |args: &[&str]| {
        let out = run(&[&["repro", "--json", "-q"], args].concat());
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"));
        let stages = json["stages"].as_array().unwrap().iter();
        let words = stages.map(|s| format!("{} {}", s["address"].as_str().unwrap(), s["result"].as_str().unwrap()));
        format!("exit {}\n{}", out.code, words.collect::<Vec<_>>().join("\n"))
    };
    insta::assert_snapshot!(results(&[]), @r"
    exit 0
    prepare ran
    train@0.01 ran
    train@0.05 ran
    evaluate@0.01 ran
    evaluate@0.05 ran
    choose ran
    ");
    let accuracy = || {
        let shown: serde_json::Value = serde_json::from_str(&run(&["metrics", "show", "--json"]).stdout).unwrap();
        shown["metrics.json"]["accuracy"].as_f64().unwrap()
    };
    assert!(accuracy() > 0.9, "accuracy {}", accuracy());
    git(&["add", "-A"]);
    assert!(!git(&["ls-files"]).contains("model.safetensors"), "a model went into Git");
    git(&["commit", "-qm", "First model"]);
    assert_eq!(run(&["-q", "status"]).code, 0);

    // A parameter that only the last stages read.
    let report = "repo-of-digits/conf/report.json";
    sandbox.write(report, sandbox.read(report).replace("\"decimals\": 4", "\"decimals\": 3"));
    insta::assert_snapshot!(sandbox.shown(&run(&["status"])), @r"
    exit 0
    --- stdout
    evaluate@0.01
      param conf/report.json:decimals 4 → 3
    evaluate@0.05
      param conf/report.json:decimals 4 → 3
    --- stderr
    2 stages stale, 1 may follow, 3 up to date
    ");
    insta::assert_snapshot!(results(&[]), @r"
    exit 0
    prepare up_to_date
    train@0.01 up_to_date
    train@0.05 up_to_date
    evaluate@0.01 ran
    evaluate@0.05 ran
    choose ran
    ");

    // A stage that breaks: its good outputs come back.
    let model = "repo-of-digits/conf/model.json";
    let good = sandbox.read(model);
    sandbox.write(model, good.replace("24", "\"many\""));
    insta::assert_snapshot!(results(&[]), @r"
    exit 6
    prepare up_to_date
    train@0.01 failed
    evaluate@0.01 blocked
    choose blocked
    train@0.05 blocked
    evaluate@0.05 blocked
    ");
    sandbox.write(model, good);
    assert_eq!(run(&["-q", "status"]).code, 0);
    git(&["checkout", "-q", "."]);
    insta::assert_snapshot!(results(&[]), @r"
    exit 0
    prepare up_to_date
    train@0.01 up_to_date
    train@0.05 up_to_date
    evaluate@0.01 restored
    evaluate@0.05 restored
    choose up_to_date
    ");
    assert_eq!(git(&["status", "--short"]), "");
}
