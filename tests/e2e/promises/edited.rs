//! An input is edited while its stage runs: the first promise.

use crate::promises::{entry, id, kept, stale, status};
use crate::sandbox::Sandbox;
use crate::sandbox::process::wait_for;

/// A stage that reads its input, waits for the sign `go`, and had run well with the input `one`.
fn ran_once() -> Sandbox {
    let sandbox = Sandbox::new();
    let wait = wait_for("go");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  train:\n    cmd: echo train >> $CONF_LOG; cat in.txt > out.txt; {wait}\n    \
             deps: [in.txt]\n    params: [lr]\n    outs: [out.txt]\n"
        ),
    );
    sandbox.write("params.yaml", "lr: 1\n");
    sandbox.write("in.txt", "one\n");
    sandbox.give_sign("go");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.ran(), ["train"]);
    std::fs::remove_file(sandbox.beside("go")).unwrap();
    std::fs::remove_file(sandbox.beside("go.here")).unwrap();
    sandbox
}

/// The input becomes `two`, and while the stage runs `three`.
fn refused() -> Sandbox {
    let sandbox = ran_once();
    let before = sandbox.read("pipeline.lock");
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    sandbox.write("in.txt", "three\n");
    // Told at once, not when the stage ends: it cannot end before the sign.
    run.await_words("in.txt changed while stage train reads it");
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("stage train failed: in.txt changed while it ran"), "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), before);
    assert_eq!(sandbox.read("out.txt"), "one\n");
    assert_eq!(kept(&sandbox, "train", "out.txt").as_deref(), Some("two\n"));
    assert_eq!(sandbox.ran(), ["train"]);
    sandbox
}

#[test]
fn an_edit_while_the_stage_runs_is_told_at_once_and_nothing_is_recorded() {
    let sandbox = refused();
    // Nor does the run cache know the refused result, under the old input or the new.
    for text in ["two\n", "three\n"] {
        sandbox.write("in.txt", text);
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{out}");
        assert_eq!(sandbox.ran(), ["train"], "{text}");
        assert_eq!(sandbox.read("out.txt"), text);
        assert_eq!(entry(&sandbox, "train").deps["in.txt"].id, id(text));
    }
    // What was true before still is.
    sandbox.write("in.txt", "one\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!((sandbox.ran().len(), sandbox.read("out.txt").as_str()), (0, "one\n"));
}

#[test]
fn a_kept_result_is_recorded_against_the_input_that_it_was_made_from() {
    let sandbox = refused();
    let out = sandbox.run(&["commit", "--kept", "train"]);
    assert_eq!(out.code, 1, "nobody confirmed: {out}");
    assert_eq!(sandbox.read("out.txt"), "one\n");
    let out = sandbox.run(&["commit", "--kept", "train", "-f"]);
    assert_eq!(out.code, 0, "{out}");
    let recorded = entry(&sandbox, "train");
    assert_eq!((recorded.deps["in.txt"].id, recorded.outs["out.txt"].pin.id), (id("two\n"), id("two\n")));
    assert_eq!(sandbox.read("out.txt"), "two\n");
    let reasons = status(&sandbox)["stages"]["train"].clone();
    assert_eq!((reasons[0]["kind"].as_str(), reasons[0]["path"].as_str()), (Some("dep"), Some("in.txt")), "{reasons}");
    sandbox.write("in.txt", "two\n");
    assert_eq!(stale(&sandbox), [""; 0]);
    // A second time there is nothing to record.
    assert_eq!(sandbox.run(&["commit", "--kept", "train", "-f"]).code, 3);
    assert_eq!(sandbox.run(&["commit", "--kept", "train"]).code, 3, "nothing to ask for");
}

#[test]
fn a_param_edited_while_the_stage_runs_fails_it_too() {
    let sandbox = ran_once();
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    sandbox.write("params.yaml", "lr: 2\n");
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("params.yaml changed while it ran"), "{out}");
    assert_eq!(sandbox.read("out.txt"), "one\n");
}

#[test]
fn an_edit_that_is_taken_back_is_none() {
    let sandbox = ran_once();
    sandbox.write("in.txt", "two\n");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    sandbox.write("in.txt", "three\n");
    sandbox.write("in.txt", "two\n");
    sandbox.give_sign("go");
    let out = run.end();
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(entry(&sandbox, "train").deps["in.txt"].id, id("two\n"));
    assert_eq!(stale(&sandbox), [""; 0]);
}
