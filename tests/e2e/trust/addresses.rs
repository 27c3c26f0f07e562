//! The address of a repository that stands in a file starts no program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::sandbox::{Sandbox, output};

const COMMIT: &str = "1111111111111111111111111111111111111111";

/// A sandbox with a program `git-remote-evil` on the path, and the mark that a started program leaves.
fn sandbox() -> (Sandbox, PathBuf, String) {
    let sandbox = Sandbox::new();
    let folder = sandbox.root().parent().unwrap().join("bin");
    let mark = folder.with_file_name("mark");
    fs::create_dir(&folder).unwrap();
    for name in ["git-remote-evil", "git-remote-file"] {
        let program = folder.join(name);
        fs::write(&program, format!("#!/bin/sh\ntouch '{}'\nexit 1\n", mark.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    (sandbox, mark, path)
}

#[test]
fn remote_helpers_are_not_started() {
    let (sandbox, mark, path) = sandbox();
    // Even where the user's own settings allow them to the user, or always.
    sandbox
        .write("../home/.gitconfig", "[protocol \"ext\"]\n\tallow = always\n[protocol \"evil\"]\n\tallow = always\n");
    let ext = format!("ext::touch {}", mark.display());
    for address in ["evil::x", "evil://host/x", "evil::https://host/x", &ext, "fd::3", "file::/x", "EXT::x"] {
        let data =
            format!("data:\n- path: f\n  import: {{url: {address:?}, path: f, rev: main, commit: \"{COMMIT}\"}}\n");
        let data = format!("{data}stages: {{a: {{cmd: cat f > o, deps: [f], outs: [o]}}}}\n");
        sandbox.write("pipeline.yaml", data);
        sandbox
            .write("pipeline.lock", format!("schema: 1\ndata:\n  f:\n    blake3: {}\n    size: 1\n", "1".repeat(64)));
        for args in [
            &["pull"][..],
            &["fetch"],
            &["update"],
            &["repro", "--pull"],
            &["status"],
            &["list", address],
            &["get", address, "f", "-o", "g"],
            &["import", address, "f", "-o", "g"],
        ] {
            let out = output(sandbox.lockstep("").args(args).env("PATH", &path));
            assert!(!mark.exists(), "{address} {args:?} {out}");
            if !["status"].contains(&args[0]) {
                assert!(out.code != 0 && out.stderr.contains("git-remote-"), "{address} {args:?} {out}");
            }
        }
    }
}

#[test]
fn the_users_own_mapping_of_an_address_counts() {
    let (sandbox, mark, path) = sandbox();
    let list = |config: &str| {
        sandbox.write("../home/.gitconfig", config);
        output(sandbox.lockstep("").args(["list", "https://example.org/x"]).env("PATH", &path))
    };
    let map = "[url \"evil::\"]\n\tinsteadOf = https://example.org/\n";
    let out = list(map);
    assert!(out.code != 0 && !mark.exists(), "{out}");
    list(&format!("{map}[protocol \"evil\"]\n\tallow = always\n"));
    assert!(mark.exists());
    // A stricter setting of the user holds.
    let there = Sandbox::new();
    there.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let map = format!("[url \"file://{}\"]\n\tinsteadOf = https://example.org/x\n", there.root().display());
    assert_ne!(list(&format!("{map}[protocol \"file\"]\n\tallow = never\n")).code, 0);
    assert_eq!(list(&map).code, 0);
}

/// A clone is made without the user's template, and no hook runs when it is renewed.
#[test]
fn clones_run_no_hooks() {
    let (sandbox, mark, path) = sandbox();
    let hook = format!("#!/bin/sh\ntouch '{}'\n", mark.display());
    for folder in ["../template/hooks", "../hooks"] {
        for name in ["post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"] {
            let file = sandbox.path(folder).join(name);
            sandbox.write(&format!("{folder}/{name}"), &hook);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let there = Sandbox::new();
    there.write("f", "1");
    there.git(&["add", "-A"]);
    there.git(&["commit", "-qm", "x"]);
    let top = sandbox.root().parent().unwrap().display();
    sandbox.write(
        "../home/.gitconfig",
        format!(
            "[init]\n\ttemplateDir = {top}/template\n[core]\n\thooksPath = {top}/hooks\n\tfsmonitor = {top}/hooks/post-checkout\n\
             [url \"file://{}\"]\n\tinsteadOf = https://example.org/x\n",
            there.root().display()
        ),
    );
    for _ in 0..2 {
        let out =
            output(sandbox.lockstep("").args(["get", "--force", "https://example.org/x", "f"]).env("PATH", &path));
        assert!(out.code == 0 && !mark.exists(), "{out}");
        there.git(&["commit", "-q", "--allow-empty", "-m", "y"]);
    }
}

/// Commands that only read ask Git without what the clone's settings would start.
#[test]
fn reading_commands_start_nothing_of_a_clone() {
    let (sandbox, mark, path) = sandbox();
    let hook = sandbox.path("../evil");
    sandbox.write("../evil", format!("#!/bin/sh\ntouch '{}'\ncat\n", mark.display()));
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: \"echo 'x: 1' > m.yaml\", metrics: [m.yaml]}}\nplots: [{p.json: {x: x, y: x}}]\n",
    );
    sandbox.write("params.yaml", "lr: 1\n");
    sandbox.write("p.json", "[{\"x\": 1}]");
    sandbox.write(".gitattributes", "* filter=evil diff=evil merge=evil\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    for (key, value) in [
        ("core.fsmonitor", hook.to_str().unwrap()),
        ("core.hooksPath", hook.parent().unwrap().to_str().unwrap()),
        ("diff.external", hook.to_str().unwrap()),
        ("diff.evil.textconv", hook.to_str().unwrap()),
        ("diff.evil.command", hook.to_str().unwrap()),
        ("filter.evil.clean", hook.to_str().unwrap()),
        ("filter.evil.smudge", hook.to_str().unwrap()),
        ("filter.evil.process", hook.to_str().unwrap()),
        ("core.pager", hook.to_str().unwrap()),
        ("core.editor", hook.to_str().unwrap()),
        ("core.sshCommand", hook.to_str().unwrap()),
        ("core.alternateRefsCommand", hook.to_str().unwrap()),
        ("gpg.program", hook.to_str().unwrap()),
        ("credential.helper", hook.to_str().unwrap()),
    ] {
        sandbox.git(&["config", key, value]);
    }
    for args in [
        &["status"][..],
        &["status", "-c"],
        &["dag"],
        &["diff"],
        &["diff", "HEAD"],
        &["stage", "list"],
        &["metrics", "show"],
        &["metrics", "diff"],
        &["params", "show"],
        &["params", "diff"],
        &["plots"],
        &["plots", "show"],
        &["plots", "diff"],
        &["list"],
        &["list", "."],
        &["model", "list"],
        &["check"],
        &["logs", "a"],
        &["du"],
        &["config"],
        &["repro", "--dry"],
        &["ci", "report"],
        &["ci", "key"],
        &["get", ".", "pipeline.yaml", "-o", "copy"],
    ] {
        let out = output(sandbox.lockstep("").args(args).env("PATH", &path));
        assert!(!mark.exists(), "{args:?} {out}");
    }
}
