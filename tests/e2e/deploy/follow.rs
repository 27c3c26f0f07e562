//! A target follows its label: only a promotion with a higher counter than all that it has tried.

use super::hosts::Hosts;
use crate::sandbox::process::Signal;

#[test]
fn a_promotion_is_deployed_and_a_failed_one_is_not_tried_again() {
    let hosts = Hosts::new();
    let out = hosts.follow();
    assert_eq!((out.code, hosts.current().as_str()), (0, "model 1"), "{out}");
    assert!(out.stderr.contains("UNSIGNED"), "{out}");
    hosts.promote("v2.0.0", "bad");
    let out = hosts.follow();
    assert_eq!((out.code, hosts.current().as_str()), (6, "model 1"), "{out}");
    for _ in 0..2 {
        let out = hosts.follow();
        assert!(out.code == 0 && out.stderr.contains("digits#prod#2 failed here before"), "{out}");
    }
    hosts.promote("v3.0.0", "3");
    assert_eq!((hosts.follow().code, hosts.current().as_str()), (0, "model 3"));
    assert_eq!(hosts.recorded("../host"), ["deploy v3.0.0 ok", "return v2.0.0 failed", "deploy v1.0.0 ok"]);
}

#[test]
fn a_rollback_is_not_undone_until_a_newer_promotion() {
    let hosts = Hosts::new();
    hosts.follow();
    hosts.promote("v2.0.0", "2");
    hosts.follow();
    hosts.host(&["deploy", "prod", "--rollback"]);
    assert_eq!(hosts.current(), "model 1");
    for args in [&["deploy", "prod", "--watch", "--once"][..], &["deploy", "prod"], &["deploy", "prod", "--fetch"]] {
        let out = hosts.host(args);
        assert!(
            hosts.current() == "model 1" && out.stderr.contains("rolled back from digits#prod#2"),
            "{args:?}: {out}"
        );
    }
    hosts.promote("v3.0.0", "3");
    hosts.follow();
    assert_eq!(hosts.current(), "model 3");
}

#[test]
fn a_version_that_has_the_label_again_is_left_to_the_user() {
    let hosts = Hosts::new();
    hosts.follow();
    hosts.promote("v2.0.0", "2");
    hosts.follow();
    hosts.dev(&["model", "deprecate", "digits@v2.0.0"]);
    hosts.sandbox.git(&["push", "-q", "origin", "--tags"]);
    let out = hosts.follow();
    assert_eq!((out.code, hosts.current().as_str()), (0, "model 2"), "{out}");
    let status = hosts.json("../host", &["deploy", "status", "--json"]);
    assert_eq!(status["targets"][0]["state"], "fallen_back", "{status}");
    hosts.host(&["deploy", "prod"]);
    assert_eq!(hosts.current(), "model 1");
}

#[test]
fn a_held_target_stays_until_it_is_resumed() {
    let hosts = Hosts::new();
    hosts.follow();
    hosts.host(&["deploy", "hold", "prod", "-m", "trade fair"]);
    hosts.promote("v2.0.0", "2");
    let out = hosts.follow();
    assert_eq!((out.code, hosts.current().as_str()), (0, "model 1"), "{out}");
    hosts.host(&["deploy", "resume", "prod"]);
    hosts.follow();
    assert_eq!(hosts.current(), "model 2");
}

#[test]
fn a_tag_that_was_moved_ends_the_loop() {
    let hosts = Hosts::new();
    hosts.follow();
    hosts.promote("v2.0.0", "2");
    let git_dir = hosts.sandbox.path("../hub.git");
    let at_hub = ["--git-dir", git_dir.to_str().unwrap()];
    hosts.sandbox.git(&[&at_hub[..], &["tag", "-f", "-a", "-m", "moved", "digits#prod#1", "main"]].concat());
    let out = hosts.at("../host", &["deploy", "prod", "--watch"]);
    assert!(out.code == 1 && out.stderr.contains("the tag digits#prod#1"), "{out}");
    assert_eq!(hosts.current(), "model 1");
}

