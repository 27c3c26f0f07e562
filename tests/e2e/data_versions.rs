//! Tracked data in the workspace that is another version than the lock pins: after a merge, a pull or a switch of branches
//! no command puts the old version back into the lock.

use std::path::Path;

use crate::sandbox::{Output, Sandbox, output};

fn ok(sandbox: &Sandbox, args: &[&str]) -> Output {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{args:?} {out}");
    out
}

fn commit(sandbox: &Sandbox, subject: &str) {
    ok(sandbox, &["repro", "-q"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", subject]);
}

fn git(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("git"), "").args(args).env("GIT_EDITOR", "true"))
}

/// `raw` with the files a, b and c, which a stage reads; on the branch `theirs` `raw/a` is another one. `main` is checked
/// out, and its lock is that of the merge with `theirs`; the workspace is as before.
fn merged() -> Sandbox {
    let sandbox = Sandbox::new();
    ok(&sandbox, &["install", "-q", "--post-checkout"]);
    for name in ["a", "b", "c"] {
        sandbox.write(&format!("raw/{name}"), name);
    }
    ok(&sandbox, &["add", "-q", "raw"]);
    let stages = "stages:\n  s:\n    cmd: cat raw/* > o\n    deps: [raw]\n    outs: [o]\n";
    sandbox.write("pipeline.yaml", &(sandbox.read("pipeline.yaml") + stages));
    commit(&sandbox, "base");
    sandbox.git(&["checkout", "-qb", "theirs"]);
    sandbox.write("raw/a", "theirs");
    commit(&sandbox, "theirs");
    sandbox.git(&["checkout", "-q", "main"]);
    ok(&sandbox, &["checkout", "-q"]);
    sandbox
}

fn pull(sandbox: &Sandbox) {
    let out = git(sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stderr.contains("1 data path differ from pipeline.lock: lockstep checkout"), "{out}");
}

#[test]
fn a_version_that_is_not_checked_out_is_not_recorded() {
    let sandbox = merged();
    pull(&sandbox);
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["status"]);
    assert!(out.stdout.contains("data raw: not checked out"), "{out}");
    let out = sandbox.run(&["repro"]);
    insta::assert_snapshot!(out.stderr.lines().take(3).collect::<Vec<_>>().join("\n"), @r"
    error: data raw is not checked out: pipeline.lock pins another version
      hint: bring the pinned version: lockstep checkout raw
      hint: or pin what is here instead of it: lockstep commit --force raw
    ");
    for args in [&["repro"][..], &["repro", "--no-commit"], &["repro", "--pull"], &["commit"], &["commit", "raw"]] {
        assert_eq!(sandbox.run(args).code, 1, "{args:?}");
    }
    for args in [&["add", "raw"][..], &["repro", "--locked"], &["repro", "-f", "s"], &["commit", "--force"]] {
        assert_eq!(sandbox.run(args).code, 1, "{args:?}");
    }
    assert_eq!(sandbox.read("pipeline.lock"), lock);
    ok(&sandbox, &["checkout"]);
    assert_eq!(sandbox.read("raw/a"), "theirs");
    ok(&sandbox, &["repro"]);
    // What is edited from here on is an edit.
    sandbox.write("raw/b", "mine");
    assert!(ok(&sandbox, &["repro"]).stderr.contains("raw: +0 −0 ~1 files, pinned"));
}

#[test]
fn the_old_version_can_be_recorded_on_purpose() {
    let sandbox = merged();
    pull(&sandbox);
    ok(&sandbox, &["commit", "--force", "raw"]);
    let out = ok(&sandbox, &["repro"]);
    assert!(!out.stderr.contains("pinned"), "{out}");
    assert_eq!(sandbox.read("raw/a"), "a");
}

/// Also without an index, which is a cache: the store knows the version.
#[test]
fn a_lost_index_makes_no_edit_of_an_old_version() {
    let sandbox = merged();
    pull(&sandbox);
    sandbox.remove(".git/lockstep/worktree/index");
    assert_eq!(sandbox.run(&["repro"]).code, 1);
}

fn lose_index_and_store(sandbox: &Sandbox) {
    sandbox.remove(".git/lockstep/worktree/index");
    sandbox.remove(".git/lockstep/store");
}

