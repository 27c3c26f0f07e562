//! `repro --pull` of stages that build on their old output.

use crate::sandbox::Sandbox;

const YAML: &str = "stages:\n  p:\n    cmd: cat f >> acc\n    deps: [f]\n    outs: [{acc: {persist: true}}]\n";

/// As a clone has it: two runs were pushed, and neither the output nor the store is here.
fn clone() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", YAML);
    let remote = sandbox.beside("remote");
    assert_eq!(sandbox.run(&["remote", "add", "-q", "-d", "lab", remote.to_str().unwrap()]).code, 0);
    for text in ["1\n", "2\n"] {
        sandbox.write("f", text);
        assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    }
    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    sandbox.remove(".git/lockstep");
    sandbox.remove("acc");
    sandbox
}

#[test]
fn an_output_that_a_stage_builds_on_is_pulled_before_it_is_decided() {
    let sandbox = clone();
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["repro", "--pull"]);
    assert!(out.code == 0 && out.stderr.contains("1 up to date"), "{out}");
    assert_eq!((sandbox.read("acc"), sandbox.read("pipeline.lock")), ("1\n2\n".into(), lock.clone()));
    for more in [&[][..], &["--allow-missing"], &["--force"]] {
        let sandbox = clone();
        sandbox.write("f", "3\n");
        let out = sandbox.run(&[&["repro", "--pull"], more].concat());
        assert_eq!((out.code, sandbox.read("acc").as_str()), (0, "1\n2\n3\n"), "{out}");
    }
    let sandbox = clone();
    assert_eq!(sandbox.run(&["repro", "--pull", "--locked"]).code, 0);
    assert_eq!(sandbox.read("acc"), "1\n2\n");
}

#[test]
fn one_that_cannot_be_pulled_is_not_begun_with_nothing() {
    let sandbox = clone();
    std::fs::remove_dir_all(sandbox.beside("remote")).unwrap();
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["repro", "--pull"]);
    assert!(out.code == 3 && out.stderr.contains("builds on its old acc"), "{out}");
    assert!(!sandbox.exists("acc") && sandbox.read("pipeline.lock") == lock);
    // Who wants that says so, and is warned.
    let out = sandbox.run(&["repro", "--cache", "local:rw", "p"]);
    assert!(out.code == 0 && out.stderr.contains("it starts without it"), "{out}");
    assert_eq!(sandbox.read("acc"), "2\n");
}
