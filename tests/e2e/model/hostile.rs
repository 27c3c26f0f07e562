//! Tags are written by whoever may push: nothing in them may harm the terminal, the files or the program.

use crate::model::registry::{json, project};
use crate::sandbox::Sandbox;

fn tag(sandbox: &Sandbox, name: &str, message: &str) {
    sandbox.git(&["tag", "-a", "--cleanup=verbatim", "-m", message, name]);
}

#[test]
fn messages_of_all_kinds() {
    let sandbox = project();
    let escape = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";
    let note = |body: &str| format!("t\n\nlockstep-model 1\n{body}");
    let blocks = [
        "{}".to_string(),
        "[".repeat(50_000),
        "{\"event\":\"register\"".to_string(),
        r#"{"event":"register","name":"x","actor":"a","time":"t","file":{"path":"../../../../etc/passwd","blake3":"zz","size":18446744073709551615}}"#.to_string(),
        r#"{"event":"register","name":"x","actor":"a","time":"t","runs":{"train":{"start":"ESC","seconds":1e308,"host":"ESC","user":"ESC","platform":"ESC","lockstep":"ESC","commit":null}},"stage":{"address":"train","key":"ESC"},"metrics":{"ESC":{"ESC":"ESC"}},"checks":[{"check":"ESC","value":null,"ok":true}],"forced":["ESC"]}"#.to_string(),
        r#"{"event":"register","name":"x","actor":"a","time":"t","runs":{"train":{"start":"9999-12-31T23:59:59Z","seconds":-1,"host":"h","user":"u","platform":"p","lockstep":"l","commit":null}},"stage":{"address":"train","key":"k"}}"#.to_string(),
    ];
    for (n, block) in blocks.iter().enumerate() {
        let json_escape = "\\u001b]0;owned\\u0007\\u001b[2J\\u202e";
        tag(&sandbox, &format!("digits@v1.{n}.0"), &note(&block.replace("ESC", json_escape)));
    }
    tag(&sandbox, "digits@v1.90.0", &format!("t\n\n{escape} words"));
    tag(
        &sandbox,
        "digits#prod#1",
        &note(r#"{"event":"promote","name":"digits","actor":"a","time":"t","version":"v9.9.9"}"#),
    );
    tag(&sandbox, "digits#prod#18446744073709551615", "t");
    let versions: Vec<String> = (0..blocks.len()).chain([90]).map(|n| format!("digits@v1.{n}.0")).collect();
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["model", "list"],
        vec!["model", "list", "--all"],
        vec!["model", "history", "digits"],
        vec!["model", "show", "digits#prod"],
        vec!["model", "resolve", "digits#prod"],
        vec!["model", "list", "-v"],
    ];
    for version in &versions {
        commands.push(vec!["model", "show", version]);
        commands.push(vec!["model", "provenance", version]);
        commands.push(vec!["model", "resolve", version]);
    }
    for args in commands {
        let out = sandbox.run(&args);
        // A tag that names other bytes than the lock is told, and fails.
        let lies = args.contains(&"digits@v1.3.0") && args[1] != "resolve";
        assert_eq!(out.code, i32::from(lies), "{args:?}: {out}");
        let text = format!("{}{}", out.stdout, out.stderr);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{args:?}: {text:?}");
        // JSON is not for eyes.
        assert!(args[1] == "provenance" || !text.contains('\u{202e}'), "{args:?}: {text:?}");
    }
    let shown = json(&sandbox, &["model", "show", "digits@v1.3.0", "--json"]);
    assert_eq!(shown["path"], "model.bin");
    assert!(shown["remarks"][0].as_str().unwrap().contains("do not agree"), "{shown}");
    // The counter is used up; nothing overflows.
    let out = sandbox.run(&["model", "promote", "digits@v1.0.0", "prod"]);
    assert!(out.code == 2 && out.stderr.contains("already"), "{out}");
}

#[test]
fn names_of_all_kinds() {
    let sandbox = project();
    for name in [
        "digits@v1.0.0",
        "x=y=z@v1.0.0",
        "v1.0.0",
        "release#1",
        "a@b",
        "ünïcode@v1.0.0",
        "digits@v99999999999999999999.0.0",
        "digits@v1.0.0-rc.1",
        "-dash@v1.0.0",
        "digits#--force#1",
    ] {
        sandbox.git(&["update-ref", &format!("refs/tags/{name}"), "HEAD"]);
    }
    // A tag of a file is no version of a model.
    sandbox.git(&["tag", "blob@v1.0.0", "HEAD:data.csv"]);
    let found = json(&sandbox, &["model", "list", "--json"]);
    let names: Vec<&str> = found.as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["digits"], "{found}");
    assert_eq!(found[0]["latest"], "v1.0.0");
    assert_eq!(found[0]["versions"].as_array().unwrap().len(), 2);
    let out = sandbox.run(&["model", "list", "-v"]);
    assert!(out.stderr.contains("release#1") && out.stderr.contains("a@b"), "{out}");
    // Lightweight, so nobody knows who and when.
    let out = sandbox.run(&["model", "show", "digits@v1.0.0"]);
    assert!(out.code == 0 && out.stdout.contains("at some time"), "{out}");
    // It gets no label, since GTO does not see it.
    let promote = ["model", "promote", "digits@v1.0.0", "prod"];
    let out = sandbox.run(&promote);
    let command = "git tag -f -a -m digits@v1.0.0 digits@v1.0.0 digits@v1.0.0";
    assert!(out.code == 2 && out.stderr.contains(command), "{out}");
    sandbox.git(&command.split(' ').skip(1).collect::<Vec<_>>());
    let out = sandbox.run(&promote);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn a_commit_that_is_not_here() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["model", "register", "digits", "--version", "1.0.0", "-q"]).code, 0);
    let lock = sandbox.read("pipeline.lock");
    sandbox.write("pipeline.lock", lock.replace("schema: 1", "schema: 99"));
    sandbox.git(&["commit", "-q", "-a", "-m", "A lock of the future"]);
    tag(&sandbox, "digits@v2.0.0", "t");
    let out = sandbox.run(&["model", "show", "digits@v2.0.0"]);
    assert!(out.code == 0 && out.stderr.contains("schema 99"), "{out}");
    let out = sandbox.run(&["model", "provenance", "digits@v2.0.0"]);
    assert!(out.code == 3 && out.stderr.contains("schema 99"), "{out}");
    let out = sandbox.run(&["model", "register", "digits", "--version", "3.0.0", "--rev", "HEAD"]);
    assert!(out.code == 2 && out.stderr.contains("schema 99"), "{out}");
}
