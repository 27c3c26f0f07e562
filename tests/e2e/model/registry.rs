//! The life of a version: registered, promoted, traced in a clone, taken back.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;

use crate::sandbox::{Output, Sandbox, output};

/// A committed pipeline whose model and accuracy follow from `params.yaml`.
pub fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: cat data.csv params.yaml > model.bin\n    deps: [data.csv]\n    params: [lr, acc]\n    \
         outs: [model.bin]\n  evaluate:\n    cmd: |\n      acc=$(sed -n 's/^acc: //p' params.yaml)\n      \
         echo \"{\\\"accuracy\\\":$acc}\" > metrics.json\n    deps: [model.bin]\n    params: [acc]\n    \
         metrics: [metrics.json: {cache: false}]\n\
         artifacts:\n  digits: {path: model.bin, type: model, desc: Reads digits}\n",
    );
    sandbox.write("params.yaml", "lr: 0.1\nacc: 0.91\n");
    sandbox.write("data.csv", "1,2,3\n");
    commit(&sandbox, "First model");
    sandbox
}

/// Runs the pipeline and commits everything.
pub fn commit(sandbox: &Sandbox, message: &str) {
    let out = sandbox.run(&["repro", "-q", "-P"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", message]);
}

pub fn json(sandbox: &Sandbox, args: &[&str]) -> Json {
    let out = sandbox.run(args);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
}

/// Filtered, ids of 7 and 12 digits as well.
pub fn shown(sandbox: &Sandbox, out: &Output) -> String {
    let text = sandbox.shown(out);
    let mut shown = String::new();
    for (at, word) in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).enumerate() {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = [7, 12].contains(&bare.len())
            && bare.bytes().all(|b| b.is_ascii_hexdigit())
            && bare.bytes().any(|b| b.is_ascii_digit());
        let _ = write!(shown, "{}{}", if is_id && at > 0 { "[ID]" } else { bare }, &word[bare.len()..]);
    }
    shown
}

fn ok(sandbox: &Sandbox, args: &[&str]) {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{args:?}: {out}");
}

#[test]
fn a_version_is_registered_promoted_and_taken_back() {
    let sandbox = project();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "list"])), @r"
    exit 0
    --- stdout
    model   latest  labels  path       registered
    digits  -       -       model.bin  -
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "register", "digits", "--version", "1.0.0"])), @r"
    exit 0
    --- stderr
    warning: there is no remote, so no other clone can get model.bin: lockstep remote add -d NAME URL, then lockstep push
    registered digits v1.0.0: model.bin [ID], 24 B, of [ID] (First model)
    ");
    sandbox.write("params.yaml", "lr: 0.1\nacc: 0.95\n");
    commit(&sandbox, "Better");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "register", "digits", "--bump", "minor", "-m", "Sevens"])), @r"
    exit 0
    --- stderr
    warning: there is no remote, so no other clone can get model.bin: lockstep remote add -d NAME URL, then lockstep push
    registered digits v1.1.0: model.bin [ID], 24 B, of [ID] (Better)
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "promote", "digits@v1.0.0", "prod"])), @r"
    exit 0
    --- stderr
    digits#prod is v1.0.0
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "promote", "digits@latest", "prod"])), @r"
    exit 0
    --- stderr
    digits#prod is v1.1.0 (was v1.0.0)
    ");
    ok(&sandbox, &["model", "promote", "digits#prod", "staging", "-q"]);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "promote", "digits@v1.1.0", "prod"])), @r"
    exit 0
    --- stderr
    digits v1.1.0 is prod already
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "list"])), @r"
    exit 0
    --- stdout
    model   latest  labels                       path       registered
    digits  v1.1.0  prod v1.1.0, staging v1.1.0  model.bin  2026-01-01
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "demote", "digits", "staging"])), @r"
    exit 0
    --- stderr
    digits v1.1.0 is no longer staging
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "demote", "digits", "staging"])), @r"
    exit 3
    --- stderr
    error: no version of digits has the label staging
      hint: its labels are prod
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "deprecate", "digits@v1.1.0"])), @r"
    exit 0
    --- stderr
    digits v1.1.0 is deprecated; digits#prod is v1.0.0 again
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "list", "--all"])), @r"
    exit 0
    --- stdout
    model   version              labels  commit   registered  by
    digits  v1.1.0 (deprecated)  -       [ID]  2026-01-01  t <t@example.org>
    digits  v1.0.0               prod    [ID]  2026-01-01  t <t@example.org>
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "history", "digits"])), @r"
    exit 0
    --- stdout
    when        what                      by                 commit   tag
    2026-01-01  deprecated v1.1.0         t <t@example.org>  [ID]  digits@v1.1.0!
    2026-01-01  v1.1.0 no longer staging  t <t@example.org>  [ID]  digits#staging!#4
    2026-01-01  v1.1.0 became staging     t <t@example.org>  [ID]  digits#staging#3
    2026-01-01  v1.1.0 became prod        t <t@example.org>  [ID]  digits#prod#2
    2026-01-01  v1.0.0 became prod        t <t@example.org>  [ID]  digits#prod#1
    2026-01-01  registered v1.1.0         t <t@example.org>  [ID]  digits@v1.1.0
    2026-01-01  registered v1.0.0         t <t@example.org>  [ID]  digits@v1.0.0
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "register", "digits", "--version", "v1.1.0"])), @r"
    exit 2
    --- stderr
    error: digits v1.1.0 was registered and taken back; a number is assigned once
      hint: lockstep model register digits --version v1.1.1
    ");
    let out = sandbox.run(&["model", "deprecate", "digits"]);
    assert!(out.code == 0 && out.stderr.contains("digits is deprecated; no version has prod now"), "{out}");
    let out = sandbox.run(&["model", "resolve", "digits#prod"]);
    assert!(out.code == 3 && out.stderr.contains("digits is deprecated"), "{out}");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "list"])), @r"
    exit 0
    --- stderr
    all models here are deprecated: lockstep model list --all
    ");
    assert_eq!(
        sandbox.git(&["tag"]).lines().collect::<Vec<_>>(),
        [
            "digits#prod#1",
            "digits#prod#2",
            "digits#staging!#4",
            "digits#staging#3",
            "digits@deprecated",
            "digits@v1.0.0",
            "digits@v1.1.0",
            "digits@v1.1.0!"
        ]
    );
}

