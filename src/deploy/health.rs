//! Asks `healthy` until it holds: a command that succeeds, or a URL that answers with success.
//!
//! The URL of a model in the Open Inference Protocol (`…/v2/models/NAME` or `…/v2/models/NAME/ready`) holds only when
//! the server names the new version and its hash: it may be ready with the old one.

use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use reqwest::redirect;
use serde_json::Value as Json;

use super::hooks::HookRunner;
use crate::error::{Error, Kind, Result};
use crate::remote::backend::tls::install_provider;
use crate::store::ObjectId;
use crate::url::redact_text;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// The limit of one question to a server.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MOST: u64 = 1 << 20;

/// What a server has to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedRelease {
    /// `None` for a path without a version.
    pub version: Option<String>,
    /// The hash of the file or tree.
    pub blake3: ObjectId,
}

/// The result of asking.
#[derive(Debug, PartialEq)]
pub struct HealthResult {
    /// Why it does not hold, the end of a sentence; `None` if it holds.
    pub failure: Option<String>,
    /// What a command wrote.
    pub output: String,
}

/// Whether it is a URL.
pub fn is_url(healthy: &str) -> bool {
    healthy.starts_with("http://") || healthy.starts_with("https://")
}

/// Asks until it holds or `limit` is over.
pub fn wait_for(
    healthy: &str,
    wanted: &ServedRelease,
    limit: Duration,
    hooks: &HookRunner<'_>,
) -> Result<HealthResult> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        let result = match is_url(healthy) {
            true => HealthResult { failure: ask(healthy, Some(wanted), left)?.failure, output: String::new() },
            false => {
                let ended = hooks.run("healthy", healthy, left, false)?;
                HealthResult { failure: ended.failure.map(|why| format!("the command {why}")), output: ended.output }
            }
        };
        hooks.stop.check()?;
        let is_over = began.elapsed() + PAUSE >= limit;
        if result.failure.is_none() || is_over {
            let limit = humantime::format_duration(limit);
            let failure = result.failure.map(|why| format!("does not hold after {limit}: {why}"));
            return Ok(HealthResult { failure, ..result });
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a server says.
#[derive(Debug, Default, PartialEq)]
pub struct ServerAnswer {
    /// Why it does not hold.
    pub failure: Option<String>,
    /// The versions that the metadata of the model name; empty for another URL.
    pub versions: Vec<String>,
    /// The hash that they name.
    pub blake3: Option<String>,
}

/// Asks a URL once. With `wanted` the metadata of a model must name that release.
///
/// Errors: no client can be made.
pub fn ask(url: &str, wanted: Option<&ServedRelease>, left: Duration) -> Result<ServerAnswer> {
    install_provider();
    let client = Client::builder()
        .timeout(left.clamp(Duration::from_millis(100), PATIENCE))
        .redirect(redirect::Policy::none())
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::new(Kind::Remote, "cannot set up HTTP").because(e))?;
    let failed = |why: String| ServerAnswer { failure: Some(redact_text(&why)), ..ServerAnswer::default() };
    if let Err(why) = get(&client, url) {
        return Ok(failed(why));
    }
    let Some(model) = model_of(url) else { return Ok(ServerAnswer::default()) };
    Ok(match get(&client, &model) {
        Err(why) => failed(why),
        Ok(text) => judge(&text, wanted),
    })
}

/// The body of a successful answer, or the end of a sentence.
fn get(client: &Client, url: &str) -> Result<String, String> {
    let answer = client.get(url).send().map_err(|e| cause(&e))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("{url} answers {status}"));
    }
    let mut text = String::new();
    answer.take(MOST).read_to_string(&mut text).map_err(|e| format!("the answer of {url} cannot be read: {e}"))?;
    Ok(text)
}

fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

/// The URL of the metadata of a model, if this is the URL of one.
fn model_of(url: &str) -> Option<String> {
    let plain = url.split(['?', '#']).next()?.trim_end_matches('/');
    let (base, path) = plain.split_once("/v2/models/")?;
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [name] | [name, "ready"] | [name, "versions", _] | [name, "versions", _, "ready"] if !name.is_empty() => {
            Some(format!("{base}/v2/models/{name}"))
        }
        _ => None,
    }
}

/// Compares the metadata of a model with a release.
fn judge(text: &str, wanted: Option<&ServedRelease>) -> ServerAnswer {
    let Ok(json) = serde_json::from_str::<Json>(text) else {
        return ServerAnswer { failure: Some("its metadata are no JSON".into()), ..ServerAnswer::default() };
    };
    let versions = json.get("versions").and_then(Json::as_array).into_iter().flatten();
    let versions: Vec<String> = versions.filter_map(Json::as_str).map(str::to_string).collect();
    let blake3 = json.pointer("/parameters/blake3").and_then(Json::as_str).map(str::to_string);
    let failure = wanted.and_then(|wanted| difference(&versions, blake3.as_deref(), wanted));
    ServerAnswer { failure, versions, blake3 }
}

fn difference(versions: &[String], blake3: Option<&str>, wanted: &ServedRelease) -> Option<String> {
    let bare = |version: &str| version.trim_start_matches('v').to_string();
    let serves = versions.join(", ");
    if let Some(version) = &wanted.version
        && !versions.iter().any(|served| bare(served) == bare(version))
    {
        let serves = if serves.is_empty() { "no version".into() } else { serves };
        return Some(format!("the server has {serves}, not {version}"));
    }
    match blake3 {
        Some(hash) if hash == wanted.blake3.hex() => None,
        Some(_) => Some(format!("the server has other bytes than {}", wanted.blake3.hex())),
        None => Some("the server names no hash (parameters.blake3)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_a_model_are_at() {
        for (url, want) in [
            ("http://h:1/v2/models/digits/ready", Some("http://h:1/v2/models/digits")),
            ("http://h:1/v2/models/digits", Some("http://h:1/v2/models/digits")),
            ("http://h/x/v2/models/digits/versions/v1/ready?a=b", Some("http://h/x/v2/models/digits")),
            ("http://h/v2/health/ready", None),
            ("http://h/v2/models/", None),
            ("http://h/healthz", None),
        ] {
            assert_eq!(model_of(url).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn a_server_with_the_old_version_is_not_healthy() {
        let wanted = ServedRelease { version: Some("v1.1.0".into()), blake3: ObjectId([7; 32]) };
        let hash = "07".repeat(32);
        for (text, want) in [
            (format!(r#"{{"versions": ["v1.1.0"], "parameters": {{"blake3": "{hash}"}}}}"#), None),
            (format!(r#"{{"versions": ["1.1.0"], "parameters": {{"blake3": "{hash}"}}}}"#), None),
            (format!(r#"{{"versions": ["v1.0.0"], "parameters": {{"blake3": "{hash}"}}}}"#), Some("has v1.0.0, not")),
            (r#"{"versions": ["v1.1.0"], "parameters": {"blake3": "00"}}"#.into(), Some("other bytes")),
            (r#"{"versions": ["v1.1.0"]}"#.into(), Some("names no hash")),
            ("{}".into(), Some("has no version")),
            ("ready".into(), Some("no JSON")),
        ] {
            let failure = judge(&text, Some(&wanted)).failure;
            match want {
                None => assert_eq!(failure, None, "{text}"),
                Some(part) => assert!(failure.as_ref().is_some_and(|why| why.contains(part)), "{text}: {failure:?}"),
            }
        }
    }
}
