//! Branches with different locks, merged by the real `git merge` and `git rebase`.

use std::path::Path;

use crate::sandbox::{Output, Sandbox, output};

const PIPELINE: &str = "\
stages:
  prep:
    cmd: cat raw > clean
    deps: [raw]
    outs: [clean]
  train:
    cmd: cat clean > model; cat params.yaml >> model
    deps: [clean]
    params: [lr, epochs]
    outs: [model]
  report:
    cmd: wc -l < notes > report
    deps: [notes]
    outs: [report]
";
/// The lines keep apart what Git would else take for one change.
const PARAMS: &str = "lr: 1\n# a\n# b\n# c\nepochs: 1\n";

/// A repository whose first commit has all stages run, in the folder `at`.
fn repository(at: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, text) in [("pipeline.yaml", PIPELINE), ("params.yaml", PARAMS), ("raw", "raw\n"), ("notes", "a\n")] {
        sandbox.write(&format!("{at}{name}"), text);
    }
    repro(&sandbox, at);
    commit(&sandbox, "first");
    sandbox
}

fn repro(sandbox: &Sandbox, at: &str) {
    let out = sandbox.run_in(at, &["repro", "-q"]);
    assert_eq!(out.code, 0, "{out}");
}

fn commit(sandbox: &Sandbox, subject: &str) {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", subject]);
}

/// On a new branch from `from`: replaces words in files, runs, commits.
fn branch(sandbox: &Sandbox, name: &str, from: &str, edits: &[(&str, &str, &str)]) {
    sandbox.git(&["checkout", "-qf", "-B", name, from]);
    for (file, old, new) in edits {
        let text = sandbox.read(file);
        assert!(text.contains(old), "{file}");
        sandbox.write(file, text.replace(old, new));
    }
    let at = edits[0].0.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default();
    repro(sandbox, &at);
    commit(sandbox, name);
}

/// Git, with its exit code.
fn git(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("git"), "").args(args).env("GIT_EDITOR", "true"))
}

fn value(sandbox: &Sandbox, lock: &str, key: &str) -> Vec<String> {
    let start = format!("{key}: ");
    sandbox.read(lock).lines().filter_map(|l| l.trim().strip_prefix(&start).map(str::to_string)).collect()
}

/// What is stale, by name.
fn stale(sandbox: &Sandbox) -> Vec<String> {
    let out = sandbox.run(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{out}"));
    json["stages"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn different_stages_merge_by_themselves() {
    for at in ["", "sub/dir/"] {
        let sandbox = repository(at);
        assert_eq!(sandbox.run(&["install", "-q"]).code, 0);
        let file = |name: &str| format!("{at}{name}");
        // Neighbours in the lock: as text this is a conflict.
        branch(&sandbox, "left", "main", &[(&file("params.yaml"), "lr: 1", "lr: 2")]);
        let added = "\n  another:\n    cmd: cat raw > copy\n    deps: [raw]\n    outs: [copy]\n";
        branch(&sandbox, "right", "main", &[(&file("notes"), "a\n", "a\nb\n")]);
        branch(&sandbox, "more", "main", &[(&file("pipeline.yaml"), "stages:", &format!("stages:{added}"))]);
        for (from, side) in [("left", "right"), ("HEAD", "more")] {
            sandbox.git(&["checkout", "-qf", from]);
            let out = git(&sandbox, &["merge", "-q", "--no-edit", side]);
            assert_eq!((out.code, sandbox.git(&["status", "--short", "-uno"])), (0, String::new()), "{out}");
            assert!(!out.stderr.contains("both sides"), "{out}");
        }
        assert_eq!(value(&sandbox, &file("pipeline.lock"), "lr"), ["2"]);
        let out = sandbox.run(&["checkout", "-q"]);
        assert_eq!((out.code, stale(&sandbox)), (0, vec![]), "{out}");
        sandbox.git(&["checkout", "-qf", "-B", "onto", "left"]);
        let out = git(&sandbox, &["rebase", "-q", "right"]);
        assert_eq!(out.code, 0, "{out}");
        assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
        assert_eq!(stale(&sandbox), Vec::<String>::new());
    }
}

#[test]
fn a_stage_that_both_ran_is_the_one_of_the_merged_inputs_and_the_commit_is_told() {
    let sandbox = repository("");
    assert_eq!(sandbox.run(&["install", "-q"]).code, 0);
    // Both branches come by `epochs: 2`, theirs has the new `lr` as well: the merge has what theirs ran on.
    branch(&sandbox, "left", "main", &[("params.yaml", "epochs: 1", "epochs: 2")]);
    branch(&sandbox, "right", "main", &[("params.yaml", "epochs: 1", "epochs: 2"), ("params.yaml", "lr: 1", "lr: 2")]);
    sandbox.git(&["checkout", "-qf", "left"]);
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "right"]);
    insta::assert_snapshot!(out.stderr.replace(sandbox.git(&["rev-parse", "--short=7", "right"]).trim(), "[RIGHT]"), @"pipeline.lock: train: both sides ran it; taken from right, [RIGHT] (right), which ran on the merged inputs");
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    assert_eq!(stale(&sandbox), Vec::<String>::new());

    // In a rebase "ours" is the branch below. The message names commits.
    sandbox.git(&["checkout", "-qf", "-B", "top", "right"]);
    let out = git(&sandbox, &["rebase", "left~"]);
    let right = sandbox.git(&["rev-parse", "--short=7", "right"]);
    let told = format!("train: both sides ran it; taken from {} (right), which ran on the merged inputs", right.trim());
    assert!(out.code == 0 && out.stderr.contains(&told), "{out}");

    // Each changed another value: nobody ran the merge, ours stays, and status says what is stale.
    branch(&sandbox, "a", "main", &[("params.yaml", "epochs: 1", "epochs: 3")]);
    branch(&sandbox, "b", "main", &[("params.yaml", "lr: 1", "lr: 3")]);
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "a"]);
    assert!(out.code == 0 && out.stderr.contains("train: both sides changed it; taken from HEAD, "), "{out}");
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    assert_eq!(stale(&sandbox), ["train"]);
}

