//! The record of a target in Git.

use super::hosts::Hosts;

const REF: &str = "refs/lockstep/deployments/prod";

#[test]
fn a_fresh_clone_tells_what_was_deployed_where() {
    let hosts = Hosts::new();
    hosts.host(&["deploy", "prod", "--push"]);
    hosts.promote("v2.0.0", "2");
    hosts.host(&["deploy", "prod", "--fetch", "--push", "-m", "as agreed"]);
    hosts.sandbox.git(&["clone", "-q", "-b", "main", "../hub.git", "../fresh"]);
    let out = hosts.at("../fresh", &["deploy", "log"]);
    assert!(out.code == 0 && out.stderr.contains("lockstep deploy log --fetch"), "{out}");
    let out = hosts.at("../fresh", &["deploy", "log", "--fetch"]);
    assert!(out.code == 0 && out.stdout.contains("as agreed") && out.stdout.contains("v1.0.0"), "{out}");
    assert_eq!(hosts.recorded("../fresh"), ["deploy v2.0.0 ok", "deploy v1.0.0 ok"]);
    let status = hosts.json("../fresh", &["deploy", "status", "--json"]);
    assert_eq!(status["targets"][0]["recorded"][0]["version"], "v2.0.0", "{status}");
    let history = hosts.json("../fresh", &["model", "history", "digits", "--deployments", "--json"]);
    let kinds: Vec<&str> = history.as_array().unwrap().iter().filter_map(|entry| entry["event"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "deploy").count(), 2, "{history}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "promote").count(), 2, "{history}");
}

#[test]
fn what_could_not_be_pushed_is_sent_later() {
    let hosts = Hosts::new();
    hosts.sandbox.git(&["-C", "../host", "remote", "set-url", "--push", "origin", "/nowhere/at/all"]);
    let out = hosts.at("../host", &["deploy", "prod", "--push"]);
    assert!(out.code == 4 && out.stderr.contains("lockstep deploy log prod --push"), "{out}");
    assert_eq!(hosts.current(), "model 1");
    assert_eq!(hosts.recorded("../host"), ["deploy v1.0.0 ok"]);
    hosts.sandbox.git(&["-C", "../host", "config", "--unset", "remote.origin.pushurl"]);
    hosts.host(&["deploy", "log", "prod", "--push"]);
    hosts.host(&["deploy", "log", "prod", "--push"]);
    hosts.dev(&["deploy", "log", "--fetch"]);
    assert_eq!(hosts.recorded(""), ["deploy v1.0.0 ok"]);
}

#[test]
fn without_a_record_only_the_journal_has_it_until_the_next_deployment() {
    let hosts = Hosts::new();
    hosts.host(&["deploy", "prod", "--no-record"]);
    assert!(hosts.json("../host", &["deploy", "log", "--json"]).as_array().unwrap().is_empty());
    hosts.promote("v2.0.0", "2");
    hosts.host(&["deploy", "prod", "--fetch"]);
    assert_eq!(hosts.recorded("../host"), ["deploy v2.0.0 ok", "deploy v1.0.0 ok"]);
    let log = hosts.json("../host", &["deploy", "log", "-n", "1", "--json"]);
    assert_eq!(log[0]["events"].as_array().unwrap().len(), 1);
}

#[test]
fn a_rewritten_record_is_told() {
    let hosts = Hosts::new();
    hosts.host(&["deploy", "prod", "--push"]);
    hosts.promote("v2.0.0", "2");
    hosts.host(&["deploy", "prod", "--fetch", "--push"]);
    hosts.host(&["deploy", "log", "prod", "--verify"]);
    // Someone drops the last event at the remote.
    let hub = hosts.sandbox.path("../hub.git");
    let at_hub = ["--git-dir", hub.to_str().unwrap(), "update-ref", REF];
    hosts.sandbox.git(&[&at_hub[..], &[&format!("{REF}~1")]].concat());
    let out = hosts.at("../host", &["deploy", "log", "--fetch"]);
    assert!(out.code == 4 && out.stderr.contains("was rewritten at origin"), "{out}");
    let restore =
        out.stderr.lines().find_map(|line| line.strip_prefix("  hint: to put back what this clone has seen: "));
    let restore = restore.unwrap_or_else(|| panic!("{out}")).replace("REMOTE", "origin");
    let words: Vec<&str> = restore.split(' ').skip(1).collect();
    hosts.sandbox.git(&[&["-C", "../host"], &words[..]].concat());
    hosts.host(&["deploy", "log", "--fetch"]);

    // Someone who can write to the clone writes another history; the journal of the host still knows.
    hosts.sandbox.git(&["-C", "../host", "update-ref", REF, &format!("{REF}~1")]);
    let out = hosts.at("../host", &["deploy", "log", "prod", "--verify"]);
    assert!(out.code == 1 && out.stderr.contains("the record lacks deploy v2.0.0"), "{out}");
    let findings = hosts.json("../host", &["deploy", "log", "prod", "--verify", "--json"]);
    assert_eq!(findings[0]["findings"].as_array().unwrap().len(), 1, "{findings}");
}

#[test]
fn what_is_deployed_without_a_target_has_no_record() {
    let hosts = Hosts::new();
    hosts.host(&["deploy", "digits@v1.0.0", "--to", "../elsewhere"]);
    assert!(hosts.json("../host", &["deploy", "log", "--json"]).as_array().unwrap().is_empty());
    let out = hosts.at("../host", &["deploy", "log", "prd"]);
    assert!(out.code == 3 && out.stderr.contains("did you mean `prod`?"), "{out}");
}

#[test]
#[ignore = "needs ssh-keygen"]
fn signed_records_are_verified() {
    let hosts = Hosts::new();
    let key = hosts.sandbox.path("../home/key");
    let key = key.to_str().unwrap();
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(format!("{key}.pub")).unwrap();
    hosts.sandbox.write("../home/signers", format!("t@example.org {public}"));
    let signers = hosts.sandbox.path("../home/signers");
    for (name, value) in [
        ("gpg.format", "ssh"),
        ("user.signingKey", key),
        ("commit.gpgSign", "true"),
        ("gpg.ssh.allowedSignersFile", signers.to_str().unwrap()),
    ] {
        hosts.sandbox.git(&["-C", "../host", "config", name, value]);
    }
    hosts.host(&["deploy", "prod"]);
    let require = ["deploy", "log", "prod", "--verify"];
    let verify =
        || crate::sandbox::output(hosts.sandbox.lockstep("../host").args(require).env("LOCKSTEP_REQUIRE_SIGNED", "1"));
    let out = verify();
    assert_eq!(out.code, 0, "{out}");
    // An unsigned commit with the same content.
    let forged = hosts.sandbox.git(&[
        "-C",
        "../host",
        "-c",
        "commit.gpgSign=false",
        "commit-tree",
        "-m",
        "x",
        &format!("{REF}^{{tree}}"),
    ]);
    hosts.sandbox.git(&["-C", "../host", "update-ref", REF, forged.trim()]);
    let out = verify();
    assert!(out.code == 1 && out.stderr.contains("it has no good signature: none"), "{out}");
}
