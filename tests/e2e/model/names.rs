//! Artifacts that no tag can name.

use crate::model::registry::{json, project, shown};

#[test]
fn an_artifact_in_a_folder_with_a_space_is_listed_with_the_reason() {
    let sandbox = project();
    sandbox.write("sub a/pipeline.yaml", "artifacts:\n  deep: {path: d.bin}\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "list"])), @r"
    exit 0
    --- stdout
    model       latest  labels  path         registered
    digits      -       -       model.bin    -
    sub a:deep  -       -       sub a/d.bin  -
    --- stderr
    warning: it cannot be registered: sub a/pipeline.yaml:2:3: artifact `deep`: the name `deep` is in the folder sub a, which has ' ' in it, which is not allowed in the name of a tag
      |
    2 |   deep: {path: d.bin}
      |   ^
    ");
    let listed = json(&sandbox, &["model", "list", "--json"]);
    assert_eq!((&listed[1]["name"], &listed[1]["path"]), (&"sub a:deep".into(), &"sub a/d.bin".into()));
    assert!(
        listed[1]["error"].as_str().is_some_and(|why| why.contains("is not allowed in the name of a tag")),
        "{listed}"
    );
    for (folder, name) in [("sub a", "deep"), ("", "deep"), ("", "sub a:deep")] {
        let out = sandbox.run_in(folder, &["model", "register", name, "--version", "1.0.0"]);
        assert!(out.code == 2 && out.stderr.contains("has ' ' in it, which is not allowed"), "{folder} {name}: {out}");
    }
}
