//! Every wait for a lock names its holder and ends after `--wait`.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

const PIPELINE: &str =
    "stages:\n  make:\n    cmd: echo run >> $CONF_LOG; cat in > out\n    deps: [in]\n    outs: [out]\n";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("in", "1");
    sandbox.write("pipeline.yaml", PIPELINE);
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox
}

#[test]
fn a_wait_for_the_store_ends_and_names_the_process() {
    let sandbox = project();
    // Something for gc to remove.
    sandbox.write("in", "2");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let lock = File::open(sandbox.path(".git/lockstep/store/lock")).unwrap();
    lock.lock().unwrap();
    let holder = format!("(process {})", std::process::id());
    sandbox.remove("out");
    sandbox.write("big", "2");
    for command in [
        &["checkout", "--wait", "0.5"][..],
        &["--wait", "0.5", "add", "big"],
        &["gc", "-w", "-f", "--min-age", "0", "--wait", "0.5"],
    ] {
        let began = Instant::now();
        let out = sandbox.run(command);
        assert_eq!(out.code, 5, "{command:?} {out}");
        assert!(out.stderr.contains(&holder) && out.stderr.contains("is using the store"), "{command:?} {out}");
        assert!(out.stderr.contains("waiting for "), "{command:?} {out}");
        assert!(began.elapsed() < Duration::from_secs(8), "{command:?} {out}");
    }
    drop(lock);
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 0 && sandbox.read("out") == "2", "{out}");
}

/// The result of a stage is not recorded then, and is not lost either.
#[test]
fn a_run_ends_after_its_wait_for_the_store_and_keeps_the_result() {
    let sandbox = project();
    let lock = File::open(sandbox.path(".git/lockstep/store/lock")).unwrap();
    lock.lock().unwrap();
    sandbox.write("in", "2");
    let out = sandbox.run(&["repro", "--wait", "0.5"]);
    assert_ne!(out.code, 0, "{out}");
    assert!(out.stderr.contains("is using the store"), "{out}");
    let logs = crate::promises::files(&sandbox.path(".git/lockstep/worktree/logs"));
    assert!(sandbox.read("out") == "1" && logs.values().any(|bytes| bytes == b"2"), "{out}");
    drop(lock);
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 0 && sandbox.read("out") == "2", "{out}");
}

#[test]
fn a_wait_for_the_writer_of_a_small_file_ends_when_the_user_says() {
    let sandbox = project();
    let folder = File::open(sandbox.root()).unwrap();
    folder.lock().unwrap();
    let began = Instant::now();
    let out = sandbox.run(&["config", "jobs", "2", "--wait", "0.2"]);
    assert_eq!(out.code, 5, "{out}");
    assert!(out.stderr.contains(&format!("(process {})", std::process::id())), "{out}");
    assert!(began.elapsed() < Duration::from_secs(6), "{out}");
}

/// A name that an earlier holder left in the lock file is not that of the present one.
#[test]
fn the_name_of_an_earlier_holder_does_not_count() {
    let sandbox = project();
    let path = sandbox.path(".git/lockstep/worktree/state/root/lock");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    std::fs::write(&path, "lockstep repro (process 1 on nowhere)").unwrap();
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let out = sandbox.run(&["repro", "--wait", "0"]);
    assert_eq!(out.code, 5, "{out}");
    assert!(!out.stderr.contains("nowhere") && out.stderr.contains(&std::process::id().to_string()), "{out}");
}

/// A folder that cannot be read may hold pipelines.
#[test]
fn an_unreadable_folder_is_named() {
    let sandbox = project();
    sandbox.write("shut/pipeline.yaml", PIPELINE);
    let shut = sandbox.path("shut");
    let mode = |mode| std::fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o000);
    let is_shut = std::fs::read_dir(&shut).is_err();
    let out = sandbox.run(&["status"]);
    mode(0o755);
    // Root reads everything.
    assert!(!is_shut || out.stderr.contains("cannot read the folder shut"), "{out}");
}

#[test]
fn only_those_who_may_write_can_hold_the_locks() {
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::new();
    s.write("f", "1");
    assert_eq!(s.run(&["add", "f"]).code, 0);
    let locks = ["worktree/state/root/lock", "worktree/state/root/watchdog", "worktree/state/root/edit", "store/lock"];
    let check = |want: u32| {
        for lock in locks {
            let path = s.path(&format!(".git/lockstep/{lock}"));
            let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
            if path.exists() && mode(path.parent().unwrap()) & 0o022 == 0 {
                assert_eq!(mode(&path), want, "{lock}");
            }
        }
    };
    check(0o600);
    for lock in locks.iter().map(|lock| s.path(&format!(".git/lockstep/{lock}"))).filter(|lock| lock.exists()) {
        std::fs::set_permissions(lock, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    s.write("f", "2");
    assert_eq!(s.run(&["add", "f"]).code, 0);
    check(0o600);
}
