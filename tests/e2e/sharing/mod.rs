//! Sharing through a remote that is a folder: what each verb prints and leaves, and what happens when it goes wrong.

mod broken;
mod interrupted;
mod lost;
mod persist;
mod scope;
mod setup;
mod slow;
mod spellings;
mod summary;
mod together;
mod travel;
mod unmarked;
mod web;

use std::fs;
use std::path::PathBuf;

use crate::sandbox::{Output, Sandbox, output};

/// Two stages: a folder of sixty small files with a large one, and two files.
const PIPELINE: &str = r#"
stages:
  gen:
    cmd: "mkdir -p d/sub; for i in $(seq 60); do head -c 20000 /dev/zero | tr '\\0' $((i % 10)) > d/f$i; echo $i >> d/f$i; done; head -c 1500000 /dev/zero > d/sub/big; echo gen >> $CONF_LOG"
    outs: [d]
  use:
    cmd: "cat d/f1 > small; head -c 2000000 /dev/zero | tr '\\0' x > large; echo use >> $CONF_LOG"
    deps: [d]
    outs: [small, large]
"#;

/// A repository with the pipeline, run and committed, and the remote `lab` in the folder `lab` beside it.
fn lab() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox.ran();
    sandbox
}

/// Another clone beside the repository, to be used by its folder `../NAME`.
fn clone(sandbox: &Sandbox, name: &str) -> String {
    let folder = format!("../{name}");
    sandbox.git(&["clone", "-q", ".", &folder]);
    folder
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// The files of the remote, sorted, from its root.
fn files(sandbox: &Sandbox, below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![sandbox.path("../lab").join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

/// Are the outputs the same in two folders of the sandbox?
fn same(sandbox: &Sandbox, a: &str, b: &str, outs: &[&str]) -> bool {
    outs.iter().all(|out| {
        let mut diff = std::process::Command::new("diff");
        output(diff.arg("-r").arg(sandbox.path(a).join(out)).arg(sandbox.path(b).join(out))).code == 0
    })
}
