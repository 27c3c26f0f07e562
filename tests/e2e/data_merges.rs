//! Tracked data that two branches changed: nothing of either side is dropped without a word, whichever command of Git
//! brings them together.

use std::path::Path;

use crate::sandbox::{Output, Sandbox, output};

fn git(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("git"), "").args(args).env("GIT_EDITOR", "true"))
}

fn ok(sandbox: &Sandbox, args: &[&str]) -> Output {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{out}");
    out
}

/// Changes files of data (`None` removes one), tracks it and commits.
fn commit(sandbox: &Sandbox, data: &str, files: &[(&str, Option<&str>)], subject: &str) {
    for (path, text) in files {
        match text {
            Some(text) => sandbox.write(path, text),
            None => sandbox.remove(path),
        }
    }
    ok(sandbox, &["add", "-q", data]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", subject]);
}

fn switch(sandbox: &Sandbox, to: &str) {
    sandbox.git(&["checkout", "-q", to]);
    ok(sandbox, &["checkout", "-q", "--force"]);
}

/// A folder `d` with the files x, y and s/z on `main`; `ours` and `theirs` are branches with these changes, of which
/// `ours` is checked out.
fn branches(ours: &[(&str, Option<&str>)], theirs: &[(&str, Option<&str>)]) -> Sandbox {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q"]);
    commit(&sandbox, "d", &[("d/x", Some("x\n")), ("d/y", Some("y\n")), ("d/s/z", Some("z\n"))], "base");
    for (name, files) in [("theirs", theirs), ("ours", ours)] {
        switch(&sandbox, "main");
        sandbox.git(&["checkout", "-qb", name]);
        commit(&sandbox, "d", files, name);
    }
    sandbox
}

fn files(sandbox: &Sandbox) -> Vec<String> {
    let listed =
        output(sandbox.command(Path::new("sh"), "").args(["-c", "cd d && find . -type f | sort | xargs grep ''"]));
    listed.stdout.lines().map(|line| line.trim_start_matches("./").to_string()).collect()
}

/// An entry that one side took out of its pipeline file by hand, and of which the other recorded a new version: the merge
/// is clean, so the file stays where it is, out of Git, and each command says what becomes of its pin.
#[test]
fn what_one_side_deleted_by_hand_and_the_other_changed_stays() {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q"]);
    let one = "data:\n- path: d\nstages:\n  a:\n    cmd: cp d a\n    deps: [d]\n    outs: [a]\n";
    let two = "  b:\n    cmd: cp e b\n    deps: [e]\n    outs: [b]\n";
    sandbox.write("d", "d");
    sandbox.write("e", "1");
    sandbox.write("pipeline.yaml", one.replace("stages:", "- path: e\nstages:") + two);
    ok(&sandbox, &["repro", "-q"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "base"]);
    sandbox.git(&["checkout", "-qb", "theirs"]);
    sandbox.write("pipeline.yaml", one);
    sandbox.git(&["commit", "-qam", "taken out by hand"]);
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.write("e", "2");
    ok(&sandbox, &["repro", "-q"]);
    sandbox.git(&["commit", "-qam", "a new version"]);
    assert_eq!(git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]).code, 0);
    let lock = sandbox.read("pipeline.lock");
    assert!(lock.contains("  e:\n") && lock.contains("  b:\n"), "{lock}");
    let out = ok(&sandbox, &["status"]);
    assert!(out.stderr.contains("e is not data of pipeline.yaml any more"), "{out}");
    assert!(out.stderr.contains("b is not an output of pipeline.yaml any more (stage b made it)"), "{out}");
    let out = ok(&sandbox, &["repro"]);
    assert!(out.stderr.contains("pipeline.lock pins the data e no longer"), "{out}");
    // Now that no lock has them, `status` names them, and the version of the other side is still in the store.
    let out = ok(&sandbox, &["status"]);
    for path in ["b", "e"] {
        assert!(
            out.stderr.contains(&format!("{path} is neither an output nor data any more; Git still ignores it")),
            "{out}"
        );
        assert_eq!(sandbox.read(path), "2");
    }
    assert_eq!(sandbox.git(&["status", "--short"]), " M pipeline.lock\n");
    ok(&sandbox, &["checkout"]);
    assert_eq!([sandbox.read("b"), sandbox.read("e")], ["2", "2"]);
    ok(&sandbox, &["get", "-q", "--rev", "HEAD~1", "e", "-o", "../e"]);
    assert_eq!(sandbox.read("../e"), "2");
}

