//! A run that fails, is killed or interrupted loses nothing: the second promise.

use crate::promises::{entry, id, kept, stale};
use crate::sandbox::Sandbox;
use crate::sandbox::process::Signal;

/// A stage that ran well with the input `one`; what it does is in `do.sh`, which it does not declare.
fn ran_once() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: . ./do.sh\n    deps: [in.txt]\n    outs: [out.txt, dir]\n",
    );
    sandbox.write("do.sh", "cat in.txt > out.txt; mkdir dir; cp in.txt dir/x\n");
    sandbox.write("in.txt", "one\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox.write("in.txt", "two\n");
    sandbox
}

/// The last good outputs are in place, the lock is as it was, nobody is left, and the next run does it.
fn nothing_is_lost(sandbox: &Sandbox, lock: &str) {
    assert_eq!(sandbox.read("pipeline.lock"), lock);
    assert_eq!((sandbox.read("out.txt").as_str(), sandbox.read("dir/x").as_str()), ("one\n", "one\n"));
    assert!(!sandbox.exists("dir/half"));
    assert_eq!(stale(sandbox), ["train"]);
    sandbox.await_nobody();
    sandbox.write("do.sh", "cat in.txt > out.txt; mkdir dir; cp in.txt dir/x\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!((sandbox.read("out.txt").as_str(), sandbox.read("dir/x").as_str()), ("two\n", "two\n"));
    assert_eq!(entry(sandbox, "train").outs["out.txt"].pin.id, id("two\n"));
    assert_eq!(stale(sandbox), [""; 0]);
}

#[test]
fn a_stage_that_fails_leaves_the_last_good_outputs_and_its_own_in_the_log() {
    let sandbox = ran_once();
    let lock = sandbox.read("pipeline.lock");
    sandbox.write("do.sh", "echo half > out.txt; mkdir dir; echo half > dir/half; exit 3\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 6, "{out}");
    insta::assert_snapshot!(sandbox.shown(&out), @"
    exit 6
    --- stderr
    running train (dep in.txt changed)
    > . ./do.sh
    error: stage train failed with exit code 3
      hint: the last good out.txt, dir are back; what the failed run left is in [ROOT]/.git/lockstep/worktree/logs/train/2/kept
      hint: see all of its output: lockstep logs train
    1 failed in [TIME]
    ");
    assert_eq!(kept(&sandbox, "train", "out.txt").as_deref(), Some("half\n"));
    assert_eq!(kept(&sandbox, "train", "dir/half").as_deref(), Some("half\n"));
    nothing_is_lost(&sandbox, &lock);
}

#[test]
fn a_stage_that_is_killed_leaves_the_last_good_outputs() {
    let sandbox = ran_once();
    let lock = sandbox.read("pipeline.lock");
    // The shell alone: who it started is not told, and must not outlive the run unnoticed.
    sandbox.write("do.sh", "echo half > out.txt; mkdir dir; kill -9 $$\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("stage train was ended by SIGKILL"), "{out}");
    assert_eq!(kept(&sandbox, "train", "out.txt").as_deref(), Some("half\n"));
    nothing_is_lost(&sandbox, &lock);
}

#[test]
fn a_stage_that_made_only_some_of_its_outputs_fails() {
    let sandbox = ran_once();
    let lock = sandbox.read("pipeline.lock");
    sandbox.write("do.sh", "echo half > out.txt\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("did not make its output dir"), "{out}");
    nothing_is_lost(&sandbox, &lock);
}

fn interrupted(signal: Signal, code: i32) {
    let sandbox = ran_once();
    let lock = sandbox.read("pipeline.lock");
    let half = "echo half > out.txt; mkdir dir; echo half > dir/half; touch $CONF_LOG.here\n";
    sandbox.write("do.sh", format!("{half}sleep 1000 & sleep 1000\n"));
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("here");
    run.signal(signal);
    let out = run.end();
    assert_eq!(out.code, code, "{out}");
    assert_eq!(kept(&sandbox, "train", "out.txt").as_deref(), Some("half\n"));
    nothing_is_lost(&sandbox, &lock);
}

#[test]
fn sigint_ends_the_stage_and_brings_the_last_good_outputs_back() {
    interrupted(Signal::INT, 130);
}

#[test]
fn sigterm_ends_the_stage_and_brings_the_last_good_outputs_back() {
    interrupted(Signal::TERM, 143);
}

#[test]
fn sighup_ends_the_stage_and_brings_the_last_good_outputs_back() {
    interrupted(Signal::HUP, 129);
}

#[test]
fn when_lockstep_is_killed_its_commands_go_too_and_the_next_one_puts_things_right() {
    // Also commands that do not listen are gone before anything is put back.
    for deaf in ["", "trap '' TERM\n"] {
        let sandbox = ran_once();
        let lock = sandbox.read("pipeline.lock");
        let half = "echo half > out.txt; mkdir dir; echo half > dir/half; touch $CONF_LOG.here\n";
        sandbox.write("do.sh", format!("{deaf}{half}sleep 1000 & sleep 1000; echo late > out.txt\n"));
        let run = sandbox.start(&["repro"]);
        sandbox.await_sign("here");
        run.signal(Signal::KILL);
        assert_eq!(run.end().code, 137);
        assert_eq!(stale(&sandbox), ["train"]);
        let out = sandbox.run(&["checkout"]);
        assert_eq!(out.code, 0, "{out}");
        assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
        assert!(out.stderr.contains("a run was killed: the last good out.txt is back"), "{out}");
        let left = out.stderr.lines().find(|l| l.contains("left of out.txt is in ")).unwrap();
        assert_eq!(std::fs::read_to_string(&left[left.find('/').unwrap()..]).unwrap(), "half\n", "{left}");
        nothing_is_lost(&sandbox, &lock);
    }
}

#[test]
fn after_an_interrupt_no_further_command_of_the_stage_starts() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd:\n    - trap 'exit 0' INT; touch $CONF_LOG.here; while :; do sleep 0.05; done\n    \
         - touch $CONF_LOG.second; echo x > out.txt\n    outs: [out.txt]\n",
    );
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("here");
    run.signal(Signal::INT);
    let out = run.end();
    assert_eq!(out.code, 130, "{out}");
    assert!(!sandbox.beside("second").exists(), "{out}");
    sandbox.await_nobody();
}

#[test]
fn what_hangs_up_with_its_terminal_is_left_alone_under_nohup() {
    let sandbox = ran_once();
    sandbox.write("do.sh", "cat in.txt > out.txt; mkdir dir; cp in.txt dir/x; touch $CONF_LOG.here\nsleep 0.5\n");
    // What `nohup` does: the signal is ignored, and so it is for what is started.
    let shell = sandbox.lockstep("");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" -q repro"]).arg(shell.get_program()).current_dir(sandbox.root());
    command.env_clear().envs(shell.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut child = command.spawn().unwrap();
    sandbox.await_sign("here");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.read("out.txt"), "two\n");
    assert_eq!(stale(&sandbox), [""; 0]);
}
