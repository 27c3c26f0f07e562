//! A tag is called signed when Git says that its signature is good, by the user's keys, and for this very tag.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::sandbox::{Output, Sandbox, output};

/// A project with the model `digits`, one commit, and no tags.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo > o, outs: [o]}}\nartifacts: {digits: {path: o}}\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "first");
    sandbox
}

fn commit(sandbox: &Sandbox, message: &str) {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", message]);
}

fn sh(sandbox: &Sandbox, script: &str) -> Output {
    let out = output(sandbox.command(Path::new("sh"), "").args(["-ec", script]));
    assert_eq!(out.code, 0, "{script}: {out}");
    out
}

/// An SSH key of that name, made known to Git as one to sign with; `known` puts it into the file of allowed signers.
fn ssh_key(sandbox: &Sandbox, name: &str, known: bool) {
    sh(sandbox, &format!("ssh-keygen -q -t ed25519 -N '' -C {name} -f ../home/{name}"));
    let file = sandbox.path("../home/allowed");
    let mut text = fs::read_to_string(&file).unwrap_or_default();
    if known {
        let key = sandbox.read(&format!("../home/{name}.pub"));
        text.push_str(&format!("{name}@example.org {key}"));
    }
    fs::write(&file, text).unwrap();
    sandbox.git(&["config", "--global", "gpg.format", "ssh"]);
    sandbox.git(&["config", "--global", "gpg.ssh.allowedSignersFile", file.to_str().unwrap()]);
    sandbox.git(&["config", "--global", "user.signingKey", sandbox.path(&format!("../home/{name}")).to_str().unwrap()]);
}

fn register(sandbox: &Sandbox, version: &str, sign: bool) {
    let mut args = vec!["model", "register", "digits", "--version", version, "--force"];
    args.extend(sign.then_some("--sign"));
    let out = sandbox.run(&args);
    assert_eq!(out.code, 0, "{out}");
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Json {
    let out = sandbox.run(args);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"))
}

/// The state of a tag's signature, as `resolve` has it; `--verify` fails unless it is good.
#[track_caller]
fn state(sandbox: &Sandbox, what: &str) -> String {
    let found = json(sandbox, &["model", "resolve", what, "--json"])["signed"].as_str().unwrap().to_string();
    let verified = sandbox.run(&["model", "resolve", what, "--verify"]);
    assert_eq!(verified.code, if found == "good" { 0 } else { 1 }, "{what} is {found}: {verified}");
    found
}

/// The content of a tag, stored and found under a name.
fn put_tag(sandbox: &Sandbox, name: &str, content: &str) {
    sandbox.write("../tag", content);
    let id = sandbox.git(&["hash-object", "-t", "tag", "-w", "--literally", "../tag"]);
    sandbox.git(&["update-ref", &format!("refs/tags/{name}"), id.trim()]);
}

#[test]
fn the_lines_of_a_signature_are_none() {
    let sandbox = project();
    register(&sandbox, "v1.0.0", false);
    assert_eq!(state(&sandbox, "digits"), "none");
    for (n, kind) in ["PGP SIGNATURE", "PGP MESSAGE", "SIGNED MESSAGE", "SSH SIGNATURE"].iter().enumerate() {
        let message = format!("digits prod\n\n-----BEGIN {kind}-----\n\nnonsense\n-----END {kind}-----\n");
        sandbox.write("../message", message);
        let tag = format!("digits#prod#{}", n + 1);
        sandbox.git(&["tag", "-a", &tag, "-F", "../message", "digits@v1.0.0^{}"]);
        assert!(["bad", "unknown key"].contains(&state(&sandbox, "digits#prod").as_str()), "{kind}");
        let shown = sandbox.run(&["model", "show", "digits#prod"]).stdout;
        assert!(!shown.contains(", signed") && !shown.contains("good"), "{shown}");
        let listed = json(&sandbox, &["model", "list", "--json"]);
        assert_eq!(listed[0]["labels"]["prod"]["signed"], "not checked", "{listed}");
    }
}

#[test]
#[ignore = "needs ssh-keygen"]
fn ssh_signatures_are_verified() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    assert_eq!(state(&sandbox, "digits@v1.0.0"), "good");
    let found = json(&sandbox, &["model", "show", "digits", "--json"]);
    assert_eq!(found["signature"]["signer"], "ann@example.org", "{found}");
    assert!(found["signature"]["key"].as_str().unwrap().starts_with("SHA256:"), "{found}");
    let shown = sandbox.run(&["model", "show", "digits"]).stdout;
    assert!(shown.contains("signature   good: ann@example.org, SHA256:"), "{shown}");
    let listed = sandbox.run(&["model", "list", "--verify"]).stdout;
    assert!(listed.lines().nth(1).unwrap().ends_with("good"), "{listed}");

    // A key that the user does not know, and no file of known keys at all.
    ssh_key(&sandbox, "mallory", false);
    register(&sandbox, "v1.1.0", true);
    assert_eq!(state(&sandbox, "digits"), "unknown key");
    sandbox.git(&["config", "--global", "--unset", "gpg.ssh.allowedSignersFile"]);
    assert_eq!(state(&sandbox, "digits@v1.0.0"), "unknown key");
    sandbox.git(&["config", "--global", "gpg.ssh.program", "/nonexistent"]);
    sandbox.git(&[
        "config",
        "--global",
        "gpg.ssh.allowedSignersFile",
        sandbox.path("../home/allowed").to_str().unwrap(),
    ]);
    assert_eq!(state(&sandbox, "digits@v1.0.0"), "not checked");
}