#[test]
fn a_folder_is_joined_file_by_file() {
    let ours = [("d/ours", Some("o\n")), ("d/s/z", Some("oz\n")), ("d/y", None)];
    let theirs = [("d/theirs", Some("t\n")), ("d/s/t/deep", Some("t\n"))];
    let want = ["ours:o", "s/t/deep:t", "s/z:oz", "theirs:t", "x:x"];
    let sandbox = branches(&ours, &theirs);
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 0
    --- stdout
    Auto-merging pipeline.lock
    --- stderr
    pipeline.lock: data d: merged file by file from both sides
    ");
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), want);
    assert_eq!(ok(&sandbox, &["status"]).stdout, "");

    let sandbox = branches(&ours, &theirs);
    assert_eq!(git(&sandbox, &["rebase", "-q", "theirs"]).code, 0);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), want);

    // Without the driver the same comes of `lockstep merge`.
    let sandbox = branches(&ours, &theirs);
    ok(&sandbox, &["install", "-q", "--uninstall"]);
    assert_eq!(git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]).code, 1);
    ok(&sandbox, &["merge"]);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), want);
}

#[test]
fn a_file_that_both_sides_changed_is_a_conflict_until_a_side_is_taken() {
    let ours = [("d/x", Some("ours\n")), ("d/y", None), ("d/o", Some("o\n"))];
    let theirs = [("d/x", Some("theirs\n")), ("d/y", Some("theirs\n")), ("d/t", Some("t\n"))];
    let sandbox = branches(&ours, &theirs);
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    assert_eq!(out.code, 1, "{out}");
    assert_eq!(sandbox.git(&["status", "--short", "-uno"]), "UU pipeline.lock\n");
    let lock = sandbox.read("pipeline.lock");
    assert!(lock.contains("<<<<<<< HEAD\n  d:\n") && lock.contains(">>>>>>> theirs\n"), "{lock}");
    let out = sandbox.run(&["merge"]);
    let (_, told) = out.stderr.split_once('\n').unwrap();
    insta::assert_snapshot!(told, @r"
    error: pipeline.lock has conflicts in data
      d/x: both sides changed it
      d/y: ours removed it, theirs changed it
      hint: take one side, of data or of a file in it: lockstep merge --ours d, or --theirs d
    ");
    assert_eq!(out.code, 1);
    let nowhere = sandbox.run(&["merge", "--ours", "d/t"]);
    assert!(nowhere.code == 3 && nowhere.stderr.contains("d/t has no conflict"), "{nowhere}");
    let both = sandbox.run(&["merge", "--ours", "d/x", "--theirs", "d/x"]);
    assert!(both.code == 2 && both.stderr.contains("both sides"), "{both}");
    assert_eq!(sandbox.read("pipeline.lock").replace("> MERGE_HEAD", "> theirs"), lock);
    // One of two files is not enough; both, each from another side, are.
    assert_eq!(sandbox.run(&["merge", "--theirs", "d/x"]).code, 1);
    let out = ok(&sandbox, &["merge", "--theirs", "d/x", "--ours", "d/y"]);
    assert!(out.stderr.contains("data d: conflicts are taken from"), "{out}");
    sandbox.git(&["commit", "-qam", "merged"]);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), ["o:o", "s/z:z", "t:t", "x:theirs"]);
}

#[test]
fn a_choice_stays_while_the_next_one_is_made() {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q"]);
    let change = |text: &str| {
        ["e", "f", "g"].iter().for_each(|name| sandbox.write(name, text));
        ok(&sandbox, &["add", "-q", "e", "f", "g"]);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", text]);
    };
    change("base\n");
    sandbox.git(&["checkout", "-qb", "theirs"]);
    change("theirs\n");
    switch(&sandbox, "main");
    change("ours\n");
    assert_eq!(git(&sandbox, &["merge", "-q", "theirs"]).code, 1);
    let out = sandbox.run(&["merge", "--theirs", "f"]);
    assert!(out.code == 1 && !out.stderr.contains("  f: both") && out.stderr.contains("  g: both"), "{out}");
    let out = ok(&sandbox, &["merge", "--ours", "."]);
    assert!(out.stderr.contains("data f: settled already"), "{out}");
    sandbox.git(&["commit", "-qam", "merged"]);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(["e", "f", "g"].map(|name| sandbox.read(name)), ["ours\n", "theirs\n", "ours\n"]);
}

