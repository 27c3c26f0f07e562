//! Commands with odd ways: daemons, closed and silent streams, floods and bytes that are no text.

use std::time::{Duration, Instant};

use crate::promises::stale;
use crate::sandbox::Sandbox;

/// A stage that does `script`.
fn stage(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .write("pipeline.yaml", "stages:\n  s:\n    cmd: . ./do.sh\n    deps: [in.txt, do.sh]\n    outs: [out.txt]\n");
    sandbox.write("do.sh", script);
    sandbox.write("in.txt", "one\n");
    sandbox
}

fn log(sandbox: &Sandbox) -> Vec<u8> {
    std::fs::read(sandbox.path(".git/lockstep/worktree/logs/s/1/output")).unwrap()
}

/// Ends daemons of a test, which live until they see this.
fn end_daemons(sandbox: &Sandbox) {
    sandbox.give_sign("end");
    sandbox.await_nobody();
}

const DAEMON: &str = "while [ ! -e $CONF_LOG.end ]; do sleep 0.05; done";

#[test]
fn a_stage_that_leaves_a_daemon_ends_nevertheless_and_the_daemon_lives() {
    for daemon in [
        format!("({DAEMON}) &"),
        format!("nohup sh -c '{DAEMON}' >/dev/null 2>&1 &"),
        format!("(trap '' TERM HUP; {DAEMON}) &"),
    ] {
        let sandbox = stage(&format!("{daemon}\ncat in.txt > out.txt\n"));
        let started = Instant::now();
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{daemon} {out}");
        assert!(started.elapsed() < Duration::from_secs(20), "{daemon}");
        assert!(!cfg!(target_os = "linux") || !sandbox.processes().is_empty(), "the daemon is gone: {daemon}");
        assert_eq!(stale(&sandbox), [""; 0], "{daemon}");
        end_daemons(&sandbox);
    }
}

#[test]
fn a_daemon_that_never_stops_talking_does_not_hold_the_run() {
    let sandbox = stage("(while [ ! -e $CONF_LOG.end ]; do echo talk; done) &\ncat in.txt > out.txt\n");
    let run = sandbox.start(&["-q", "repro"]);
    crate::sandbox::process::until("the output is there", || sandbox.exists("out.txt"));
    let mut run = run;
    let started = Instant::now();
    while !run.is_over() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let over = run.is_over();
    sandbox.give_sign("end");
    assert!(over, "it listens to the daemon for ever");
    assert_eq!(run.end().code, 0);
    end_daemons(&sandbox);
}

#[test]
fn a_stage_that_closed_its_streams_is_waited_for_and_its_inputs_watched() {
    let sandbox = stage(
        "exec >&- 2>&-\ncat in.txt > out.txt; touch $CONF_LOG.here\nwhile [ ! -e $CONF_LOG.go ]; do sleep 0.05; done\n",
    );
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("here");
    sandbox.write("in.txt", "two\n");
    run.await_words("in.txt changed while stage s reads it");
    sandbox.give_sign("go");
    assert_eq!(run.end().code, 6);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!(sandbox.read("out.txt"), "two\n");
}

#[test]
fn a_last_line_without_an_end_is_heard() {
    let sandbox = stage("cat in.txt > out.txt; echo first; printf last\n");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("first\nlast\n"), "{out}");
    assert_eq!(log(&sandbox), b"first\nlast");
}

#[test]
fn ten_megabytes_of_output_are_all_in_the_log() {
    let sandbox = stage("cat in.txt > out.txt; yes 0123456789abcde | head -c 10000000; head -c 3000000 /dev/zero\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0);
    assert_eq!(log(&sandbox).len(), 13_000_000);
}

#[test]
fn output_that_is_no_text_is_kept_as_it_is() {
    let sandbox = stage("cat in.txt > out.txt; printf '\\377\\376\\000\\200\\033[2J\\n\\360\\237'\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(log(&sandbox), b"\xff\xfe\x00\x80\x1b[2J\n\xf0\x9f");
}

#[test]
fn a_stage_finds_nothing_on_its_standard_input() {
    let sandbox = stage("cat > out.txt\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!((out.code, sandbox.read("out.txt").as_str()), (0, ""), "{out}");
}