/// The signature covers the tag that is asked for: its name, its content and its object.
#[test]
#[ignore = "needs ssh-keygen"]
fn a_good_signature_of_something_else_is_bad() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    let signed = sandbox.git(&["cat-file", "tag", "digits@v1.0.0"]);

    // The same object under other names.
    let id = sandbox.git(&["rev-parse", "digits@v1.0.0"]);
    for other in ["digits@v2.0.0", "digits#prod#1", "digits@v1.0.0!"] {
        sandbox.git(&["update-ref", &format!("refs/tags/{other}"), id.trim()]);
        assert_eq!(state(&sandbox, other), "bad", "{other}");
        sandbox.git(&["tag", "-d", other]);
    }
    // A changed message, a changed name, a second name, and words behind the signature.
    for (content, want) in [
        (signed.replace("digits v1.0.0", "digits v1.0.1"), "bad"),
        (signed.replace("tag digits@v1.0.0\n", "tag digits@v2.0.0\n"), "bad"),
        (signed.replace("tag digits@v1.0.0\n", "tag digits@v2.0.0\ntag digits@v1.0.0\n"), "bad"),
        (signed.replace("-----BEGIN SSH SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----\nx"), "bad"),
        (format!("{signed}-----BEGIN PGP SIGNATURE-----\nx\n"), "bad"),
    ] {
        put_tag(&sandbox, "digits@v2.0.0", &content);
        assert_eq!(state(&sandbox, "digits@v2.0.0"), want, "{content}");
    }
    sandbox.git(&["tag", "-d", "digits@v2.0.0"]);
    // What stands behind a signature is not signed, and is not read.
    let note = "lockstep-model 1\n{\"event\": \"register\", \"name\": \"digits\", \"forced\": [\"forged\"]}\n";
    put_tag(&sandbox, "digits@v1.0.0", &format!("{signed}\n{note}"));
    let shown = sandbox.run(&["model", "show", "digits@v1.0.0", "--json"]);
    assert!(!shown.stdout.contains("forged"), "{shown}");
    // Another object in place of the signed one does not count.
    put_tag(&sandbox, "digits@v1.0.0", &signed);
    put_tag(&sandbox, "fake", &signed.replace("digits v1.0.0", "digits v6.6.6"));
    sandbox.git(&["replace", "-f", "refs/tags/digits@v1.0.0", "refs/tags/fake"]);
    assert_eq!(state(&sandbox, "digits@v1.0.0"), "good");
    let shown = sandbox.run(&["model", "show", "digits@v1.0.0", "--json"]);
    assert!(!shown.stdout.contains("v6.6.6"), "{shown}");
    sandbox.git(&["replace", "-d", id.trim()]);
    // A lightweight tag has none.
    sandbox.git(&["tag", "-f", "digits@v3.0.0", "HEAD"]);
    assert_eq!(state(&sandbox, "digits@v3.0.0"), "none");
}

