//! The registry where there is nothing but commits and tags: a bare clone, and a folder as a model.

use std::path::Path;

use serde_json::Value as Json;

use crate::model::registry::{commit, json};
use crate::sandbox::{Sandbox, output};

/// A model that is a folder, registered, promoted and pushed; the clone `../bare.git` has commits and tags alone.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: mkdir -p model/sub && cp data.csv model/sub/w && echo b > model/a-b && \
         echo '{\"acc\":0.9}' > m.json\n    deps: [data.csv]\n    outs: [model]\n    metrics: [m.json]\n\
         artifacts: {digits: {path: model}}\nchecks: [acc >= 0.5]\n",
    );
    sandbox.write("data.csv", "1,2\n");
    let remote = sandbox.path("../remote");
    for args in [&["remote", "add", "-d", "r", remote.to_str().unwrap()][..], &["repro", "-q"], &["push", "-q"]] {
        assert_eq!(sandbox.run(args).code, 0, "{args:?}");
    }
    commit(&sandbox, "First");
    for args in [&["register", "digits", "--version", "v1.0.0"][..], &["promote", "digits@v1.0.0", "prod"]] {
        let out = sandbox.run(&[&["model"][..], args].concat());
        assert_eq!(out.code, 0, "{args:?}: {out}");
    }
    sandbox.git(&["clone", "-q", "--bare", ".", "../bare.git"]);
    sandbox
}

/// The hint for an artifact that only the workspace declares; a bare repository has none.
#[test]
fn an_artifact_that_is_not_committed_is_named_as_such() {
    let sandbox = project();
    let register = |args: &[&str]| sandbox.run(&[args, &["model", "register", "new", "--version", "v1.0.0"]].concat());
    let out = register(&["-C", "../bare.git"]);
    assert!(out.code == 3 && out.stderr.contains("hint: declare it in pipeline.yaml"), "{out}");
    let pipeline = sandbox.read("pipeline.yaml").replace("{digits:", "{new: {path: data.csv}, digits:");
    sandbox.write("pipeline.yaml", pipeline);
    let out = register(&[]);
    assert!(out.code == 3 && out.stderr.contains("commit that: git add pipeline.yaml && git commit"), "{out}");
    assert!(!out.stderr.contains("declare it in"), "{out}");
}

#[test]
fn commits_and_tags_are_enough() {
    let sandbox = project();
    let there = |args: &[&str]| sandbox.run(&[&["-C", "../bare.git"][..], args].concat());
    for args in [
        &["model", "list", "--json"][..],
        &["model", "show", "digits", "--json"],
        &["model", "resolve", "digits#prod", "--json"],
        &["model", "history", "digits", "--json"],
        &["model", "provenance", "digits"],
        &["check", "--json"],
        &["metrics", "show", "--json"],
        &["metrics", "show", "--rev", "digits@v1.0.0", "--json"],
        &["stage", "list", "--json"],
    ] {
        let (here, there) = (sandbox.run(args), there(args));
        assert_eq!((there.code, &there.stdout), (0, &here.stdout), "{args:?}: {there}");
    }
    let all = there(&["metrics", "show", "--all-commits", "--json"]);
    assert_eq!(serde_json::from_str::<Json>(&all.stdout).unwrap().as_array().map(Vec::len), Some(1), "{all}");
    // What is compared needs two commits, what is looked into is a file.
    sandbox.write("data.csv", "3,4\n");
    sandbox.write("m.npy", npy(&[1.0, 2.0]));
    commit(&sandbox, "Second");
    sandbox.git(&["tag", "v2"]);
    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    sandbox.git(&["push", "-q", "../bare.git", "main", "v2"]);
    assert_eq!(there(&["fetch", "-q", "--rev", "v2", "--rev", "digits@v1.0.0"]).code, 0);
    for args in [
        &["metrics", "diff", "digits@v1.0.0", "v2", "--json"][..],
        &["params", "diff", "digits@v1.0.0", "v2", "--json"],
        &["params", "show", "--rev", "v2", "--json"],
        &["diff", "digits@v1.0.0", "v2", "--json"],
        &["check", "--rev", "v2", "--json"],
        &["stage", "list", "--rev", "v2", "--json"],
        &["dag", "--rev", "v2"],
        &["list", "--rev", "v2", "-R", "--json"],
        &["plots", "show", "--rev", "v2", "--json"],
        &["model", "inspect", "m.npy@v2", "--json"],
        &["model", "diff", "m.npy@v2", "m.npy@HEAD", "--json"],
    ] {
        let (here, there) = (sandbox.run(args), there(args));
        assert_eq!((there.code, &there.stdout), (0, &here.stdout), "{args:?}: {there}");
    }
    // Without a revision `HEAD` is meant.
    for args in [&["list"][..], &["dag"], &["params", "show"], &["diff"], &["model", "inspect", "m.npy"]] {
        assert_eq!(there(args).code, 0, "{args:?}");
    }
    let to = sandbox.path("../got");
    let got = there(&["get", "model", "--rev", "digits#prod", "-o", to.to_str().unwrap()]);
    assert_eq!(got.code, 0, "{got}");
    assert_eq!(std::fs::read_to_string(to.join("sub/w")).unwrap(), "1,2\n");
    let before = std::fs::read_dir(sandbox.path("../bare.git")).unwrap().count();
    for args in [
        &["repro"][..],
        &["status"],
        &["add", "x"],
        &["checkout"],
        &["pull"],
        &["gc", "-w"],
        &["remote", "add", "x", "/x"],
        &["config", "jobs", "2"],
    ] {
        let out = there(args);
        assert!(out.code == 2 && out.stderr.contains("bare repository"), "{args:?}: {out}");
    }
    assert_eq!(std::fs::read_dir(sandbox.path("../bare.git")).unwrap().count(), before);
}

/// What linked worktrees of a bare repository need is kept.
#[test]
fn nothing_goes_that_a_linked_worktree_needs() {
    let sandbox = project();
    let linked = sandbox.path("../linked");
    sandbox.git(&["-C", "../bare.git", "worktree", "add", "-q", linked.to_str().unwrap()]);
    let pinned = || sandbox.run(&["-C", "../linked", "checkout"]);
    assert_eq!(sandbox.run(&["-C", "../linked", "pull", "-q"]).code, 0);
    // Pinned there, and in no commit.
    std::fs::write(linked.join("data.csv"), "5,6\n").unwrap();
    assert_eq!(sandbox.run(&["-C", "../linked", "repro", "-q"]).code, 0);
    let out = sandbox.run(&["-C", "../bare.git", "gc", "-A", "--force", "--min-age", "0s"]);
    assert_eq!(out.code, 0, "{out}");
    std::fs::remove_dir_all(linked.join("model")).unwrap();
    let out = pinned();
    assert_eq!((out.code, std::fs::read_to_string(linked.join("model/sub/w")).unwrap()), (0, "5,6\n".into()), "{out}");
}

/// A NumPy file.
fn npy(values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// The digest of a folder is what its own files give, by a line of shell.
#[test]
fn a_folder_has_a_digest_that_others_know() {
    let sandbox = project();
    let digest = &json(&sandbox, &["model", "provenance", "digits"])["subject"][0]["digest"];
    let script = "cd model && find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1";
    let said = output(sandbox.command(Path::new("sh"), "").args(["-c", script])).stdout;
    assert_eq!(digest["dirHash"].as_str(), Some(said.trim()), "{digest}");
    assert_eq!((digest["lockstepTree"].as_str().map(str::len), digest.get("sha256")), (Some(64), None));
}
