use super::{commit, project};

#[test]
fn two_commits() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "v1", "HEAD"])), @r"
    exit 0
    --- stdout
    modified
      data/s/p  5 B
      m.json    37 B
      model     5 B
    --- stderr
    3 modified
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "v1", "HEAD", "--md", "--targets", "data"])), @r"
    exit 0
    --- stdout
    | status   | path     | size |
    | -------- | -------- | ---- |
    | modified | data/s/p | 5 B  |
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "v1", "main", "--json", "--targets", "model"])), @r#"
    exit 0
    --- stdout
    {
      "added": [],
      "deleted": [],
      "modified": [
        {
          "path": "model",
          "hash": {
            "old": "[HASH]",
            "new": "[HASH]"
          },
          "size": {
            "old": 5,
            "new": 5
          }
        }
      ],
      "renamed": [],
      "not in cache": [],
      "unopened": []
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff"])), @r"
    exit 0
    --- stderr
    no outputs or data differ between HEAD and workspace
    ");
}

#[test]
fn the_workspace_as_it_is() {
    let sandbox = project();
    sandbox.write("data/new", "new\n");
    sandbox.remove("data/s");
    std::fs::rename(sandbox.path("data/same"), sandbox.path("data/moved")).unwrap();
    sandbox.remove("model");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff"])), @r"
    exit 0
    --- stdout
    added
      data/new                4 B
    deleted
      data/s/p                5 B
      model                   5 B
    renamed
      data/same → data/moved  5 B
    --- stderr
    1 added, 2 deleted, 1 renamed
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("data", &["diff", "--targets", "moved"])), @r"
    exit 0
    --- stdout
    renamed
      same → moved  5 B
    --- stderr
    1 renamed
    ");
}

#[test]
fn what_is_nowhere_is_told_apart() {
    let sandbox = project();
    sandbox.remove("data");
    sandbox.remove("model");
    sandbox.remove(".git/lockstep/store");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff"])), @r"
    exit 0
    --- stdout
    not in cache
      data
      model
    --- stderr
    2 not in cache
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "--hide-missing"])), @r"
    exit 0
    --- stderr
    no outputs or data differ between HEAD and workspace
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "v1", "main"])), @r"
    exit 0
    --- stdout
    modified
      data/   12 B
      m.json  37 B
      model   5 B
    --- stderr
    3 modified
    warning: data/: its listing is not in the store (there is no remote to fetch it from: lockstep remote add -d NAME URL)
    ");
}

#[test]
fn a_revision_that_is_not_there() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["diff", "mian"])), @r"
    exit 3
    --- stderr
    error: there is no revision `mian`
      hint: did you mean `main`?
      hint: if it was pushed from another clone: git fetch --tags
    ");
    let outside = crate::sandbox::Sandbox::without_git();
    std::fs::create_dir(outside.path(".lockstep")).unwrap();
    insta::assert_snapshot!(outside.shown(&outside.run(&["diff"])), @r"
    exit 2
    --- stderr
    error: there is no history here: this project is not in a Git repository
      hint: git init — makes one
    ");
}

/// Comparing takes no lock: it works while a run holds it.
#[test]
fn while_a_run_goes_on() {
    let sandbox = project();
    let wait = crate::sandbox::process::wait_for("go");
    sandbox.write("pipeline.yaml", format!("{}  slow:\n    cmd: {wait}\n    outs: []\n", super::PIPELINE));
    let running = sandbox.start(&["repro", "slow"]);
    sandbox.await_sign("go.here");
    for args in
        [&["diff", "v1"][..], &["metrics", "diff", "v1"], &["list", "--rev", "v1"], &["get", "m.json", "-o", "x"]]
    {
        assert_eq!(sandbox.run(args).code, 0, "{args:?}");
    }
    sandbox.give_sign("go");
    assert_eq!(running.end().code, 0);
    commit(&sandbox, 3);
}