/// A tag that anybody may push must not bring an old version back.
#[test]
#[ignore = "needs ssh-keygen"]
fn what_takes_back_has_to_be_signed_too() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    register(&sandbox, "v2.0.0", true);
    assert_eq!(state(&sandbox, "digits"), "good");
    let forge = |name: &str, rev: &str| {
        let mut git = sandbox.command(Path::new("git"), "");
        let out =
            output(git.args(["tag", "-a", name, "-m", "x", rev]).env("GIT_COMMITTER_DATE", "2026-02-01T00:00:00Z"));
        assert_eq!(out.code, 0, "{out}");
    };
    forge("digits@v2.0.0!", "HEAD");
    let out = sandbox.run(&["model", "resolve", "digits", "--verify"]);
    assert!(out.code == 1 && out.stderr.contains("the tag digits@v2.0.0! has no good signature: none"), "{out}");
    sandbox.git(&["tag", "-d", "digits@v2.0.0!"]);
    assert_eq!(sandbox.run(&["model", "deprecate", "digits@v2.0.0", "--sign"]).code, 0);
    let out = sandbox.run(&["model", "resolve", "digits", "--verify"]);
    assert!(out.code == 0 && out.stdout.contains("v1.0.0"), "{out}");
    // A label that was moved without a signature.
    assert_eq!(sandbox.run(&["model", "promote", "digits@v1.0.0", "prod", "--sign"]).code, 0);
    assert_eq!(state(&sandbox, "digits#prod"), "good");
    forge("digits#prod#99", "HEAD~1");
    assert_eq!(state(&sandbox, "digits#prod"), "none");
    forge("digits#prod!#100", "HEAD~1");
    assert_eq!(sandbox.run(&["model", "resolve", "digits#prod", "--verify"]).code, 3);
    for tag in ["digits#prod#99", "digits#prod!#100"] {
        sandbox.git(&["tag", "-d", tag]);
    }
    // A version that lost a label to a tag without a signature: the one before it is no answer.
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "third"]);
    register(&sandbox, "v3.0.0", true);
    assert_eq!(sandbox.run(&["model", "promote", "digits@v3.0.0", "prod", "--sign"]).code, 0);
    for tag in ["digits#prod!#100", "digits@v3.0.0!"] {
        forge(tag, "HEAD");
        let shown = sandbox.run(&["model", "resolve", "digits#prod"]).stdout;
        assert!(shown.contains("v1.0.0"), "{shown}");
        let why = format!("the tag {tag} has no good signature: none");
        let out = sandbox.run(&["model", "resolve", "digits#prod", "--verify"]);
        assert!(out.code == 1 && out.stderr.contains(&why), "{out}");
        let mut get = sandbox.lockstep("");
        let get = get.args(["get", "o", "--rev", "digits#prod", "-o", "got"]).env("LOCKSTEP_REQUIRE_SIGNED", "1");
        let out = output(get);
        assert!(out.code == 1 && out.stderr.contains(&why), "{out}");
        sandbox.git(&["tag", "-d", tag]);
    }
}