#[test]
fn a_clone_with_tags_tells_everything() {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0", "-m", "The first"]);
    ok(&sandbox, &["model", "promote", "digits@v1.0.0", "prod"]);
    sandbox.write("params.yaml", "lr: 0.2\nacc: 0.95\n");
    commit(&sandbox, "Better");
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let clone = |args: &[&str]| {
        let mut command = sandbox.lockstep("");
        output(command.current_dir(sandbox.path("../clone")).args(args))
    };
    let shown = clone(&["model", "show", "digits#prod", "--json"]);
    let shape: Json = serde_json::from_str(&shown.stdout).unwrap_or_else(|e| panic!("{e}: {shown}"));
    for (pointer, want) in [
        ("/name", "digits"),
        ("/version", "v1.0.0"),
        ("/tag", "digits@v1.0.0"),
        ("/by", "t <t@example.org>"),
        ("/time", "2026-01-01T00:00:00Z"),
        ("/commit_subject", "First model"),
        ("/path", "model.bin"),
        ("/stage/address", "train"),
        ("/inputs/0/path", "data.csv"),
        ("/labels/prod/tag", "digits#prod#1"),
        ("/runs/train/lockstep", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(shape.pointer(pointer).and_then(Json::as_str), Some(want), "{pointer}: {shown}");
    }
    assert_eq!(shape["params"]["params.yaml"]["lr"], 0.1);
    assert_eq!(shape["metrics"]["metrics.json"]["accuracy"], 0.91);
    assert!(shape["message"].as_str().unwrap().starts_with("The first"));
    assert!(shape["runs"]["train"]["seconds"].is_number() && shape["runs"]["train"]["host"].is_string());

    let text = clone(&["model", "show", "digits@1.0.0"]).stdout;
    for part in ["digits v1.0.0", "First model", "model.bin, ", "label       prod", "cat data.csv", "accuracy", "0.91"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    let there = clone(&["model", "provenance", "digits@v1.0.0"]);
    let here = sandbox.run(&["model", "provenance", "digits@v1.0.0"]);
    assert_eq!((there.code, &there.stdout), (0, &here.stdout), "{there}");
    ok(&sandbox, &["model", "provenance", "digits", "-o", "p.json"]);
    assert_eq!(sandbox.read("p.json"), here.stdout);
    let statement: Json = serde_json::from_str(&here.stdout).unwrap();
    let digest = &statement["subject"][0]["digest"];
    let bytes = sandbox.git(&["show", "digits@v1.0.0:params.yaml"]);
    assert!(bytes.contains("0.1"));
    let sums = output(
        sandbox.command(Path::new("sh"), "").args(["-c", "printf '1,2,3\\nlr: 0.1\\nacc: 0.91\\n' | sha256sum"]),
    );
    assert_eq!(digest["sha256"].as_str(), sums.stdout.split(' ').next(), "{here}");
    assert_eq!(digest["blake3"], shape["pin"]["blake3"]);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["params"]["params.yaml"]["lr"], 0.1);
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], shape["commit"]);
    assert_eq!(definition["resolvedDependencies"][1]["name"], "data.csv");

    for (what, event) in [
        ("digits#prod", "promote"),
        ("digits#prod#1", "promote"),
        ("refs/tags/digits@v1.0.0", "register"),
        ("digits", "register"),
    ] {
        let out = clone(&["model", "resolve", what, "--json"]);
        let found: Json = serde_json::from_str(&out.stdout).unwrap();
        let got = [&found["event"], &found["version"], &found["path"]].map(|v| v.as_str().unwrap_or_default());
        assert_eq!(got, [event, "v1.0.0", "model.bin"], "{what}");
        assert_eq!((&found["pin"], &found["current"]), (&shape["pin"], &Json::Bool(true)), "{what}");
    }
    // A revision everywhere.
    assert!(clone(&["params", "show", "--rev", "digits#prod"]).stdout.contains("0.1"));
}

