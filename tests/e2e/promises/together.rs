//! Stages, signals and other locksteps: who reaches whom.

use crate::promises::{kept, lock, stale};
use crate::sandbox::Sandbox;
use crate::sandbox::process::{Signal, until, wait_for};

#[test]
fn a_stage_that_ends_well_since_it_was_asked_to_stop_is_not_recorded() {
    let sandbox = Sandbox::new();
    let train = "trap 'echo half > model; exit 0' INT TERM\n\
                 if [ $(cat in) = 1 ]; then echo whole > model; exit 0; fi\n";
    sandbox.write("train.sh", format!("{train}{}\n", wait_for("go")));
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: exec sh train.sh\n    deps: [train.sh, in]\n    outs: [model]\n",
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let before = sandbox.read("pipeline.lock");
    sandbox.write("in", "2");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let run = sandbox.start(&["repro"]);
        sandbox.await_sign("go.here");
        run.signal(signal);
        let out = run.end();
        assert_eq!(out.code, code, "{out}");
        assert_eq!((sandbox.read("model"), sandbox.read("pipeline.lock")), ("whole\n".into(), before.clone()), "{out}");
        assert_eq!(kept(&sandbox, "train", "model").as_deref(), Some("half\n"), "{out}");
        assert!(out.stderr.contains("lockstep commit --kept --force train"), "{out}");
        assert_eq!(stale(&sandbox), ["train"]);
    }
    // Whoever knows that it is whole may say so.
    let out = sandbox.run(&["commit", "--kept", "--force", "train"]);
    assert_eq!((out.code, sandbox.read("model").as_str()), (0, "half\n"), "{out}");
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
fn what_a_stage_kills_is_its_own() {
    let sandbox = Sandbox::new();
    let wait = wait_for("go");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  a:\n    cmd: {wait}; echo a > a\n    outs: [a]\n  b:\n    \
             cmd: while [ ! -e $CONF_LOG.go.here ]; do sleep 0.02; done; kill 0\n    outs: [b]\n  \
             c:\n    cmd: echo c > c\n    outs: [c]\n  d:\n    cmd: echo d > d\n    deps: [c]\n    outs: [d]\n"
        ),
    );
    let run = sandbox.start(&["repro", "-j2", "--keep-going"]);
    run.await_words("failed b");
    // Two more take the group of the one that ended all of it.
    until("the other stages are over", || sandbox.exists("d"));
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 6, "{out}");
    assert_eq!(lock(&sandbox).stages.keys().collect::<Vec<_>>(), ["a", "c", "d"], "{out}");
    sandbox.await_nobody();
}

#[test]
fn a_killed_run_ends_all_of_its_stages_wherever_they_run() {
    let sandbox = Sandbox::new();
    let stage = |n: &str| {
        let sleeper = format!("(trap '' INT; while :; do sleep 1; done) & {}", wait_for(n));
        format!("  {n}:\n    cmd: {sleeper}\n    outs: [{n}]\n")
    };
    sandbox.write("pipeline.yaml", format!("stages:\n{}{}", stage("a"), stage("b")));
    for (signal, code) in [(Signal::KILL, 137), (Signal::INT, 130)] {
        let run = sandbox.start(&["repro", "-j2"]);
        sandbox.await_sign("a.here");
        sandbox.await_sign("b.here");
        run.signal(signal);
        assert_eq!(run.end().code, code);
        sandbox.await_nobody();
    }
}

#[test]
fn a_stage_that_calls_lockstep_is_told_instead_of_waiting_for_itself() {
    let sandbox = Sandbox::new();
    let lockstep = env!("CARGO_BIN_EXE_lockstep");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  s:\n    cmd: {lockstep} status > before && {lockstep} checkout; echo $? > o\n    outs: [o]\n"
        ),
    );
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("o"), "5\n", "{out}");
    assert!(out.to_string().contains("stage s calls `lockstep checkout`"), "{out}");
}