/// And without a store: an earlier lock pins it.
#[test]
fn an_earlier_version_of_the_history_is_no_edit() {
    let sandbox = merged();
    pull(&sandbox);
    lose_index_and_store(&sandbox);
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["status"]);
    assert!(out.stdout.contains("data raw: not checked out"), "{out}");
    for args in [&["repro"][..], &["repro", "--no-commit"], &["commit"], &["add", "raw"], &["checkout", "raw"]] {
        let out = sandbox.run(args);
        assert!(out.code == 1 || args[0] == "checkout" && out.code == 3, "{args:?} {out}");
    }
    assert_eq!((sandbox.read("pipeline.lock"), sandbox.read("raw/a")), (lock, "a".into()));
    // An edit is one still.
    sandbox.write("raw/a", "mine");
    let out = ok(&sandbox, &["repro"]);
    assert!(!out.stderr.contains("warning"), "{out}");
    assert_eq!(sandbox.run(&["status"]).stdout, "");
}

/// Of a branch that was left: no commit of this one has it.
#[test]
fn an_earlier_version_of_the_reflog_is_no_edit() {
    let sandbox = merged();
    sandbox.git(&["checkout", "-q", "theirs"]);
    ok(&sandbox, &["checkout", "-q"]);
    sandbox.git(&["checkout", "-q", "main"]);
    lose_index_and_store(&sandbox);
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 1 && out.stderr.contains("not checked out"), "{out}");
}

/// Beyond the border of a shallow clone nothing is known: an edit is recorded, and the doubt is said.
#[test]
fn a_shallow_clone_says_what_it_does_not_know() {
    let sandbox = merged();
    pull(&sandbox);
    let url = format!("file://{}", sandbox.root().display());
    sandbox.git(&["clone", "-q", "--depth", "1", &url, "../clone"]);
    for name in ["a", "b", "c"] {
        sandbox.write(&format!("../clone/raw/{name}"), name);
    }
    let out = sandbox.run_in("../clone", &["status"]);
    assert!(out.stdout.contains("data raw: modified"), "{out}");
    let doubt = "raw is taken for an edit: whether it is an earlier version is not known, since this clone is shallow";
    assert!(out.stderr.contains(doubt), "{out}");
    let out = sandbox.run_in("../clone", &["repro"]);
    assert!(out.code == 0 && out.stderr.contains(doubt), "{out}");
}

/// Whatever a run reads of data counts, also what only the variables of another pipeline file come from.
#[test]
fn data_that_variables_come_from_counts() {
    for (vars, name) in [
        ("vars: [../conf.yaml]\nstages: {s: {cmd: 'echo ${x} > o', outs: [o]}}\n", "conf.yaml"),
        ("stages: {s: {cmd: 'echo ${x} > o', outs: [o], vars: [../conf.yaml]}}\n", "conf.yaml"),
        ("vars: [../conf/f.yaml]\nstages: {s: {cmd: 'echo ${x} > o', outs: [o]}}\n", "conf/f.yaml"),
        ("stages: {s: {cmd: 'echo ${x} > o', outs: [o]}}\n", "sub/params.yaml"),
        ("stages: {s: {cmd: 'true', params: [../conf.yaml: [x]]}}\n", "conf.yaml"),
    ] {
        let sandbox = Sandbox::new();
        let data = if name.starts_with("conf/") { "conf" } else { name };
        sandbox.write(name, "x: 1\n");
        sandbox.write("pipeline.yaml", format!("data: [{{path: {data}}}]\n"));
        sandbox.write("sub/pipeline.yaml", vars);
        ok(&sandbox, &["repro", "-P", "-q"]);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "1"]);
        sandbox.write(name, "x: 2\n");
        ok(&sandbox, &["repro", "-P", "-q"]);
        sandbox.git(&["commit", "-qam", "2"]);
        sandbox.git(&["checkout", "-q", "HEAD~1"]);
        let locks = || [sandbox.read("pipeline.lock"), sandbox.read("sub/pipeline.lock")];
        let before = locks();
        let out = sandbox.run_in("sub", &["repro"]);
        assert!(
            out.code == 1 && out.stderr.contains(&format!("{data} is not checked out").replace("sub/", "")),
            "{vars} {out}"
        );
        assert_eq!(locks(), before, "{vars}");
        ok(&sandbox, &["checkout", "-q"]);
        let out = sandbox.run_in("sub", &["repro"]);
        assert!(out.code == 0 && out.stderr.contains("1 up to date"), "{out}");
    }
}