#[test]
fn rebase_and_stash_pop_stop_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q"]);
    commit(&sandbox, "f", &[("f", Some("0\n"))], "base");
    sandbox.write("f", "stashed\n");
    ok(&sandbox, &["add", "-q", "f"]);
    sandbox.git(&["stash", "-q"]);
    ok(&sandbox, &["checkout", "-q"]);
    commit(&sandbox, "f", &[("f", Some("new\n"))], "new");
    let out = git(&sandbox, &["stash", "pop", "-q"]);
    assert!(out.code == 1 && out.stderr.contains("f: both sides changed it"), "{out}");
    assert!(!sandbox.git(&["stash", "list"]).is_empty());
    ok(&sandbox, &["merge", "--theirs", "f"]);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(sandbox.read("f"), "stashed\n");

    let sandbox = branches(&[("d/x", Some("ours\n"))], &[("d/x", Some("theirs\n"))]);
    assert_eq!(git(&sandbox, &["rebase", "-q", "theirs"]).code, 1);
    // In a rebase theirs is the user's own commit.
    ok(&sandbox, &["merge", "--theirs", "d"]);
    sandbox.git(&["add", "-A"]);
    assert_eq!(git(&sandbox, &["rebase", "--continue"]).code, 0);
    assert_eq!(sandbox.git(&["log", "--format=%s"]), "ours\ntheirs\nbase\n");
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(sandbox.read("d/x"), "ours\n");
}

#[test]
fn data_that_one_side_removed_and_the_other_changed_is_a_conflict() {
    for side in ["ours", "theirs"] {
        let sandbox = Sandbox::new();
        ok(&sandbox, &["install", "-q"]);
        sandbox.write("keep", "k");
        ok(&sandbox, &["add", "-q", "keep"]);
        commit(&sandbox, "f", &[("f", Some("0\n"))], "base");
        sandbox.git(&["checkout", "-qb", "theirs"]);
        commit(&sandbox, "f", &[("f", Some("1\n"))], "changed");
        switch(&sandbox, "main");
        ok(&sandbox, &["remove", "-q", "f"]);
        sandbox.git(&["add", "pipeline.yaml", "pipeline.lock", ".gitignore"]);
        sandbox.git(&["commit", "-qm", "removed"]);
        let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
        assert!(out.code == 1 && out.stderr.contains("f: ours removed it, theirs changed it"), "{out}");
        let out = ok(&sandbox, &["merge", &format!("--{side}"), "f"]);
        assert_eq!(sandbox.read("pipeline.lock").contains("  f:\n"), side == "theirs");
        assert_eq!(out.stderr.contains("no pipeline file lists as data"), side == "theirs", "{out}");
    }
}

#[test]
fn the_first_data_of_both_branches_is_joined_where_it_does_not_clash() {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q"]);
    sandbox.write("pipeline.yaml", "data:\n- path: d\n");
    sandbox.write(".gitignore", "/d\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "base"]);
    sandbox.git(&["checkout", "-qb", "theirs"]);
    commit(&sandbox, "d", &[("d/same", Some("s\n")), ("d/t", Some("t\n"))], "theirs");
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.remove("d");
    commit(&sandbox, "d", &[("d/same", Some("s\n")), ("d/o", Some("o\n"))], "ours");
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    assert_eq!(out.code, 0, "{out}");
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), ["o:o", "same:s", "t:t"]);
}

#[test]
fn a_clone_without_the_listings_fetches_them_first() {
    let sandbox = branches(&[("d/o", Some("o\n"))], &[("d/t", Some("t\n"))]);
    let remote = sandbox.beside("remote");
    ok(&sandbox, &["remote", "add", "-q", "-d", "lab", remote.to_str().unwrap()]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "remote"]);
    ok(&sandbox, &["push", "-q", "-a"]);
    sandbox.remove(".git/lockstep/store");
    sandbox.remove("d");
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    assert!(out.code == 1 && out.stderr.contains("hint: fetch the listings of both sides"), "{out}");
    let out = ok(&sandbox, &["fetch"]);
    assert!(out.stderr.contains("next: lockstep merge"), "{out}");
    ok(&sandbox, &["merge"]);
    sandbox.git(&["commit", "-qam", "merged"]);
    // The joined folder was not pushed; its files are at the remote all the same.
    ok(&sandbox, &["pull", "-q"]);
    assert_eq!(files(&sandbox), ["o:o", "s/z:z", "t:t", "x:x", "y:y"]);
    ok(&sandbox, &["push", "-q"]);
}