#[test]
fn what_is_not_there() {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0"]);
    for (args, code, words) in [
        (&["model", "show", "digitz"][..], 3, "did you mean `digits`?"),
        (&["model", "show", "digits@v2.0.0"], 3, "there are v1.0.0"),
        (&["model", "show", "digits#prod"], 3, "no version of digits has the label prod"),
        (&["model", "show", "digits@one"], 2, "not a version like v1.2.0"),
        (&["model", "resolve", "digits#prod#7"], 3, "there is no tag digits#prod#7 here"),
        (&["model", "resolve", "v1.0.0"], 3, "no version of v1.0.0"),
        (&["model", "register", "digit", "--bump", "patch"], 3, "did you mean `digits`?"),
        (&["model", "register", "digits", "--bump", "patch", "--rev", "mian"], 3, "did you mean `main`?"),
        (&["model", "register", "digits"], 2, "--version"),
        (&["model", "register", "digits", "--version", "1.0"], 2, "not a version like v1.2.0"),
        (&["model", "promote", "digits", "a b"], 2, "is not allowed in the name of a tag"),
        (&["model", "deprecate", "digits#prod"], 2, "lockstep model demote digits prod"),
    ] {
        let out = sandbox.run(args);
        assert!(out.code == code && out.stderr.contains(words), "{args:?}: {out}");
    }
    let outside = Sandbox::without_git();
    assert_eq!(outside.run(&["init", "--no-scm", "-q"]).code, 0);
    assert_eq!(outside.run(&["model", "list"]).code, 0);
    assert_eq!(outside.run(&["model", "register", "digits", "--bump", "patch"]).code, 2);
}

