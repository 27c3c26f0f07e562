//! `ci report --comment`: one comment, whoever asks.

use std::fs;

use crate::ci::api::{Api, TOKEN};
use crate::ci::{repository, with};

#[test]
fn a_comment_is_made_once_and_then_changed() {
    let sandbox = repository();
    for (site, is_bot) in [("github", false), ("github", true), ("gitlab", false)] {
        let api = Api::start();
        api.state.lock().unwrap().is_bot = is_bot;
        // Others have been talking: more than a page of it, and one of them quotes us.
        api.state.lock().unwrap().comments =
            (0..130).map(|n| (n, format!("talk {n}\n<!-- lockstep report . -->"))).collect();
        // Somebody was there first, to own the report.
        api.state.lock().unwrap().comments[3].1 = "<!-- lockstep report . -->\nall is well".into();
        api.state.lock().unwrap().foreign = vec![3];
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_API_URL", &api.url),
            ("GITHUB_TOKEN", TOKEN),
        ];
        let gitlab = [
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_ID", "5"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_API_V4_URL", &api.url),
            ("GITLAB_TOKEN", TOKEN),
        ];
        let env = if site == "github" { &github } else { &gitlab };
        let out = with(&sandbox, env, &["ci", "report", "--comment"]);
        assert!(out.code == 0 && out.stderr.contains("created the comment on pull request 7"), "{out}");
        assert!(api.comments()[130].1.starts_with("<!-- lockstep report . -->\n### lockstep: 3 ran"));
        let list = if site == "github" { "/repos/o/r/issues/7/comments" } else { "/projects/5/merge_requests/7/notes" };
        assert_eq!(api.asked().last().unwrap(), &format!("POST {list}"));

        assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
        let out = with(&sandbox, env, &["ci", "report", "--comment"]);
        assert!(out.code == 0 && out.stderr.contains("updated the comment"), "{out}");
        assert!(api.comments().len() == 131 && api.comments()[130].1.contains("### lockstep: 3 up to date"));
        assert!(api.comments()[3].1.ends_with("all is well"));
        sandbox.write("params.yaml", format!("lr: 0.7 # {site} {is_bot}\n"));
        assert_eq!(sandbox.run(&["repro", "-qf"]).code, 0);
    }
}

#[test]
fn who_may_not_comment_is_told_why_and_the_token_stays_secret() {
    let sandbox = repository();
    let api = Api::start();
    let mut env = vec![
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "o/r"),
        ("GITHUB_REF", "refs/pull/7/merge"),
        ("GITHUB_API_URL", &api.url),
    ];
    let comment = ["-q", "ci", "report", "--comment"];
    let shown = |out: &crate::ci::Output| out.stderr.replace(&api.url, "[API]");
    insta::assert_snapshot!(shown(&with(&sandbox, &env, &comment)), @r"
    error: cannot comment: GITHUB_TOKEN is not set
      hint: give a job that runs no stage `permissions: pull-requests: write`, and its step `env: GITHUB_TOKEN: ${{ github.token }}`
    ");
    env.push(("GITHUB_TOKEN", "wrong-token"));
    let out = with(&sandbox, &env, &comment);
    assert!(out.code == 4 && !out.to_string().contains("wrong-token"), "{out}");
    insta::assert_snapshot!(shown(&out), @r"
    error: cannot comment through GitHub's API at [API]
      because: it answered 401 Unauthorized
      because: Bad credentials
      hint: is the token in GITHUB_TOKEN still good?
    ");
    api.state.lock().unwrap().status = Some(403);
    let out = with(&sandbox, &env, &comment);
    assert_eq!(out.code, 4);
    insta::assert_snapshot!(shown(&out), @r"
    error: cannot comment through GitHub's API at [API]
      because: it answered 403 Forbidden
      because: Resource not accessible by integration
      hint: give the job `permissions: pull-requests: write`
      hint: the token of a pull request from a fork never may: comment from a second workflow (README, In CI)
    ");
    let gone = [&env[..3], &[("GITHUB_API_URL", "http://127.0.0.1:9"), ("GITHUB_TOKEN", TOKEN)]].concat();
    let out = with(&sandbox, &gone, &comment);
    assert!(out.code == 4 && out.stderr.contains("cannot connect") && !out.stderr.contains(TOKEN), "{out}");
    let out =
        with(&sandbox, &[("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "o/r"), ("GITHUB_TOKEN", TOKEN)], &comment);
    assert!(out.code == 2 && out.stderr.contains("this job belongs to no pull request"), "{out}");
    let out = with(&sandbox, &[], &comment);
    assert!(out.code == 2 && out.stderr.contains("this is no CI"), "{out}");
    api.state.lock().unwrap().status = None;
    let named = [&env[..2], &[("GITHUB_API_URL", &api.url), ("GITHUB_TOKEN", TOKEN)]].concat();
    let out = with(&sandbox, &named, &["ci", "report", "--comment", "--pr", "7"]);
    assert!(out.code == 0 && out.stderr.contains("created the comment on pull request 7"), "{out}");
}

#[test]
fn a_second_workflow_comments_on_what_a_fork_reported() {
    let sandbox = repository();
    // The report is the stranger's, and may say anything.
    let out = sandbox.run(&["ci", "report", "--json"]);
    let report = out.stdout.replace("\"address\": \"train\"", "\"address\": \"`|<img src=x> @everyone ![](http://x)\"");
    assert!(report.contains("@everyone"));
    let beside = sandbox.root().parent().unwrap();
    fs::write(beside.join("report.json"), &report).unwrap();
    let event = serde_json::json!({"workflow_run": {
        "event": "pull_request", "head_sha": "abc", "head_branch": "fix/it", "pull_requests": [],
        "head_repository": {"owner": {"login": "stranger"}},
    }});
    fs::write(beside.join("event.json"), event.to_string()).unwrap();
    let api = Api::start();
    let event = beside.join("event.json").display().to_string();
    let summary = beside.join("summary.md").display().to_string();
    let env = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "o/r"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_EVENT_PATH", &event),
        ("GITHUB_STEP_SUMMARY", &summary),
        ("GITHUB_API_URL", &api.url),
        ("GITHUB_TOKEN", TOKEN),
    ];
    let comment = ["ci", "report", "--comment", "--from", "../report.json"];
    // The branch moved on: this report is of no pull request any more.
    api.state.lock().unwrap().pulls = vec![(9, "stranger:fix/it".into(), "def".into())];
    let out = with(&sandbox, &env, &comment);
    assert!(out.code == 3 && out.stderr.contains("no open pull request has abc of stranger:fix/it"), "{out}");
    api.state.lock().unwrap().pulls = vec![(7, "stranger:fix/it".into(), "abc".into())];
    let out = with(&sandbox, &env, &comment);
    assert!(out.code == 0 && out.stderr.contains("created the comment on pull request 7"), "{out}");
    let text = &api.comments()[0].1;
    assert!(text.contains("| `` `\\|<img src=x> @everyone ![](http://x) `` |"), "{text}");
    assert!(!beside.join("summary.md").exists());

    for (text, why) in [("{}", "missing field"), (&report.replacen("\"version\": 1", "\"version\": 2", 1), "version 2")]
    {
        fs::write(beside.join("report.json"), text).unwrap();
        let out = with(&sandbox, &env, &comment);
        assert!(out.code == 2 && out.stderr.contains(why), "{out}");
    }
}
