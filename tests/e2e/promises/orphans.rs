//! What is taken out of a pipeline file by hand does not land in Git, and what is written there by hand does not
//! either.

use crate::sandbox::Sandbox;

const TWO: &str =
    "stages:\n  a:\n    cmd: echo a > a\n    outs: [a]\n  train:\n    cmd: echo m > out/model\n    outs: [out/model]\n";
const ONE: &str = "stages:\n  a:\n    cmd: echo b > a\n    outs: [a]\n";

fn without_a_stage() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("out/.keep", "");
    sandbox.write("pipeline.yaml", TWO);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    sandbox.write("pipeline.yaml", ONE);
    sandbox
}

fn staged(sandbox: &Sandbox) -> String {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["ls-files"])
}

#[test]
fn the_output_of_a_deleted_stage_stays_out_of_git_and_is_named() {
    let sandbox = without_a_stage();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 0
    --- stdout
    a
      cmd changed: echo a > a → echo b > a
    --- stderr
    1 stage stale, 0 up to date
    warning: out/model is not an output of pipeline.yaml any more (stage train made it); Git still ignores it
    hint: track it as data: lockstep add out/model
    hint: or delete it: rm -r out/model
    hint: or leave it to Git: delete the line /model in out/.gitignore
    ");
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 0 && out.stderr.contains("out/model is not an output of pipeline.yaml any more"), "{out}");
    assert!(!staged(&sandbox).contains("out/model"));
    // The lock forgets it with that run, and Git is still told nothing.
    assert!(!sandbox.read("pipeline.lock").contains("train"));
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 0 && !out.stderr.contains("out/model"), "{out}");
    assert!(sandbox.exists("out/model") && !staged(&sandbox).contains("out/model"));
    // `status` still knows why the line is there.
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 0
    --- stderr
    1 stage up to date
    warning: out/model is neither an output nor data any more; Git still ignores it
    hint: track it as data: lockstep add out/model
    hint: or delete it: rm -r out/model
    hint: or leave it to Git: delete the line /model in out/.gitignore
    ");
    assert_eq!(sandbox.run(&["add", "out/model"]).code, 0);
    assert!(!staged(&sandbox).contains("out/model"));
    assert!(!sandbox.run(&["status"]).stderr.contains("out/model"));
}

#[test]
fn status_is_silent_about_what_the_user_decided_after_the_lock_forgot_it() {
    for decide in ["rm out/model", "rm out/.gitignore", "mv out/model elsewhere", "rm .git/lockstep/worktree/index"] {
        let sandbox = without_a_stage();
        assert_eq!(sandbox.run(&["repro"]).code, 0);
        assert!(sandbox.run(&["status"]).stderr.contains("out/model is neither an output nor data any more"));
        let mut shell = sandbox.command(std::path::Path::new("sh"), "");
        assert_eq!(crate::sandbox::output(shell.args(["-c", decide])).code, 0);
        let out = sandbox.run(&["status"]);
        assert!(!out.stderr.contains("out/model"), "{decide} {out}");
    }
    // Back in the pipeline file it is an output as ever.
    let sandbox = without_a_stage();
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("pipeline.yaml", TWO);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let out = sandbox.run(&["status"]);
    assert!(out.stdout.is_empty() && !out.stderr.contains("out/model"), "{out}");
}

#[test]
fn what_the_user_decides_about_it_counts() {
    // Deleted.
    let sandbox = without_a_stage();
    sandbox.remove("out/model");
    let out = sandbox.run(&["repro"]);
    assert!(!out.stderr.contains("is not an output"), "{out}");
    assert!(!sandbox.exists("out/.gitignore") && !sandbox.read("pipeline.lock").contains("train"));
    // Left to Git.
    let sandbox = without_a_stage();
    sandbox.remove("out/.gitignore");
    let out = sandbox.run(&["repro"]);
    assert!(!out.stderr.contains("is not an output"), "{out}");
    assert!(staged(&sandbox).contains("out/model") && !sandbox.read("pipeline.lock").contains("train"));
    // Made by a stage of another name.
    let sandbox = without_a_stage();
    sandbox.write("pipeline.yaml", TWO.replace("train:", "fit:"));
    let out = sandbox.run(&["repro"]);
    assert!(!out.stderr.contains("is not an output") && !sandbox.read("pipeline.lock").contains("train"), "{out}");
    // Taken out with its flag, which is for Git.
    let sandbox = without_a_stage();
    sandbox.write("pipeline.yaml", TWO.replace("[out/model]", "[{out/model: {cache: false}}]"));
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert!(staged(&sandbox).contains("out/model"));
}