#[test]
fn artifacts_of_several_folders() {
    let sandbox = project();
    for folder in ["a", "b"] {
        sandbox.write(
            &format!("{folder}/pipeline.yaml"),
            "stages: {make: {cmd: echo > w, outs: [w]}}\nartifacts: {words: {path: w}}\n",
        );
    }
    sandbox.write(
        "a/sub/pipeline.yaml",
        "stages: {make: {cmd: echo > w, outs: [w]}}\nartifacts: {'my words': {path: w}}\n",
    );
    for folder in ["a", "b", "a/sub"] {
        assert_eq!(sandbox.run_in(folder, &["repro", "-q"]).code, 0);
    }
    commit(&sandbox, "Words");
    let out = sandbox.run(&["model", "register", "words", "--version", "1.0.0"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 2
    --- stderr
    error: several folders have a words
      hint: write a:words or b:words
    ");
    ok(&sandbox, &["model", "register", "a:words", "--version", "1.0.0"]);
    assert_eq!(sandbox.run_in("b", &["model", "register", "words", "--version", "2.0.0", "-q"]).code, 0);
    assert_eq!(sandbox.git(&["tag"]), "a=words@v1.0.0\nb=words@v2.0.0\n");
    assert_eq!(json(&sandbox, &["model", "resolve", "b:words", "--json"])["path"], "b/w");
    let out = sandbox.run_in("a/sub", &["model", "register", "my words", "--version", "1.0.0"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 2
    --- stderr
    error: a/sub/pipeline.yaml:2:13: artifact `my words`: the name `my words` has ' ' in it, which is not allowed in the name of a tag
      |
    2 | artifacts: {'my words': {path: w}}
      |             ^
    ");
}

/// A bare name means the same as a revision: the folder's own model first, then the only one there is.
#[test]
fn a_version_in_a_folder_is_a_revision() {
    let sandbox = Sandbox::new();
    for folder in ["sub", "other"] {
        sandbox.write(
            &format!("{folder}/pipeline.yaml"),
            format!("stages:\n  s: {{cmd: 'echo \"{{\\\"n\\\": \\\"{folder}\\\"}}\" > m.json', metrics: [m.json]}}\nartifacts: {{deep: {{path: m.json}}, {folder}-alone: {{path: m.json}}}}\n"),
        );
    }
    ok(&sandbox, &["repro", "-q", "-P"]);
    commit(&sandbox, "1");
    for (folder, n) in [("sub", "v0.2.0"), ("other", "v0.3.0")] {
        for name in [format!("{folder}:deep"), format!("{folder}:{folder}-alone")] {
            ok(&sandbox, &["model", "register", &name, "--version", n, "--force"]);
        }
    }
    for args in
        [&["metrics", "show", "--rev", "deep@v0.2.0"][..], &["get", "m.json", "--rev", "deep@v0.2.0", "-o", "g"]]
    {
        let out = sandbox.run_in("sub", args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
    }
    assert_eq!(sandbox.run(&["get", "sub/m.json", "--rev", "sub-alone@v0.2.0", "-o", "h"]).code, 0);
    let out = sandbox.run(&["get", "sub/m.json", "--rev", "deep@v0.2.0", "-o", "i"]);
    assert!(out.code == 2 && out.stderr.contains("several folders have a deep"), "{out}");
}

#[test]
fn tags_are_pushed_and_signed() {
    let sandbox = project();
    sandbox.git(&["init", "-q", "--bare", "../hub.git"]);
    sandbox.git(&["remote", "add", "origin", "../hub.git"]);
    let out = sandbox.run(&["model", "register", "digits", "--version", "v1.0.0", "--push", "--json"]);
    let shape: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!((shape["tag"].as_str(), shape["pushed"].as_str()), (Some("digits@v1.0.0"), Some("origin")), "{out}");
    assert_eq!(sandbox.git(&["ls-remote", "--tags", "../hub.git"]).matches("digits@v1.0.0").count(), 2);
}

#[test]
#[ignore = "needs ssh-keygen"]
fn a_tag_is_signed() {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0"]);
    let key = sandbox.path("../key");
    let mut keygen = sandbox.command(Path::new("sh"), "");
    keygen.args(["-c", "ssh-keygen -q -t ed25519 -N '' -f \"$KEY\""]);
    let out = output(keygen.env("KEY", &key));
    assert_eq!(out.code, 0, "{out}");
    sandbox.git(&["config", "gpg.format", "ssh"]);
    sandbox.git(&["config", "user.signingKey", key.to_str().unwrap()]);
    ok(&sandbox, &["model", "promote", "digits@v1.0.0", "prod", "--sign"]);
    assert!(sandbox.git(&["cat-file", "tag", "refs/tags/digits#prod#1"]).contains("-----BEGIN SSH SIGNATURE-----"));
    let found = json(&sandbox, &["model", "resolve", "digits#prod", "--json"]);
    assert_eq!((found["signed"].as_str(), found["version"].as_str()), (Some("unknown key"), Some("v1.0.0")));
}

#[test]
fn two_versions_on_one_commit() {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0"]);
    for args in [&["--version", "v2.0.0"][..], &["--bump", "major", "--rev", "main"], &["--bump", "major", "--dry"]] {
        let out = sandbox.run(&[&["model", "register", "digits"], args].concat());
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&sandbox, &out), @r"
            exit 1
            --- stderr
            error: digits v2.0.0 is not registered: its commit has a version already
              because: digits v1.0.0 is on the commit [ID]: GTO, and what builds on it, reads no repository with two versions of a model on one commit
              hint: use the existing version: digits@v1.0.0
              hint: or give the number to a new commit: git commit --allow-empty -m 'digits v2.0.0'
              hint: --force registers it nevertheless, and the tag records it
            ");
        }
    }
    let out = sandbox.run(&["model", "register", "digits", "--version", "v2.0.0", "--force"]);
    assert!(out.code == 0 && out.stderr.contains("digits v1.0.0 is the same file, byte for byte"), "{out}");
    let forced = &json(&sandbox, &["model", "show", "digits@v2.0.0", "--json"])["forced"];
    assert!(forced[0].as_str().unwrap().contains("reads no repository with two versions"), "{forced}");
    ok(&sandbox, &["model", "promote", "digits@v1.0.0", "prod"]);
    assert_eq!(json(&sandbox, &["model", "resolve", "digits#prod", "--json"])["version"], "v1.0.0");
    ok(&sandbox, &["model", "promote", "digits@v2.0.0", "prod"]);
    assert_eq!(json(&sandbox, &["model", "resolve", "digits#prod", "--json"])["version"], "v2.0.0");
    assert_eq!(json(&sandbox, &["model", "resolve", "digits#prod#1", "--json"])["current"], false);
}

/// GTO reads a version beside one that was taken back, and fails for a label on their commit.
#[test]
fn a_version_beside_one_that_was_taken_back() {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0"]);
    ok(&sandbox, &["model", "deprecate", "digits@v1.0.0"]);
    let out = sandbox.run(&["model", "register", "digits", "--version", "v2.0.0"]);
    assert!(
        out.code == 0 && out.stderr.contains("digits v1.0.0, which was taken back, is on the same commit"),
        "{out}"
    );
    let out = sandbox.run(&["model", "promote", "digits@v2.0.0", "prod"]);
    assert!(out.code == 1 && out.stderr.contains("digits v2.0.0 does not become prod: its commit has"), "{out}");
    assert!(out.stderr.contains("git commit --allow-empty -m 'digits v2.0.0'"), "{out}");
    // A third one is refused as ever, since the second counts.
    assert_eq!(sandbox.run(&["model", "register", "digits", "--version", "v3.0.0"]).code, 1);
    ok(&sandbox, &["model", "promote", "digits@v2.0.0", "prod", "--force"]);
    assert_eq!(json(&sandbox, &["model", "resolve", "digits#prod", "--json"])["version"], "v2.0.0");
}

#[test]
fn a_version_keeps_all_its_metrics() {
    let sandbox = project();
    let yaml = sandbox.read("pipeline.yaml");
    let many = "    cmd: |\n      for i in $(seq 300); do echo \"k$i: $i\"; done > many.yaml\n      echo 'word: good' >> many.yaml\n      echo 'ok: true' >> many.yaml\n";
    let stage = format!("  many:\n{many}    deps: [model.bin]\n    metrics: [many.yaml: {{cache: false}}]\nartifacts:");
    sandbox.write("pipeline.yaml", yaml.replace("artifacts:", &stage));
    commit(&sandbox, "Many metrics");
    ok(&sandbox, &["model", "register", "digits", "-q", "--version", "v1.0.0"]);
    let metrics = &json(&sandbox, &["model", "show", "digits", "--json"])["metrics"];
    assert_eq!(metrics["many.yaml"].as_object().unwrap().len(), 302, "{metrics}");
    assert_eq!((&metrics["many.yaml"]["k300"], &metrics["many.yaml"]["word"]), (&300.into(), &"good".into()));
    assert_eq!(metrics["metrics.json"]["accuracy"], 0.91);
}
