//! Repositories that store things in another way than Git's first one: reftable, SHA-256, a sparse index, a worktree that
//! variables or settings name, clones with a part of the objects or of the history.

mod pins;
mod places;
mod unfinished;

use std::path::Path;
use std::process::Command;

use crate::sandbox::{Output, Sandbox, output};

/// How refs are stored, and what objects are named by.
const LAYOUTS: [[&str; 2]; 4] = [["files", "sha1"], ["reftable", "sha1"], ["files", "sha256"], ["reftable", "sha256"]];

const PIPELINE: &str = "stages:\n  a:\n    cmd: cp in o\n    deps: [in]\n    outs: [o]\n";

/// A repository of a layout, which Git takes from variables, so that clones of it and neighbours have it, too.
fn repository([refs, hash]: [&str; 2]) -> Sandbox {
    let env = [("GIT_DEFAULT_REF_FORMAT", refs), ("GIT_DEFAULT_HASH", hash)];
    let env = env.map(|(name, value)| (name.to_string(), value.to_string()));
    let sandbox = Sandbox::without_git().with(env.iter().map(|(name, value)| (name, value)));
    sandbox.git(&["init", "-q", "-b", "main"]);
    let format = sandbox.git(&["rev-parse", "--show-object-format", "--show-ref-format"]);
    assert_eq!(format.split_whitespace().collect::<Vec<_>>(), [hash, refs]);
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox
}

/// Runs the pipeline on this input.
fn make(sandbox: &Sandbox, input: &str) {
    sandbox.write("in", input);
    fine(&sandbox.run(&["repro", "-q"]));
}

fn commit(sandbox: &Sandbox, input: &str) {
    make(sandbox, input);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", input]);
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

#[track_caller]
fn said(out: &Output) -> &str {
    assert_eq!(out.code, 0, "{out}");
    &out.stdout
}

fn git(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("git"), "").args(args))
}

/// The tests of what Git's history, its refs and its hooks are used for hold in the layout that Git 3.0 has by default;
/// `.ci/run` runs more of them, in each layout.
#[test]
fn the_tests_of_git_hold_with_reftable_and_sha_256() {
    if std::env::var_os("LOCKSTEP_TEST_LAYOUT").is_some() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("LOCKSTEP_TEST_LAYOUT", "reftable-sha256").args(["-q", "--test-threads=2"]);
    command.args(["ci::hooks", "gc::an_option", "gc::what_cannot", "history::diff", "history::elsewhere"]);
    command.args(["history::import", "merges::", "model::registry", "model::revision", "promises::branches"]);
    let out = output(&mut command);
    assert_eq!(out.code, 0, "{out}");
}

/// What users do all day, with every layout.
#[test]
fn every_command_works_in_every_layout() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        sandbox.write("pipeline.yaml", format!("{PIPELINE}artifacts:\n  m: {{path: o, type: model}}\n"));
        commit(&sandbox, "1");
        commit(&sandbox, "2");
        assert_eq!(said(&sandbox.run(&["status", "--json"])).matches("stale").count(), 0, "{layout:?}");
        for rev in ["HEAD~1", "main~1", "main@{1}", ":/1", sandbox.git(&["rev-parse", "--short=9", "HEAD~1"]).trim()] {
            assert!(said(&sandbox.run(&["diff", rev])).contains("modified"), "{layout:?} {rev}");
        }
        assert_eq!(sandbox.run(&["diff", "nowhere"]).code, 3, "{layout:?}");
        assert_eq!(sandbox.run(&["diff", "HEAD~9"]).code, 3, "{layout:?}");

        // Versions on tags.
        fine(&sandbox.run(&["model", "register", "m", "--version", "v0.1.0", "-q"]));
        fine(&sandbox.run(&["model", "promote", "m", "prod", "-q"]));
        assert!(said(&sandbox.run(&["model", "list"])).contains("prod"), "{layout:?}");
        fine(&sandbox.run(&["get", ".", "o", "--rev", "m#prod", "-o", "got", "-q"]));
        assert_eq!(sandbox.read("got"), "2");
        sandbox.remove("got");

        // Branches, worktrees and the post-checkout hook.
        fine(&sandbox.run(&["install", "-q", "--post-checkout"]));
        sandbox.git(&["branch", "old", "HEAD~1"]);
        let out = git(&sandbox, &["checkout", "-q", "old"]);
        assert!(out.stderr.contains("lockstep checkout"), "{layout:?} {out}");
        fine(&sandbox.run(&["checkout", "-q"]));
        assert_eq!(sandbox.read("o"), "1");
        sandbox.git(&["worktree", "add", "-q", "../linked", "main"]);
        fine(&sandbox.run_in("../linked", &["checkout", "-q"]));
        assert_eq!(sandbox.read("../linked/o"), "2");
        fine(&sandbox.run_in("../linked", &["status", "-q"]));

        // Both sides ran the stage: the merge driver.
        sandbox.write("pipeline.yaml", format!("{PIPELINE}  b: {{cmd: echo b > b, outs: [b]}}\n"));
        commit(&sandbox, "1");
        let out = git(&sandbox, &["merge", "-q", "-m", "merged", "main"]);
        assert!(!sandbox.read("pipeline.lock").contains("<<<<"), "{layout:?} {out}");
        sandbox.git(&["checkout", "-qf", "--detach", "main"]);

        // Other repositories: a clone, an import from it.
        sandbox.git(&["clone", "-q", ".", "../clone"]);
        let there = sandbox.path("../clone").display().to_string();
        assert!(said(&sandbox.run(&["list", &there])).contains('o'), "{layout:?}");
        let from = sandbox.root().display().to_string();
        fine(&sandbox.run_in("../clone", &["import", &from, "o", "-o", "imported", "--rev", "m@v0.1.0", "-q"]));
        assert_eq!(sandbox.read("../clone/imported"), "2");
        fine(&sandbox.run_in("../clone", &["status"]));
    }
}

#[test]
fn an_unknown_extension_is_refused() {
    let sandbox = repository(LAYOUTS[0]);
    commit(&sandbox, "1");
    sandbox.git(&["config", "core.repositoryFormatVersion", "1"]);
    sandbox.git(&["config", "extensions.fromTheFuture", "1"]);
    for args in [&["status"][..], &["gc", "-w", "--min-age", "0", "--force"], &["repro"]] {
        let out = sandbox.run(args);
        assert!(out.code == 2 && out.stderr.contains("extensions.fromthefuture"), "{out}");
    }
    // In version 0 it says nothing, as for Git.
    let config = sandbox.read(".git/config").to_lowercase();
    sandbox.write(".git/config", config.replace("repositoryformatversion = 1", "repositoryformatversion = 0"));
    fine(&sandbox.run(&["status"]));
}
