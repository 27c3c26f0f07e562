//! Detects the CI system and its pull request from environment variables. Pure.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// The CI job, according to the environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// The CI system.
    pub provider: Provider,
    /// Candidates for the base of a report, the likeliest first; empty outside of a pull request.
    pub bases: Vec<String>,
    /// Where a comment is written; `None` outside of a supported CI system.
    pub target: Option<Target>,
    /// A file for Markdown that the job's page shows.
    pub summary: Option<String>,
}

/// A CI system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// Not in CI.
    #[default]
    None,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Known by name only.
    Other(&'static str),
}

/// The target of a comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The site whose API is used.
    pub site: Site,
    /// Of the REST API, without a slash at its end.
    pub api: String,
    /// `owner/name` on GitHub, a number on GitLab.
    pub repository: String,
    /// The pull request that the comment is on.
    pub pull: PullRequest,
}

/// A site with a supported API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The REST API of GitHub, also of GitHub Enterprise.
    GitHub,
    /// The REST API of GitLab, also of a server of one's own.
    GitLab,
}

/// Which pull request (on GitLab: merge request).
#[derive(Clone, Debug, PartialEq)]
pub enum PullRequest {
    /// The number on GitHub, the `iid` on GitLab.
    Number(u64),
    /// A job that follows another one knows its commit and its branch, `owner:branch`; the number has to be requested.
    ByCommit {
        /// `owner:branch`.
        head: String,
        /// The full id of the commit.
        commit: String,
    },
    /// Not in a pull request.
    Unknown,
}

impl Provider {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Provider::None => "no CI",
            Provider::GitHub => "GitHub",
            Provider::GitLab => "GitLab",
            Provider::Other(name) => name,
        }
    }
}

impl Site {
    /// The variable that the token is read from.
    pub fn token_variable(self) -> &'static str {
        match self {
            Site::GitHub => "GITHUB_TOKEN",
            Site::GitLab => "GITLAB_TOKEN",
        }
    }
}

type Env = BTreeMap<String, String>;

