//! Outputs follow the branch: what another one made goes when it is not checked out any more, and nothing else does.

use crate::sandbox::Sandbox;

/// `main` has stage `a`, `two` another one with the output `nd/`; on `two` both were run.
fn two_branches() -> Sandbox {
    let s = Sandbox::new();
    s.write("in.txt", "one\n");
    assert_eq!(s.run(&["stage", "add", "-n", "a", "-d", "in.txt", "-o", "out/a", "cp in.txt out/a"]).code, 0);
    s.write("out/keep.md", "Git's\n");
    assert_eq!(s.run(&["repro"]).code, 0);
    s.git(&["add", "-A"]);
    s.git(&["commit", "-qm", "one"]);
    s.git(&["checkout", "-qb", "two"]);
    let cmd = "mkdir -p deep/nd/sub; cp in.txt deep/nd/x; cp in.txt deep/nd/sub/y";
    assert_eq!(s.run(&["stage", "add", "-n", "n", "-d", "in.txt", "-o", "deep/nd", cmd]).code, 0);
    assert_eq!(s.run(&["repro"]).code, 0);
    s.git(&["add", "-A"]);
    s.git(&["commit", "-qm", "two"]);
    s.git(&["checkout", "-q", "main"]);
    assert!(s.exists("deep/nd/x"));
    s
}

#[test]
fn checkout_takes_away_what_the_other_branch_made() {
    let s = two_branches();
    insta::assert_snapshot!(s.shown(&s.run(&["checkout"])), @"
    exit 0
    --- stderr
    removed deep/nd: no longer an output here, still in the store
    ");
    assert!(!s.exists("deep") && s.exists("out/a"));
    assert_eq!(s.git(&["status", "--short"]), "");
    s.git(&["checkout", "-q", "two"]);
    assert_eq!(s.run(&["checkout"]).code, 0);
    assert_eq!(s.read("deep/nd/sub/y"), "one\n");
    // A restored output is as much the branch's as one that was made.
    s.git(&["checkout", "-q", "main"]);
    assert!(s.run(&["checkout"]).stderr.contains("removed deep/nd"));
    assert!(!s.exists("deep"));
}

#[test]
fn what_may_be_the_users_own_stays() {
    type Case = (&'static str, fn(&Sandbox));
    let cases: [Case; 5] = [
        ("an edit", |s| s.write("deep/nd/x", "by hand\n")),
        ("another file", |s| s.write("deep/nd/notes", "by hand\n")),
        ("an ignored file", |s| s.write("deep/nd/x.pyc", "by hand\n")),
        ("not in the store", |s| s.remove(".git/lockstep/store")),
        ("only a target was asked for", |s| assert_eq!(s.run(&["checkout", "a"]).code, 0)),
    ];
    for (case, change) in cases {
        let s = two_branches();
        change(&s);
        let targets: &[&str] = if case.starts_with("only") { &["checkout", "a"] } else { &["checkout"] };
        let out = s.run(targets);
        assert!(s.exists("deep/nd/sub/y"), "{case} {out}");
        assert!(!out.stderr.contains("removed"), "{case} {out}");
    }
}

#[test]
fn another_project_in_a_folder_keeps_its_outputs() {
    let s = two_branches();
    s.write("sub/lockstep.toml", "");
    s.write("sub/pipeline.yaml", "stages: {b: {cmd: echo 1 > made, outs: [made]}}\n");
    assert_eq!(s.run_in("sub", &["repro"]).code, 0);
    let out = s.run(&["checkout"]);
    assert!(out.stderr.contains("removed deep/nd") && !out.stderr.contains("made"), "{out}");
    assert!(s.exists("sub/made"));
}

#[test]
fn what_leaves_a_pipeline_by_an_edit_stays() {
    let taken_out = |how: &dyn Fn(&Sandbox)| {
        let s = two_branches();
        s.git(&["checkout", "-q", "two"]);
        how(&s);
        let out = s.run(&["checkout"]);
        assert!(s.exists("deep/nd/x"), "{out}");
        s.git(&["commit", "-qam", "three"]);
        let out = s.run(&["checkout"]);
        assert!(s.exists("deep/nd/x"), "{out}");
    };
    taken_out(&|s| assert_eq!(s.run(&["remove", "n"]).code, 0));
    taken_out(&|s| {
        s.write("pipeline.yaml", s.git(&["show", "main:pipeline.yaml"]));
        // While the lock has it, and after the lock was tidied.
        assert_eq!(s.run(&["checkout"]).code, 0);
        assert!(s.exists("deep/nd/x"));
        assert_eq!(s.run(&["repro"]).code, 0);
    });
}
