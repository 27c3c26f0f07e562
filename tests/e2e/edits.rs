//! Commands that edit the pipeline: what the user sees, and what is on disk afterwards.

use crate::sandbox::Sandbox;

const TRAIN: &[&str] = &["stage", "add", "-n", "train", "-d", "data", "-o", "model.bin", "cp data/a model.bin"];

fn with_data() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a", "1\n");
    sandbox
}

#[test]
fn from_data_to_a_stage_and_back() {
    let s = with_data();
    insta::assert_snapshot!(s.shown(&s.run(&["add", "data", "--desc", "raw"])), @"
exit 0
--- stderr
data: 1 file, pinned
1 new path in pipeline.yaml
next: git add .gitignore pipeline.lock pipeline.yaml
");
    insta::assert_snapshot!(s.shown(&s.run(TRAIN)), @"
exit 0
--- stderr
pipeline.yaml has stage train
next: lockstep repro train
");
    insta::assert_snapshot!(s.read("pipeline.yaml"), @"
data:
- path: data
  desc: raw
stages:
  train:
    cmd: cp data/a model.bin
    deps:
    - data
    outs:
    - model.bin
");
    assert_eq!(s.run(&["repro", "-q"]).code, 0);
    assert_eq!(s.read(".gitignore"), "/data\n/model.bin\n");
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "train"])), @"
exit 0
--- stderr
removed stage train
still here, and no longer ignored by Git: model.bin
next: git add .gitignore pipeline.lock pipeline.yaml
");
    assert!(!s.read("pipeline.lock").contains("train") && s.exists("model.bin"));
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "data", "--outs"])), @"
exit 0
--- stderr
removed data data
deleted data
");
    assert!(!s.exists("data") && !s.exists("pipeline.yaml") && !s.exists("pipeline.lock") && !s.exists(".gitignore"));
}

