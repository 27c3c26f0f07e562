//! What CI systems get: reports, comments, cache keys, and the recipes that are shipped, run as they would be there.

mod action;
mod api;
mod comment;
mod gitlab;
mod hooks;
mod recipes;
mod report;

use std::path::Path;

use crate::sandbox::{Output, Sandbox, output};

const PIPELINE: &str = "\
stages:
  prep:
    cmd: echo prep >> $CONF_LOG; cat raw > clean
    deps: [raw]
    outs: [clean]
  train:
    cmd: 'echo train >> $CONF_LOG; cat clean params.yaml > model; grep -q \"lr: bad\" params.yaml && exit 3; true'
    deps: [clean]
    params: [lr]
    outs: [model]
  eval:
    cmd: 'echo eval >> $CONF_LOG; sed -n \"s/^lr: 0\\(.*\\)/{\\\"accuracy\\\": 0\\1}/p\" model > metrics.json'
    deps: [model]
    metrics:
    - metrics.json: {cache: false, meta: {better: higher}}
";

/// A repository with a commit on `main` whose stages have all run: 3 stages, one metric.
pub fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, text) in [("pipeline.yaml", PIPELINE), ("params.yaml", "lr: 0.1\n"), ("raw", "raw\n")] {
        sandbox.write(name, text);
    }
    let out = sandbox.run(&["repro", "-q"]);
    assert_eq!((out.code, sandbox.ran().len()), (0, 3), "{out}");
    commit(&sandbox, "first");
    sandbox
}

pub fn commit(sandbox: &Sandbox, subject: &str) {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", subject]);
}

/// Runs lockstep with variables.
pub fn with(sandbox: &Sandbox, env: &[(&str, &str)], args: &[&str]) -> Output {
    output(sandbox.lockstep("").args(args).envs(env.iter().copied()))
}

/// A sandbox's output with the short ids of these revisions replaced.
pub fn named(sandbox: &Sandbox, text: &str, revisions: &[&str]) -> String {
    revisions.iter().fold(sandbox.filter(text), |text, name| {
        text.replace(sandbox.git(&["rev-parse", "--short=7", name]).trim(), &format!("[{name}]"))
    })
}

/// A file of this repository, as YAML.
pub fn shipped(path: &str) -> serde_yaml::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The path with the built binary first.
pub fn path() -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_lockstep")).parent().unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}
