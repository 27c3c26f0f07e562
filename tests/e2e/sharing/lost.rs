//! A remote that this clone has used and that is not there is refused; a new one is made in a folder that is there.

use std::fs;

use crate::sandbox::{Output, Sandbox};
use crate::sharing::{clone, fine, lab, web};

/// Ways in which the folder of a remote gets lost.
const LOSSES: [&str; 4] = ["gone", "empty", "another disk", "no marker"];

fn lose(sandbox: &Sandbox, how: &str) {
    let (lab, aside) = (sandbox.path("../lab"), sandbox.path("../aside"));
    if how == "no marker" {
        return fs::rename(lab.join("lockstep-remote"), aside).unwrap();
    }
    fs::rename(&lab, &aside).unwrap();
    match how {
        "gone" => {}
        "empty" => fs::create_dir(&lab).unwrap(),
        _ => fs::create_dir_all(lab.join("lost+found")).unwrap(),
    }
}

fn find(sandbox: &Sandbox, how: &str) {
    let (lab, aside) = (sandbox.path("../lab"), sandbox.path("../aside"));
    if how == "no marker" {
        return fs::rename(aside, lab.join("lockstep-remote")).unwrap();
    }
    let _ = fs::remove_dir_all(&lab);
    fs::rename(aside, lab).unwrap();
}

/// All that is in the folder, by name.
fn names(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(sandbox.path("../lab"));
    let mut names: Vec<_> = entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(out: &Output) {
    let is_told = out.stderr.contains("is not there") || out.stderr.contains("lost its file lockstep-remote");
    assert!(out.code == 4 && is_told, "{out}");
    assert!(!out.stderr.contains("everything") && !out.stderr.contains("in place"), "{out}");
}

#[test]
fn every_command_refuses_it_and_makes_nothing() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    for how in LOSSES {
        lose(&sandbox, how);
        let before = names(&sandbox);
        for args in [
            &["push"][..],
            &["push", "--again"],
            &["push", "small"],
            &["fetch"],
            &["pull"],
            &["status", "-c"],
            &["remote", "check"],
            &["gc", "-c", "-w", "--force"],
            &["gc", "-c", "-w", "--dry"],
            &["cache", "drop", "gen", "--remote"],
            &["du", "-r", "lab"],
        ] {
            let out = sandbox.run(args);
            // A flag that does not exist would pass as a refusal.
            assert!(!out.stderr.contains("unexpected argument"), "{args:?}: {out}");
            refused(&out);
            assert_eq!(names(&sandbox), before, "{how} {args:?}");
        }
        if how != "no marker" {
            refused(&sandbox.run(&["verify", "--remote", "lab"]));
        }
        find(&sandbox, how);
        fine(&sandbox.run(&["push", "-q"]));
    }
    sandbox.remove(".git/lockstep/store");
    fine(&sandbox.run(&["pull", "-q"]));
}

/// A clone that only fetched knows it as well, from any worktree and by any spelling.
#[test]
fn who_fetched_knows_it_too() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["pull", "-q"]));
    sandbox.git(&["-C", &b, "worktree", "add", "-q", "../tree", "HEAD"]);
    lose(&sandbox, "empty");
    refused(&sandbox.run_in(&b, &["push"]));
    refused(&sandbox.run_in("../tree", &["push"]));
    let lab = sandbox.path("../lab").canonicalize().unwrap();
    for url in [format!("{}/", lab.display()), format!("file://{}", lab.display()), "./../lab/".into()] {
        sandbox.write(&format!("{b}/lockstep.toml"), format!("[remote.lab]\nurl = \"{url}\"\n"));
        refused(&sandbox.run_in(&b, &["push"]));
    }
    assert!(names(&sandbox).is_empty());
}

/// A remote that cannot be listed may be there.
#[test]
fn an_error_of_the_remote_is_not_taken_for_its_loss() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    lose(&sandbox, "no marker");
    let (index, aside) = (sandbox.path("../lab/index"), sandbox.path("../index"));
    fs::rename(&index, &aside).unwrap();
    fs::write(&index, "").unwrap();
    let out = sandbox.run(&["push"]);
    assert!(out.code == 4 && out.stderr.contains("cannot list index") && !out.stderr.contains("add --force"), "{out}");
    fs::remove_file(&index).unwrap();
    fs::rename(&aside, &index).unwrap();
    find(&sandbox, "no marker");
    fine(&sandbox.run(&["push", "-q"]));
}

