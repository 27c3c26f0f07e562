//! A clone that never used a remote: a wrong URL is not taken for a remote that lacks everything.

use std::fs;

use crate::sandbox::{Output, Sandbox};
use crate::sharing::{clone, fine};

/// A repository with a stage and data, pushed to `../lab`, and a clone that was never at the remote.
fn reader() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: cat d d > o\n    deps: [d]\n    outs: [o]\n");
    sandbox.write("d", "data");
    fine(&sandbox.run(&["add", "-q", "d"]));
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    let reader = clone(&sandbox, "reader");
    (sandbox, reader)
}

#[track_caller]
fn refused(out: &Output) {
    assert!(out.code == 4 && out.stderr.contains("is not a lockstep remote"), "{out}");
    assert!(out.stderr.contains("nothing was pushed there yet, or the URL is wrong"), "{out}");
    assert!(!out.stderr.contains("repro") && !out.stdout.contains("repro"), "{out}");
}

#[test]
fn every_reader_refuses_a_place_without_the_marker() {
    let (sandbox, reader) = reader();
    let (lab, aside) = (sandbox.path("../lab"), sandbox.path("../aside"));
    fs::rename(&lab, &aside).unwrap();
    fs::create_dir_all(lab.join("photos")).unwrap();
    for args in [
        &["pull"][..],
        &["pull", "d"],
        &["fetch"],
        &["fetch", "--run-cache"],
        &["fetch", "--rev", "HEAD"],
        &["status", "-c"],
        &["get", ".", "d", "-o", "got", "--rev", "HEAD"],
        &["du", "-r", "lab"],
        &["verify", "--remote", "lab"],
    ] {
        refused(&sandbox.run_in(&reader, args));
    }
    // A result may be had without the remote, so that this is a warning.
    let out = sandbox.run_in(&reader, &["repro", "--pull"]);
    assert!(out.code != 0 && out.stderr.contains("is not a lockstep remote"), "{out}");
    assert_eq!(fs::read_dir(&lab).unwrap().count(), 1, "nothing was made there");
    // What is a remote and lost its marker is told as that.
    fs::remove_dir_all(&lab).unwrap();
    fs::rename(&aside, &lab).unwrap();
    fs::remove_file(lab.join("lockstep-remote")).unwrap();
    let out = sandbox.run_in(&reader, &["pull"]);
    assert!(out.code == 4 && out.stderr.contains("lost its file lockstep-remote"), "{out}");
    fs::write(lab.join("lockstep-remote"), "lockstep-remote 1\n").unwrap();
    fine(&sandbox.run_in(&reader, &["pull"]));
}

/// Before the first push a new remote is in order, and what is here is said to be lacking there.
#[test]
fn a_new_remote_may_be_compared_with() {
    let (sandbox, _) = reader();
    fs::create_dir(sandbox.path("../new")).unwrap();
    fine(&sandbox.run(&["remote", "add", "-q", "new", "../new"]));
    let out = sandbox.run(&["status", "-c", "-r", "new"]);
    assert!(out.code == 0 && out.stdout.contains("2 output or data paths not at the remote"), "{out}");
    assert!(out.stderr.contains("nothing was pushed to new (../new) yet"), "{out}");
    fine(&sandbox.run(&["fetch", "-r", "new"]));
    fine(&sandbox.run(&["push", "-q", "-r", "new"]));
}

/// Data that is nowhere is never to be made by a run.
#[test]
fn data_is_pushed_and_not_made() {
    let (sandbox, reader) = reader();
    sandbox.write("d", "more");
    fine(&sandbox.run(&["commit", "-q", "d"]));
    sandbox.git(&["commit", "-qam", "y"]);
    sandbox.git(&["-C", &reader, "pull", "-q"]);
    for args in [&["pull", "d"][..], &["fetch", "d"], &["status", "-c", "d"]] {
        let out = sandbox.run_in(&reader, args);
        let said = format!("{}{}", out.stdout, out.stderr);
        assert!(said.contains("1 data path neither here nor at the remote"), "{out}");
        assert!(said.contains("push it from a clone that has it: lockstep push") && !said.contains("repro"), "{out}");
    }
}

/// What a broken pipeline file pins is not known, so no verb says that all of it is there.
#[test]
fn beside_a_broken_pipeline_file_a_remote_has_not_everything() {
    let (sandbox, _) = reader();
    let pipeline = sandbox.read("pipeline.yaml");
    sandbox.write("pipeline.yaml", pipeline.replace("outs:", "out:"));
    for args in [&["push"][..], &["fetch"], &["status", "-c"], &["push", "--json"]] {
        let out = sandbox.run(args);
        let said = out.to_string();
        assert!(out.code == 2 && said.contains("is left out"), "{args:?}: {out}");
        assert!(!said.contains("everything"), "{args:?}: {out}");
    }
    // Of commits the file of the workspace says nothing.
    fine(&sandbox.run(&["push", "--rev", "HEAD"]));
}
