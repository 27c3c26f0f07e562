//! Others at work in the same workspace while a run goes on: readers, a second run, an editor, Git.

use std::time::{Duration, Instant};

use crate::promises::{entry, id, lock, stale};
use crate::sandbox::Sandbox;
use crate::sandbox::process::{until, wait_for};

/// `quick` and, after it, `slow`, which waits for the sign `go`.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    let wait = wait_for("go");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  quick:\n    cmd: echo quick >> $CONF_LOG; cat in.txt > a.txt\n    deps: [in.txt]\n    \
             outs: [a.txt]\n  slow:\n    cmd: echo slow >> $CONF_LOG; cat a.txt > b.txt; {wait}\n    deps: [a.txt]\n    \
             outs: [b.txt]\n"
        ),
    );
    sandbox.write("in.txt", "one\n");
    sandbox
}

/// The same, after a first run that was committed; `go` is to be given anew.
fn committed() -> Sandbox {
    let sandbox = project();
    sandbox.give_sign("go");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.ran();
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    for name in ["go", "go.here"] {
        std::fs::remove_file(sandbox.beside(name)).unwrap();
    }
    sandbox
}

#[test]
fn reading_commands_do_not_wait_for_a_run() {
    let sandbox = project();
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let started = Instant::now();
    for command in [&["status", "--json"][..], &["status"], &["stage", "list", "--json"], &["repro", "--dry"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{command:?} {out}");
        assert!(!out.stderr.contains("waiting"), "{command:?} {out}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    sandbox.give_sign("go");
    assert_eq!(run.end().code, 0);
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
fn a_second_run_waits_saying_for_whom_and_the_stage_runs_once() {
    let sandbox = project();
    let first = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let impatient = sandbox.run(&["repro", "--wait", "0"]);
    assert_eq!(impatient.code, 5, "{impatient}");
    assert!(impatient.stderr.contains("lockstep repro (process "), "{impatient}");
    let second = sandbox.start(&["repro"]);
    second.await_words("waiting for lockstep repro (process ");
    sandbox.give_sign("go");
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.code, second.code), (0, 0), "{first}\n{second}");
    assert_eq!(sandbox.ran(), ["quick", "slow"]);
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
fn who_waits_can_be_interrupted() {
    let sandbox = project();
    let first = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let second = sandbox.start(&["repro"]);
    second.await_words("waiting for");
    second.signal(crate::sandbox::process::Signal::TERM);
    assert_eq!(second.end().code, 143);
    sandbox.give_sign("go");
    assert_eq!(first.end().code, 0);
}

#[test]
fn a_time_to_wait_that_is_none_is_a_usage_error() {
    let sandbox = project();
    for wait in ["--wait=-1", "--wait=nan", "--wait=inf", "--wait=1e300", "--wait=soon"] {
        for command in ["repro", "commit", "checkout"] {
            let out = sandbox.run(&[command, wait]);
            assert_eq!(out.code, 2, "{command} {wait}: {out}");
        }
    }
}

#[test]
fn a_pipeline_edited_while_it_runs_is_run_as_it_was_and_then_anew() {
    let sandbox = committed();
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let text = sandbox.read("pipeline.yaml");
    sandbox.write("pipeline.yaml", text.replace("cat a.txt >", "cat a.txt a.txt >"));
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stderr.contains("pipeline.yaml was edited"), "{out}");
    assert!(entry(&sandbox, "slow").cmd.items()[0].contains("cat a.txt >"));
    assert_eq!(stale(&sandbox), ["slow"]);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!(sandbox.read("b.txt"), "two\ntwo\n");
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
fn a_metric_that_is_no_number_does_not_keep_the_lock_from_changing() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: |\n      echo 'loss: .nan' | cat - in.txt > m.yaml\n    deps: [in.txt]\n    \
         params: [net]\n    metrics: [m.yaml]\n",
    );
    sandbox.write("params.yaml", "net: {width: 3, depth: 2, rate: .nan}\n");
    for text in ["a: 1\n", "a: 2\n", "a: 3\n"] {
        sandbox.write("in.txt", text);
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{out}");
        assert!(!out.stderr.contains("another program"), "{out}");
        assert_eq!(entry(&sandbox, "s").deps["in.txt"].id, id(text));
        assert_eq!(stale(&sandbox), [""; 0]);
    }
    let out = sandbox.run(&["repro"]);
    assert!(!out.stderr.contains("git add"), "nothing was written: {out}");
}

/// While a run goes on Git checks out a branch with a stage of its own: that stage's block stays in its lock.
#[test]
fn a_lock_that_git_changed_while_a_run_went_on_keeps_its_blocks() {
    let sandbox = committed();
    sandbox.git(&["checkout", "-qb", "other"]);
    let text = sandbox.read("pipeline.yaml");
    sandbox.write(
        "pipeline.yaml",
        text + "  own:\n    cmd: cat in.txt > own.txt\n    deps: [in.txt]\n    outs: [own.txt]\n",
    );
    sandbox.write("in.txt", "other\n");
    sandbox.give_sign("go");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "other"]);
    let others = sandbox.read("pipeline.lock");
    sandbox.git(&["checkout", "-q", "main"]);
    for name in ["go", "go.here"] {
        std::fs::remove_file(sandbox.beside(name)).unwrap();
    }

    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    sandbox.git(&["checkout", "-qf", "other"]);
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(sandbox.read("pipeline.lock"), others, "{out}");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{out}");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!(sandbox.read("pipeline.lock"), others);
}

