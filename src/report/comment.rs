//! One comment on a pull request, through the REST API of GitHub or GitLab.
//!
//! The comment is found by its first line ([`super::markdown::marker`]) and updated; a second one is never created. The
//! token is sent to the API's own address only: redirects are not followed. It is never part of a message.

use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{Method, StatusCode, redirect};
use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::remote::backend::tls::install_provider;
use crate::report::provider::{PullRequest, Site, Target};

/// Comments per page, and the maximum number of pages.
const PAGE: usize = 100;
const PAGES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// What happened to a comment.
#[derive(Debug, PartialEq)]
pub enum CommentChange {
    /// There was none before.
    Created,
    /// An earlier one has a new text.
    Updated,
}

/// Creates the comment that begins with `marker`, or replaces its text.
///
/// Errors: [`Kind::Remote`] if the site cannot be reached or refuses; [`Kind::Usage`] outside of a pull request.
pub fn put(target: &Target, token: &str, marker: &str, text: &str) -> Result<(u64, CommentChange)> {
    install_provider();
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::new(Kind::Remote, "cannot set up HTTP").because(error_chain(&e)))?;
    let api = Api { client, target, token };
    let number = api.number()?;
    let body = json!({"body": format!("{marker}\n{text}")});
    match api.find(number, marker)? {
        Some(id) => {
            let method = match target.site {
                Site::GitHub => Method::PATCH,
                Site::GitLab => Method::PUT,
            };
            api.send(api.request(method, &api.comment(number, id)).body(body.to_string()))?;
            Ok((number, CommentChange::Updated))
        }
        None => {
            api.send(api.request(Method::POST, &api.comments(number)).body(body.to_string()))?;
            Ok((number, CommentChange::Created))
        }
    }
}

struct Api<'a> {
    client: Client,
    target: &'a Target,
    token: &'a str,
}

