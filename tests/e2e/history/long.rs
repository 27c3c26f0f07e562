//! A history that is long, and one that is odd.

use super::{commit, project, shown};

/// Pipelines that could not be read, commits without any, and merges do not stop a look at everything.
#[test]
fn everything_that_ever_was() {
    let sandbox = project();
    sandbox.git(&["checkout", "-q", "-b", "side", "v1"]);
    commit(&sandbox, 4);
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.git(&["merge", "-q", "-s", "ours", "-m", "merge", "side"]);
    sandbox.write("pipeline.yaml", "stages: {");
    commit_only(&sandbox, 5);
    sandbox.git(&["rm", "-q", "pipeline.yaml", "pipeline.lock"]);
    commit_only(&sandbox, 6);
    sandbox.git(&["checkout", "-q", "--orphan", "empty"]);
    sandbox.git(&["rm", "-qrf", "."]);
    commit_only(&sandbox, 7);
    sandbox.git(&["checkout", "-qf", "v1"]);
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "show", "--all-commits"])), @r"
    exit 0
    --- stdout
    revision   acc   loss.val
    workspace  0.51  2.51
    [ID]    0.54  2.54
    [ID]    0.51  2.51
    [ID]    0.52  2.52
    [ID]    0.52  2.52
    --- stderr
    warning: pipeline.yaml of [ID] is left out:
    pipeline.yaml:2:1: no valid YAML: while parsing a node, did not find expected node content
      |
    2 | stages: {
      | ^
    ");
}

fn commit_only(sandbox: &crate::sandbox::Sandbox, day: u32) {
    sandbox.git(&["add", "-A"]);
    let mut git = sandbox.command("git".as_ref(), "");
    git.args(["commit", "-q", "--allow-empty", "-m", "x"]);
    git.env("GIT_COMMITTER_DATE", format!("2026-01-{day:02}T00:00:00Z"));
    assert_eq!(crate::sandbox::output(&mut git).code, 0);
}

/// Hundreds of commits and tags, by `git fast-import`: every one is there, once, the newest first.
#[test]
fn hundreds_of_commits() {
    let sandbox = crate::sandbox::Sandbox::new();
    let mut text = String::new();
    for n in 0..300 {
        let metrics = format!("{{\"acc\": {n}}}");
        text +=
            &format!("commit refs/heads/main\ncommitter t <t@example.org> {} +0000\ndata 1\nx\n", 1_000_000_000 + n);
        text += &format!("M 100644 inline m.json\ndata {}\n{metrics}\n", metrics.len());
        if n == 0 {
            let pipeline = "metrics: [m.json]\n";
            text += &format!("M 100644 inline pipeline.yaml\ndata {}\n{pipeline}\n", pipeline.len());
        }
        text += &format!("tag v{n}\nfrom refs/heads/main\ntagger t <t@example.org> 1000000000 +0000\ndata 1\nx\n");
    }
    let script = sandbox.beside("import");
    std::fs::write(&script, text).unwrap();
    let mut git = sandbox.command("git".as_ref(), "");
    git.args(["fast-import", "--quiet"]).stdin(std::fs::File::open(script).unwrap());
    assert_eq!(crate::sandbox::output(&mut git).code, 0);
    for args in [&["metrics", "show", "--all-commits"][..], &["metrics", "show", "--rev", "main", "-n", "1000"]] {
        let out = sandbox.run(args);
        let values: Vec<u32> =
            out.stdout.lines().skip(1).filter_map(|l| l.split_whitespace().last()?.parse().ok()).collect();
        assert_eq!(values, (0..300).rev().collect::<Vec<_>>(), "{out}");
    }
    let out = sandbox.run(&["metrics", "show", "--all-tags"]);
    assert_eq!(out.stdout.lines().count(), 301, "{out}");
}