#[test]
fn the_loop_outlives_the_remote_and_ends_at_sigterm() {
    let hosts = Hosts::new();
    let mut command = hosts.sandbox.lockstep("../host");
    let log = hosts.sandbox.beside("watch");
    command.args(["deploy", "prod", "--watch", "--interval", "100ms", "--push"]);
    command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let said = |words: &str| std::fs::read_to_string(&log).unwrap().contains(words);
    crate::sandbox::process::until("the first version is recorded", || said("1 event of prod pushed"));
    let (hub, away) = (hosts.sandbox.path("../hub.git"), hosts.sandbox.path("../away.git"));
    std::fs::rename(&hub, &away).unwrap();
    crate::sandbox::process::until("the failure is told", || said("this round failed"));
    std::fs::rename(&away, &hub).unwrap();
    hosts.promote("v2.0.0", "2");
    crate::sandbox::process::until("the second version is there", || said("digits v2.0.0 is current"));
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let before = std::fs::read_to_string(&log).unwrap();
    // The same failure is told once, however many rounds it lasts.
    assert!(before.matches("this round failed").count() <= 2, "{before}");
    assert_eq!(hosts.recorded("../host"), ["deploy v2.0.0 ok", "deploy v1.0.0 ok"]);
}

#[test]
fn files_of_the_clone_do_not_change() {
    let hosts = Hosts::new();
    hosts.follow();
    let files = |name: &str| hosts.sandbox.git(&["-C", "../host", name]);
    let head = hosts.sandbox.git(&["-C", "../host", "rev-parse", "HEAD"]);
    hosts.promote("v2.0.0", "2");
    hosts.follow();
    assert_eq!(hosts.sandbox.git(&["-C", "../host", "rev-parse", "HEAD"]), head);
    assert!(files("status").contains("nothing to commit"), "{}", files("status"));
    assert_eq!(hosts.sandbox.read("../host/rate"), "1");
}

#[test]
fn without_a_label_there_is_nothing_to_follow() {
    let hosts = Hosts::new();
    for (args, words) in [
        (&["deploy", "digits", "--to", "../other", "--watch"][..], "digits has no label to follow"),
        (&["deploy", "nothing", "--watch"], "nothing"),
        (&["deploy", "prod", "--once"], "--watch"),
        (&["deploy", "prod", "--watch", "--interval", "0s"], "is not a time"),
    ] {
        let out = hosts.at("../host", args);
        assert!([2, 3].contains(&out.code) && out.stderr.contains(words), "{args:?}: {out}");
    }
}

/// Counters count for each model of its own.
#[test]
fn another_model_is_followed_from_its_first_promotion() {
    let hosts = Hosts::new();
    hosts.follow();
    hosts.promote("v2.0.0", "2");
    hosts.follow();
    hosts.host(&["deploy", "prod", "--rollback"]);
    for clone in ["", "../host/"] {
        let path = format!("{clone}pipeline.yaml");
        let text = hosts.sandbox.read(&path);
        let text = text.replace("{digits: {path: model.txt}}", "{digits: {path: model.txt}, faces: {path: model.txt}}");
        hosts.sandbox.write(&path, text.replace("artifact: digits", "artifact: faces"));
    }
    hosts.sandbox.write("rate", "9");
    hosts.dev(&["repro", "-q"]);
    hosts.sandbox.git(&["add", "-A"]);
    hosts.sandbox.git(&["commit", "-q", "-m", "faces"]);
    hosts.dev(&["push", "-q"]);
    hosts.dev(&["model", "register", "faces", "--version", "v1.0.0"]);
    hosts.dev(&["model", "promote", "faces@v1.0.0", "prod"]);
    hosts.sandbox.git(&["push", "-q", "origin", "main", "--tags"]);
    let out = hosts.follow();
    assert_eq!((out.code, hosts.current().as_str()), (0, "model 9"), "{out}");
}

/// Pruning is for branches of the user; a version that is not pushed yet is not the remote's to delete.
#[test]
fn unpushed_tags_stay_when_tags_are_fetched() {
    let hosts = Hosts::new();
    hosts.sandbox.git(&["-C", "../host", "config", "fetch.prune", "true"]);
    hosts.sandbox.git(&["-C", "../host", "config", "fetch.pruneTags", "true"]);
    hosts.sandbox.git(&["-C", "../host", "tag", "-a", "-m", "x", "digits@v9.0.0"]);
    hosts.host(&["deploy", "prod", "--fetch"]);
    assert!(hosts.sandbox.git(&["-C", "../host", "tag"]).contains("digits@v9.0.0"));
}
