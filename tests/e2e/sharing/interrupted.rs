//! A push or a pull that is killed or interrupted at some moment: the next one finishes, and what is there is right.

use std::time::{Duration, Instant};

use crate::sandbox::process::{Signal, until};
use crate::sharing::slow::Slow;
use crate::sharing::{clone, files, fine, lab, same};

#[test]
fn a_killed_push_is_finished_by_the_next() {
    let sandbox = lab();
    for millis in [0, 2, 5, 10, 15, 20, 30, 40, 60, 80] {
        let _ = std::fs::remove_dir_all(sandbox.path("../lab"));
        // The user says that it may be a new one.
        fine(&sandbox.run(&["remote", "add", "-q", "--force", "lab", "../lab"]));
        let mut push = sandbox.start(&["push", "-q"]);
        std::thread::sleep(Duration::from_millis(millis));
        if !push.is_over() {
            push.signal(Signal::KILL);
        }
        push.end();
        // Whatever a segment names is there.
        let b = clone(&sandbox, "b");
        if sandbox.path("../lab/lockstep-remote").exists() {
            let out = sandbox.run_in(&b, &["pull"]);
            assert!(out.code == 0 || out.code == 3 && out.stderr.contains("neither here nor at the remote"), "{out}");
        }
        fine(&sandbox.run(&["push", "-q"]));
        fine(&sandbox.run_in(&b, &["pull", "-q"]));
        assert!(same(&sandbox, "", &b, &["d", "small", "large"]), "after {millis} ms");
        sandbox.remove("../b");
    }
    assert!(files(&sandbox, "tmp").len() < 10);
}

#[test]
fn a_killed_pull_is_finished_by_the_next() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "y"]);
    for millis in [0, 2, 5, 10, 15, 20, 30, 40, 60, 80] {
        for gone in ["d", "small", "large", ".git/lockstep/store", ".git/lockstep/remotes", ".git/lockstep/worktree"] {
            if sandbox.exists(gone) {
                sandbox.remove(gone);
            }
        }
        let mut pull = sandbox.start(&["pull", "-q"]);
        std::thread::sleep(Duration::from_millis(millis));
        if !pull.is_over() {
            pull.signal(Signal::KILL);
        }
        pull.end();
        fine(&sandbox.run(&["pull", "-q"]));
        fine(&sandbox.run(&["repro", "-q"]));
        assert!(sandbox.ran().is_empty(), "after {millis} ms a stage ran");
    }
}

/// What arrived of a large object is not fetched again.
#[test]
fn a_fetch_goes_on_where_it_was_interrupted() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let large = files(&sandbox, "objects").into_iter().find(|f| f.metadata().unwrap().len() == 2_000_000).unwrap();
    let bytes = std::fs::read(&large).unwrap();
    for (half, want) in [(bytes[..1_500_000].to_vec(), 500_000), (vec![7; 1_500_000], 2_500_000)] {
        let b = clone(&sandbox, "b");
        let name = large.file_name().unwrap().to_str().unwrap();
        sandbox.write(&format!("../b/.git/lockstep/store/tmp/fetch-{name}"), half);
        let out = sandbox.run_in(&b, &["pull", "large", "--json"]);
        fine(&out);
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        let received = json["remotes"][0]["cost"]["received"].as_u64().unwrap();
        // With the marker, the segment and `small`; what does not match its id is fetched anew.
        assert!((want..want + 30_000).contains(&received), "{received}");
        assert!(same(&sandbox, "", &b, &["large"]));
        assert_eq!(std::fs::read_dir(sandbox.path("../b/.git/lockstep/store/tmp")).unwrap().count(), 0);
        sandbox.remove("../b");
    }
}

/// Ctrl-C while a server keeps us waiting: the command ends at once, no stage runs, and what arrived is not fetched again.
#[test]
fn ctrl_c_ends_a_fetch_at_once() {
    const PIECE: usize = 16 << 20;
    let sandbox = lab();
    let large =
        "stages:\n  make:\n    cmd: head -c 17000000 /dev/zero > huge; echo make >> $CONF_LOG\n    outs: [huge]\n";
    sandbox.write("pipeline.yaml", large);
    for args in [&["repro", "-q"][..], &["push", "-q"]] {
        fine(&sandbox.run(args));
    }
    sandbox.ran();
    let server = Slow::serve(sandbox.path("../lab"));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "slow", &server.url()]));
    let huge = files(&sandbox, "objects").into_iter().find(|f| f.metadata().unwrap().len() == 17_000_000).unwrap();
    let partial = format!(".git/lockstep/store/tmp/fetch-{}", huge.file_name().unwrap().to_str().unwrap());
    for args in [&["fetch"][..], &["pull"], &["repro", "--pull"]] {
        for gone in ["huge", ".git/lockstep/store", ".git/lockstep/worktree"] {
            if sandbox.exists(gone) {
                sandbox.remove(gone);
            }
        }
        // The second piece of the object never comes.
        server.stall(true);
        let command = sandbox.start(args);
        until("a piece arrives", || {
            sandbox.path(&partial).metadata().is_ok_and(|partial| partial.len() == PIECE as u64)
        });
        std::thread::sleep(Duration::from_millis(100));
        command.signal(Signal::INT);
        let asked = Instant::now();
        let out = command.end();
        assert!(asked.elapsed() < Duration::from_millis(1500), "{args:?} took {:?}", asked.elapsed());
        assert_eq!(out.code, 130, "{args:?}: {out}");
        assert!(out.stderr.contains("run the same command again"), "{args:?}: {out}");
        assert!(sandbox.ran().is_empty() && !sandbox.exists("huge"), "{args:?}: {out}");
        server.stall(false);
        let before = server.sent();
        fine(&sandbox.run(args));
        let sent = server.sent() - before;
        assert!(sent < 17_000_000 - PIECE + 100_000, "{args:?}: {sent} bytes were sent again");
        assert!(sandbox.ran().is_empty(), "{args:?}");
    }
}

/// The same while a server does not answer at all.
#[test]
fn ctrl_c_ends_a_push_at_once() {
    let sandbox = lab();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("webdav://127.0.0.1:{}", server.local_addr().unwrap().port());
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "mute", &url]));
    let command = sandbox.start(&["push"]);
    let _connection = server.accept().unwrap();
    command.signal(Signal::TERM);
    let asked = Instant::now();
    let out = command.end();
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    assert_eq!((out.code, out.stderr.lines().next()), (143, Some("error: interrupted")), "{out}");
}

/// What killed pushes left is taken away a day later by a push that has something to send; nothing else is.
#[test]
fn a_push_removes_what_was_left_a_day_ago() {
    let sandbox = lab();
    let old = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    let (young, ours) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    sandbox.write("../lab/lockstep-remote", "lockstep-remote 1\n");
    for (name, is_old) in [(young, false), (ours, true), ("somebody else's", true)] {
        sandbox.write(&format!("../lab/tmp/{name}"), "half");
        if is_old {
            let file = std::fs::File::options().write(true).open(sandbox.path("../lab/tmp").join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
    }
    fine(&sandbox.run(&["push", "-q"]));
    let left: Vec<_> = files(&sandbox, "tmp").iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    assert_eq!(left, [young, "somebody else's"]);
}
