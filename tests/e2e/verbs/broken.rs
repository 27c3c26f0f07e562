//! What a pipeline file that cannot be read declares is not known: it is neither gone nor absent.

use crate::sandbox::Sandbox;

const PIPELINE: &str = "\
stages:
  train:
    cmd: cp params.yaml m.bin && cp src m.json
    params: [lr]
    outs: [m.bin]
    metrics: [m.json]
artifacts:
  m: {path: m.bin}
";

/// What every message about the misspelled file contains; `[EXCERPT]` in snapshots.
const EXCERPT: &str = "\
pipeline.yaml:2:3: stage `train` has no `cmd`
  |
2 |   train:
  |   ^
pipeline.yaml:3:5: unknown key `cdm` in stage `train`
  |
3 |     cdm: cp params.yaml m.bin && cp src m.json
  |     ^
  hint: did you mean `cmd`?
";

fn shown(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.shown(&sandbox.run(args)).replace(EXCERPT, "[EXCERPT]\n")
}

/// Two commits; in the workspace, and in the last commit if asked, `cmd` is misspelled. `sub/` has a sound pipeline.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("params.yaml", "lr: 1\n");
    sandbox.write("src", "{\"acc\": 0.5}");
    sandbox.write("sub/src", "{\"n\": 1}");
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("sub/pipeline.yaml", "stages:\n  s:\n    cmd: cp src n.json\n    metrics: [n.json]\n");
    let ran = sandbox.run(&["repro", "-q", "-P"]);
    assert_eq!(ran.code, 0, "{ran}");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    sandbox.write("pipeline.yaml", PIPELINE.replace("cmd:", "cdm:"));
    sandbox
}

#[test]
fn no_comparison_takes_what_it_declares_for_gone() {
    let sandbox = project();
    insta::assert_snapshot!(shown(&sandbox, &["diff", "--json"]), @r#"
    exit 2
    --- stdout
    {
      "added": [],
      "deleted": [],
      "modified": [],
      "renamed": [],
      "not in cache": [],
      "unopened": []
    }
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    "#);
    insta::assert_snapshot!(shown(&sandbox, &["metrics", "diff", "--all"]), @r"
    exit 2
    --- stdout
    file        metric  HEAD  workspace  change
    sub/n.json  n       1     1          0
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    ");
    insta::assert_snapshot!(shown(&sandbox, &["params", "diff", "--json"]), @r"
    exit 2
    --- stdout
    {}
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    ");
}

#[test]
fn no_listing_calls_it_absent() {
    let sandbox = project();
    assert_eq!([sandbox.run(&["list"]).code, sandbox.run(&["list", "--rev", "HEAD"]).code], [2, 0]);
    insta::assert_snapshot!(shown(&sandbox, &["params", "show"]), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    ");
    insta::assert_snapshot!(shown(&sandbox, &["metrics", "show", "--json"]), @r#"
    exit 2
    --- stdout
    {
      "sub/n.json": {
        "n": 1
      }
    }
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    "#);
    insta::assert_snapshot!(shown(&sandbox, &["model", "list", "--json"]), @r"
    exit 2
    --- stdout
    []
    --- stderr
    warning: pipeline.yaml is left out:
    [EXCERPT]
    ");
    insta::assert_snapshot!(shown(&sandbox, &["ci", "key"]), @r"
    exit 2
    --- stderr
    error: [EXCERPT]
    ");
}

/// Nobody can mend a commit: a warning names it, and the rest is told.
#[test]
fn in_the_past_it_is_a_warning() {
    let sandbox = project();
    sandbox.git(&["commit", "-qam", "slip"]);
    sandbox.git(&["tag", "slip"]);
    sandbox.write("pipeline.yaml", PIPELINE);
    insta::assert_snapshot!(shown(&sandbox, &["metrics", "diff", "slip", "--all"]), @r"
    exit 0
    --- stdout
    file        metric  slip  workspace  change
    sub/n.json  n       1     1          0
    --- stderr
    warning: pipeline.yaml of slip is left out:
    [EXCERPT]
    ");
    insta::assert_snapshot!(shown(&sandbox, &["diff", "slip"]), @r"
    exit 0
    --- stderr
    warning: pipeline.yaml of slip is left out:
    [EXCERPT]
    ");
    let out = shown(&sandbox, &["metrics", "show", "--all-commits"]);
    let short = |rev: &str| sandbox.git(&["rev-parse", "--short=7", rev]).trim().to_string();
    let out = out.replace(&short("slip"), "[SLIP]").replace(&short("slip~1"), "[GOOD]");
    insta::assert_snapshot!(out, @r"
    exit 0
    --- stdout
    revision   m.json:acc  sub/n.json:n
    workspace  0.5         1
    [SLIP]    -           1
    [GOOD]    0.5         1
    --- stderr
    warning: pipeline.yaml of [SLIP] is left out:
    [EXCERPT]
    ");
}