#[test]
fn changes_of_both_are_joined() {
    let sandbox = merged();
    sandbox.write("raw/c", "mine");
    pull(&sandbox);
    let lock = sandbox.read("pipeline.lock");
    assert!(sandbox.run(&["status"]).stdout.contains("data raw: diverged"));
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 1 && out.stderr.contains("lockstep checkout --merge raw"), "{out}");
    for args in [&["checkout"][..], &["commit"], &["add", "raw"]] {
        let out = sandbox.run(args);
        assert!(out.code == 1 && out.stderr.contains("lockstep checkout --merge raw"), "{args:?} {out}");
        assert!(!out.stderr.contains("record them"), "{out}");
    }
    assert_eq!(sandbox.read("pipeline.lock"), lock);
    let out = ok(&sandbox, &["checkout", "--merge", "raw"]);
    assert!(out.stderr.contains("merged raw"), "{out}");
    assert_eq!(["a", "b", "c"].map(|name| sandbox.read(&format!("raw/{name}"))), ["theirs", "b", "mine"]);
    // It is an edit now, of which nothing is dropped.
    assert!(sandbox.run(&["status"]).stdout.contains("data raw: modified"));
    ok(&sandbox, &["checkout", "--merge"]);
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 1 && out.stderr.contains("or record them: lockstep commit"), "{out}");
    ok(&sandbox, &["repro"]);
    assert_eq!(["a", "b", "c"].map(|name| sandbox.read(&format!("raw/{name}"))), ["theirs", "b", "mine"]);
}

#[test]
fn changes_that_clash_stay_on_both_sides() {
    let sandbox = merged();
    sandbox.write("raw/a", "mine");
    pull(&sandbox);
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["checkout", "--merge", "raw"]);
    insta::assert_snapshot!(out.stderr, @r"
    error: changes here and in pipeline.lock clash (ours is the workspace); nothing was touched
      raw/a: both sides changed it
      hint: take the pinned version, without the changes here: lockstep checkout --force raw
      hint: or pin what is here instead of it: lockstep commit --force raw
    ");
    // The attempt stored what is here; that is no reason to overwrite it, also after the merge is undone.
    assert_eq!(sandbox.run(&["checkout"]).code, 1);
    sandbox.git(&["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(sandbox.run(&["checkout"]).code, 1);
    sandbox.git(&["reset", "-q", "--hard", "theirs"]);
    assert_eq!((sandbox.read("raw/a").as_str(), sandbox.read("pipeline.lock")), ("mine", lock));
    ok(&sandbox, &["checkout", "--force", "raw"]);
    assert_eq!(sandbox.read("raw/a"), "theirs");
}

/// What was joined is pinned by nothing yet: `gc` may take its object, and the workspace must have the bytes.
#[test]
fn a_join_is_no_link_into_the_store() {
    let sandbox = merged();
    assert_eq!(sandbox.run(&["config", "--local", "cache.links", "hardlink"]).code, 0);
    sandbox.write("raw/mine", "mine");
    pull(&sandbox);
    ok(&sandbox, &["checkout", "--merge", "raw"]);
    ok(&sandbox, &["gc", "-w", "--min-age", "0", "-f"]);
    assert_eq!((sandbox.read("raw/mine").as_str(), sandbox.read("raw/a").as_str()), ("mine", "theirs"));
}

#[test]
fn data_of_another_branch_is_not_pinned_on_this_one() {
    let sandbox = merged();
    sandbox.git(&["checkout", "-q", "theirs"]);
    ok(&sandbox, &["checkout", "-q"]);
    sandbox.git(&["checkout", "-q", "main"]);
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 1 && out.stderr.contains("not checked out"), "{out}");
}

#[test]
fn a_single_file_and_its_executable_bit_count_as_well() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "1");
    ok(&sandbox, &["add", "-q", "f"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "base"]);
    sandbox.git(&["checkout", "-qb", "theirs"]);
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::remove_file(sandbox.path("f")).unwrap();
    sandbox.write("f", "1");
    std::fs::set_permissions(sandbox.path("f"), mode(0o755)).unwrap();
    ok(&sandbox, &["add", "-q", "f"]);
    sandbox.git(&["commit", "-qam", "theirs"]);
    sandbox.git(&["checkout", "-q", "main"]);
    ok(&sandbox, &["checkout", "-q"]);
    sandbox.git(&["merge", "-q", "theirs"]);
    assert_eq!(sandbox.run(&["commit"]).code, 1);
    ok(&sandbox, &["checkout", "-q"]);
    let meta = std::fs::metadata(sandbox.path("f")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111, 0o111);
}