#[test]
fn its_message_says_what_to_do() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.write("sub/x", "");
    lose(&sandbox, "empty");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push"])), @r"
    exit 4
    --- stderr
    error: the remote lab (../lab) is not there
      because: [ROOT]/../lab has no file lockstep-remote
      because: this clone has used it before: its data is out of reach, or deleted
      hint: is the disk mounted?
      hint: to start an empty remote there: lockstep remote add --force lab ../lab
    ");
    let out = sandbox.run_in("sub", &["pull"]);
    assert!(out.stderr.contains("lockstep -C .. remote add --force lab ../lab"), "{out}");
    sandbox.remove("../lab");
    let out = sandbox.run(&["fetch"]);
    assert!(out.stderr.contains("there is no folder"), "{out}");
    fs::create_dir(sandbox.path("../lab")).unwrap();
    // What it says is the way out.
    fine(&sandbox.run_in("sub", &["-C", "..", "remote", "add", "--force", "lab", "../lab"]));
    let out = sandbox.run(&["push"]);
    assert!(out.code == 0 && out.stderr.contains("lab has everything now"), "{out}");
}

#[test]
fn a_remote_that_is_removed_and_added_begins_empty() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.remove("../lab");
    refused(&sandbox.run(&["push"]));
    fine(&sandbox.run(&["remote", "remove", "-q", "lab"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["push", "-q"]));
    assert!(sandbox.exists("../lab/lockstep-remote"));
}

/// The settings are the repository's, and the one who types the address again never gave a grant.
#[test]
fn a_colleague_begins_an_empty_remote_as_well() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["pull", "-q"]));
    sandbox.remove("../lab");
    refused(&sandbox.run_in(&b, &["push"]));
    fine(&sandbox.run_in(&b, &["remote", "add", "--force", "lab", "../lab"]));
    fine(&sandbox.run_in(&b, &["push", "-q"]));
    // The other one has to say so itself, or to see that it is there again.
    fine(&sandbox.run(&["push", "-q"]));
}

#[test]
fn a_lost_marker_is_mended_by_verify() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    lose(&sandbox, "no marker");
    let out = sandbox.run(&["push"]);
    assert!(out.stderr.contains("lockstep store verify --remote lab --repair"), "{out}");
    sandbox.run(&["verify", "--remote", "lab", "--repair"]);
    fine(&sandbox.run(&["push", "-q"]));
    fine(&sandbox.run(&["-q", "verify", "--remote", "lab"]));
}

/// A web server that has lost its folder answers 404 to everything.
#[test]
fn a_web_server_without_its_files_is_refused() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let url = web::serve(sandbox.path("../lab"));
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["remote", "add", "-q", "web", &url]));
    fine(&sandbox.run_in(&b, &["pull", "-q", "-r", "web"]));
    lose(&sandbox, "empty");
    sandbox.remove(&format!("{b}/.git/lockstep/store"));
    for args in [&["fetch", "-r", "web"][..], &["pull", "-r", "web"], &["status", "-c", "-r", "web"]] {
        refused(&sandbox.run_in(&b, args));
    }
}

/// A run goes on without its remote, and says so.
#[test]
fn a_run_goes_on_without_it() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    lose(&sandbox, "empty");
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml").replace("cat d/f1", "cat d/f2"));
    let out = sandbox.run(&["repro", "--pull"]);
    assert!(out.code == 0 && out.stderr.contains("is not there"), "{out}");
    assert!(names(&sandbox).is_empty());
}

#[test]
fn a_first_push_makes_the_last_folder_alone() {
    let sandbox = lab();
    for (url, parent) in [("../disk/lab", "disk"), ("../a/b/c", "a/b")] {
        fine(&sandbox.run(&["remote", "add", "-q", "--force", "lab", url]));
        for args in [&["push"][..], &["remote", "check"]] {
            let out = sandbox.run(args);
            let parent = sandbox.root().join("..").join(parent);
            assert!(out.code == 4 && out.stderr.contains(&format!("there is no folder {}", parent.display())), "{out}");
            assert!(out.stderr.contains(&format!("mkdir -p {}", parent.display())), "{out}");
        }
        assert!(!sandbox.exists("../disk") && !sandbox.exists("../a"));
    }
    fs::create_dir_all(sandbox.path("../a/b")).unwrap();
    fine(&sandbox.run(&["push", "-q"]));
    assert!(sandbox.exists("../a/b/c/lockstep-remote"));
}
