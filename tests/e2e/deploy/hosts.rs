//! A developer, a Git remote and a host that deploys, each with its own clone.

use serde_json::Value as Json;

use crate::sandbox::{Output, Sandbox, output};

/// The developer's clone is the root; the host's is `../host`, which deploys to `../srv`. The remote is `../hub.git`, the
/// store for bytes `../bytes`. A model whose content has `bad` in it does not stay healthy.
pub struct Hosts {
    pub sandbox: Sandbox,
}

const PIPELINE: &str = "\
stages:
  train: {cmd: 'echo \"model $(cat rate)\" > model.txt', deps: [rate], outs: [model.txt]}
artifacts: {digits: {path: model.txt}}
deploy:
  prod: {artifact: digits, label: prod, healthy: '! grep -q bad \"$LOCKSTEP_RELEASE/model.txt\"', timeout: 300ms}
";

impl Hosts {
    pub fn new() -> Hosts {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", PIPELINE);
        let hosts = Hosts { sandbox };
        hosts.dev(&["remote", "add", "-d", "bytes", "../bytes"]);
        hosts.sandbox.git(&["init", "-q", "--bare", "../hub.git"]);
        hosts.sandbox.git(&["remote", "add", "origin", "../hub.git"]);
        hosts.promote("v1.0.0", "1");
        hosts.sandbox.git(&["clone", "-q", "-b", "main", "../hub.git", "../host"]);
        let folder = hosts.sandbox.path("../srv").to_str().unwrap().to_string();
        hosts.host(&["config", "--local", "deploy.prod.to", &folder]);
        hosts
    }

    /// Trains, registers, promotes and pushes a version.
    pub fn promote(&self, version: &str, rate: &str) {
        self.sandbox.write("rate", rate);
        self.dev(&["repro", "-q"]);
        self.sandbox.git(&["add", "-A"]);
        self.sandbox.git(&["commit", "-q", "-m", version]);
        self.dev(&["push", "-q"]);
        self.dev(&["model", "register", "digits", "--version", version]);
        self.dev(&["model", "promote", &format!("digits@{version}"), "prod"]);
        self.sandbox.git(&["push", "-q", "origin", "main", "--tags"]);
    }

    pub fn dev(&self, args: &[&str]) -> Output {
        let out = self.sandbox.run(args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
        out
    }

    pub fn host(&self, args: &[&str]) -> Output {
        let out = self.at("../host", args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
        out
    }

    /// lockstep in some clone, with any exit code.
    pub fn at(&self, clone: &str, args: &[&str]) -> Output {
        output(self.sandbox.lockstep(clone).args(args))
    }

    /// One round of the loop at the host.
    pub fn follow(&self) -> Output {
        self.at("../host", &["deploy", "prod", "--watch", "--once"])
    }

    /// The content that is current at the host.
    pub fn current(&self) -> String {
        self.sandbox.read("../srv/current/model.txt").trim().to_string()
    }

    pub fn json(&self, clone: &str, args: &[&str]) -> Json {
        let out = self.at(clone, args);
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    /// `EVENT VERSION RESULT` of the record of `prod` in a clone, the newest first.
    pub fn recorded(&self, clone: &str) -> Vec<String> {
        let logs = self.json(clone, &["deploy", "log", "prod", "--json"]);
        let events = logs[0]["events"].as_array().unwrap().iter().map(|recorded| {
            let word = |key: &str| recorded["event"][key].as_str().unwrap_or("-").to_string();
            format!("{} {} {}", word("event"), word("version"), word("result"))
        });
        events.collect()
    }
}
