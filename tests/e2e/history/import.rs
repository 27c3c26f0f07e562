use super::{commit, project, shown};
use crate::sandbox::Sandbox;

/// A repository beside `source`, so that a relative path leads from one to the other.
fn beside(source: &Sandbox) -> Sandbox {
    Sandbox::within(source.root().parent().unwrap())
}

/// How `source` is called from `sandbox`.
const THERE: &str = "../../repo";

#[test]
fn imports_are_pinned_and_renewed() {
    let source = project();
    let sandbox = beside(&source);
    sandbox
        .write("pipeline.yaml", "stages:\n  use:\n    cmd: cat raw/s/p > o # ours\n    deps: [raw]\n    outs: [o]\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["import", THERE, "data", "--rev", "main", "-o", "raw"])), @r"
    exit 0
    --- stderr
    raw: 3 files, pinned
    raw is data of ../../repo at main ([ID])
    next: git add .gitignore pipeline.lock pipeline.yaml
    ");
    let head = source.git(&["rev-parse", "HEAD"]);
    let text = sandbox.read("pipeline.yaml");
    assert!(text.contains("# ours"), "{text}");
    insta::assert_snapshot!(text.split_once("data:\n").unwrap().1.replace(head.trim(), "[HEAD]").replace('\'', ""), @r"
    - path: raw
      import:
        url: ../../repo
        path: data
        rev: main
        commit: [HEAD]
    ");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(sandbox.read("o"), "n: 2\n");
    assert_eq!(sandbox.run(&["status", "--quiet"]).code, 0);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["update"])), @r"
    exit 0
    --- stderr
    every import is at the newest commit of the revision that it follows
    ");

    commit(&source, 3);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["update", "raw"])), @r"
    exit 0
    --- stderr
    raw: +0 −0 ~1 files, pinned
    raw: [ID] → [ID] (main of ../../repo)
    next: git add pipeline.lock pipeline.yaml
    ");
    assert_eq!(sandbox.read("raw/s/p"), "n: 3\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["update", "raw", "--rev", "v1"])), @r"
    exit 0
    --- stderr
    raw: +0 −0 ~1 files, pinned
    raw: [ID] → [ID] (v1 of ../../repo)
    next: git add pipeline.lock pipeline.yaml
    ");
    assert!(sandbox.read("pipeline.yaml").contains("rev: v1"));
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(sandbox.read("o"), "n: 1\n");
}

#[test]
fn what_is_refused() {
    let source = project();
    let sandbox = beside(&source);
    sandbox.write("taken", "mine");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["import", THERE, "model", "-o", "taken"])), @r"
    exit 1
    --- stderr
    error: `taken` exists already; it was not touched
      hint: replace it: add --force
    ");
    assert!(!sandbox.exists("pipeline.yaml"));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["import", THERE, "nothing"])), @r"
    exit 3
    --- stderr
    error: [ID] has neither a file nothing in Git nor one that is pinned
      hint: see what there is: lockstep list ../../repo --rev [ID] -R
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["import", THERE, "model", "-o", "../x"])), @r"
    exit 2
    --- stderr
    error: `../x` is outside the project
    ");
    assert_eq!(sandbox.run(&["import", THERE, "model"]).code, 0);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["import", THERE, "model"])), @r"
    exit 2
    --- stderr
    error: model is tracked already
      hint: renew an import: lockstep update model
      hint: or stop tracking it first: lockstep stage remove model
    ");
    commit(&source, 3);
    sandbox.write("model", "edited");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["update"])), @r"
    exit 1
    --- stderr
    error: model was changed and saved nowhere; it was not touched
      hint: throw the changes away: add --force
      hint: or keep them: lockstep commit
    ");
    assert_eq!(sandbox.read("model"), "edited");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["update", "taken"])), @r"
    exit 3
    --- stderr
    error: `taken` is not an import
      hint: import something: lockstep import URL PATH
    ");
    sandbox.write("pipeline.yaml", "data:\n- path: x\n  import: {url: u, path: p, commit: abc, branch: main}\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["status"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    pipeline.yaml:3:37: `data`, `import`, `commit` must be a whole commit id, 40 or 64 hexadecimal digits
      |
    3 |   import: {url: u, path: p, commit: abc, branch: main}
      |                                     ^
    pipeline.yaml:3:42: unknown key `branch` in `data`, `import`
      |
    3 |   import: {url: u, path: p, commit: abc, branch: main}
      |                                          ^
    ");
}

#[test]
fn a_file_is_not_written_over_a_folder() {
    let source = project();
    source.write("file", "theirs");
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "file"]);
    let sandbox = beside(&source);
    sandbox.write("file/deep/x", "mine");
    for verb in ["get", "import"] {
        for more in [&[][..], &["-f"]] {
            let out = sandbox.run(&[&[verb, THERE, "file"][..], more].concat());
            assert!(out.code == 1 && out.stderr.contains("is a folder, where a file has to be written"), "{out}");
            assert!(!out.stderr.contains("--force"), "{out}");
        }
    }
    assert_eq!(sandbox.read("file/deep/x"), "mine");
    assert!(!sandbox.exists("pipeline.yaml"));
}

#[test]
fn what_was_changed_after_the_import_and_recorded_is_not_updated_away() {
    let source = project();
    for (n, own) in [(6, "data/mine"), (7, "data/s/p")] {
        let sandbox = beside(&source);
        assert_eq!(sandbox.run(&["import", THERE, "data"]).code, 0);
        sandbox.write(own, "mine");
        assert_eq!(sandbox.run(&["commit"]).code, 0);
        commit(&source, n);
        let out = sandbox.run(&["update"]);
        assert!(out.code == 1 && out.stderr.contains("may differ from what was imported"), "{out}");
        assert_eq!(sandbox.read(own), "mine");
        let out = sandbox.run(&["update", "--force"]);
        assert_eq!(out.code, 0, "{out}");
        assert_ne!(sandbox.exists(own).then(|| sandbox.read(own)).as_deref(), Some("mine"));
        std::fs::remove_dir_all(sandbox.root()).unwrap();
    }
}