/// Edits, removals, copies by hand: what the lock did not change since may be recorded as it is.
#[test]
fn edits_are_pinned_as_ever() {
    let sandbox = merged();
    for text in ["one", "two", "one", "a"] {
        sandbox.write("raw/a", text);
        ok(&sandbox, &["repro"]);
        assert_eq!(sandbox.run(&["status"]).stdout, "");
    }
    for text in ["one", "two"] {
        sandbox.write("raw/a", text);
        ok(&sandbox, &["repro", "--no-commit"]);
    }
    // Replaced as a whole, with a command in between that sees it gone.
    sandbox.remove("raw");
    sandbox.run(&["status"]);
    sandbox.write("raw/new", "new");
    ok(&sandbox, &["repro"]);
    ok(&sandbox, &["add", "raw"]);
}

#[test]
fn commit_drops_data_that_the_pipeline_file_lists_no_more() {
    let sandbox = merged();
    // It still lies there: then it is named before the lock forgets it.
    let text = sandbox.read("pipeline.yaml");
    sandbox.write("pipeline.yaml", text.replace("data:\n- path: raw\n", "").replace("    deps: [raw]\n", ""));
    let out = ok(&sandbox, &["commit", "--force"]);
    assert!(out.stderr.contains("raw is not data of pipeline.yaml any more"), "{out}");
    sandbox.git(&["checkout", "-q", "."]);
    std::fs::rename(sandbox.path("raw"), sandbox.path("raw2")).unwrap();
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml").replace("raw", "raw2"));
    let out = ok(&sandbox, &["commit", "--force"]);
    assert!(out.stderr.contains("pins the data raw no longer"), "{out}");
    assert!(!sandbox.read("pipeline.lock").contains("  raw:"));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "renamed"]);
    let out = git(&sandbox, &["merge", "--no-edit", "theirs"]);
    assert!(out.code == 1 && out.stderr.contains("raw: ours removed it, theirs changed it"), "{out}");
}

#[test]
fn pins_that_no_pipeline_file_lists_are_named() {
    let sandbox = merged();
    let text = sandbox.read("pipeline.yaml").replace("data:\n- path: raw\n", "").replace("    deps: [raw]\n", "");
    sandbox.write("pipeline.yaml", text.replace("cat raw/*", "echo"));
    sandbox.remove("raw");
    sandbox.git(&["commit", "-qam", "taken out by hand"]);
    let out = git(&sandbox, &["merge", "-q", "--no-edit", "theirs"]);
    let named = "pipeline.lock pins raw, which no pipeline file lists as data";
    assert!(out.code == 0 && out.stderr.contains(named), "{out}");
    for command in ["status", "checkout"] {
        let out = sandbox.run(&[command]);
        assert!(out.stderr.contains(named), "{out}");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(&sandbox, &["status", "--json"]).stdout).unwrap();
    assert_eq!(json["unlisted"], serde_json::json!([{"lock": "pipeline.lock", "name": "raw"}]));
    let out = ok(&sandbox, &["repro"]);
    assert!(out.stderr.contains("pins the data raw no longer"), "{out}");
}

