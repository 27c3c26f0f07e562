//! The registry where there is nothing but commits and tags: a bare clone, and a folder as a model.

use std::path::Path;

use serde_json::Value as Json;

use crate::registry::{commit, json};
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
    let to = sandbox.path("../got");
    let got = there(&["get", "model", "--rev", "digits#prod", "-o", to.to_str().unwrap()]);
    assert_eq!(got.code, 0, "{got}");
    assert_eq!(std::fs::read_to_string(to.join("sub/w")).unwrap(), "1,2\n");
    let before = std::fs::read_dir(sandbox.path("../bare.git")).unwrap().count();
    for args in [&["repro"][..], &["status"], &["add", "x"], &["checkout"]] {
        let out = there(args);
        assert!(out.code == 2 && out.stderr.contains("is a bare repository"), "{args:?}: {out}");
    }
    assert_eq!(std::fs::read_dir(sandbox.path("../bare.git")).unwrap().count(), before);
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
