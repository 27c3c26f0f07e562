//! What the program tells about itself and where it is: `root`, `version`, `completion`, unknown words.

use crate::sandbox::Sandbox;

#[test]
fn the_root_is_told_from_here() {
    let sandbox = Sandbox::new();
    sandbox.write("a/b/x", "");
    assert_eq!(sandbox.run(&["root"]).stdout, ".\n");
    assert_eq!(sandbox.run_in("a/b", &["root"]).stdout, "../..\n");
    assert_eq!(sandbox.run(&["-C", "a", "root"]).stdout, "..\n");
    sandbox.write("a/lockstep.toml", "");
    assert_eq!(sandbox.run_in("a/b", &["root"]).stdout, "..\n");
    let outside = Sandbox::without_git();
    insta::assert_snapshot!(outside.shown(&outside.run(&["root"])), @r"
    exit 3
    --- stderr
    error: neither [ROOT] nor a folder above it is a Git repository
      hint: git init — makes one; lockstep needs no further set-up in it
      hint: lockstep init --no-scm — works without Git, in this folder
    ");
}

#[test]
fn version() {
    let sandbox = Sandbox::without_git();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sandbox.run(&["version"]).stdout, format!("lockstep {version}\n"));
    assert_eq!(sandbox.run(&["--version"]).stdout, format!("lockstep {version}\n"));
    let long = sandbox.run(&["version", "-v"]).stdout;
    for word in ["platform", "pipeline.lock schema 1", "features"] {
        assert!(long.contains(word), "{long}");
    }
    let json: serde_json::Value = serde_json::from_str(&sandbox.run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json["lock_schema"], 1);
}

#[test]
fn scripts_for_shells_complete_what_is_there() {
    let sandbox = Sandbox::without_git();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(&["completion", shell]);
        assert_eq!(script.code, 0);
        for word in ["repro", "metrics", "completion", "locked"] {
            assert!(script.stdout.contains(word), "{shell} lacks {word}");
        }
        assert!(!script.stdout.contains("watchdog"), "{shell} offers the hidden command");
    }
    assert_eq!(sandbox.run(&["completion", "tcsh"]).code, 2);
}

#[test]
fn unknown_words_are_guessed() {
    let sandbox = Sandbox::new();
    let out = sandbox.run(&["reprod"]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("did you mean `repro`?"), "{out}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 3
    --- stderr
    error: there is no pipeline.yaml here
    ");
}
