//! Where `get` and `import` write, as `cp` has it, and that nothing goes but what was named.

use std::path::Path;

use super::{project, shown};
use crate::sandbox::Sandbox;

#[test]
fn get_into_a_folder_touches_nothing_else_in_it() {
    let sandbox = project();
    sandbox.write("mine/notes.txt", "precious");
    for (path, name) in [("model", "mine/model"), ("data", "mine/data")] {
        assert_eq!(sandbox.run(&["get", path, "-o", "mine"]).code, 0);
        let again = sandbox.run(&["get", path, "-o", "mine"]);
        let refusal = format!("error: {name} exists already; it was not touched");
        assert!(again.code == 1 && again.stderr.starts_with(&refusal), "{again}");
        let forced = sandbox.run(&["get", path, "--rev", "v1", "-o", "mine", "--force"]);
        assert!(forced.code == 0 && forced.stderr.starts_with(name), "{forced}");
        assert_eq!(sandbox.read("mine/notes.txt"), "precious");
    }
    assert_eq!((sandbox.read("mine/model"), sandbox.read("mine/data/s/p")), ("n: 1\n".into(), "n: 1\n".into()));
    // What bears the default name is not gone into.
    let out = sandbox.run(&["get", "data"]);
    assert!(out.code == 1 && out.stderr.starts_with("error: data exists already"), "{out}");
    let out = sandbox.run(&["get", ".", "-o", "mine", "--force"]);
    assert!(out.code == 2 && sandbox.exists("mine/notes.txt"), "{out}");
}

#[test]
fn get_makes_the_folder_that_a_slash_names() {
    let sandbox = project();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "model", "-o", "new/"])), @r"
    exit 0
    --- stderr
    new/model: 1 file, 5 B, of HEAD
    ");
    // A folder is written under its new name, as `cp -r` does it.
    assert_eq!(sandbox.run(&["get", "data", "-o", "copy/"]).code, 0);
    assert_eq!(sandbox.read("copy/s/p"), "n: 2\n");
    let out = sandbox.run_in("copy", &["get", "../model", "-o", "../new/deep/"]);
    assert_eq!((out.code, sandbox.read("new/deep/model")), (0, "n: 2\n".into()), "{out}");
}

#[test]
fn import_goes_into_a_folder_too() {
    let source = project();
    let sandbox = Sandbox::within(source.root().parent().unwrap());
    sandbox.write("ext/notes.txt", "precious");
    for force in [&[][..], &["--force"]] {
        for out in ["ext/", "ext"] {
            let ran = sandbox.run(&[&["import", "../../repo", "model", "-o", out], force].concat());
            assert_eq!((ran.code, sandbox.read("ext/model")), (0, "n: 2\n".into()), "{ran}");
            assert_eq!(sandbox.read("ext/notes.txt"), "precious");
            assert_eq!(sandbox.run(&["remove", "ext/model", "--outs"]).code, 0);
            sandbox.write("ext/model", "old");
            let refused = sandbox.run(&["import", "../../repo", "model", "-o", out]);
            assert!(refused.code == 1 && refused.stderr.contains("`ext/model` exists already"), "{refused}");
            sandbox.remove("ext/model");
        }
    }
    let ran = sandbox.run_in("ext", &["import", "../../repo", "model", "-o", "../new/"]);
    assert_eq!(ran.code, 3, "relative to the current folder: {ran}");
    let ran = sandbox.run_in("ext", &["import", "../../../repo", "model", "-o", "../new/"]);
    assert_eq!((ran.code, sandbox.read("new/model")), (0, "n: 2\n".into()), "{ran}");
    let absolute = sandbox.path("theirs");
    let ran = sandbox.run(&["import", "../../repo", "data", "-o", absolute.to_str().unwrap()]);
    assert_eq!((ran.code, sandbox.read("theirs/s/p")), (0, "n: 2\n".into()), "{ran}");
    assert!(sandbox.read("pipeline.yaml").contains("path: theirs"));
    assert!(
        !Path::new(&sandbox.path("ext/pipeline.yaml")).exists()
            || sandbox.read("ext/pipeline.yaml").contains("../new/model")
    );
}
