//! What is refused when a version is registered, and the conditions that it has to meet.

use crate::model::registry::{commit, json, project, shown};
use crate::sandbox::Sandbox;

fn register(sandbox: &Sandbox, more: &[&str]) -> String {
    let out = sandbox.run(&[&["model", "register", "digits", "--bump", "patch"], more].concat());
    shown(sandbox, &out)
}

#[test]
fn what_could_not_be_reproduced_is_refused() {
    let sandbox = project();
    // Stale, the lock as committed.
    sandbox.write("params.yaml", "lr: 0.3\nacc: 0.91\n");
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.1 is not registered: it could not be reproduced later
      because: train, in the workspace: param params.yaml:lr 0.1 → 0.3
      hint: fix that and register again: lockstep repro, git commit, lockstep push
      hint: --force registers it nevertheless, and the tag records it
    ");
    // Run, and not committed.
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.1 is not registered: it could not be reproduced later
      because: pipeline.lock has changes that are not committed
      hint: fix that and register again: lockstep repro, git commit, lockstep push
      hint: --force registers it nevertheless, and the tag records it
    ");
    // Committed without its params.
    sandbox.git(&["commit", "-q", "-m", "half", "pipeline.lock"]);
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.1 is not registered: it could not be reproduced later
      because: train: param params.yaml:lr 0.3 → 0.1
      hint: fix that and register again: lockstep repro, git commit, lockstep push
      hint: --force registers it nevertheless, and the tag records it
    ");
    // An earlier commit is as good as it was.
    insta::assert_snapshot!(register(&sandbox, &["--rev", "HEAD~1"]), @r"
    exit 0
    --- stderr
    warning: there is no remote, so no other clone can get model.bin: lockstep remote add -d NAME URL, then lockstep push
    registered digits v0.0.1: model.bin [ID], 24 B, of [ID] (First model)
    ");
    insta::assert_snapshot!(register(&sandbox, &["--force"]), @r"
    exit 0
    --- stderr
    warning: overruled: train: param params.yaml:lr 0.3 → 0.1
    warning: there is no remote, so no other clone can get model.bin: lockstep remote add -d NAME URL, then lockstep push
    registered digits v0.0.2: model.bin [ID], 24 B, of [ID] (half)
    ");
    let history = json(&sandbox, &["model", "history", "digits", "--json"]);
    assert!(history[0]["forced"][0].as_str().unwrap().contains("params.yaml:lr"), "{history}");
    sandbox.git(&["commit", "-q", "-a", "-m", "whole"]);
    assert!(register(&sandbox, &[]).starts_with("exit 0"));
}

#[test]
fn a_commit_is_held_against_its_own_files() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  prepare: {cmd: cp -R src parts/a, deps: [src], outs: [parts/a]}\n  \
         train: {cmd: cat parts/a/* parts/own > m, deps: [parts], outs: [m]}\n\
         artifacts: {digits: {path: m}}\n",
    );
    for (path, text) in [("src/one", "1"), ("src/deep/two", "2"), ("parts/own", "3")] {
        sandbox.write(path, text);
    }
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml").replace("cat parts/a/*", "cat parts/a/one"));
    commit(&sandbox, "First");
    // Folders of Git, and such as hold outputs and files of Git, are put together.
    let out = register(&sandbox, &[]);
    assert!(out.starts_with("exit 0"), "{out}");
    for (path, text, words) in
        [("src/deep/two", "changed", "prepare: dep src changed"), ("parts/own", "changed", "train: dep parts changed")]
    {
        let before = sandbox.read(path);
        sandbox.write(path, text);
        sandbox.git(&["commit", "-q", "-a", "-m", "An edit without a run"]);
        let out = register(&sandbox, &["--rev", "HEAD"]);
        assert!(out.starts_with("exit 1") && out.contains(words), "{out}");
        sandbox.write(path, before);
        sandbox.git(&["commit", "-q", "-a", "-m", "Back"]);
    }
    let out = register(&sandbox, &["--rev", "HEAD"]);
    assert!(out.starts_with("exit 0"), "{out}");
}

#[test]
fn metrics_by_hand_and_models_of_nobody() {
    let sandbox = project();
    sandbox.write("metrics.json", "{\"accuracy\":0.99}\n");
    sandbox.git(&["commit", "-q", "-a", "-m", "Better by hand"]);
    let pipeline = sandbox.read("pipeline.yaml");
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.1 is not registered: it could not be reproduced later
      because: evaluate: output metrics.json changed
      because: evaluate, in the workspace: output metrics.json changed
      hint: fix that and register again: lockstep repro, git commit, lockstep push
      hint: --force registers it nevertheless, and the tag records it
    ");
    sandbox.git(&["revert", "--no-edit", "HEAD"]);
    sandbox.write("pipeline.yaml", format!("{pipeline}  stray: {{path: stray.bin}}\n"));
    sandbox.write("stray.bin", "x");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Stray"]);
    insta::assert_snapshot!(
        shown(&sandbox, &sandbox.run(&["model", "register", "stray", "--version", "1.0.0", "--force"])),
        @r"
    exit 3
    --- stderr
    error: stray.bin is pinned by no pipeline.lock of HEAD
      hint: a stage has to make it (lockstep repro), or it is data (lockstep add PATH); then commit the lock
    "
    );
}

#[test]
fn bytes_that_no_remote_has() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["remote", "add", "-d", "hub", "../hub"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Remote"]);
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.1 is not registered: it could not be reproduced later
      because: the remote hub does not have model.bin: lockstep push
      hint: fix that and register again: lockstep repro, git commit, lockstep push
      hint: --force registers it nevertheless, and the tag records it
    ");
    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 0
    --- stderr
    registered digits v0.0.1: model.bin [ID], 24 B, of [ID] (Remote)
    ");
}

#[test]
fn checks_are_gates() {
    let sandbox = project();
    let checks = "checks:\n- accuracy >= 0.9\n- accuracy >= digits#prod - 0.01\n";
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml") + checks);
    commit(&sandbox, "Checks");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check"])), @r"
    exit 0
    --- stdout
    ok    accuracy >= 0.9: is 0.91
    ok    accuracy >= digits#prod - 0.01: is 0.91; there is no digits#prod yet
    --- stderr
    2 of 2 checks hold
    ");
    assert!(register(&sandbox, &[]).starts_with("exit 0"));
    assert_eq!(sandbox.run(&["model", "promote", "digits@v0.0.1", "prod"]).code, 0);

    sandbox.write("params.yaml", "lr: 0.1\nacc: 0.85\n");
    commit(&sandbox, "Worse");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check", "digits"])), @r"
    exit 1
    --- stdout
    FAIL  accuracy >= 0.9: is 0.85
    FAIL  accuracy >= digits#prod - 0.01 (0.9): is 0.85
    --- stderr
    0 of 2 checks hold
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check", "--rev", "HEAD~1"])), @r"
    exit 0
    --- stdout
    ok    accuracy >= 0.9: is 0.91
    ok    accuracy >= digits#prod - 0.01 (0.9): is 0.91
    --- stderr
    2 of 2 checks hold
    ");
    insta::assert_snapshot!(register(&sandbox, &[]), @r"
    exit 1
    --- stderr
    error: digits v0.0.2 is not registered: it does not pass its checks
      because: accuracy >= 0.9: is 0.85
      because: accuracy >= digits#prod - 0.01 (0.9): is 0.85
      hint: --force registers it nevertheless, and the tag records it
    ");
    assert!(register(&sandbox, &["--force"]).starts_with("exit 0"));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "promote", "digits@v0.0.2", "prod"])), @r"
    exit 1
    --- stderr
    error: digits v0.0.2 does not become prod: it does not pass its checks
      because: accuracy >= 0.9: is 0.85
      because: accuracy >= digits#prod - 0.01 (0.9): is 0.85
      hint: --force promotes it nevertheless, and the tag records it
    ");
    let found = json(&sandbox, &["check", "--json"]);
    assert_eq!(found[1]["limit"], 0.9, "{found}");
    assert_eq!((&found[1]["value"], &found[1]["ok"]), (&0.85.into(), &false.into()), "{found}");
    assert_eq!(json(&sandbox, &["model", "resolve", "digits#prod", "--json"])["version"], "v0.0.1");
}

#[test]
fn checks_with_mistakes() {
    let sandbox = project();
    let pipeline = sandbox.read("pipeline.yaml");
    sandbox.write("pipeline.yaml", format!("{pipeline}checks:\n- acuracy >= 0.9\n- accuracy >= nowhere\n"));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check"])), @r"
    exit 1
    --- stdout
    FAIL  acuracy >= 0.9: no metrics file has a number `acuracy`
    FAIL  accuracy >= nowhere: there is no revision `nowhere`
    --- stderr
    hint: did you mean `accuracy`?
    hint: if it was pushed from another clone: git fetch --tags
    0 of 2 checks hold
    ");
    sandbox.write("pipeline.yaml", format!("{pipeline}checks: {{digitz: [accuracy >= 0.9]}}\n"));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    pipeline.yaml:16:10: `checks`: there is no artifact `digitz`
       |
    16 | checks: {digitz: [accuracy >= 0.9]}
       |          ^
      hint: did you mean `digits`?
    no checks here: write some under `checks` of a pipeline.yaml
    ");
    sandbox.write("pipeline.yaml", pipeline);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["check"])), @r"
    exit 0
    --- stderr
    no checks here: write some under `checks` of a pipeline.yaml
    ");
}
