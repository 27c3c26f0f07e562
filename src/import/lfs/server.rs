//! Requests to a server of Git LFS: which addresses have the files, by the batch API
//! (git-lfs/docs/api/batch.md), and the files themselves.
//!
//! Authorization goes to the server alone, and the headers of an answer to the host of its address alone. Redirects
//! are followed here, so that no other host gets either.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{StatusCode, Url as HttpUrl, redirect};
use serde_json::{Value as Json, json};

use super::place::{LfsEndpoint, may_follow};
use crate::error::{Error, Kind, Result};
use crate::event::StopSignal;
use crate::git::program::remote_access::credentials;
use crate::lfs::Pointer;
use crate::remote::backend::request_failure::request_failure;
use crate::remote::backend::tls::install_provider;
use crate::url::{Url, redact_text};

const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// The longest wait for the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(15);
/// The largest answer of the batch API that is read.
const LARGEST_ANSWER: u64 = 8 << 20;
const MOST_REDIRECTS: usize = 5;
/// How often a request is repeated that the server cannot serve at the moment.
const TRIES: u32 = 4;
/// The limit of a message of the server that is shown.
const LONGEST_MESSAGE: usize = 200;

/// A server of LFS, for one repository.
pub struct LfsServer {
    client: Client,
    endpoint: HttpUrl,
    /// The repository, for messages.
    shown: Url,
    /// Known from the beginning: the token of the hub, or the password of the address.
    authorization: Mutex<Option<HeaderValue>>,
    /// The folder in which Git is asked for credentials; `None` if it was asked, or must not be.
    ask_git_in: Mutex<Option<PathBuf>>,
    /// What the user can do about a refusal.
    access_hints: Vec<String>,
    pub(super) stop: StopSignal,
}

/// What a server of LFS is told about the user.
pub struct LfsUser {
    /// Sent as a bearer token.
    pub token: Option<String>,
    /// The folder in which Git is asked for credentials when the server refuses, if there is no token or password.
    pub folder: PathBuf,
    /// What the user can do about a refusal.
    pub access_hints: Vec<String>,
}

/// Where one file is.
#[derive(Clone, Debug)]
pub struct DownloadAction {
    href: HttpUrl,
    headers: HeaderMap,
}