impl Api<'_> {
    fn number(&self) -> Result<u64> {
        match &self.target.pull {
            PullRequest::Number(number) => Ok(*number),
            PullRequest::Unknown => {
                Err(Error::usage("this job belongs to no pull request, so there is nothing to comment on")
                    .hint("name one: lockstep ci report --comment --pr NUMBER"))
            }
            PullRequest::ByCommit { head, commit } => {
                let repository = &self.target.repository;
                let path = format!("repos/{repository}/pulls?state=open&per_page={PAGE}&head={}", encoded(head));
                let pulls = self.json(self.request(Method::GET, &path))?;
                // The branch may have moved on, with a newer report: only the pull request of exactly this commit
                // matches.
                let is_it = |pull: &&Json| pull.pointer("/head/sha").and_then(Json::as_str) == Some(commit);
                let found = pulls.as_array().into_iter().flatten().find(is_it);
                found.and_then(|pull| pull["number"].as_u64()).ok_or_else(|| {
                    Error::missing(format!("no open pull request has {commit} of {head} as its last commit"))
                        .hint("it moved on, or is closed; the next report will do")
                })
            }
        }
    }

    fn comments(&self, number: u64) -> String {
        let repository = &self.target.repository;
        match self.target.site {
            Site::GitHub => format!("repos/{repository}/issues/{number}/comments"),
            Site::GitLab => format!("projects/{repository}/merge_requests/{number}/notes"),
        }
    }

    fn comment(&self, number: u64, id: u64) -> String {
        match self.target.site {
            Site::GitHub => format!("repos/{}/issues/comments/{id}", self.target.repository),
            Site::GitLab => format!("{}/{id}", self.comments(number)),
        }
    }

    /// The comment of this user, the oldest if there are several. A comment with the marker by another user is ignored:
    /// its author could rewrite the report later.
    fn find(&self, number: u64, marker: &str) -> Result<Option<u64>> {
        let mut me = None;
        for page in 1..=PAGES {
            let order = match self.target.site {
                Site::GitHub => "",
                Site::GitLab => "&order_by=created_at&sort=asc",
            };
            let path = format!("{}?per_page={PAGE}&page={page}{order}", self.comments(number));
            let found = self.json(self.request(Method::GET, &path))?;
            let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
            let is_ours = |comment: &&Json| {
                comment["body"]
                    .as_str()
                    .and_then(|body| body.lines().next())
                    .is_some_and(|first| first.trim() == marker)
            };
            for comment in found.iter().filter(is_ours) {
                let me = me.get_or_insert_with(|| self.own_name());
                if let Some(id) = comment["id"].as_u64().filter(|_| self.is_by(comment, me.as_deref())) {
                    return Ok(Some(id));
                }
            }
            if found.len() < PAGE {
                break;
            }
        }
        Ok(None)
    }

    /// The user of the token. `None` for the token of a job at GitHub, which may not ask.
    fn own_name(&self) -> Option<String> {
        let user = self.json(self.request(Method::GET, "user")).ok()?;
        let key = match self.target.site {
            Site::GitHub => "login",
            Site::GitLab => "username",
        };
        Some(user[key].as_str()?.to_string())
    }

    fn is_by(&self, comment: &Json, me: Option<&str>) -> bool {
        let (author, key) = match self.target.site {
            Site::GitHub => (&comment["user"], "login"),
            Site::GitLab => (&comment["author"], "username"),
        };
        match me {
            Some(me) => author[key].as_str() == Some(me),
            // The job itself comments as a bot, which cannot be the account of a person.
            None => self.target.site == Site::GitHub && author["type"] == "Bot",
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.target.api));
        let request = request.header("Content-Type", "application/json");
        match self.target.site {
            Site::GitHub => request.bearer_auth(self.token).header("Accept", "application/vnd.github+json"),
            Site::GitLab => request.header("PRIVATE-TOKEN", self.token),
        }
    }

    fn json(&self, request: RequestBuilder) -> Result<Json> {
        let text = self.send(request)?.text();
        let text = text.map_err(|e| self.failed().because(error_chain(&e)))?;
        serde_json::from_str(&text).map_err(|e| self.failed().because(format!("the answer is not JSON: {e}")))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().map_err(|e| self.failed().because(error_chain(&e)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = response.text().ok().and_then(|text| serde_json::from_str::<Json>(&text).ok());
        let said = said.and_then(|json| Some(json.get("message")?.as_str()?.to_string()));
        let mut error = self.failed().because(format!("it answered {status}"));
        if let Some(said) = said {
            error = error.because(said.chars().filter(|c| !c.is_control()).take(200).collect::<String>());
        }
        let variable = self.target.site.token_variable();
        Err(match status {
            StatusCode::UNAUTHORIZED => error.hint(format!("is the token in {variable} still good?")),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => match self.target.site {
                Site::GitHub => error.hint("give the job `permissions: pull-requests: write`").hint(
                    "the token of a pull request from a fork never may: comment from a second workflow (README, In CI)",
                ),
                Site::GitLab => error.hint("GITLAB_TOKEN has to be a project access token with the scope `api`"),
            },
            _ => error,
        })
    }

    fn failed(&self) -> Error {
        let site = match self.target.site {
            Site::GitHub => "GitHub",
            Site::GitLab => "GitLab",
        };
        Error::new(Kind::Remote, format!("cannot comment through {site}'s API at {}", self.target.api))
    }
}

/// A percent-encoded value of a query: names of branches have arbitrary characters.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// An error and its causes without the address, which the message has already.
fn error_chain(error: &reqwest::Error) -> String {
    let mut text = match () {
        _ if error.is_timeout() => format!("no answer within {} seconds", PATIENCE.as_secs()),
        _ if error.is_connect() => "cannot connect".to_string(),
        _ => "the request failed".to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if next.source().is_none() {
            text.push_str(&format!(": {next}"));
        }
        cause = next.source();
    }
    text
}
