//! `.gitlab/lockstep.gitlab-ci.yml`: its scripts with the real binary, its cache as a folder.

use std::fs;
use std::path::Path;

use serde_yaml::Value as Yaml;

use crate::ci::api::{Api, TOKEN};
use crate::ci::{commit, path, repository, shipped};
use crate::sandbox::{Output, Sandbox, output};

/// One job in a fresh clone: `before_script` and `script` in one shell, `after_script` in another; then the job that
/// comments, which has the report and nothing else.
fn job(sandbox: &Sandbox, revision: &str, env: &[(&str, &str)]) -> (Output, Output) {
    let template = shipped(".gitlab/lockstep.gitlab-ci.yml");
    let job = &template[".lockstep"];
    let clone = sandbox.root().parent().unwrap().join("clone");
    let cache = sandbox.root().parent().unwrap().join("cache");
    let _ = fs::remove_dir_all(&clone);
    sandbox.git(&["clone", "-q", "-b", revision, ".", clone.to_str().unwrap()]);
    assert_eq!(job["cache"]["paths"][0], ".lockstep-store/");
    let store = clone.join(".lockstep-store");
    if cache.exists() {
        fs::rename(&cache, &store).unwrap();
    }
    let shell = |parts: &[&str]| {
        let lines = parts.iter().flat_map(|part| job[*part].as_sequence().unwrap());
        let script: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();
        let mut command = sandbox.command(Path::new("sh"), "");
        command.args(["-e", "-c", &script.join("\n")]).current_dir(&clone).env("PATH", path());
        command.env("CI", "true").env("GITLAB_CI", "true").env("CI_PROJECT_DIR", &clone);
        for (name, value) in job["variables"].as_mapping().unwrap() {
            let value = value.as_str().unwrap().replace("$CI_PROJECT_DIR", clone.to_str().unwrap());
            command.env(name.as_str().unwrap(), value);
        }
        output(command.envs(env.iter().copied()))
    };
    let (ran, after) = (shell(&["before_script", "script"]), shell(&["after_script"]));
    assert!(clone.join("lockstep-report.json").exists(), "{after}");
    let git = output(sandbox.command(Path::new("git"), "").args(["status", "--short"]).current_dir(&clone));
    assert!(!git.stdout.contains("lockstep-store"), "{git}");
    fs::rename(&store, &cache).unwrap();
    let report = &template[".lockstep-report"];
    assert_eq!(report["variables"]["GIT_STRATEGY"], "none");
    let empty = clone.with_file_name("empty");
    let _ = fs::remove_dir_all(&empty);
    fs::create_dir(&empty).unwrap();
    fs::copy(clone.join("lockstep-report.json"), empty.join("lockstep-report.json")).unwrap();
    let script: Vec<&str> = report["script"].as_sequence().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let mut command = sandbox.command(Path::new("sh"), "");
    command.args(["-e", "-c", &script.join("\n")]).current_dir(&empty).env("PATH", path()).env("GITLAB_CI", "true");
    let commented = if env.iter().any(|(name, _)| *name == "GITLAB_TOKEN") {
        output(command.envs(env.iter().copied()))
    } else {
        after
    };
    (ran, commented)
}

#[test]
fn results_are_carried_and_merge_requests_get_one_comment() {
    let sandbox = repository();
    let (ran, _) = job(&sandbox, "main", &[]);
    assert_eq!((ran.code, sandbox.ran().len()), (0, 2), "{ran}");
    let (ran, _) = job(&sandbox, "main", &[("LOCKSTEP_OPTIONS", "--locked")]);
    assert_eq!((ran.code, sandbox.ran().len()), (0, 0), "{ran}");

    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.2\n");
    commit(&sandbox, "another rate");
    let (ran, _) = job(&sandbox, "topic", &[("LOCKSTEP_OPTIONS", "--locked")]);
    assert!(ran.code == 1 && ran.stderr.contains("stale train"), "{ran}");
    let api = Api::start();
    let env = [
        ("GITLAB_TOKEN", TOKEN),
        ("CI_API_V4_URL", &api.url),
        ("CI_PROJECT_ID", "5"),
        ("CI_MERGE_REQUEST_IID", "7"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
    ];
    for result in ["2 ran, 1 restored", "3 restored"] {
        let (ran, after) = job(&sandbox, "topic", &env);
        assert_eq!((ran.code, after.code), (0, 0), "{ran}{after}");
        let comments = api.comments();
        assert!(comments.len() == 1 && comments[0].1.contains(&format!("### lockstep: {result}")), "{comments:?}");
    }
    assert_eq!(sandbox.ran(), ["train", "eval"]);
}

#[test]
fn the_pre_commit_hooks_are_well_formed() {
    let hooks = shipped(".pre-commit-hooks.yaml");
    for hook in hooks.as_sequence().unwrap() {
        for key in ["id", "name", "entry", "language"] {
            assert!(hook[key].is_string(), "{hook:?}");
        }
        assert_eq!((&hook["language"], &hook["pass_filenames"]), (&Yaml::from("system"), &Yaml::from(false)));
    }
    let entry = |id: &str| {
        hooks.as_sequence().unwrap().iter().find(|h| h["id"] == id).unwrap()["entry"].as_str().unwrap().to_string()
    };
    let sandbox = repository();
    let run = |entry: &str| output(sandbox.command(Path::new("sh"), "").args(["-c", entry]).env("PATH", path()));
    assert_eq!(run(&entry("lockstep-status")).code, 0);
    sandbox.write("params.yaml", "lr: 0.2\n");
    let out = run(&entry("lockstep-status"));
    assert!(out.code == 1 && out.stdout.contains("param params.yaml:lr 0.1 → 0.2"), "{out}");
    assert_eq!(run(&entry("lockstep-pre-push")).code, 0);
}
