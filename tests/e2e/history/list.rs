use super::project;

#[test]
fn files_outputs_and_data_as_one() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["list"])), @r"
    exit 0
    --- stdout
    .gitignore
    data/
    m.json
    model
    params.yaml
    pipeline.lock
    pipeline.yaml
    run.sh
    train.sh
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["list", "-R", "--size", "--dvc-only"])), @r"
    exit 0
    --- stdout
           2 B  data/a
           5 B  data/s/p
           5 B  data/same
          37 B  m.json
           5 B  model
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["list", "data", "--rev", "v1", "--json", "--size"])), @r#"
    exit 0
    --- stdout
    [
      {
        "path": "a",
        "isdir": false,
        "isexec": false,
        "isout": true,
        "size": 2,
        "blake3": "[HASH]"
      },
      {
        "path": "s",
        "isdir": true,
        "isexec": false,
        "isout": true,
        "size": 5,
        "blake3": "[HASH]"
      },
      {
        "path": "same",
        "isdir": false,
        "isexec": false,
        "isout": true,
        "size": 5,
        "blake3": "[HASH]"
      }
    ]
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("data", &["list", "s", "--rev", "v1"])), @r"
    exit 0
    --- stdout
    p
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["list", "data/none"])), @r"
    exit 3
    --- stderr
    error: there is no data/none in workspace
    ");
}