#[test]
#[ignore = "needs ssh-keygen"]
fn signatures_can_be_required() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", false);
    assert_eq!(sandbox.run(&["model", "promote", "digits@v1.0.0", "prod"]).code, 0);
    register(&sandbox, "v2.0.0", true);
    // A branch is no version.
    sandbox.git(&["branch", "digits@v9.0.0"]);
    // By the environment, for everything that finds a commit by a version or a label.
    let required = |args: &[&str]| output(sandbox.lockstep("").args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"));
    for (args, code) in [
        (&["model", "resolve", "digits#prod"][..], 1),
        (&["model", "resolve", "digits@v1.0.0"], 1),
        (&["model", "resolve", "digits@v2.0.0"], 0),
        (&["get", "o", "--rev", "digits#prod", "-o", "got"], 1),
        (&["get", "o", "--rev", "digits@v1.0.0", "-o", "got"], 1),
        (&["get", "o", "--rev", "refs/tags/digits@v1.0.0", "-o", "got"], 1),
        (&["get", ".", "o", "--rev", "digits#prod#1", "-o", "got"], 1),
        (&["get", "o", "--rev", "digits@v2.0.0", "-o", "got"], 0),
        (&["diff", "digits@v1.0.0"], 1),
        (&["model", "inspect", "digits@v1.0.0"], 1),
        (&["model", "provenance", "digits@v1.0.0"], 1),
        (&["get", "o", "--rev", "digits@v9.0.0", "-o", "got", "--force"], 3),
    ] {
        let out = required(args);
        assert_eq!(out.code, code, "{args:?} {out}");
    }
    assert_eq!(sandbox.run(&["model", "resolve", "digits#prod"]).code, 0);

    // By the artifact, as the worktree declares it: what the commit of a tag says does not count.
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: echo > o, outs: [o]}}\nartifacts: {digits: {path: o, require: [signed]}}\n",
    );
    assert_eq!(sandbox.run(&["model", "resolve", "digits#prod"]).code, 1);
    assert_eq!(sandbox.run(&["model", "resolve", "digits@v2.0.0"]).code, 0);
    let out = sandbox.run(&["model", "promote", "digits@v1.0.0", "staging"]);
    assert!(out.code == 1 && out.stderr.contains("digits@v1.0.0 has no good signature: none"), "{out}");
    // What is made from now on is signed without being asked.
    assert_eq!(sandbox.run(&["model", "promote", "digits@v2.0.0", "prod"]).code, 0);
    assert_eq!(state(&sandbox, "digits#prod"), "good");

    sandbox.write("pipeline.yaml", "artifacts: {digits: {path: o, require: [signd]}}\n");
    let out = sandbox.run(&["status"]);
    assert!(out.code == 2 && out.stderr.contains("`require`"), "{out}");
}

/// An older version is not taken unasked in place of the latest one, which is not signed.
#[test]
#[ignore = "needs ssh-keygen"]
fn the_latest_version_is_signed_or_refused() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    for (version, sign) in [("v1.0.0", true), ("v1.1.0", true), ("v1.2.0", false), ("v2.0.0", false)] {
        register(&sandbox, version, sign);
    }
    let out = sandbox.run(&["model", "resolve", "digits", "--verify"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 1
    --- stderr
    error: the tag digits@v2.0.0 has no good signature: none
      because: the latest version of digits would be v2.0.0
      hint: see what Git says: git verify-tag digits@v2.0.0
      hint: the highest version below it with a good signature: digits@v1.1.0
    ");
    for (version, code) in [("v1.1.0", 0), ("v1.2.0", 1)] {
        assert_eq!(sandbox.run(&["model", "resolve", &format!("digits@{version}"), "--verify"]).code, code);
    }
    let history = sandbox.run(&["model", "history", "digits", "--verify"]).stdout;
    let states: Vec<_> = history.lines().map(|line| line.split_whitespace().next_back().unwrap()).collect();
    assert_eq!(states, ["signed", "none", "none", "good", "good"], "{history}");
    let history = json(&sandbox, &["model", "history", "digits", "--verify", "--json"]);
    assert_eq!((&history[0]["signed"], &history[3]["signed"]), (&"none".into(), &"good".into()), "{history}");
    assert_eq!(json(&sandbox, &["model", "history", "digits", "--json"])[3]["signed"], "not checked");
}

/// The signature of a commit says nothing of the version that a tag gives it.
#[test]
#[ignore = "needs ssh-keygen"]
fn a_signed_commit_signs_no_version() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    sandbox.git(&["commit", "-q", "-S", "--allow-empty", "-m", "signed"]);
    sandbox.git(&["verify-commit", "HEAD"]);
    sandbox.git(&["tag", "digits@v1.0.0"]);
    sandbox.git(&["tag", "-a", "-m", "x", "digits@v1.1.0"]);
    for name in ["digits@v1.0.0", "digits@v1.1.0", "digits"] {
        assert_eq!(state(&sandbox, name), "none", "{name}");
        let shown = sandbox.run(&["model", "show", name]);
        assert!(shown.code == 0 && !shown.stdout.contains("good"), "{shown}");
    }
}

