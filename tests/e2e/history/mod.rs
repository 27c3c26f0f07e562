//! Any revision without checking it out: comparing, listing, getting, importing, end to end.

mod diff;
mod elsewhere;
mod import;
mod list;
mod long;
mod origin;
mod placed;
mod values;

use crate::sandbox::Sandbox;

const PIPELINE: &str = "\
stages:
  prep:
    cmd: mkdir -p data/s && cp params.yaml data/s/p && echo same > data/same && echo a > data/a
    params: [n]
    outs: [data]
  train:
    cmd: sh train.sh
    deps: [data]
    params: [n]
    outs: [model]
    metrics:
    - m.json: {meta: {better: {acc: higher, loss.val: lower}}}
";

const TRAIN: &str = "\
cat data/s/p > model
n=$(cut -c4- params.yaml)
echo \"{\\\"acc\\\": 0.5$n, \\\"loss\\\": {\\\"val\\\": 2.5$n}}\" > m.json
";

/// Two commits, `v1` and `main`, whose outputs differ; the workspace is as `main`.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("train.sh", TRAIN);
    sandbox.write("run.sh", "echo hi\n");
    commit(&sandbox, 1);
    sandbox.git(&["tag", "-a", "v1", "-m", "first"]);
    commit(&sandbox, 2);
    sandbox
}

fn commit(sandbox: &Sandbox, n: u32) {
    sandbox.write("params.yaml", format!("n: {n}\n"));
    let ran = sandbox.run(&["repro", "-q"]);
    assert_eq!(ran.code, 0, "{ran}");
    sandbox.git(&["add", "-A"]);
    let date = format!("2026-01-{n:02}T00:00:00Z");
    let mut git = sandbox.command("git".as_ref(), "");
    git.args(["commit", "-qm", &format!("n {n}")]).env("GIT_COMMITTER_DATE", date);
    assert_eq!(crate::sandbox::output(&mut git).code, 0);
}

/// An output with the short ids of commits, which depend on the last byte of every file, as `[ID]`.
fn shown(sandbox: &Sandbox, output: &crate::sandbox::Output) -> String {
    let text = sandbox.shown(output);
    let is_id = |word: &str| word.len() == 7 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    words
        .map(|word| match word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
            id if is_id(id) => word.replace(id, "[ID]"),
            _ => word.to_string(),
        })
        .collect()
}
