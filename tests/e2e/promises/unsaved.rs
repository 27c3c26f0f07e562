//! What somebody changed by hand and saved nowhere is never overwritten unasked.

use crate::promises::{kept, stale};
use crate::sandbox::Sandbox;

fn ran_once() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "data:\n- path: raw\nstages:\n  s:\n    cmd: cat in.txt > out.txt; mkdir dir; cat in.txt > dir/x; echo > dir/y\n    \
         deps: [in.txt, raw]\n    outs: [out.txt, dir]\n",
    );
    sandbox.write("in.txt", "one\n");
    sandbox.write("raw/a", "raw\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox
}

#[test]
fn checkout_refuses_by_name_and_touches_nothing_unless_forced() {
    for (path, right) in [("out.txt", "one\n"), ("dir/x", "one\n"), ("dir/new", ""), ("raw/a", "raw\n")] {
        let sandbox = ran_once();
        sandbox.write(path, "by hand\n");
        // Something else that could be restored stays away as well: all or nothing.
        sandbox.remove("dir/y");
        let out = sandbox.run(&["checkout"]);
        assert_eq!(out.code, 1, "{path} {out}");
        let named = path.split('/').next().unwrap();
        assert!(out.stderr.contains(named) && out.stderr.contains("--force"), "{path} {out}");
        assert_eq!(sandbox.read(path), "by hand\n");
        assert!(!sandbox.exists("dir/y"));
        let out = sandbox.run(&["checkout", "--force"]);
        assert_eq!(out.code, 0, "{path} {out}");
        if right.is_empty() {
            assert!(!sandbox.exists(path), "{path}");
        } else {
            assert_eq!(sandbox.read(path), right);
        }
        assert_eq!(stale(&sandbox), [""; 0], "{path}");
    }
}

#[test]
fn the_hint_for_a_target_throws_nothing_else_away() {
    let sandbox = ran_once();
    sandbox.write("out.txt", "by hand\n");
    sandbox.write("dir/x", "by hand\n");
    let out = sandbox.run(&["checkout", "out.txt"]);
    assert_eq!(out.code, 1, "{out}");
    assert!(out.stderr.contains("lockstep checkout --force out.txt\n"), "{out}");
    assert_eq!(sandbox.run(&["checkout", "--force", "out.txt"]).code, 0);
    assert_eq!((sandbox.read("out.txt").as_str(), sandbox.read("dir/x").as_str()), ("one\n", "by hand\n"));
}

#[test]
fn what_is_saved_somewhere_is_overwritten_without_asking() {
    let sandbox = ran_once();
    sandbox.write("in.txt", "two\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("out.txt", "one\n");
    let out = sandbox.run(&["checkout"]);
    assert_eq!((out.code, sandbox.read("out.txt").as_str()), (0, "two\n"), "{out}");
}

#[test]
fn a_hand_edited_output_that_a_rerun_replaces_is_kept_and_the_message_says_where() {
    let sandbox = ran_once();
    sandbox.write("out.txt", "by hand\n");
    sandbox.write("dir/x", "by hand\n");
    sandbox.write("in.txt", "two\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("out.txt"), "two\n");
    assert_eq!(kept(&sandbox, "s", "out.txt").as_deref(), Some("by hand\n"));
    assert_eq!(kept(&sandbox, "s", "dir/x").as_deref(), Some("by hand\n"));
    for path in ["out.txt", "dir"] {
        let told = format!("the store lacks the old {path}: it is kept in ");
        let line = out.stderr.lines().find(|l| l.contains(&told)).unwrap_or_else(|| panic!("{out}"));
        assert!(std::path::Path::new(&line[line.find('/').unwrap()..]).exists(), "{line}");
    }
}

#[test]
fn a_hand_edited_output_that_a_restore_replaces_is_kept_too() {
    let sandbox = ran_once();
    sandbox.write("out.txt", "by hand\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("out.txt"), "one\n");
    assert_eq!(kept(&sandbox, "s", "out.txt").as_deref(), Some("by hand\n"));
    // What lockstep made itself is in the store and need not be kept again.
    sandbox.write("in.txt", "two\n");
    let out = sandbox.run(&["repro"]);
    assert!(!out.stderr.contains("is kept in"), "{out}");
}

#[test]
fn a_hand_edited_output_survives_a_run_that_fails() {
    let sandbox = ran_once();
    sandbox.write("out.txt", "by hand\n");
    let text = sandbox.read("pipeline.yaml");
    sandbox.write("pipeline.yaml", text.replace("cmd: ", "cmd: exit 1; "));
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 6, "{out}");
    assert_eq!(sandbox.read("out.txt"), "by hand\n");
}