#[test]
fn the_users_file_keeps_its_comments() {
    let s = with_data();
    s.write("pipeline.yaml", "# ours\nvars: [{n: 1}] # inline\n\nstages:\n  # first\n  a:\n    cmd: echo ${n} # why\n");
    assert_eq!(s.run(TRAIN).code, 0);
    assert_eq!(s.run(&["freeze", "train"]).code, 0);
    insta::assert_snapshot!(s.read("pipeline.yaml"), @"
# ours
vars: [{n: 1}] # inline

stages:
  # first
  a:
    cmd: echo ${n} # why
  train:
    frozen: true
    cmd: cp data/a model.bin
    deps:
    - data
    outs:
    - model.bin
");
    assert_eq!(s.run(&["remove", "train"]).code, 0);
    insta::assert_snapshot!(s.read("pipeline.yaml"), @"
# ours
vars: [{n: 1}] # inline

stages:
  # first
  a:
    cmd: echo ${n} # why
");
}

#[test]
fn every_option_of_stage_add() {
    let s = with_data();
    s.write("src/run.py", "");
    let line = "-d run.py -p lr -p c.json:a -o o1 -O o2 --outs-persist o3 --outs-persist-no-cache o4 -m m1 -M m2 --plots p1 \
                --plots-no-cache p2 -w src --always-changed --env CUDA --scratch ckpt --desc words";
    let mut args = vec!["stage", "add", "-n", "all"];
    args.extend(line.split_whitespace());
    args.extend(["python", "run.py", "--text", "two words"]);
    insta::assert_snapshot!(s.shown(&s.run(&args)), @"
exit 0
--- stderr
wrote pipeline.yaml with stage all
next: lockstep repro all
");
    insta::assert_snapshot!(s.read("pipeline.yaml"), @r#"
stages:
  all:
    desc: words
    cmd: python run.py --text "two words"
    wdir: src
    deps:
    - run.py
    params:
    - lr
    - c.json:
      - a
    env:
    - CUDA
    outs:
    - o1
    - o2:
        cache: false
    - o3:
        persist: true
    - o4:
        cache: false
        persist: true
    metrics:
    - m1
    - m2:
        cache: false
    plots:
    - p1
    - p2:
        cache: false
    scratch:
    - ckpt
    always_changed: true
"#);
    insta::assert_snapshot!(s.shown(&s.run(&["stage", "add", "-n", "old", "-c", "ckpt", "x"])), @"
exit 2
--- stderr
error: -c (checkpoints) is gone, from DVC as well
  hint: a folder from which the command can continue after a failure: --scratch DIR
  hint: an output that is not removed before a run: --outs-persist PATH
");
}

#[test]
fn what_would_break_the_pipeline_is_not_written() {
    let s = with_data();
    s.run(TRAIN);
    let before = s.read("pipeline.yaml");
    insta::assert_snapshot!(s.shown(&s.run(TRAIN)), @"
exit 2
--- stderr
error: pipeline.yaml:2: there is a stage train already
  hint: replace it: add --force
  hint: or give the new stage another name: --name NAME
");
    insta::assert_snapshot!(s.shown(&s.run(&["stage", "add", "-n", "b", "-d", "model.bin", "-o", "data/x", "x"])), @"
exit 2
--- stderr
error: pipeline.yaml stays as it is: with this change
pipeline.yaml:2:3: a cycle: train -> b -> train
");
    insta::assert_snapshot!(s.shown(&s.run(&["stage", "add", "-n", "b", "-o", "model.bin", "x"])), @"
exit 2
--- stderr
error: pipeline.yaml stays as it is: with this change
pipeline.yaml:11:7: `model.bin` is an output of stage `train` and an output of stage `b` as well
  hint: the other one is at pipeline.yaml:7:7
");
    insta::assert_snapshot!(s.shown(&s.run(&["stage", "add", "-n", "b@c", "x"])), @"
exit 2
--- stderr
error: pipeline.yaml stays as it is: with this change
pipeline.yaml:8:3: the stage name `b@c` has `@` in it, which stands between a group and its key
  |
8 |   b@c:
  |   ^
");
    insta::assert_snapshot!(s.shown(&s.run(&["stage", "add", "-n", "b", "echo ${HOME}"])), @r#"
exit 2
--- stderr
error: pipeline.yaml stays as it is: with this change
pipeline.yaml:9:15: stage `b`, `cmd`: cannot find `HOME`: `HOME` is not defined
  |
9 |     cmd: echo ${HOME}
  |               ^
  hint: for a variable of the shell write `\${HOME}`
"#);
    assert_eq!(s.read("pipeline.yaml"), before);
    s.write("pipeline.yaml", "stages: [\n");
    insta::assert_snapshot!(s.shown(&s.run(TRAIN)), @"
exit 2
--- stderr
error: pipeline.yaml:2:1: no valid YAML: while parsing a node, did not find expected node content
");
}

#[test]
fn a_stage_can_be_replaced_and_run_at_once() {
    let s = with_data();
    s.run(TRAIN);
    let mut args = TRAIN.to_vec();
    args.splice(2..2, ["--force", "--run"]);
    *args.last_mut().unwrap() = "cat data/a > model.bin";
    insta::assert_snapshot!(s.shown(&s.run(&args)), @"
    exit 0
    --- stderr
    pipeline.yaml has stage train
    running train (never run)
    > cat data/a > model.bin
    done train in [TIME]
    1 ran in [TIME]
    next: git add .gitignore data pipeline.lock pipeline.yaml
    ");
    assert_eq!(s.read("model.bin"), "1\n");
}

#[test]
fn what_cannot_be_data() {
    let s = with_data();
    s.run(TRAIN);
    s.write("tracked", "x");
    s.git(&["add", "tracked"]);
    s.write("model.bin", "x");
    for (path, want) in [
        ("tracked", "git rm -r --cached tracked"),
        ("model.bin", "model.bin is an output of stage train"),
        ("nothing", "there is no file or folder `nothing`"),
        ("/etc", "outside the repository"),
        ("..", "outside the repository"),
        (".", "the whole project"),
        (".git/config", "belongs to Git"),
        ("pipeline.yaml", "is a file that lockstep or Git itself reads"),
    ] {
        let out = s.run(&["add", path]);
        assert!(out.code > 1 && out.stderr.contains(want), "{path}: {out}");
        assert!(!s.read("pipeline.yaml").contains("data:\n- path"), "{path}");
    }
}

#[test]
fn adding_again_pins_what_changed() {
    let s = with_data();
    s.write("sub/pipeline.yaml", "stages:\n  a:\n    cmd: x\n");
    assert_eq!(s.run(&["add", "data"]).code, 0);
    s.write("data/b", "2\n");
    let lock = s.read("pipeline.lock");
    let out = s.run(&["add", "data/b"]);
    assert_eq!(out.code, 0, "{out}");
    assert_ne!(s.read("pipeline.lock"), lock);
    assert_eq!(s.read("pipeline.yaml"), "data:\n- path: data\n");
    assert!(s.run(&["add", "data"]).stderr.contains("data: unchanged"));
    s.write("sub/deep/x y.csv", "3\n");
    assert_eq!(s.run_in("sub/deep", &["add", "--no-commit", "x y.csv"]).code, 0);
    assert_eq!(s.read("sub/pipeline.yaml"), "stages:\n  a:\n    cmd: x\ndata:\n- path: deep/x y.csv\n");
    assert_eq!(s.read("sub/deep/.gitignore"), "/x y.csv\n");
    assert!(!s.exists("sub/pipeline.lock"));
}

#[test]
fn data_that_no_stage_reads_is_pinned_and_may_be_missing() {
    let s = with_data();
    s.write("in.txt", "1\n");
    s.run(&["stage", "add", "-n", "a", "-d", "in.txt", "-o", "out.txt", "cp in.txt out.txt"]);
    assert_eq!(s.run(&["add", "data"]).code, 0);
    assert_eq!(s.run(&["repro"]).code, 0);
    s.write("data/b", "2\n");
    insta::assert_snapshot!(s.shown(&s.run(&["repro", "--locked"])), @"
    exit 1
    --- stderr
    stale data data changed
    error: 1 stage or data path stale: pipeline.lock does not say what is here
      hint: run `lockstep repro` and commit pipeline.lock
    1 up to date, 1 stale in [TIME]
    ");
    // A stage that was named does not read it.
    assert_eq!(s.run(&["repro", "--locked", "a"]).code, 0);
    insta::assert_snapshot!(s.shown(&s.run(&["repro"])), @"
    exit 0
    --- stderr
    data: +1 −0 ~0 files, pinned
    1 up to date in [TIME]
    next: git add pipeline.lock pipeline.yaml
    ");
    assert_eq!(s.run(&["status", "-q"]).code, 0);
    s.remove("data");
    s.remove(".git/lockstep/store");
    assert_eq!(s.run(&["repro"]).code, 0);
}

#[test]
fn generated_stages_go_and_freeze_together() {
    let s = Sandbox::new();
    s.write(
        "pipeline.yaml",
        "stages:\n  p:\n    foreach: [x, y]\n    do:\n      cmd: echo > ${item}\n      outs:\n      - ${item}\n",
    );
    assert_eq!(s.run(&["repro", "-q"]).code, 0);
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "p@x"])), @"
exit 2
--- stderr
error: stage p@x is generated from p and cannot be removed alone
  hint: take its item out of the list at pipeline.yaml:2
  hint: or remove all 2 of them: lockstep stage remove p
");
    insta::assert_snapshot!(s.shown(&s.run(&["freeze", "p@x"])), @"
exit 0
--- stderr
froze p, with the 2 stages that it generates
");
    insta::assert_snapshot!(s.shown(&s.run(&["freeze", "p"])), @"
exit 0
--- stderr
p, with the 2 stages that it generates, is frozen already
");
    insta::assert_snapshot!(s.shown(&s.run(&["unfreeze", "p"])), @"
exit 0
--- stderr
unfroze p, with the 2 stages that it generates
");
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "y"])), @"
exit 2
--- stderr
error: y is an output of stage p
  hint: remove the stage: lockstep stage remove p
  hint: or take the output out of the stage's `outs` in pipeline.yaml
");
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "q"])), @"
exit 3
--- stderr
error: `q` is neither a stage nor tracked data
  hint: see the stages: lockstep stage list --all
");
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "p"])), @"
exit 0
--- stderr
removed stage p, from which 2 were generated
still here, and no longer ignored by Git: x, y
");
}

#[test]
fn what_is_not_stored_is_not_deleted_unasked() {
    let s = with_data();
    s.run(TRAIN);
    assert_eq!(s.run(&["repro", "-q"]).code, 0);
    s.write("model.bin", "edited");
    insta::assert_snapshot!(s.shown(&s.run(&["remove", "train", "--outs"])), @"
exit 1
--- stderr
error: not in the store, so that deleting would lose it: model.bin
  hint: keep the files: lockstep stage remove without --outs
  hint: delete them nevertheless: lockstep stage remove --outs --force
");
    assert!(s.exists("model.bin") && s.exists("pipeline.yaml"));
    assert_eq!(s.run(&["remove", "train", "--outs", "--force"]).code, 0);
    assert!(!s.exists("model.bin"));
}