#[test]
#[ignore = "needs ssh-keygen"]
fn check_judges_the_signatures_that_an_artifact_requires() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    assert_eq!(sandbox.run(&["model", "promote", "digits@v1.0.0", "prod"]).code, 0);
    assert!(sandbox.run(&["check"]).stderr.contains("no checks here"));
    let required = |args: &[&str]| output(sandbox.lockstep("").args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"));
    assert_eq!(required(&["check"]).code, 1);
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: echo > o, outs: [o]}}\nartifacts: {other: {path: o}, digits: {path: o, require: [signed]}}\n",
    );
    let out = sandbox.run(&["check"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 1
    --- stdout
    ok    digits is signed
    FAIL  digits#prod is not signed: the tag digits#prod#1 has no good signature: none
    --- stderr
    hint: see what Git says: git verify-tag digits#prod#1
    1 of 2 checks hold
    ");
    for (args, code) in [(&["check", "digits"][..], 1), (&["check", "pipeline.yaml"], 1), (&["check", "other"], 0)] {
        assert_eq!(sandbox.run(args).code, code, "{args:?}");
    }
    let shape = json(&sandbox, &["check", "--json"]);
    assert_eq!((&shape[0]["ok"], &shape[1]["version"]), (&true.into(), &"digits#prod".into()), "{shape}");
    // A version that is not signed and not in use fails nothing.
    for args in [&["model", "demote", "digits", "prod"][..], &["model", "promote", "digits@v1.0.0", "prod"]] {
        assert_eq!(sandbox.run(args).code, 0, "{args:?}");
    }
    sandbox.git(&["tag", "-a", "-m", "x", "digits@v0.1.0"]);
    let out = sandbox.run(&["check"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox.git(&["tag", "-a", "-m", "x", "digits@v1.1.0"]);
    let out = sandbox.run(&["check"]);
    assert!(out.code == 1 && out.stdout.contains("FAIL  digits is not signed"), "{out}");
}

#[test]
#[ignore = "needs gpg"]
fn openpgp_signatures_are_verified() {
    let sandbox = project();
    let home = sandbox.path("../home/.gnupg");
    sh(&sandbox, "mkdir -m 700 \"$HOME/.gnupg\"");
    let key = |name: &str| {
        sh(
            &sandbox,
            &format!(
                "gpg --batch --quiet --passphrase '' --quick-generate-key '{name} <{name}@example.org>' ed25519 sign never"
            ),
        );
    };
    key("ann");
    sandbox.git(&["config", "--global", "user.signingKey", "ann@example.org"]);
    register(&sandbox, "v1.0.0", true);
    assert_eq!(state(&sandbox, "digits"), "good");
    let found = json(&sandbox, &["model", "resolve", "digits", "--json"]);
    assert_eq!(found["signature"]["signer"], "ann <ann@example.org>", "{found}");
    let listed = sh(&sandbox, "gpg --with-colons --list-keys ann | grep ^fpr: | head -1 | cut -d: -f10");
    assert_eq!(found["signature"]["key"], listed.stdout.trim(), "{found}");
    let signed = sandbox.git(&["cat-file", "tag", "digits@v1.0.0"]);
    put_tag(&sandbox, "digits@v1.0.0", &signed.replace("digits v1.0.0", "digits v6.6.6"));
    assert_eq!(state(&sandbox, "digits"), "bad");
    put_tag(&sandbox, "digits@v1.0.0", &signed);
    // A key that is not in the ring.
    sh(&sandbox, "gpgconf --kill all; rm -rf \"$HOME/.gnupg\"; mkdir -m 700 \"$HOME/.gnupg\"");
    assert_eq!(state(&sandbox, "digits"), "unknown key");
    sh(&sandbox, "gpgconf --kill all || true");
    sandbox.git(&["config", "--global", "gpg.program", "/nonexistent"]);
    assert_eq!(state(&sandbox, "digits"), "not checked");
    let _ = fs::remove_dir_all(home);
}

#[test]
#[ignore = "needs gpgsm"]
fn x509_signatures_are_verified() {
    let sandbox = project();
    sh(
        &sandbox,
        "mkdir -m 700 \"$HOME/.gnupg\"; cd \"$HOME\"
        printf 'disable-crl-checks\ndisable-dirmngr\n' > .gnupg/gpgsm.conf
        printf 'Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSerial: random\nName-DN: CN=ann\nName-Email: a@e.org\n' > request
        gpgsm --batch --pinentry-mode loopback --passphrase-fd 0 --gen-key --output ann.pem request < /dev/null
        gpgsm --batch --import ann.pem
        gpgsm --with-colons --list-keys 2>/dev/null | grep ^fpr: | head -1 | cut -d: -f10 > key
        echo \"$(cat key) S relax\" > .gnupg/trustlist.txt; gpgconf --kill gpg-agent",
    );
    let key = sandbox.read("../home/key");
    sandbox.git(&["config", "--global", "gpg.format", "x509"]);
    sandbox.git(&["config", "--global", "user.signingKey", key.trim()]);
    register(&sandbox, "v1.0.0", true);
    assert_eq!(state(&sandbox, "digits"), "good");
    let found = json(&sandbox, &["model", "resolve", "digits", "--json"]);
    assert_eq!(
        (found["signature"]["signer"].as_str(), found["signature"]["key"].as_str()),
        (Some("/CN=ann"), Some(key.trim()))
    );
    let signed = sandbox.git(&["cat-file", "tag", "digits@v1.0.0"]);
    put_tag(&sandbox, "digits@v1.0.0", &signed.replace("digits v1.0.0", "digits v6.6.6"));
    assert_eq!(state(&sandbox, "digits"), "bad");
    put_tag(&sandbox, "digits@v1.0.0", &signed);
    sh(&sandbox, "gpgconf --kill all; rm \"$HOME\"/.gnupg/pubring.kbx*");
    assert_eq!(state(&sandbox, "digits"), "unknown key");
    sh(&sandbox, "gpgconf --kill all || true");
}

/// What another repository says in its settings is not the user's word: neither whose keys count, nor which programs run.
#[test]
#[ignore = "needs ssh-keygen"]
fn settings_of_another_repository_say_nothing_of_signatures() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    ssh_key(&sandbox, "mallory", false);
    register(&sandbox, "v2.0.0", true);
    sh(&sandbox, "git init -q ../mine; git clone -q --bare . ../bare.git");
    let key = sandbox.read("../home/mallory.pub");
    sandbox.write("../home/evil", format!("mallory@example.org {key}"));
    sandbox.write("signers", format!("mallory@example.org {key}"));
    sandbox.write("../home/program", "#!/bin/sh\ntouch \"$HOME/ran\"\nprintf '[GNUPG:] GOODSIG 1 a\\n'\n");
    sh(&sandbox, "chmod +x ../home/program");
    let program = sandbox.path("../home/program");
    let evil = sandbox.path("../home/evil");
    let get = |at: &str, rev: &str| {
        let mut command = sandbox.lockstep("../mine");
        output(
            command
                .args(["get", at, "pipeline.yaml", "--force", "-o", "got", "--rev", rev])
                .env("LOCKSTEP_REQUIRE_SIGNED", "1"),
        )
    };
    for (setting, value) in [
        ("gpg.ssh.allowedSignersFile", evil.to_str().unwrap()),
        ("gpg.ssh.allowedSignersFile", "signers"),
        ("include.path", "../evil.config"),
        ("gpg.ssh.program", program.to_str().unwrap()),
    ] {
        sandbox.write("evil.config", format!("[gpg \"ssh\"]\nallowedSignersFile = {}\n", evil.display()));
        sandbox.git(&["config", setting, value]);
        sandbox.git(&["--git-dir", "../bare.git", "config", setting, value]);
        for at in ["../repo", "../repo/.git", "../bare.git"] {
            let out = get(at, "digits@v2.0.0");
            assert!(out.code == 1 && out.stderr.contains("unknown key"), "{setting} {at}: {out}");
            let out = get(at, "digits@v1.0.0");
            assert_eq!(out.code, 0, "{setting} {at}: {out}");
        }
        assert!(!sandbox.path("../home/ran").exists(), "{setting}");
    }
    // In the clone at hand they are the user's own.
    sandbox.git(&["config", "--unset", "gpg.ssh.program"]);
    assert_eq!(state(&sandbox, "digits@v2.0.0"), "good");
    let mut command = sandbox.lockstep("");
    let args = ["get", ".", "pipeline.yaml", "-o", "got", "--rev", "digits@v2.0.0"];
    let out = output(command.args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"));
    assert_eq!(out.code, 0, "{out}");
}

/// Its settings start no program to fetch what a partial clone left out.
#[test]
fn another_repository_fetches_nothing() {
    let sandbox = project();
    let blob = sandbox.git(&["rev-parse", "HEAD:pipeline.lock"]);
    let (folder, file) = blob.trim().split_at(2);
    sh(&sandbox, &format!("rm -f .git/objects/{folder}/{file}; git init -q ../mine"));
    sandbox.write("../home/program", "#!/bin/sh\ntouch \"$HOME/ran\"\nexit 1\n");
    sh(&sandbox, "chmod +x ../home/program");
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "/nowhere"),
        ("remote.origin.uploadpack", sandbox.path("../home/program").to_str().unwrap()),
    ] {
        sandbox.git(&["config", key, value]);
    }
    for at in ["../repo", "../repo/.git"] {
        for args in [&["get", at, "pipeline.lock", "-o", "got"][..], &["list", at], &["import", at, "o"]] {
            let out = output(sandbox.lockstep("../mine").args(args));
            assert!(!sandbox.path("../home/ran").exists(), "{args:?}: {out}");
        }
    }
}

/// In somebody's folder an object may have another content than its id says, which Git does not see as it reads it.
#[test]
#[ignore = "needs ssh-keygen"]
fn forged_objects_of_another_repository_are_refused() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    sandbox.write("file", "good");
    commit(&sandbox, "good");
    register(&sandbox, "v1.0.0", true);
    sandbox.write("file", "evil");
    commit(&sandbox, "evil");
    sh(&sandbox, "git init -q ../mine");
    let get = |rev: &str| {
        let args = ["get", "../repo", "file", "--force", "-o", "got", "--rev", rev];
        output(sandbox.lockstep("../mine").args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"))
    };
    assert_eq!((get("digits@v1.0.0").code, sandbox.read("../mine/got").as_str()), (0, "good"));
    assert_eq!(get("digits@v1.0.0^{}").code, 0);
    for of in ["", "^{tree}", ":file"] {
        let lies = |rev: &str| {
            let id = sandbox.git(&["rev-parse", &format!("{rev}{of}")]);
            let (folder, file) = id.trim().split_at(2);
            format!(".git/objects/{folder}/{file}")
        };
        let (good, evil) = (lies("digits@v1.0.0^{commit}"), lies("HEAD"));
        sh(&sandbox, &format!("cp {good} ../kept; rm -f {good}; cp {evil} {good}"));
        for rev in ["digits@v1.0.0", "digits@v1.0.0^{}"] {
            let out = get(rev);
            assert!(out.code == 1 && out.stderr.contains("has other content than its id says"), "{of} {rev}: {out}");
        }
        sh(&sandbox, &format!("rm -f {good}; cp ../kept {good}"));
    }
    assert_eq!(get("digits@v1.0.0").code, 0);
}

/// A signature covers a commit and its tree by their ids: what `refs/replace/` puts in their place does not count.
#[test]
#[ignore = "needs ssh-keygen"]
fn replaced_commits_and_trees_do_not_count() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    sandbox.write("file", "good");
    commit(&sandbox, "good");
    register(&sandbox, "v1.0.0", true);
    sandbox.write("file", "evil");
    commit(&sandbox, "evil");
    for of in ["", "^{tree}", ":file"] {
        let good = format!("digits@v1.0.0^{{commit}}{of}");
        let good = sandbox.git(&["rev-parse", &good]);
        sandbox.git(&["replace", good.trim(), &format!("HEAD{of}")]);
        sh(&sandbox, "rm -rf ../mirror.git; git clone -q --mirror . ../mirror.git");
        for at in [".", "../mirror.git"] {
            let mut command = sandbox.lockstep("");
            let args = ["get", at, "file", "--force", "-o", "got", "--rev", "digits@v1.0.0"];
            let out = output(command.args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"));
            assert_eq!((out.code, sandbox.read("got").as_str()), (0, "good"), "{of} {at}: {out}");
        }
        sandbox.git(&["replace", "-d", good.trim()]);
    }
}

/// Whatever Git's grammar hangs on a tag, the tag has to be signed.
#[test]
#[ignore = "needs ssh-keygen"]
fn revisions_that_begin_at_a_tag_need_its_signature() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    sandbox.write("file", "x");
    commit(&sandbox, "second");
    sandbox.git(&["tag", "digits@v2.0.0"]);
    sandbox.git(&["tag", "digits#prod#1"]);
    for branch in ["digits@v3.0.0", "digits#prod", "digits#prod#7", "digits@v1.0.0!"] {
        sandbox.git(&["branch", branch]);
    }
    sandbox.git(&["update-ref", "refs/digits@v4.0.0", "HEAD"]);
    let short = sandbox.git(&["rev-parse", "--short", "HEAD"]);
    let described = format!("digits@v5.0.0-0-g{}", short.trim());
    let get = |rev: &str| {
        let args = ["get", ".", "pipeline.yaml", "--force", "-o", "got", "--rev", rev];
        output(sandbox.lockstep("").args(args).env("LOCKSTEP_REQUIRE_SIGNED", "1"))
    };
    let names = ["digits@v2.0.0", "tags/digits@v2.0.0", "refs/tags/digits@v2.0.0", "digits#prod#1", "digits@v3.0.0"];
    let more = ["digits#prod", "digits#prod#7", "digits@v1.0.0!", "digits@v4.0.0", &described];
    for name in names.into_iter().chain(more) {
        for behind in ["", "^{}", "^0", "~0", "^{commit}", "~1", "^", "@{0}", "^{/first}", "^{}^0~0", "^!"] {
            let out = get(&format!("{name}{behind}"));
            assert!([1, 3].contains(&out.code), "{name}{behind}: {out}");
        }
    }
    for behind in ["^{}", "^0", "~0", "^{commit}", "^{/first}"] {
        for name in ["digits@v1.0.0", "tags/digits@v1.0.0", "refs/tags/digits@v1.0.0"] {
            let out = get(&format!("{name}{behind}"));
            assert_eq!(out.code, 0, "{name}{behind}: {out}");
        }
    }
    // What is plainly a branch or a commit is no version.
    for rev in ["HEAD~1", "main@{0}", "heads/digits@v3.0.0^0", "HEAD^{/first}", short.trim()] {
        assert_eq!(get(rev).code, 0, "{rev}: {}", get(rev));
    }
}

