//! Pointers of Git LFS are not taken for the files that they stand for.

use crate::sandbox::{Output, Sandbox};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

fn is_refused(out: &Output, path: &str) {
    assert!(out.code == 3, "{out}");
    assert!(out.stderr.contains(&format!("{path} is a pointer of Git LFS")), "{out}");
    assert!(out.stderr.contains("git lfs pull"), "{out}");
}

#[test]
fn deps_outs_and_data_that_are_pointers_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("in/a/x.bin", POINTER);
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: cat in/a/x.bin > out\n    deps: [in]\n    outs: [out]\n");
    is_refused(&sandbox.run(&["repro"]), "in/a/x.bin");
    // It stays an error, and goes with the pointer.
    is_refused(&sandbox.run(&["repro"]), "in/a/x.bin");
    assert!(sandbox.run(&["status"]).stderr.contains("git lfs pull"));
    sandbox.write("in/a/x.bin", "the file\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("out", POINTER);
    is_refused(&sandbox.run(&["commit"]), "out");
}

#[test]
fn add_get_and_import_refuse_them() {
    let origin = Sandbox::new();
    origin.write("d/x", POINTER);
    origin.write("d/y", "y");
    origin.git(&["add", "-A"]);
    origin.git(&["commit", "-qm", "first"]);
    let url = origin.root().to_str().unwrap().to_string();

    let sandbox = Sandbox::new();
    sandbox.write("big/x", POINTER);
    is_refused(&sandbox.run(&["add", "big"]), "big/x");
    assert!(!sandbox.exists("pipeline.yaml") && !sandbox.exists("pipeline.lock"));
    for command in [["get", &url, "d"], ["get", &url, "d/x"], ["import", &url, "d"], ["import", &url, "d/x"]] {
        let out = sandbox.run(&command);
        assert!(
            out.code == 3 && out.stderr.contains("d/x of ") && out.stderr.contains("is a pointer of Git LFS"),
            "{out}"
        );
        assert!(!sandbox.exists("d") && !sandbox.exists("x"));
    }
    assert_eq!(sandbox.run(&["get", &url, "d/y"]).code, 0);
}

#[test]
fn params_and_metrics_that_are_pointers_are_no_values() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "metrics: [m.yaml]\nparams: [p.yaml]\n");
    for file in ["m.yaml", "p.yaml"] {
        sandbox.write(file, POINTER);
    }
    is_refused(&sandbox.run(&["metrics", "show"]), "m.yaml");
    is_refused(&sandbox.run(&["params", "show"]), "p.yaml");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    is_refused(&sandbox.run(&["metrics", "show", "--rev", "HEAD"]), "m.yaml");
    let older = POINTER.replace("git-lfs", "hawser");
    sandbox.write("d", older);
    is_refused(&sandbox.run(&["add", "d"]), "d");
    sandbox.write("params.yaml", POINTER);
    let out = sandbox.run(&["params", "show"]);
    assert!(
        out.stderr.contains("params.yaml: it is a pointer of Git LFS") && out.stderr.contains("git lfs pull"),
        "{out}"
    );
}
