//! The sandbox that other tests stand on.

use crate::sandbox::{Sandbox, filter, output};

#[test]
fn what_differs_from_run_to_run_is_replaced() {
    let hash = "0123456789abcdef".repeat(4);
    for (text, want) in [
        ("done in 1.23s.", "done in [TIME]."),
        ("12ms, 3s", "[TIME], [TIME]"),
        (r#"{"seconds": 0.125}"#, r#"{"seconds": [TIME]}"#),
        (r#"{"seconds":2}"#, r#"{"seconds":[TIME]}"#),
        ("3 stages, 1.5 MiB, v1.2.3s, x3s, 3sec", "3 stages, 1.5 MiB, v1.2.3s, x3s, 3sec"),
        (&format!("blake3: {hash}\n"), "blake3: [HASH]\n"),
        ("deadbeef", "deadbeef"),
        ("ä 1s ü", "ä [TIME] ü"),
    ] {
        assert_eq!(filter::normalise(text), want);
    }
}

#[test]
fn a_sandbox_knows_nothing_of_the_machine() {
    let sandbox = Sandbox::new();
    assert!(!sandbox.git(&["config", "--list", "--show-scope"]).contains("global"));
    sandbox.write("a/b.txt", "x\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    assert_eq!(sandbox.git(&["log", "--format=%an %cI"]), "t 2026-01-01T00:00:00Z\n");
    assert_eq!(sandbox.filter(&format!("{}/a", sandbox.root().display())), "[ROOT]/a");
    assert_eq!(sandbox.read("a/b.txt"), "x\n");
}

#[test]
fn the_log_tells_what_ran() {
    let sandbox = Sandbox::new();
    let mut shell = sandbox.lockstep("");
    assert!(shell.get_envs().any(|(name, value)| name == "CONF_LOG" && value.is_some()));
    let log = shell.get_envs().find(|(name, _)| *name == "CONF_LOG").and_then(|(_, v)| v).unwrap().to_owned();
    std::fs::write(log, "a\nb\n").unwrap();
    assert_eq!((sandbox.ran(), sandbox.ran().len()), (vec!["a".to_string(), "b".to_string()], 0));
    assert_eq!(output(shell.arg("--version")).code, 0);
}