#[test]
fn without_the_driver_merge_resolves_the_conflict_afterwards() {
    let sandbox = repository("sub/");
    branch(&sandbox, "left", "main", &[("sub/params.yaml", "lr: 1", "lr: 2")]);
    branch(&sandbox, "right", "main", &[("sub/params.yaml", "lr: 1", "lr: 3")]);
    sandbox.git(&["checkout", "-qf", "left"]);
    assert_eq!(git(&sandbox, &["merge", "-q", "right"]).code, 1);
    sandbox.write("sub/params.yaml", PARAMS.replace("lr: 1", "lr: 3"));
    for command in [["status"], ["repro"], ["checkout"]] {
        let out = sandbox.run_in("sub", &command);
        assert!(out.code == 2 && out.stderr.contains("hint: resolve it: lockstep merge"), "{out}");
    }
    let shown = |out: &Output| {
        let text = sandbox.shown(out);
        ["left", "right"].iter().fold(text, |text, name| {
            text.replace(sandbox.git(&["rev-parse", "--short=7", name]).trim(), &format!("[{name}]"))
        })
    };
    insta::assert_snapshot!(shown(&sandbox.run_in("sub", &["merge"])), @r"
    exit 0
    --- stderr
    pipeline.lock: ours is HEAD, [left] (left), theirs is MERGE_HEAD, [right] (right)
      train: both sides ran it; taken from theirs, which ran on the merged inputs
    next: git add pipeline.lock
    ");
    assert_eq!(value(&sandbox, "sub/pipeline.lock", "lr"), ["3"]);
    // What came to the lock since then is not overwritten, though Git still has it for a conflict.
    sandbox.write("sub/params.yaml", PARAMS.replace("lr: 1", "lr: 4"));
    repro(&sandbox, "sub");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["merge"])), @r"
    exit 0
    --- stderr
    pipeline.lock is settled already, and stays as it is
    next: git add pipeline.lock
    ");
    assert_eq!(value(&sandbox, "sub/pipeline.lock", "lr"), ["4"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "merged"]);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["merge"])), @r"
    exit 0
    --- stderr
    no pipeline.lock has a conflict
    ");
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    assert_eq!(stale(&sandbox), Vec::<String>::new());
}

#[test]
fn a_rebase_goes_on_after_merge() {
    let sandbox = repository("");
    branch(&sandbox, "left", "main", &[("params.yaml", "epochs: 1", "epochs: 2")]);
    branch(&sandbox, "right", "main", &[("params.yaml", "lr: 1", "lr: 3"), ("notes", "a\n", "a\nb\n")]);
    let right = sandbox.git(&["rev-parse", "--short=7", "right"]);
    assert_eq!(git(&sandbox, &["rebase", "-q", "left"]).code, 1);
    let out = sandbox.run(&["merge"]);
    assert!(out.stderr.contains(&format!("theirs is REBASE_HEAD, {} (right)", right.trim())), "{out}");
    assert!(out.stderr.contains("report: taken from theirs") && out.stderr.contains("train: both sides"), "{out}");
    sandbox.git(&["add", "-A"]);
    assert_eq!(git(&sandbox, &["rebase", "--continue"]).code, 0);
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    assert_eq!(stale(&sandbox), ["train"]);
}

