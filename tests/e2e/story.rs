//! The whole story, from an empty folder to a clone that has the model: the digits example, two trained versions, what
//! is different between them, registered, promoted, and traced elsewhere.

use std::path::PathBuf;

use crate::sandbox::{Output, Sandbox, output};
use serde_json::Value as Json;

struct Story {
    sandbox: Sandbox,
    folder: PathBuf,
}

impl Story {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.sandbox.lockstep("");
        // Two epochs are enough to be different.
        output(command.args(args).current_dir(&self.folder).env("DIGITS_QUICK", "1"))
    }

    /// What it prints; it must succeed.
    fn tells(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
        out.stdout
    }

    fn json(&self, args: &[&str]) -> Json {
        let text = self.tells(args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
    }

    fn git(&self, args: &[&str]) {
        let mut command = self.sandbox.command("git".as_ref(), "");
        let out = output(command.args(args).current_dir(&self.folder));
        assert_eq!(out.code, 0, "git {args:?}: {out}");
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

#[test]
fn from_an_empty_folder_to_a_clone_that_has_the_model() {
    let sandbox = Sandbox::without_git();
    let folder = sandbox.path("digits");
    let start = sandbox.run(&["init", "--example", "digits"]);
    assert_eq!(start.code, 0, "{start}");
    let mut story = Story { sandbox, folder };

    // Two trained versions, each a commit.
    story.git(&["init", "-q", "--bare", "../hub.git"]);
    story.git(&["remote", "add", "origin", "../hub.git"]);
    story.tells(&["remote", "add", "-d", "hub", "../store"]);
    story.edit("pipeline.yaml", "metrics.json:accuracy >= 0.9", "metrics.json:accuracy >= 0.5");
    story.tells(&["repro", "-q"]);
    story.git(&["add", "-A"]);
    story.git(&["commit", "-q", "-m", "First"]);
    story.tells(&["push", "-q"]);
    story.edit("params.yaml", "batch: 16", "batch: 8");
    story.tells(&["repro", "-q"]);

    // What is different, before and after the commit.
    let diff = story.json(&["diff", "--json"]);
    assert!(diff.to_string().contains("model.safetensors"), "{diff}");
    story.git(&["add", "-A"]);
    story.git(&["commit", "-q", "-m", "Second"]);
    let diff = story.tells(&["diff", "HEAD~1", "HEAD"]);
    assert!(diff.contains("model.safetensors"), "{diff}");
    let metrics = story.tells(&["metrics", "diff", "HEAD~1", "HEAD"]);
    assert!(metrics.contains("accuracy"), "{metrics}");
    let params = story.tells(&["params", "diff", "HEAD~1", "HEAD"]);
    assert!(params.contains("train.batch") && params.contains("8"), "{params}");

    // Versions: the bytes first, so that others can get them.
    let refused = story.run(&["model", "register", "digits", "--bump", "minor"]);
    assert!(refused.code == 1 && refused.stderr.contains("lockstep push"), "{refused}");
    story.tells(&["push", "-q"]);
    story.tells(&["model", "register", "digits", "--version", "v1.0.0", "--rev", "HEAD~1"]);
    story.tells(&["model", "register", "digits", "--bump", "minor", "-m", "Smaller batches"]);
    story.tells(&["model", "promote", "digits@v1.0.0", "prod"]);
    story.tells(&["model", "promote", "digits@v1.1.0", "staging"]);
    let between = story.tells(&["model", "diff", "digits@v1.0.0", "digits@v1.1.0"]);
    assert!(between.contains("hidden") || between.contains("weight") || between.contains("cosine"), "{between}");
    assert_eq!(story.tells(&["model", "diff", "digits#prod", "digits#staging"]), between);
    story.git(&["push", "-q", "origin", "HEAD", "--tags"]);

    // A clone knows it all, and gets the bytes.
    let pinned = story.json(&["model", "resolve", "digits#prod", "--json"])["pin"].clone();
    let statement = story.tells(&["model", "provenance", "digits#prod"]);
    story.git(&["clone", "-q", "../hub.git", "../clone"]);
    story.folder = story.sandbox.path("clone");
    let list = story.tells(&["model", "list"]);
    assert!(list.contains("v1.1.0") && list.contains("prod v1.0.0, staging v1.1.0"), "{list}");
    let shown = story.json(&["model", "show", "digits#prod", "--json"]);
    assert_eq!((&shown["pin"], shown["version"].as_str()), (&pinned, Some("v1.0.0")));
    assert_eq!(shown["params"]["params.yaml"]["train.batch"], 16);
    assert!(shown["runs"]["train@0.05"]["seconds"].as_f64().is_some(), "{shown}");
    assert_eq!(story.tells(&["model", "provenance", "digits#prod"]), statement);
    assert!(statement.contains("data/raw/digits.csv"), "{statement}");
    story.tells(&["get", "model.safetensors", "--rev", "digits#prod", "-o", "got.safetensors"]);
    let bytes = std::fs::read(story.folder.join("got.safetensors")).unwrap();
    assert_eq!(Some(lockstep::store::ObjectId::of(&bytes).hex().as_str()), pinned["blake3"].as_str());
    let inside = story.tells(&["model", "inspect", "got.safetensors"]);
    assert!(inside.contains("safetensors"), "{inside}");
    story.tells(&["check", "--rev", "digits#prod"]);
}