#[test]
fn a_lock_without_a_pipeline_file_is_seen() {
    let sandbox = merged();
    sandbox.remove("pipeline.yaml");
    // Its data stays, and it is named.
    let out = ok(&sandbox, &["checkout"]);
    assert!(out.stderr.contains("pipeline.lock pins raw"), "{out}");
    assert_eq!(sandbox.read("raw/a"), "a");
    let out = ok(&sandbox, &["status"]);
    assert!(out.stderr.contains("pipeline.lock pins raw") && out.stderr.contains("bring back pipeline.yaml"), "{out}");
    assert!(out.stderr.contains("o is not an output of pipeline.yaml any more"), "{out}");
    let lock = sandbox.read("pipeline.lock");
    sandbox.write("pipeline.lock", lock.replace("    size", "<<<<<<< a\n    size"));
    for command in ["status", "checkout"] {
        let out = sandbox.run(&[command]);
        assert!(out.code == 2 && out.stderr.contains("markers of a merge conflict"), "{command} {out}");
    }
    assert_eq!(sandbox.read("raw/a"), "a");
    // A damaged one, or one of a later version, says nothing of what may go.
    for damaged in [lock.replace("    size", "    syze"), lock.replace("schema: 1", "schema: 99")] {
        sandbox.write("pipeline.lock", damaged);
        assert_eq!(sandbox.run(&["checkout"]).code, 2);
        assert_eq!(sandbox.read("raw/a"), "a");
    }
    // Another tool's file of that name is none of ours.
    sandbox.write("pipeline.lock", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n");
    ok(&sandbox, &["status"]);
}

#[test]
fn data_that_is_not_there_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data:\n- path: rwa\nstages:\n  s:\n    cmd: echo > o\n    outs: [o]\n");
    assert_eq!(sandbox.run(&["status"]).stdout.lines().last(), Some("data rwa: missing"));
    for args in [&["repro"][..], &["repro", "--locked"], &["commit", "rwa"]] {
        let out = sandbox.run(args);
        assert!(out.code == 3 && out.stderr.contains("the data rwa does not exist"), "{args:?} {out}");
    }
    sandbox.write("rwa", "1");
    ok(&sandbox, &["repro"]);
    sandbox.remove("rwa");
    ok(&sandbox, &["repro", "--locked"]);
    sandbox.remove(".git/lockstep/store");
    let out = sandbox.run(&["repro", "--locked"]);
    assert!(out.code == 3 && out.stderr.contains("rwa is neither in the workspace nor in the store"), "{out}");
    ok(&sandbox, &["repro", "--locked", "--allow-missing"]);
}

/// A stage builds on its old output: a run on top of an earlier version would replace the pinned one.
#[test]
fn a_persistent_output_that_is_not_checked_out_is_not_built_on() {
    let sandbox = Sandbox::new();
    let set = |x: u32| {
        sandbox.write("params.yaml", format!("x: {x}\n"));
        ok(&sandbox, &["repro", "-q"]);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "x"]);
    };
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: echo ${x} >> o\n    params: [x]\n    outs: [{o: {persist: true}}]\n",
    );
    set(1);
    sandbox.git(&["checkout", "-qb", "t"]);
    set(2);
    set(3);
    sandbox.git(&["checkout", "-q", "main"]);
    ok(&sandbox, &["checkout", "-q"]);
    sandbox.git(&["merge", "-q", "t"]);
    let lock = sandbox.read("pipeline.lock");
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 1 && out.stderr.contains("lockstep checkout o"), "{out}");
    assert_eq!((sandbox.read("o").as_str(), sandbox.read("pipeline.lock")), ("1\n", lock));
    ok(&sandbox, &["checkout"]);
    assert_eq!(sandbox.read("o"), "1\n2\n3\n");
    assert!(ok(&sandbox, &["repro"]).stderr.contains("up to date"));
    // An edit by hand is built on as ever.
    sandbox.write("o", "mine\n");
    ok(&sandbox, &["repro"]);
    assert_eq!(sandbox.read("o"), "mine\n3\n");
}

/// What is not recorded is not said to be.
#[test]
fn one_that_is_not_checked_out_stops_the_others_before_a_word() {
    let sandbox = merged();
    sandbox.write("extra", "1");
    let entry = sandbox.read("pipeline.yaml").replace("data:\n", "data:\n- path: extra\n");
    pull(&sandbox);
    sandbox.write("pipeline.yaml", entry);
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 1 && out.stderr.contains("raw is not checked out"), "{out}");
    assert!(!out.stderr.contains("extra") && !sandbox.read("pipeline.lock").contains("extra"), "{out}");
}

#[test]
fn an_output_of_a_frozen_stage_that_is_not_the_pinned_one_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: echo 1 > o\n    outs: [o]\n    frozen: true\n  t:\n    cmd: cp o p\n    deps: [o]\n    outs: [p]\n",
    );
    sandbox.write("o", "1\n");
    ok(&sandbox, &["commit", "--force", "s"]);
    assert!(!ok(&sandbox, &["repro"]).stderr.contains("frozen, and"));
    sandbox.write("o", "2\n");
    let out = ok(&sandbox, &["repro"]);
    assert!(out.stderr.contains("o is not what pipeline.lock pins, and s, which makes it, is frozen"), "{out}");
}
