//! What the recipes promise: tokens where no stage runs, artifacts outside of the workspace, versions that are pinned.

use std::fs;
use std::path::Path;

use serde_yaml::Value as Yaml;

use crate::ci::api::{Api, TOKEN};
use crate::ci::{path, repository, shipped};
use crate::sandbox::{Sandbox, output};

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The blocks of YAML of the page on CI that are workflows.
fn workflows() -> Vec<Yaml> {
    let page = text("docs/integration.md");
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let parsed = blocks.filter_map(|block| serde_yaml::from_str::<Yaml>(block).ok());
    let found: Vec<Yaml> = parsed.filter(|yaml| !yaml["jobs"].is_null()).collect();
    assert_eq!(found.len(), 2);
    found
}

#[test]
fn a_job_that_runs_stages_has_no_token() {
    for workflow in workflows() {
        assert_ne!(workflow["permissions"]["contents"], "write");
        for (_, job) in workflow["jobs"].as_mapping().unwrap() {
            let steps = job["steps"].as_sequence().unwrap();
            let uses = |part: &str| steps.iter().find(|s| s["uses"].as_str().is_some_and(|u| u.contains(part)));
            let may_write = job["permissions"]["pull-requests"] == "write"
                || (job["permissions"].is_null() && workflow["permissions"]["pull-requests"] == "write");
            assert_eq!(may_write, uses("/comment@").is_some(), "{job:?}");
            assert!(!(may_write && (uses("actions/checkout").is_some() || uses("/lockstep@").is_some())), "{job:?}");
            if let Some(checkout) = uses("actions/checkout") {
                assert_eq!(checkout["with"]["persist-credentials"], false);
            }
            if let Some(download) = uses("download-artifact") {
                assert!(download["with"]["path"].as_str().unwrap().contains("runner.temp"), "{job:?}");
            }
        }
    }
    let action = text(".github/actions/lockstep/action.yml");
    assert!(!action.contains("token:") && !action.contains("GITHUB_TOKEN"), "{action}");
    let gitlab = shipped(".gitlab/lockstep.gitlab-ci.yml");
    for part in ["before_script", "after_script"] {
        assert_eq!(gitlab[".lockstep"][part][0], "unset GITLAB_TOKEN");
    }
    assert_eq!(gitlab[".lockstep-report"]["environment"]["name"], "lockstep-report");
    assert!(gitlab[".lockstep"]["environment"].is_null());
    let key = gitlab[".lockstep"]["cache"]["key"].as_str().unwrap();
    assert!(key.contains("$CI_COMMIT_REF_PROTECTED"), "{key}");
    assert_eq!(gitlab[".lockstep"]["cache"]["fallback_keys"][0], "lockstep-1-true-$CI_DEFAULT_BRANCH");
}

#[test]
fn recipes_name_this_version() {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    for file in [
        "docs/integration.md",
        ".github/actions/lockstep/action.yml",
        ".github/actions/comment/action.yml",
        ".gitlab/lockstep.gitlab-ci.yml",
    ] {
        let text = text(file);
        for (at, before) in [("OWNER/lockstep/.github/actions/", '@'), ("OWNER/lockstep/-/raw/", '/')] {
            for (found, _) in text.match_indices(at) {
                let name = text[found + at.len() - 1..].split_whitespace().next().unwrap();
                let pinned = name.split(before).nth(1).unwrap_or_default();
                assert_eq!(pinned, version, "{file}: {name}");
            }
        }
        assert!(!text.contains("@main") && !text.contains("--git http"), "{file}");
    }
}

/// The owner of an action can move its tags, and not its commits.
#[test]
fn actions_of_others_are_named_by_their_commit() {
    let mut found = 0;
    for file in [
        "docs/integration.md",
        ".github/actions/lockstep/action.yml",
        ".github/actions/comment/action.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/weekly.yml",
    ] {
        for line in text(file).lines() {
            let Some((_, uses)) = line.split_once("uses: ").filter(|(_, uses)| !uses.starts_with("OWNER/")) else {
                continue;
            };
            found += 1;
            let (commit, version) = uses.split_once('@').unwrap().1.split_once(" # v").unwrap_or_default();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file}: {line}");
            assert_eq!(version.split('.').count(), 3, "{file}: {line}");
        }
    }
    assert_eq!(found, 12);
}

/// In an empty folder, as in a job that checks nothing out.
#[test]
fn the_action_that_comments_needs_no_repository() {
    let sandbox = repository();
    let report = sandbox.run(&["ci", "report", "--json"]).stdout;
    let elsewhere = Sandbox::without_git();
    elsewhere.write("../report/lockstep-report.json", report);
    let action = shipped(".github/actions/comment/action.yml");
    let step = &action["runs"]["steps"][1];
    let api = Api::start();
    for result in ["created", "updated"] {
        let mut command = elsewhere.command(Path::new("bash"), "");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        command.env("PATH", path()).env("RUNNER_TEMP", elsewhere.path(".."));
        for (name, _) in step["env"].as_mapping().unwrap() {
            let value = match name.as_str().unwrap() {
                "GITHUB_TOKEN" => TOKEN.to_string(),
                "LOCKSTEP_REPORT" => elsewhere.path("../report/lockstep-report.json").display().to_string(),
                _ => String::new(),
            };
            command.env(name.as_str().unwrap(), value);
        }
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_API_URL", &api.url),
        ] {
            command.env(name, value);
        }
        let out = output(&mut command);
        assert!(out.code == 0 && out.stderr.contains(&format!("{result} the comment on pull request 7")), "{out}");
    }
    assert!(api.comments()[0].1.contains("### lockstep: 3 ran"), "{:?}", api.comments());
    // Without a file there has to be a repository.
    assert_eq!(elsewhere.run(&["ci", "report"]).code, 3);
}
