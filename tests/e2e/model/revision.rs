//! Models as commits and tags have them.

use crate::model::files::*;
use crate::sandbox::{Output, Sandbox};

#[test]
fn a_file_as_it_was() {
    let sandbox = Sandbox::new();
    let model = |value: f32, n: u64| {
        let text: String = safetensors(&[("w", "F32", &[n], f32s(&vec![value; n as usize]))], &[])
            .iter()
            .map(|b| format!("\\{b:03o}"))
            .collect();
        format!("mkdir -p models; printf '{text}' > models/a; cp models/a single")
    };
    let commit = |value: f32, n: u64| {
        let cmd = model(value, n);
        sandbox.write(
            "pipeline.yaml",
            format!(
                "stages:\n  train:\n    cmd: {}\n    outs: [models, single]\nartifacts:\n  digits:\n    path: single\n",
                serde_json::json!(cmd)
            ),
        );
        assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "x"]);
    };
    commit(1.0, 4);
    sandbox.git(&["tag", "-a", "digits@v1.0.0", "-m", "first"]);
    sandbox.git(&["tag", "-a", "digits#prod#1", "-m", "good"]);
    commit(2.0, 5);
    // A release of the repository may have the number of a model's version.
    sandbox.git(&["tag", "v1.0.0"]);
    let shape = |out: Output| out.stdout.lines().last().unwrap_or(&out.stderr).to_string();
    for (spec, want) in [
        ("single", "[5]"),
        ("models/a", "[5]"),
        ("single@HEAD~1", "[4]"),
        ("models/a@HEAD~1", "[4]"),
        ("models/a@HEAD", "[5]"),
        ("single@digits@v1.0.0", "[4]"),
        ("digits@v1.0.0", "[4]"),
        ("digits@latest", "[4]"),
        ("digits#prod", "[4]"),
        ("single@v1.0.0", "[5]"),
    ] {
        let line = shape(sandbox.run(&["model", "inspect", spec]));
        assert!(line.contains(want), "{spec}: {line}");
    }
    let line = shape(sandbox.run_in("models", &["model", "inspect", "../single@HEAD~1"]));
    assert!(line.contains("[4]"), "{line}");
    for spec in ["single@nowhere", "other@HEAD", "models@HEAD", "digits@v9.0.0"] {
        let out = sandbox.run(&["model", "inspect", spec]);
        println!("{spec}\n{out}");
        assert!([2, 3].contains(&out.code), "{spec}");
    }
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "single@nowhere"])), @r"
    exit 3
    --- stderr
    error: there is no revision `nowhere`
      hint: if it was pushed from another clone: git fetch --tags
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "other@HEAD"])), @r"
    exit 3
    --- stderr
    error: other is neither in Git nor pinned at HEAD
      hint: see what is there: lockstep list --rev HEAD
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "models@HEAD"])), @r"
    exit 2
    --- stderr
    error: models@HEAD is a folder without a model in a known form
      hint: known are SavedModel (saved_model.pb) and Hugging Face (config.json and weights)
      hint: name a file in it
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "single@HEAD~1", "single"])), @r"
    exit 0
    --- stdout
    tensor  change    max |Δ|  rel. L2  cosine  note
    w       reshaped                            f32 [4] → f32 [5]
    --- stderr
    1 tensor: 1 reshaped
    ");
    // What the store lost is named, with the way to get it.
    sandbox.git(&["gc", "-q"]);
    sandbox.remove(".git/lockstep/store");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "single@HEAD~1"])), @r"
    exit 3
    --- stderr
    error: single of HEAD~1 is not in the store
      hint: there is no remote to fetch it from: lockstep remote add -d NAME URL
    ");
}