#[test]
fn an_output_or_data_that_is_taken_out_of_its_list_is_an_orphan_as_well() {
    let sandbox = Sandbox::new();
    sandbox.write("big", "1");
    let yaml = "stages:\n  s:\n    cmd: echo a > a; echo b > b\n    outs: [a, b]\ndata:\n- path: big\n";
    sandbox.write("pipeline.yaml", yaml);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo a > a; echo b > b\n    outs: [a]\n");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("b is not an output of") && out.stderr.contains("big is not data of"), "{out}");
    let files = staged(&sandbox);
    assert!(!files.contains("b\n") && !files.contains("big"), "{files}");
}

#[test]
fn data_that_is_written_by_hand_is_ignored_by_whichever_command_pins_it() {
    for command in [&["commit"][..], &["repro"], &["add", "sub/big"]] {
        let sandbox = Sandbox::new();
        sandbox.write("sub/big", "1");
        sandbox.write("pipeline.yaml", "data:\n- path: sub/big\n");
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{out}");
        assert!(out.stderr.contains("sub/.gitignore"), "{out}");
        let files = staged(&sandbox);
        assert!(files.contains("sub/.gitignore") && !files.contains("sub/big"), "{files}");
    }
    let sandbox = Sandbox::new();
    sandbox.write("big", "1");
    sandbox.git(&["add", "-A"]);
    sandbox.write("pipeline.yaml", "data:\n- path: big\n");
    for command in ["commit", "repro"] {
        let out = sandbox.run(&[command]);
        assert!(out.code == 2 && out.stderr.contains("Git tracks big"), "{out}");
        assert!(!sandbox.exists("pipeline.lock"));
    }
}

#[test]
fn of_a_folder_that_is_split_git_gets_what_is_its_own() {
    let sandbox = Sandbox::new();
    let cmd =
        "    cmd: mkdir -p d/s && echo 1 > d/model && echo '{}' > d/s/m.json && echo 2 > d/s/old && echo 3 > d/old\n";
    sandbox.write("pipeline.yaml", format!("stages:\n  t:\n{cmd}    outs: [d]\n"));
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let outs = "    outs: [d/model]\n    metrics: [d/s/m.json: {cache: false}]\n";
    sandbox.write("pipeline.yaml", format!("stages:\n  t:\n{cmd}{outs}"));
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 0 && out.stderr.contains("d is not an output of pipeline.yaml any more"), "{out}");
    let files = staged(&sandbox);
    assert_eq!(files, "d/.gitignore\nd/s/.gitignore\nd/s/m.json\npipeline.lock\npipeline.yaml\n");
}

#[test]
fn what_a_failed_run_left_in_a_new_folder_is_ignored() {
    let sandbox = Sandbox::new();
    let stages = "stages:\n  bad:\n    cmd: mkdir -p D && echo m > D/model && exit 1\n    outs: [D/model]\n";
    sandbox.write(
        "pipeline.yaml",
        format!("{stages}  good:\n    cmd: mkdir -p D && echo g > D/good\n    outs: [D/good]\n"),
    );
    assert_eq!(sandbox.run(&["repro", "-k", "-j1"]).code, 6);
    assert!(sandbox.exists("D/good"));
    let staged = staged(&sandbox);
    assert!(!staged.contains("D/model") && !staged.contains("D/good") && staged.contains("D/.gitignore"), "{staged}");
}

#[test]
fn a_checkout_writes_the_lines_that_a_branch_lacks() {
    for verb in [&["checkout"][..], &["pull"]] {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", ONE);
        assert_eq!(sandbox.run(&["repro"]).code, 0);
        sandbox.remove(".gitignore");
        sandbox.remove("a");
        let out = sandbox.run(verb);
        assert!(out.code == 0 && out.stderr.contains("next: git add .gitignore"), "{out}");
        let staged = staged(&sandbox);
        assert!(!staged.lines().any(|path| path == "a"), "{staged}");
        assert!(!sandbox.run(verb).stderr.contains("next:"));
    }
}