/// A mistake in a pipeline file does not take back that its models need signatures.
#[test]
fn mistakes_do_not_take_signatures_back() {
    let sandbox = project();
    register(&sandbox, "v1.0.0", false);
    assert_eq!(sandbox.run(&["model", "resolve", "digits@v1.0.0"]).code, 0);
    let resolve: &[&str] = &["model", "resolve", "digits@v1.0.0"];
    let promote: &[&str] = &["model", "promote", "digits@v1.0.0", "prod"];
    let deprecate: &[&str] = &["model", "deprecate", "digits@v1.0.0"];
    for (artifact, code) in [
        ("{path: o, require: [signed]}", 1),
        ("{path: o, require: signed}", 2),
        ("{path: o, require: [Signed]}", 2),
        ("{path: o, require: [signed, more]}", 2),
        ("{path: o, require: {signed: true}}", 2),
        ("{path: o, require: true}", 2),
        ("{path: o, require: }", 2),
        ("{path: o, Require: [signed]}", 2),
        ("{path: o, require: [signed]}\nmore: 1", 2),
        ("{path: ../../o, require: [signed]}", 1),
        ("{path: o, require: [signed]", 2),
    ] {
        sandbox.write("pipeline.yaml", format!("artifacts:\n  digits: {artifact}\n"));
        for args in [resolve, promote] {
            let out = sandbox.run(args);
            assert_eq!(out.code, code, "{artifact} {args:?}: {out}");
        }
        if code == 2 {
            let out = sandbox.run(deprecate);
            assert_eq!(out.code, 2, "{artifact}: {out}");
        }
    }
    assert_eq!(sandbox.git(&["tag"]).trim(), "digits@v1.0.0");
}

/// Where the tag of a label does not name its version, the version's own tag has to be signed as well.
#[test]
#[ignore = "needs ssh-keygen"]
fn a_label_without_a_note_rests_on_the_tag_of_its_version() {
    let sandbox = project();
    ssh_key(&sandbox, "ann", true);
    register(&sandbox, "v1.0.0", true);
    sandbox.git(&["tag", "-s", "-m", "by hand", "digits#prod#1"]);
    assert_eq!(state(&sandbox, "digits#prod"), "good");
    sandbox.git(&["tag", "digits@v9.9.8"]);
    assert_eq!(state(&sandbox, "digits#prod"), "good");
    sandbox.git(&["tag", "-a", "-m", "x", "digits@v9.9.9"]);
    let out = sandbox.run(&["model", "resolve", "digits#prod", "--verify"]);
    assert!(out.code == 1 && out.stderr.contains("digits@v9.9.9"), "{out}");
}