#[test]
fn markers_that_were_added_or_committed_are_resolved_too() {
    let sandbox = repository("");
    branch(&sandbox, "left", "main", &[("params.yaml", "lr: 1", "lr: 2")]);
    branch(&sandbox, "right", "main", &[("params.yaml", "lr: 1", "lr: 3"), ("notes", "a\n", "a\nb\n")]);
    sandbox.git(&["checkout", "-qf", "left"]);
    assert_eq!(git(&sandbox, &["merge", "-q", "right"]).code, 1);
    sandbox.write("params.yaml", PARAMS.replace("lr: 1", "lr: 3"));
    sandbox.git(&["add", "-A"]);
    let marked = sandbox.read("pipeline.lock");
    // The commits behind `HEAD` and `right` have the records.
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 0 && out.stderr.contains("train: both sides ran it; taken from theirs"), "{out}");
    let resolved = sandbox.read("pipeline.lock");
    sandbox.write("pipeline.lock", &marked);
    sandbox.git(&["commit", "-qam", "merged, it seems"]);
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 0 && out.stderr.contains("train: both sides ran it; taken from theirs"), "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), resolved);
    commit(&sandbox, "merged");

    // With these out of reach the run cache vouches for the records.
    sandbox.write("pipeline.lock", marked.replace(">>>>>>> right", ">>>>>>> a branch that is gone"));
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 0 && out.stderr.contains("train: both sides ran it; taken from theirs"), "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), resolved);

    // Without it a record whose lines may come from both sides is nobody's.
    sandbox.write("pipeline.lock", marked.replace(">>>>>>> right", ">>>>>>> a branch that is gone"));
    sandbox.remove(".git/lockstep/store/runs");
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 0 && out.stderr.contains("train: left out, its record is mixed from both"), "{out}");
    assert!(!sandbox.read("pipeline.lock").contains("train"));
    assert_eq!(stale(&sandbox), ["train"]);
}

#[test]
fn a_lock_that_cannot_be_read_is_a_conflict_as_ever() {
    let sandbox = repository("");
    assert_eq!(sandbox.run(&["install", "-q"]).code, 0);
    branch(&sandbox, "left", "main", &[("params.yaml", "lr: 1", "lr: 2")]);
    branch(&sandbox, "right", "main", &[("params.yaml", "epochs: 1", "epochs: 2")]);
    sandbox.write("pipeline.lock", sandbox.read("pipeline.lock").replace("schema: 1", "schema: 9"));
    commit(&sandbox, "from the future");
    sandbox.git(&["checkout", "-qf", "left"]);
    let out = git(&sandbox, &["merge", "-q", "right"]);
    assert!(out.code == 1 && out.stderr.contains("schema 9"), "{out}");
    assert!(sandbox.read("pipeline.lock").contains("<<<<<<< ours"));
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 2 && out.stderr.contains("their version of pipeline.lock cannot be merged"), "{out}");
}

#[test]
fn install_says_what_it_did_and_takes_it_back() {
    let sandbox = repository("");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["install", "--post-checkout"])), @r"
    exit 0
    --- stderr
    Git merges pipeline.lock with lockstep in this clone
    hook [ROOT]/.git/hooks/pre-push
    hook [ROOT]/.git/hooks/post-checkout
    hook [ROOT]/.git/hooks/post-merge
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["install", "--uninstall"])), @r"
    exit 0
    --- stderr
    Git merges pipeline.lock as text again
    hook [ROOT]/.git/hooks/pre-push is gone
    hook [ROOT]/.git/hooks/post-checkout is gone
    hook [ROOT]/.git/hooks/post-merge is gone
    ");
    let outside = Sandbox::without_git();
    assert_eq!(outside.run(&["init", "--no-scm", "-q"]).code, 0);
    insta::assert_snapshot!(outside.shown(&outside.run(&["install"])), @r"
    exit 3
    --- stderr
    error: there is no Git repository here
      hint: git init, then lockstep hooks install
    ");
}