#[test]
fn without_the_listings_a_side_can_be_taken_whole() {
    let sandbox = branches(&[("d/o", Some("o\n"))], &[("d/t", Some("t\n"))]);
    sandbox.remove(".git/lockstep/store");
    assert_eq!(git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]).code, 1);
    assert_eq!(sandbox.run(&["merge", "--ours", "d/o"]).code, 3);
    let out = ok(&sandbox, &["merge", "--ours", "d"]);
    insta::assert_snapshot!(out.stderr.split_once('\n').unwrap().1, @r"
      data d: taken whole from ours, since the listing of its files is not here
    warning: d is taken whole from ours: the changes of theirs in it are lost, including those that do not conflict
    hint: to join the rest, bring the listings first: git checkout -m pipeline.lock; lockstep fetch; lockstep merge --ours d
    next: git add pipeline.lock
    ");
    assert_eq!(sandbox.read("pipeline.lock"), sandbox.git(&["show", "ours:pipeline.lock"]));
}

#[test]
fn executable_bits_and_content_are_joined_each_for_itself() {
    let sandbox = branches(&[("d/x", Some("changed\n"))], &[("d/t", Some("t\n"))]);
    switch(&sandbox, "theirs");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::remove_file(sandbox.path("d/x")).unwrap();
    sandbox.write("d/x", "x\n");
    std::fs::set_permissions(sandbox.path("d/x"), mode).unwrap();
    commit(&sandbox, "d", &[], "executable");
    switch(&sandbox, "ours");
    assert_eq!(git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]).code, 0);
    ok(&sandbox, &["checkout", "-q"]);
    assert_eq!(files(&sandbox), ["s/z:z", "t:t", "x:changed", "y:y"]);
    let mode = std::fs::metadata(sandbox.path("d/x")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o111, 0o111);
}

/// The common ancestor is itself a merge with a conflict, which Git hands to the driver with its markers.
#[test]
fn criss_cross_merges_drop_nothing() {
    let sandbox = branches(&[("d/x", Some("ours\n"))], &[("d/x", Some("theirs\n"))]);
    for (from, other, side) in [("theirs", "ours", "--ours"), ("ours", "theirs", "--ours")] {
        switch(&sandbox, &format!("{from}~0"));
        sandbox.git(&["checkout", "-qb", &format!("{from}-2")]);
        assert_eq!(git(&sandbox, &["merge", "-q", "--no-edit", other]).code, 1);
        ok(&sandbox, &["merge", side, "d"]);
        sandbox.git(&["commit", "-qam", "merged"]);
    }
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs-2"]);
    assert!(out.code == 1 && out.stderr.contains("d/x"), "{out}");
    ok(&sandbox, &["merge", "--theirs", "d"]);
    ok(&sandbox, &["checkout", "-q", "--force"]);
    assert_eq!(sandbox.read("d/x"), "theirs\n");
}

#[test]
fn a_joined_folder_is_in_the_store_before_the_lock_names_it() {
    let sandbox = branches(&[("d/o", Some("o\n"))], &[("d/t", Some("t\n"))]);
    // The store cannot be written: then it is a conflict, and no lock names what is not there.
    std::fs::write(sandbox.path(".git/lockstep/store/generation"), "lockstep-store 9\n").unwrap();
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    assert!(out.code == 1 && out.stderr.contains("d: its files cannot be merged"), "{out}");
    assert!(sandbox.read("pipeline.lock").contains("<<<<<<<"));
}

/// Lines of Git's own merge may come from either side: of data that is not guessed.
#[test]
fn a_version_that_cannot_be_told_is_not_left_out() {
    let sandbox = branches(&[("d/x", Some("ours\n"))], &[("d/x", Some("theirs\n"))]);
    ok(&sandbox, &["install", "-q", "--uninstall"]);
    assert_eq!(git(&sandbox, &["merge", "-q", "theirs"]).code, 1);
    let marked = sandbox.read("pipeline.lock").replace(">>>>>>> theirs", ">>>>>>> a branch that is gone");
    sandbox.write("pipeline.lock", &marked);
    sandbox.git(&["add", "-A"]);
    let out = sandbox.run(&["merge"]);
    assert!(out.code == 2 && out.stderr.contains("git checkout -m pipeline.lock"), "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), marked);
    sandbox.git(&["checkout", "-m", "pipeline.lock"]);
    ok(&sandbox, &["merge", "--theirs", "d"]);
}
