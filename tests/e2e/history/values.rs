use super::{project, shown};

#[test]
fn differences_say_what_is_better() {
    let sandbox = project();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "v1"])), @r"
    exit 0
    --- stdout
    file    metric    v1    workspace  change
    m.json  acc       0.51  0.52       +0.01 better
    m.json  loss.val  2.51  2.52       +0.01 worse
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "v1", "main", "--md", "--precision", "1"])), @r"
    exit 0
    --- stdout
    | file   | metric   | v1   | main | change          |
    | ------ | -------- | ---- | ---- | --------------- |
    | m.json | acc      | 0.51 | 0.52 | +1.00e-2 better |
    | m.json | loss.val | 2.51 | 2.52 | +1.00e-2 worse  |
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "v1", "--json", "--targets", "m.json"])), @r#"
    exit 0
    --- stdout
    {
      "m.json": {
        "acc": {
          "old": 0.51,
          "new": 0.52,
          "diff": 0.010000000000000009,
          "better": true
        },
        "loss.val": {
          "old": 2.51,
          "new": 2.52,
          "diff": 0.010000000000000231,
          "better": false
        }
      }
    }
    "#);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff"])), @r"
    exit 0
    --- stderr
    no metrics differ between HEAD and workspace
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "--all"])), @r"
    exit 0
    --- stdout
    file    metric    HEAD  workspace  change
    m.json  acc       0.52  0.52       0.0
    m.json  loss.val  2.52  2.52       0.0
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["params", "diff", "v1"])), @r"
    exit 0
    --- stdout
    file         param  v1  workspace
    params.yaml  n      1   2
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["params", "diff", "v1", "main", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "params.yaml": {
        "n": {
          "old": 1,
          "new": 2
        }
      }
    }
    "#);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["params", "diff", "v1", "--targets", "nothing"])), @r"
    exit 3
    --- stderr
    error: `nothing` is neither a file with params nor a stage
      hint: see the stages: lockstep stage list --all
    ");
}

#[test]
fn of_one_revision_and_of_many() {
    let sandbox = project();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "show", "--rev", "HEAD~1"])), @r"
    exit 0
    --- stdout
    file    key       value
    m.json  acc       0.51
    m.json  loss.val  2.51
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "show", "-a", "-T"])), @r"
    exit 0
    --- stdout
    revision   acc   loss.val
    workspace  0.52  2.52
    main       0.52  2.52
    v1         0.51  2.51
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "show", "--rev", "v1", "--rev", "main", "--json"])), @r#"
    exit 0
    --- stdout
    [
      {
        "rev": "v1",
        "names": [
          "v1"
        ],
        "commit": "[HASH]",
        "files": {
          "m.json": {
            "acc": 0.51,
            "loss": {
              "val": 2.51
            }
          }
        }
      },
      {
        "rev": "main",
        "names": [
          "main"
        ],
        "commit": "[HASH]",
        "files": {
          "m.json": {
            "acc": 0.52,
            "loss": {
              "val": 2.52
            }
          }
        }
      }
    ]
    "#);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["params", "show", "--rev", "main", "-n", "2", "--md"])), @r"
    exit 0
    --- stdout
    | revision | n |
    | -------- | - |
    | main     | 2 |
    | [ID]  | 1 |
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "show", "-T", "trian"])), @r"
    exit 3
    --- stderr
    error: `trian` is neither a file with metrics nor a stage
      hint: did you mean `train`?
    ");
}

/// A fresh clone has no objects, and its metrics all the same: the lock has them.
#[test]
fn a_clone_has_its_metrics() {
    let sandbox = project();
    sandbox.remove("m.json");
    sandbox.remove(".git/lockstep/store");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "v1", "main"])), @r"
    exit 0
    --- stdout
    file    metric    v1    main  change
    m.json  acc       0.51  0.52  +0.01 better
    m.json  loss.val  2.51  2.52  +0.01 worse
    ");
}

#[test]
fn a_direction_that_is_none_is_told() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml").replace("higher", "up"));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["metrics", "diff", "v1"])), @r"
    exit 0
    --- stdout
    file    metric    v1    workspace  change
    m.json  acc       0.51  0.52       +0.01
    m.json  loss.val  2.51  2.52       +0.01
    --- stderr
    warning: stage train: `meta: better` of m.json is `higher`, `lower`, or a map from metrics to these
    ");
}

#[test]
fn stages_of_a_commit() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", "stages: {other: {cmd: x}}\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["stage", "list", "--rev", "v1"])), @r"
    exit 0
    --- stdout
    prep   outputs data
    train  outputs model, m.json
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["dag", "--rev", "v1", "--json", "train"])), @r#"
    exit 0
    --- stdout
    {
      "nodes": [
        "prep",
        "train"
      ],
      "edges": [
        {
          "from": "prep",
          "to": "train"
        }
      ]
    }
    "#);
    assert!(sandbox.run(&["stage", "list", "--rev", "v1", "--json", "train"]).stdout.contains("\"n\": 1"));
}
