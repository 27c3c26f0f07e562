//! `lockstep deploy`, end to end.

mod follow;
mod hosts;
mod kills;
mod places;
mod record;
mod registry;
mod returns;
mod steps;

use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::sandbox::{Output, Sandbox};

/// A repository whose stage writes `model-SEED` to `model.bin`, with the target `prod`, whose folder is `../srv`.
struct Site {
    sandbox: Sandbox,
}

impl Site {
    /// `keys` are further keys of the target, a line each.
    fn new(keys: &str) -> Site {
        let sandbox = Sandbox::new();
        sandbox.run(&["init"]);
        let site = Site { sandbox };
        site.target(keys);
        let folder = site.srv().display().to_string();
        assert_eq!(site.run(&["config", "--local", "deploy.prod.to", &folder]).code, 0);
        site
    }

    fn target(&self, keys: &str) {
        let keys: String = keys.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let text = format!(
            "stages:\n  train:\n    cmd: printf model-$(cat seed) > model.bin\n    deps: [seed]\n    outs: [model.bin]\n\
             artifacts:\n  digits: {{path: model.bin}}\n\
             deploy:\n  prod:\n    label: prod\n{keys}"
        );
        self.sandbox.write("pipeline.yaml", text);
    }

    fn run(&self, args: &[&str]) -> Output {
        self.sandbox.run(args)
    }

    fn ok(&self, args: &[&str]) -> Output {
        let out = self.run(args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
        out
    }

    /// A new version; the next second, since tags of one second are ordered by name.
    fn register(&self, seed: &str, version: &str) {
        self.sandbox.write("seed", seed);
        self.ok(&["repro"]);
        self.sandbox.git(&["add", "-A"]);
        self.sandbox.git(&["commit", "-qm", seed]);
        self.ok(&["model", "register", "digits", "--version", version]);
    }

    fn promote(&self, version: &str) {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        self.ok(&["model", "promote", &format!("digits@{version}"), "prod"]);
    }

    fn srv(&self) -> PathBuf {
        self.sandbox.path("../srv")
    }

    /// The model that is current.
    fn current(&self) -> Option<String> {
        fs::read_to_string(self.srv().join("current/model.bin")).ok()
    }

    /// The events of the journal, as `deploy v1.0.0 ok`.
    fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.srv().join(".deploy/journal.jsonl")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let events = lines.filter(|line| line.get("step").is_none());
        let word = |event: &Json, key: &str| event[key].as_str().unwrap_or("-").to_string();
        events
            .map(|event| format!("{} {} {}", word(&event, "event"), word(&event, "version"), word(&event, "result")))
            .collect()
    }

    fn state(&self, args: &[&str]) -> (String, Vec<String>) {
        let out = self.run(&[&["deploy", "status", "prod", "--json"], args].concat());
        let json: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{out}"));
        let one = &json["targets"][0];
        let problems = one["problems"].as_array().unwrap().iter();
        (one["state"].as_str().unwrap().into(), problems.map(|p| p.as_str().unwrap().to_string()).collect())
    }

    fn staging(&self) -> Vec<String> {
        names(&self.srv().join(".deploy/staging"))
    }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
