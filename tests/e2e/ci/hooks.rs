//! The hooks that `lockstep hooks install` writes, called by the real Git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ci::{commit, named, repository};
use crate::sandbox::{Output, Sandbox, output};

fn git(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("git"), "").args(args))
}

/// With a Git remote, and lockstep's hooks installed.
fn with_origin() -> Sandbox {
    let sandbox = repository();
    sandbox.git(&["init", "-q", "--bare", "../origin.git"]);
    sandbox.git(&["remote", "add", "origin", "../origin.git"]);
    let out = sandbox.run(&["install", "-q", "--post-checkout"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox
}

#[test]
fn a_push_waits_for_the_outputs() {
    let sandbox = with_origin();
    // No remote for outputs: nothing to wait for.
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert_eq!(out.code, 0, "{out}");

    let store = sandbox.root().parent().unwrap().join("outputs");
    assert_eq!(sandbox.run(&["remote", "add", "-d", "team", store.to_str().unwrap(), "-q"]).code, 0);
    sandbox.write("params.yaml", "lr: 0.2\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "second");
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert_eq!(out.code, 1, "{out}");
    let said: Vec<&str> = out.stderr.lines().filter(|line| !line.contains("failed to push")).collect();
    insta::assert_snapshot!(named(&sandbox, &said.join("\n"), &["main"]), @r"
    error: not pushed: no remote has all that [main] pins
      because: only here: model (12 B)
      hint: lockstep push
      hint: git push --no-verify — pushes without this check
    ");

    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert_eq!(out.code, 0, "{out}");

    // Another branch than the one that is checked out, and the way around it.
    sandbox.git(&["checkout", "-q", "-b", "topic"]);
    sandbox.write("params.yaml", "lr: 0.3\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "third");
    sandbox.git(&["checkout", "-q", "main"]);
    let out = git(&sandbox, &["push", "-q", "origin", "topic"]);
    let push = format!("hint: lockstep push --rev {}", sandbox.git(&["rev-parse", "--short=7", "topic"]).trim());
    assert!(out.code == 1 && out.stderr.contains("only here: model (") && out.stderr.contains(&push), "{out}");
    assert_eq!(git(&sandbox, &["push", "-q", "--no-verify", "origin", "topic"]).code, 0);
    // What is there already is not this push's to answer for; a branch that goes is none.
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "words"]);
    assert_eq!(git(&sandbox, &["push", "-q", "origin", "main", ":topic"]).code, 0);

    // In no store at all.
    sandbox.write("params.yaml", "lr: 0.4\n");
    assert_eq!(sandbox.run(&["repro", "-q", "--no-commit"]).code, 0);
    commit(&sandbox, "fourth");
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert!(out.code == 1 && out.stderr.contains("because: neither in this store nor at a remote: model"), "{out}");
}

#[test]
fn a_remote_that_cannot_be_asked_stops_the_push_with_the_way_around() {
    let sandbox = with_origin();
    assert_eq!(sandbox.run(&["remote", "add", "-d", "team", "http://127.0.0.1:9/x", "-q"]).code, 0);
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert!(out.code == 1 && out.stderr.contains("hint: git push --no-verify"), "{out}");
}

#[test]
fn the_hook_that_was_there_runs_first_and_may_refuse() {
    let sandbox = with_origin();
    assert_eq!(sandbox.run(&["install", "--uninstall", "-q"]).code, 0);
    let hook = sandbox.path(".git/hooks/pre-push");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = "#!/bin/sh\nread -r line\necho \"mine: $1 ${line%% *}\" >&2\n[ ! -e refuse ]\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let out = sandbox.run(&["install"]);
    assert!(out.code == 0 && out.stderr.contains("the pre-push hook that was there is kept as"), "{out}");
    sandbox.write("refuse", "");
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert!(out.code == 1 && out.stderr.contains("mine: origin refs/heads/main"), "{out}");
    sandbox.remove("refuse");
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert!(out.code == 0 && out.stderr.contains("mine: origin refs/heads/main"), "{out}");
    // A lockstep that is gone stops nobody.
    let text = fs::read_to_string(&hook).unwrap();
    fs::write(&hook, text.replace(env!("CARGO_BIN_EXE_lockstep"), "/nowhere/lockstep")).unwrap();
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "words"]);
    let out = git(&sandbox, &["push", "-q", "origin", "main"]);
    assert!(out.code == 0 && out.stderr.contains("the pre-push hook does nothing"), "{out}");
    assert_eq!(sandbox.run(&["install", "--uninstall", "-q"]).code, 0);
    assert_eq!(fs::read_to_string(&hook).unwrap(), script);
}

#[test]
fn after_a_checkout_it_says_what_differs_and_touches_nothing() {
    let sandbox = with_origin();
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.2\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "second");
    let out = git(&sandbox, &["checkout", "-q", "main"]);
    assert!(out.code == 0 && out.stderr.contains("1 output differs from pipeline.lock: lockstep checkout"), "{out}");
    assert!(sandbox.read("model").contains("0.2"));
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    let out = git(&sandbox, &["merge", "-q", "topic"]);
    assert!(out.code == 0 && out.stderr.contains("1 output differs from pipeline.lock"), "{out}");
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    assert_eq!(git(&sandbox, &["checkout", "-q", "topic"]).stderr, "");
    assert_eq!(git(&sandbox, &["checkout", "-q", "main", "--", "raw"]).stderr, "");
}
