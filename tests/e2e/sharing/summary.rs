//! `index/all`, which readers over HTTP go by, lists all that is there: after overlapping pushes, after a kill, and
//! whatever else happened to it.

use std::collections::BTreeSet;
use std::fs;

use crate::sandbox::Sandbox;
use crate::sandbox::process::Signal;
use crate::sharing::{clone, fine, web};

/// A repository whose data goes to the folder `lab`, which is also the remote `web` over HTTP.
fn published() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["remote", "add", "-q", "web", &web::serve(sandbox.path("../lab"))]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    push(&sandbox, "", "0");
    sandbox
}

/// Pushes data of its own.
fn push(sandbox: &Sandbox, folder: &str, text: &str) {
    write(sandbox, folder, text);
    fine(&sandbox.run_in(folder, &["push", "-q"]));
}

fn write(sandbox: &Sandbox, folder: &str, text: &str) {
    let folder = if folder.is_empty() { ".".to_string() } else { folder.to_string() };
    sandbox.write(&format!("{folder}/d"), text);
    fine(&sandbox.run_in(&folder, &["commit", "-q"]));
}

fn segments(sandbox: &Sandbox) -> BTreeSet<String> {
    let entries = fs::read_dir(sandbox.path("../lab/index")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "all").collect()
}

fn summary(sandbox: &Sandbox) -> BTreeSet<String> {
    sandbox.read("../lab/index/all").lines().map(str::to_string).collect()
}

/// Can somebody who only has the lock of `folder` have its data over HTTP?
fn can_be_read(sandbox: &Sandbox, folder: &str) -> bool {
    let reader = "../reader";
    let _ = fs::remove_dir_all(sandbox.path(reader));
    clone(sandbox, "reader");
    fs::copy(sandbox.path(folder).join("pipeline.lock"), sandbox.path(reader).join("pipeline.lock")).unwrap();
    sandbox.run_in(reader, &["pull", "-q", "-r", "web"]).code == 0
}

#[test]
fn a_push_with_nothing_to_send_completes_it() {
    let sandbox = published();
    push(&sandbox, "", "1");
    let all = sandbox.read("../lab/index/all");
    let (first, _) = all.split_once('\n').unwrap();
    for broken in [None, Some(""), Some(first), Some("0000000001-0123456789abcdef\n"), Some("\u{fffd}\n")] {
        match broken {
            Some(text) => sandbox.write("../lab/index/all", text),
            None => sandbox.remove("../lab/index/all"),
        }
        let out = sandbox.run(&["push"]);
        assert!(out.code == 0 && out.stderr.contains("lab has everything"), "{broken:?}: {out}");
        assert_eq!(summary(&sandbox), segments(&sandbox), "{broken:?}");
        assert!(can_be_read(&sandbox, ""), "{broken:?}");
    }
    // One that announces a segment that is not there hides nothing.
    let more = format!("{all}0000000001-0123456789abcdef\n");
    sandbox.write("../lab/index/all", &more);
    fine(&sandbox.run(&["push", "-q"]));
    assert!(sandbox.read("../lab/index/all") == more && can_be_read(&sandbox, ""));
}

#[test]
fn a_summary_that_cannot_be_written_is_a_warning() {
    let sandbox = published();
    push(&sandbox, "", "1");
    sandbox.remove("../lab/index/all");
    fs::create_dir(sandbox.path("../lab/index/all")).unwrap();
    sandbox.write("../lab/index/all/x", "");
    for text in ["1", "2"] {
        write(&sandbox, "", text);
        let out = sandbox.run(&["push"]);
        assert!(out.code == 0 && out.stderr.contains("readers over HTTP may miss something"), "{out}");
    }
    fs::remove_dir_all(sandbox.path("../lab/index/all")).unwrap();
    fine(&sandbox.run(&["push", "-q"]));
    assert_eq!(summary(&sandbox), segments(&sandbox));
}

#[test]
fn pushes_that_overlap_are_all_in_it() {
    let sandbox = published();
    let clones = ["a", "b", "c", "d"].map(|name| clone(&sandbox, name));
    for round in 0..6 {
        for folder in &clones {
            write(&sandbox, folder, &format!("{round} {folder}"));
        }
        std::thread::scope(|scope| {
            for folder in &clones {
                scope.spawn(|| fine(&sandbox.run_in(folder, &["push", "-q"])));
            }
        });
        assert_eq!(summary(&sandbox), segments(&sandbox), "round {round}");
    }
    assert_eq!(segments(&sandbox).len(), 1 + 6 * 4);
    assert!(clones.iter().all(|folder| can_be_read(&sandbox, folder)));
}

/// The same while many segments become one.
#[test]
fn merging_while_others_push_hides_nothing() {
    let sandbox = published();
    for n in 0..62 {
        push(&sandbox, "", &format!("first {n}"));
    }
    let clones = ["a", "b", "c"].map(|name| clone(&sandbox, name));
    for round in 0..4 {
        for folder in &clones {
            write(&sandbox, folder, &format!("{round} {folder}"));
        }
        std::thread::scope(|scope| {
            for folder in &clones {
                scope.spawn(|| fine(&sandbox.run_in(folder, &["push", "-q"])));
            }
        });
        assert_eq!(summary(&sandbox), segments(&sandbox), "round {round}");
    }
    assert!(segments(&sandbox).len() < 64 && clones.iter().all(|folder| can_be_read(&sandbox, folder)));
}

/// Whenever it is killed, the summary has all that is there.
#[test]
fn a_kill_hides_nothing() {
    let sandbox = published();
    for n in 0..40 {
        write(&sandbox, "", &n.to_string());
        let mut running = sandbox.start(&["push", "-q"]);
        std::thread::sleep(std::time::Duration::from_millis(2 * n));
        if !running.is_over() {
            running.signal(Signal::KILL);
        }
        running.end();
        assert!(segments(&sandbox).is_subset(&summary(&sandbox)), "killed after {} ms", 2 * n);
    }
    fine(&sandbox.run(&["push", "-q"]));
    assert_eq!(summary(&sandbox), segments(&sandbox));
    assert!(can_be_read(&sandbox, ""));
}

#[test]
fn a_reader_that_knows_a_push_does_not_lose_it() {
    let sandbox = published();
    let reader = clone(&sandbox, "known");
    fs::copy(sandbox.path("pipeline.lock"), sandbox.path(&reader).join("pipeline.lock")).unwrap();
    fine(&sandbox.run_in(&reader, &["fetch", "-q", "-r", "web"]));
    let old = sandbox.read("../lab/index/all");
    push(&sandbox, "", "1");
    let new: String = sandbox.read("../lab/index/all").lines().filter(|line| !old.contains(line)).collect();
    sandbox.write("../lab/index/all", format!("{new}\n"));
    sandbox.remove(&format!("{reader}/.git/lockstep/store"));
    let out = sandbox.run_in(&reader, &["pull", "-r", "web"]);
    assert!(out.code == 0 && sandbox.read(&format!("{reader}/d")) == "0", "{out}");
}

#[test]
fn without_a_summary_a_reader_over_http_knows_nothing() {
    let sandbox = published();
    sandbox.remove("../lab/index/all");
    let reader = clone(&sandbox, "reader");
    fs::copy(sandbox.path("pipeline.lock"), sandbox.path(&reader).join("pipeline.lock")).unwrap();
    for args in [&["pull", "-r", "web"][..], &["status", "-c", "-r", "web"]] {
        let out = sandbox.run_in(&reader, args);
        assert!(out.code == 4 && out.stderr.contains("has no index/all, which lists its content"), "{args:?}: {out}");
    }
}