/// Systems of which only the variables are known: (detection, name, target branch).
const OTHERS: &[(&str, &str, &str)] = &[
    ("JENKINS_URL", "Jenkins", "CHANGE_TARGET"),
    ("CIRCLECI", "CircleCI", ""),
    ("TF_BUILD", "Azure Pipelines", "SYSTEM_PULLREQUEST_TARGETBRANCH"),
    ("BITBUCKET_BUILD_NUMBER", "Bitbucket", "BITBUCKET_PR_DESTINATION_BRANCH"),
    ("BUILDKITE", "Buildkite", "BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
    ("DRONE", "Drone", "DRONE_TARGET_BRANCH"),
    ("TEAMCITY_VERSION", "TeamCity", ""),
    ("CI", "a CI system", ""),
];

/// Reads the variables. `event` is the content of GitHub's event file.
pub fn detect(env: &Env, event: Option<&Json>) -> Job {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    if set("GITHUB_ACTIONS").is_some() {
        return github(env, event);
    }
    if set("GITLAB_CI").is_some() {
        return gitlab(env);
    }
    let Some((_, name, target)) = OTHERS.iter().find(|(variable, ..)| set(variable).is_some()) else {
        return Job::default();
    };
    let bases = set(target).map(|branch| branches(branch.trim_start_matches("refs/heads/"))).unwrap_or_default();
    Job { provider: Provider::Other(name), bases, ..Job::default() }
}

/// A branch as a clone may have it.
fn branches(name: &str) -> Vec<String> {
    vec![format!("origin/{name}"), name.to_string()]
}

fn github(env: &Env, event: Option<&Json>) -> Job {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let text = |path: &str| event.and_then(|e| e.pointer(path)).and_then(Json::as_str).map(str::to_string);
    let number = |path: &str| event.and_then(|e| e.pointer(path)).and_then(Json::as_u64);
    let of_ref = || set("GITHUB_REF")?.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok();
    let follows = || {
        let head =
            format!("{}:{}", text("/workflow_run/head_repository/owner/login")?, text("/workflow_run/head_branch")?);
        let is_pull = text("/workflow_run/event").is_some_and(|event| event == "pull_request");
        is_pull.then_some(PullRequest::ByCommit { head, commit: text("/workflow_run/head_sha")? })
    };
    let pull = match number("/pull_request/number").or_else(of_ref).or(number("/workflow_run/pull_requests/0/number")) {
        Some(number) => PullRequest::Number(number),
        None => follows().unwrap_or(PullRequest::Unknown),
    };
    let target = set("GITHUB_REPOSITORY").map(|repository| Target {
        site: Site::GitHub,
        api: api(set("GITHUB_API_URL"), "https://api.github.com"),
        repository,
        pull,
    });
    let bases = set("GITHUB_BASE_REF").map(|branch| branches(&branch)).unwrap_or_default();
    Job { provider: Provider::GitHub, bases, target, summary: set("GITHUB_STEP_SUMMARY") }
}

fn gitlab(env: &Env) -> Job {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let number = set("CI_MERGE_REQUEST_IID").and_then(|iid| iid.parse().ok());
    let target = set("CI_PROJECT_ID").map(|repository| Target {
        site: Site::GitLab,
        api: api(set("CI_API_V4_URL"), "https://gitlab.com/api/v4"),
        repository,
        pull: number.map_or(PullRequest::Unknown, PullRequest::Number),
    });
    let branch = set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME").map(|branch| branches(&branch)).unwrap_or_default();
    let bases = set("CI_MERGE_REQUEST_DIFF_BASE_SHA").into_iter().chain(branch).collect();
    Job { provider: Provider::GitLab, bases, target, summary: None }
}

fn api(given: Option<String>, usual: &str) -> String {
    given.unwrap_or_else(|| usual.to_string()).trim_end_matches('/').to_string()
}

/// A workflow command that attaches an error to a line of a file, as GitHub reads it from the log.
pub fn annotation(file: &str, line: u32, title: &str, message: &str) -> String {
    let text = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |value: &str| text(value).replace(':', "%3A").replace(',', "%2C");
    format!("::error file={},line={line},title={}::{}", property(file), property(title), text(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn systems_are_told_apart() {
        for (pairs, provider, bases) in [
            (&[][..], Provider::None, &[][..]),
            (&[("CI", "true")], Provider::Other("a CI system"), &[]),
            (&[("CI", "")], Provider::None, &[]),
            (
                &[("CI", "true"), ("JENKINS_URL", "x"), ("CHANGE_TARGET", "dev")],
                Provider::Other("Jenkins"),
                &["origin/dev", "dev"],
            ),
            (
                &[("TF_BUILD", "True"), ("SYSTEM_PULLREQUEST_TARGETBRANCH", "refs/heads/a/b")],
                Provider::Other("Azure Pipelines"),
                &["origin/a/b", "a/b"],
            ),
            (
                &[("CI", "true"), ("GITHUB_ACTIONS", "true"), ("GITHUB_BASE_REF", "main")],
                Provider::GitHub,
                &["origin/main", "main"],
            ),
            (
                &[
                    ("CI", "true"),
                    ("GITLAB_CI", "true"),
                    ("CI_MERGE_REQUEST_DIFF_BASE_SHA", "abc"),
                    ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
                ],
                Provider::GitLab,
                &["abc", "origin/main", "main"],
            ),
        ] {
            let job = detect(&env(pairs), None);
            assert_eq!((job.provider, job.bases), (provider, bases.iter().map(|b| b.to_string()).collect()));
        }
    }

    #[test]
    fn pull_requests_are_found() {
        let actions = [("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "o/r"), ("GITHUB_API_URL", "https://h/api/")];
        let of = |reference: &str, event: Option<Json>| {
            let env = env(&[&actions[..], &[("GITHUB_REF", reference)]].concat());
            let target = detect(&env, event.as_ref()).target.unwrap();
            assert_eq!((target.api.as_str(), target.repository.as_str()), ("https://h/api", "o/r"));
            target.pull
        };
        assert_eq!(of("refs/heads/main", None), PullRequest::Unknown);
        assert_eq!(of("refs/pull/12/merge", None), PullRequest::Number(12));
        assert_eq!(of("refs/heads/main", Some(json!({"pull_request": {"number": 7}}))), PullRequest::Number(7));
        let followed = |event: &str, pulls: Json| {
            json!({"workflow_run": {
                "event": event, "head_sha": "abc", "head_branch": "fix", "pull_requests": pulls,
                "head_repository": {"owner": {"login": "stranger"}},
            }})
        };
        assert_eq!(
            of("refs/heads/main", Some(followed("pull_request", json!([{"number": 3}])))),
            PullRequest::Number(3)
        );
        let fork = of("refs/heads/main", Some(followed("pull_request", json!([]))));
        assert_eq!(fork, PullRequest::ByCommit { head: "stranger:fix".into(), commit: "abc".into() });
        assert_eq!(of("refs/heads/main", Some(followed("push", json!([])))), PullRequest::Unknown);

        let gitlab = env(&[("GITLAB_CI", "true"), ("CI_PROJECT_ID", "5"), ("CI_MERGE_REQUEST_IID", "9")]);
        assert_eq!(
            detect(&gitlab, None).target,
            Some(Target {
                site: Site::GitLab,
                api: "https://gitlab.com/api/v4".into(),
                repository: "5".into(),
                pull: PullRequest::Number(9),
            })
        );
    }

    #[test]
    fn nothing_gets_out_of_an_annotation() {
        assert_eq!(
            annotation("a,b.yaml", 3, "stage: x", "100%\n::warning::no"),
            "::error file=a%2Cb.yaml,line=3,title=stage%3A x::100%25%0A::warning::no"
        );
    }
}
