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

#[test]
fn a_folder_is_written_into_a_folder_as_cp_does() {
    let origin = Sandbox::new();
    origin.write("d/x", "new");
    origin.write("d/s/y", "new");
    origin.write("tracked/x", "new");
    origin.write("tracked/s/y", "new");
    assert_eq!(origin.run(&["add", "-q", "tracked"]).code, 0);
    origin.git(&["add", "-A"]);
    origin.git(&["commit", "-qm", "first"]);
    let url = origin.root().to_str().unwrap().to_string();
    for (command, from) in [("get", "d"), ("get", "tracked"), ("import", "d"), ("import", "tracked")] {
        let sandbox = Sandbox::new();
        for path in ["x", "own", "s/own"] {
            sandbox.write(&format!("{from}/{path}"), "old");
        }
        let out = sandbox.run(&[command, &url, from]);
        assert!(out.code == 1 && out.stderr.contains("write into it: add --force"), "{out}");
        let out = sandbox.run(&[command, "--force", &url, from]);
        assert_eq!(out.code, 0, "{out}");
        let read = ["x", "s/y", "own", "s/own"].map(|path| sandbox.read(&format!("{from}/{path}")));
        assert_eq!(read, ["new", "new", "old", "old"]);
        assert_eq!(out.stderr.contains("held 2 other files, which stay"), command == "import", "{out}");
        // Again: nothing is left of the way it was made.
        let names = std::fs::read_dir(sandbox.root()).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
        assert!(names.filter(|name| !name.starts_with('.') && !name.starts_with("pipeline.")).eq([from]));
    }
    // What cannot be written into stops it before anything is touched.
    let sandbox = Sandbox::new();
    sandbox.write("d/x", "old");
    sandbox.write("d/s", "old");
    let out = sandbox.run(&["get", "--force", &url, "d"]);
    assert!(out.code == 1 && out.stderr.contains("d/s is a file or a link"), "{out}");
    assert_eq!((sandbox.read("d/x"), sandbox.read("d/s")), ("old".into(), "old".into()));
    // A file or a link is replaced.
    sandbox.remove("d");
    sandbox.write("d", "old");
    assert_eq!(sandbox.run(&["get", "--force", &url, "d"]).code, 0);
    assert_eq!(sandbox.read("d/x"), "new");
}