/// The same, where the other branch has the very same lock: what the run made from this branch's input is no fact there.
#[test]
fn a_result_of_one_branch_does_not_get_into_the_lock_of_another() {
    let sandbox = committed();
    sandbox.git(&["branch", "other"]);
    let before = sandbox.read("pipeline.lock");
    sandbox.write("in.txt", "two\n");
    sandbox.git(&["commit", "-qam", "two"]);
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    sandbox.git(&["checkout", "-qf", "other"]);
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(sandbox.read("in.txt"), "one\n");
    let now = lock(&sandbox);
    assert_eq!(now.stages["quick"].deps["in.txt"].id, id("one\n"), "{out}");
    assert_eq!(lockstep::lock::write(&now).lines().next(), before.lines().next());
}

#[test]
fn blocks_that_another_program_wrote_meanwhile_stay() {
    let sandbox = committed();
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    // A merge brings a stage that this pipeline.yaml does not have yet, and data.
    let mut theirs = lock(&sandbox);
    let block = theirs.stages["quick"].clone();
    theirs.stages.insert("merged".into(), block.clone());
    theirs.data.insert("raw".into(), block.deps["in.txt"]);
    sandbox.write("pipeline.lock", lockstep::lock::write(&theirs));
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 0, "{out}");
    let now = lock(&sandbox);
    assert_eq!((now.stages.get("merged"), now.data.get("raw")), (Some(&block), Some(&block.deps["in.txt"])));
    assert_eq!(now.stages["slow"].outs["b.txt"].pin.id, id("two\n"));
}

/// Storing waits while this is held.
fn held_store(sandbox: &Sandbox) -> std::fs::File {
    sandbox.write("first", "1");
    let out = sandbox.run(&["add", "first"]);
    assert_eq!(out.code, 0, "{out}");
    let lock = std::fs::File::options().read(true).write(true).open(sandbox.path(".git/lockstep/store/lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn an_add_that_fails_late_takes_back_its_own_entry_and_no_edit() {
    let sandbox = Sandbox::new();
    let held = held_store(&sandbox);
    for edited in [false, true] {
        let before = sandbox.read("pipeline.yaml");
        sandbox.write("big", "2");
        let add = sandbox.start(&["add", "big"]);
        until("the entry is written", || sandbox.read("pipeline.yaml").contains("big"));
        if edited {
            // An hour of editing, while terabytes are stored.
            let now = sandbox.read("pipeline.yaml");
            sandbox.write("pipeline.yaml", format!("# mine\n{now}stages:\n  s:\n    cmd: echo\n"));
        }
        until("only the store is waited for", || is_free(&sandbox));
        sandbox.remove("big");
        held.unlock().unwrap();
        let out = add.end();
        assert_ne!(out.code, 0, "{out}");
        held.lock().unwrap();
        let want = if edited { format!("# mine\n{before}stages:\n  s:\n    cmd: echo\n") } else { before };
        assert_eq!(sandbox.read("pipeline.yaml"), want, "{out}");
    }
    // What cannot be understood is not edited: the user is told.
    sandbox.write("big", "2");
    let add = sandbox.start(&["add", "big"]);
    until("the entry is written", || sandbox.read("pipeline.yaml").contains("big"));
    let broken = sandbox.read("pipeline.yaml") + "stages: {s:\n";
    sandbox.write("pipeline.yaml", &broken);
    until("only the store is waited for", || is_free(&sandbox));
    sandbox.remove("big");
    held.unlock().unwrap();
    let out = add.end();
    assert!(out.stderr.contains("take the entries that are not pinned out of pipeline.yaml by hand"), "{out}");
    assert_eq!(sandbox.read("pipeline.yaml"), broken);
}

/// Does nobody edit pipeline files?
fn is_free(sandbox: &Sandbox) -> bool {
    let edit = sandbox.path(".git/lockstep/worktree/state/root/edit");
    std::fs::File::open(edit).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[test]
fn a_stage_can_be_added_while_data_is_stored() {
    let sandbox = Sandbox::new();
    let held = held_store(&sandbox);
    sandbox.write("big", "2");
    let add = sandbox.start(&["add", "big"]);
    until("the entry is written", || sandbox.read("pipeline.yaml").contains("big"));
    let out = sandbox.run(&["stage", "add", "-n", "s", "--wait", "20", "echo"]);
    assert_eq!(out.code, 0, "{out}");
    held.unlock().unwrap();
    let out = add.end();
    assert_eq!(out.code, 0, "{out}");
    assert!(sandbox.read("pipeline.yaml").contains("cmd: echo"));
    assert_eq!(lock(&sandbox).data.keys().collect::<Vec<_>>(), ["big", "first"]);
    // Who waits for another edit says so, and for no longer than is asked.
    let edit = std::fs::File::options().write(true).open(sandbox.path(".git/lockstep/worktree/state/root/edit"));
    let edit = edit.unwrap();
    edit.lock().unwrap();
    for command in [&["freeze", "s", "--wait", "0.5"][..], &["stage", "add", "-n", "t", "--wait", "0.5", "echo"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 5, "{out}");
        let holder = format!("(process {}), which is working in this workspace", std::process::id());
        assert!(out.stderr.contains("waiting for ") && out.stderr.contains(&holder), "{out}");
    }
}
