//! What `.lockstepignore` names inside an output is the user's: it outlives every version of the output.

use crate::sandbox::Sandbox;

/// An output of three files, with the labels of a day beside them.
fn labelled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(".lockstepignore", "*.note\n");
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  make:\n    cmd: mkdir -p out/sub; for i in 1 2 3; do cat in > out/$i; done; cat in > out/sub/x\n    \
         deps: [in]\n    outs: [out]\n",
    );
    sandbox.write("in", "one\n");
    fine(&sandbox, &["repro", "-q"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox.write("out/mine.note", "labels");
    sandbox.write("out/sub/mine.note", "more labels");
    sandbox
}

#[track_caller]
fn fine(sandbox: &Sandbox, args: &[&str]) -> String {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{out}");
    out.stderr
}

/// The file that is kept in some log folder, as `path` of the output.
fn kept(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let logs = crate::promises::files(&sandbox.path(".git/lockstep/worktree/logs"));
    let end = format!("kept/{path}");
    logs.into_iter()
        .filter(|(name, _)| name.ends_with(&end))
        .map(|(_, text)| String::from_utf8(text).unwrap())
        .collect()
}

#[test]
fn a_rerun_leaves_it_in_its_place() {
    let sandbox = labelled();
    for args in [&["repro", "-f", "--no-run-cache"][..], &["repro", "-f"], &["repro"]] {
        sandbox.write("in", format!("{args:?}\n"));
        let told = fine(&sandbox, args);
        assert!(!told.contains("is kept in") && !told.contains("are kept in"), "{told}");
        assert_eq!(sandbox.read("out/1"), format!("{args:?}\n"));
        assert_eq!(sandbox.read("out/mine.note"), "labels");
        assert_eq!(sandbox.read("out/sub/mine.note"), "more labels");
    }
    // No row of the index covers what came in after the look.
    fine(&sandbox, &["status", "--quiet"]);
}

#[test]
fn recording_a_refused_run_leaves_it_in_its_place() {
    let sandbox = labelled();
    // The stage changes its own input: what it made is refused, and kept.
    let text = sandbox.read("pipeline.yaml").replace("cat in > out/sub/x", "cat in > out/sub/x; echo edited > in");
    sandbox.write("pipeline.yaml", text);
    sandbox.write("in", "two\n");
    assert_eq!(sandbox.run(&["repro"]).code, 6);
    assert_eq!((sandbox.read("out/1").as_str(), sandbox.read("out/mine.note").as_str()), ("one\n", "labels"));
    fine(&sandbox, &["commit", "--kept", "--force", "make"]);
    assert_eq!(sandbox.read("out/1"), "two\n");
    assert_eq!(sandbox.read("out/mine.note"), "labels");
    assert_eq!(sandbox.read("out/sub/mine.note"), "more labels");
}

#[test]
fn what_a_command_writes_anew_is_kept_as_it_was() {
    let sandbox = labelled();
    let text =
        sandbox.read("pipeline.yaml").replace("cat in > out/sub/x", "cat in > out/sub/x; echo its own > out/mine.note");
    sandbox.write("pipeline.yaml", text);
    let told = fine(&sandbox, &["repro"]);
    assert!(told.contains("files in out that lockstep ignores could not stay there; they are kept in "), "{told}");
    assert_eq!(sandbox.read("out/mine.note"), "its own\n");
    assert_eq!(kept(&sandbox, "out/mine.note"), ["labels"]);
    assert_eq!(sandbox.read("out/sub/mine.note"), "more labels");
    // The rest of the old version is not kept: the store has it.
    assert_eq!(kept(&sandbox, "out/1"), [""; 0]);
}

#[test]
fn a_checkout_that_has_no_place_for_it_keeps_it() {
    let sandbox = labelled();
    sandbox.git(&["checkout", "-qb", "other"]);
    // There `out` is a file.
    sandbox.write("pipeline.yaml", "stages:\n  make:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n");
    std::fs::rename(sandbox.path("out"), sandbox.path("../labelled")).unwrap();
    fine(&sandbox, &["repro", "-q"]);
    sandbox.git(&["commit", "-qam", "a file"]);
    sandbox.git(&["checkout", "-q", "main"]);
    fine(&sandbox, &["checkout", "-q"]);
    sandbox.write("out/mine.note", "labels");
    sandbox.git(&["checkout", "-q", "other"]);
    let told = fine(&sandbox, &["checkout"]);
    assert!(told.contains("they are kept in "), "{told}");
    assert_eq!(sandbox.read("out"), "one\n");
    assert_eq!(kept(&sandbox, "out/mine.note"), ["labels"]);
    assert_eq!(kept(&sandbox, "out/1"), [""; 0]);
    // Nothing of ours is left beside it.
    let beside = std::fs::read_dir(sandbox.root())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".lockstep-"));
    assert_eq!(beside.count(), 0);
}

#[test]
fn removing_outputs_leaves_it_where_it_is() {
    let sandbox = labelled();
    let told = fine(&sandbox, &["remove", "make", "--outs"]);
    assert!(told.contains("files in out that lockstep ignores were left where they are"), "{told}");
    assert_eq!(sandbox.read("out/mine.note"), "labels");
    assert!(!sandbox.exists("out/1") && !sandbox.exists("out/sub/x"));
    let sandbox = labelled();
    fine(&sandbox, &["remove", "make", "--outs", "--force"]);
    assert!(!sandbox.exists("out"));
}

#[test]
fn an_import_that_is_renewed_leaves_it_in_its_place() {
    let source = labelled();
    let sandbox = Sandbox::within(source.root().parent().unwrap());
    sandbox.write(".lockstepignore", "*.note\n");
    fine(&sandbox, &["import", "../../repo", "out", "-o", "raw"]);
    sandbox.write("raw/mine.note", "labels");
    source.write("in", "two\n");
    fine(&source, &["repro", "-q"]);
    source.git(&["commit", "-qam", "two"]);
    fine(&sandbox, &["update"]);
    assert_eq!(sandbox.read("raw/1"), "two\n");
    assert_eq!(sandbox.read("raw/mine.note"), "labels");
}

/// A checkout that was killed after its swap: what it swapped out has the name of what is half built.
#[test]
fn a_kill_does_not_take_it_along() {
    let sandbox = labelled();
    let old = ".out.lockstep-0123456789abcdef";
    for (name, text) in [("1", "old\n"), ("late.note", "late"), ("sub/mine.note", "other labels"), ("gone/x.note", "x")]
    {
        sandbox.write(&format!("{old}/{name}"), text);
    }
    sandbox.write(".git/lockstep/worktree/state/root/restoring/0", "out");
    let told = fine(&sandbox, &["checkout"]);
    assert!(told.contains("they are kept in "), "{told}");
    assert!(!sandbox.exists(old));
    assert_eq!((sandbox.read("out/late.note"), sandbox.read("out/gone/x.note")), ("late".into(), "x".into()));
    assert_eq!((sandbox.read("out/1"), sandbox.read("out/sub/mine.note")), ("one\n".into(), "more labels".into()));
    assert_eq!(kept(&sandbox, "out/sub/mine.note"), ["other labels"]);
}