impl LfsServer {
    /// Sends nothing yet. `shown` names the repository in messages.
    pub fn new(endpoint: LfsEndpoint, shown: Url, user: LfsUser, stop: StopSignal) -> Result<LfsServer> {
        install_provider();
        let client = Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::new(Kind::Remote, "cannot set up HTTP").because(e))?;
        let authorization = match (&user.token, &endpoint.user) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some((name, password))) => Some(basic(name, password)),
            (None, None) => None,
        };
        let authorization = authorization.and_then(|value| secret_value(&value));
        let ask_git_in = Mutex::new(Some(user.folder).filter(|_| authorization.is_none()));
        let authorization = Mutex::new(authorization);
        let (endpoint, access_hints) = (endpoint.url, user.access_hints);
        Ok(LfsServer { client, endpoint, shown, authorization, ask_git_in, access_hints, stop })
    }

    /// Asks where files are. The answer has them by their SHA-256.
    ///
    /// Errors: [`Kind::Remote`] if the server refuses or answers nonsense; [`Kind::Missing`] if it lacks a file.
    pub fn locate(&self, pointers: &[&Pointer]) -> Result<HashMap<String, DownloadAction>> {
        let objects: Vec<Json> = pointers.iter().map(|p| json!({"oid": p.sha256, "size": p.size})).collect();
        let body = json!({"operation": "download", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256"});
        let answer = self.post_batch(&body.to_string())?;
        if answer["transfer"].as_str().is_some_and(|transfer| transfer != "basic") {
            return Err(self.error("it answers with a way of transfer that was not asked for"));
        }
        let found = answer["objects"].as_array().ok_or_else(|| self.error("its answer lists no files"))?;
        pointers.iter().map(|pointer| Ok((pointer.sha256.clone(), self.action(pointer, found)?))).collect()
    }

    fn action(&self, pointer: &Pointer, found: &[Json]) -> Result<DownloadAction> {
        let object = found.iter().find(|object| object["oid"].as_str() == Some(&pointer.sha256));
        let object = object.ok_or_else(|| self.error("its answer lacks a file that was asked for"))?;
        if let Some(code) = object.pointer("/error/code").and_then(Json::as_u64) {
            let message = format!("{} lacks a file of Git LFS: {}", self.shown, pointer.sha256);
            let said = object.pointer("/error/message").and_then(Json::as_str).unwrap_or_default();
            return Err(Error::missing(message).because(format!("the server says: {code} {}", self.clean(said))));
        }
        if object["size"].as_u64().is_some_and(|size| size != pointer.size) {
            let text = format!("it has {} bytes where the pointer says {}", object["size"], pointer.size);
            return Err(self.error(&text).because(format!("of {}", pointer.sha256)));
        }
        let download = &object["actions"]["download"];
        let href = download["href"].as_str().and_then(|href| HttpUrl::parse(href).ok());
        let href = href.ok_or_else(|| self.error("its answer has no address of a file"))?;
        if !may_follow(&self.endpoint, &href) {
            let text = format!("it sends us to {}, which is not used", place_of(&href));
            return Err(self.error(&text).because("only HTTPS is, to hosts that are not local to this machine"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in download["header"].as_object().into_iter().flatten() {
            let name = HeaderName::try_from(name.as_str()).ok().filter(is_allowed);
            if let (Some(name), Some(value)) = (name, value.as_str().and_then(secret_value)) {
                headers.insert(name, value);
            }
        }
        Ok(DownloadAction { href, headers })
    }

    fn post_batch(&self, body: &str) -> Result<Json> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/objects/batch", self.endpoint.path()));
        let (mut redirects, mut tries) = (0, 0);
        loop {
            self.stop.check()?;
            let mut request = self.client.post(url.clone()).header(ACCEPT, MEDIA_TYPE).header(CONTENT_TYPE, MEDIA_TYPE);
            if let Some(value) = self.authorization() {
                request = request.header(AUTHORIZATION, value);
            }
            tries += 1;
            let answer = match request.body(body.to_string()).send() {
                Err(_) if tries < TRIES => {
                    self.pause(tries)?;
                    continue;
                }
                answer => answer.map_err(|e| self.failed(&e))?,
            };
            match answer.status() {
                StatusCode::OK => return self.json(answer),
                StatusCode::UNAUTHORIZED if self.ask_git() => {}
                status if is_temporary(status) && tries < TRIES => self.pause(tries)?,
                // A repository that was renamed. The question and the authorization stay at this server.
                status if status.is_redirection() && redirects < MOST_REDIRECTS => {
                    redirects += 1;
                    let to = redirect_target(&url, &answer).filter(|to| to.origin() == url.origin());
                    url = to.ok_or_else(|| self.error("it sends us to another server"))?;
                }
                _ => return Err(self.refused(answer)),
            }
        }
    }

    /// Starts a download from the byte `from`.
    pub fn get(&self, action: &DownloadAction, from: u64) -> Result<Response> {
        let (mut url, mut headers) = (action.href.clone(), action.headers.clone());
        if url.origin() == self.endpoint.origin() && !headers.contains_key(AUTHORIZATION) {
            headers.extend(self.authorization().map(|value| (AUTHORIZATION, value)));
        }
        if from > 0 {
            headers.extend(HeaderValue::try_from(format!("bytes={from}-")).ok().map(|range| (RANGE, range)));
        }
        for _ in 0..=MOST_REDIRECTS {
            self.stop.check()?;
            let answer = self.client.get(url.clone()).headers(headers.clone()).send().map_err(|e| self.failed(&e))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let to = redirect_target(&url, &answer).filter(|to| may_follow(&url, to) && may_follow(&self.endpoint, to));
            let to = to.ok_or_else(|| self.error("it sends us to an address that is not used"))?;
            if to.origin() != url.origin() {
                let range = headers.remove(RANGE);
                headers.clear();
                headers.extend(range.map(|range| (RANGE, range)));
            }
            url = to;
        }
        Err(self.error(&format!("it sends us from address to address, more than {MOST_REDIRECTS} times")))
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Asks Git's credential helpers, once. Returns true if there are credentials to try.
    fn ask_git(&self) -> bool {
        let Some(folder) = self.ask_git_in.lock().unwrap_or_else(|e| e.into_inner()).take() else { return false };
        let host = self.endpoint.host_str().unwrap_or_default();
        let host = self.endpoint.port().map_or(host.to_string(), |port| format!("{host}:{port}"));
        let path = self.endpoint.path().trim_start_matches('/').trim_end_matches("/info/lfs");
        let found = credentials(&folder, self.endpoint.scheme(), &host, path);
        let value = found.and_then(|(user, password)| secret_value(&basic(&user, &password)));
        let mut authorization = self.authorization.lock().unwrap_or_else(|e| e.into_inner());
        *authorization = value;
        authorization.is_some()
    }

    /// Waits before another try.
    pub(super) fn pause(&self, tries: u32) -> Result<()> {
        for _ in 0..tries * 5 {
            self.stop.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn json(&self, answer: Response) -> Result<Json> {
        let bytes = self.body(answer)?;
        serde_json::from_slice(&bytes).map_err(|e| {
            self.error("its answer is not one of a server of Git LFS").because(e).hint("is the address right?")
        })
    }

    fn body(&self, answer: Response) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = answer.take(LARGEST_ANSWER + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.error("its answer breaks off").because(e))?;
        match bytes.len() as u64 > LARGEST_ANSWER {
            true => Err(self.error("its answer is too large")),
            false => Ok(bytes),
        }
    }

    /// An answer that is a refusal, with the message of the server.
    pub(super) fn refused(&self, answer: Response) -> Error {
        let status = answer.status();
        let body =
            if status.is_server_error() || status.is_client_error() { self.body(answer) } else { Ok(Vec::new()) };
        let said: Json = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let said = said["message"].as_str().or_else(|| said["error"].as_str()).map(|said| self.clean(said));
        let error = said.into_iter().fold(self.error(&format!("it answers {status}")), Error::because);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                self.access_hints.iter().cloned().fold(error, Error::hint)
            }
            _ => error,
        }
    }

    /// A text of the server, without secrets that it repeats.
    fn clean(&self, said: &str) -> String {
        let mut said: String = said.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
        if let Some(value) = self.authorization()
            && let Some((_, secret)) = value.to_str().unwrap_or_default().split_once(' ')
        {
            said = said.replace(secret, "***");
        }
        redact_text(&said)
    }

    pub(super) fn error(&self, what: &str) -> Error {
        let host = place_of(&self.endpoint);
        Error::new(Kind::Remote, format!("the files of {} in Git LFS cannot be had", self.shown))
            .because(format!("{host}: {what}"))
    }

    pub(super) fn failed(&self, e: &reqwest::Error) -> Error {
        let (what, cause) = request_failure(e);
        cause.into_iter().fold(self.error(what), Error::because)
    }
}

/// Whether the server may do better a moment later.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    [429, 500, 502, 503, 504].contains(&status.as_u16())
}

/// Headers of an answer that would change how the request is sent are left out.
fn is_allowed(name: &HeaderName) -> bool {
    let own =
        ["host", "range", "connection", "content-length", "transfer-encoding", "accept-encoding", "te", "upgrade"];
    !own.contains(&name.as_str())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

/// A value that is not shown in traces.
fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn redirect_target(from: &HttpUrl, answer: &Response) -> Option<HttpUrl> {
    from.join(answer.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// Scheme, host and port: the rest may have a signature.
fn place_of(url: &HttpUrl) -> String {
    match url.host_str() {
        Some(host) => {
            let port = url.port().map_or(String::new(), |port| format!(":{port}"));
            format!("{}://{host}{port}", url.scheme())
        }
        None => format!("{}:", url.scheme()),
    }
}
