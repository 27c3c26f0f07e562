//! Requests to one repository of a registry: authorization, errors, manifests and tags.
//!
//! A redirect is not followed, and the authorization goes to the host of the registry alone.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url as HttpUrl, redirect};
use serde_json::Value as Json;

use super::artifact::{self, MANIFEST_TYPE};
use super::auth::{Challenge, Credentials, parse_challenge};
use super::reference::{OciReference, is_loopback};
use crate::error::{Error, Kind, Result};
use crate::event::StopSignal;
use crate::remote::backend::request_failure::request_failure;
use crate::remote::backend::tls::install_provider;

/// The time for one request, of which an upload of a chunk is the longest.
const PATIENCE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MOST: u64 = 4 << 20;

/// A repository of a registry.
pub struct Registry {
    /// Its address.
    pub reference: OciReference,
    client: Client,
    base: HttpUrl,
    credentials: Option<Credentials>,
    /// The value of `Authorization`, once the registry has asked for it.
    authorization: Mutex<Option<String>>,
    pub(super) stop: StopSignal,
}

impl Registry {
    /// Sends nothing yet. HTTP without TLS is used for this machine alone.
    pub fn open(reference: OciReference, credentials: Option<Credentials>, stop: StopSignal) -> Result<Registry> {
        install_provider();
        let builder = Client::builder();
        // What is for this machine goes through no proxy, in clear text.
        let builder = if reference.is_loopback() { builder.no_proxy() } else { builder };
        let client = builder
            .timeout(PATIENCE)
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::new(Kind::Remote, "cannot set up HTTP").because(e))?;
        let scheme = if reference.is_loopback() { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", reference.host, reference.repository);
        let base = HttpUrl::parse(&base).map_err(|e| Error::usage(format!("{reference} has no address")).because(e))?;
        Ok(Registry { reference, client, base, credentials, authorization: Mutex::new(None), stop })
    }

    /// Whether a blob is there. A redirect to its bytes says so, too.
    pub(super) fn has_blob(&self, digest: &str) -> Result<bool> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let answer = self.send(|| self.client.request(Method::HEAD, url.clone()))?;
        match answer.status() {
            status if status.is_success() || status.is_redirection() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused("the blob cannot be looked up", answer)),
        }
    }

    /// The digest of the manifest that a tag or a digest names; `None` if there is none.
    pub fn resolve(&self, name: &str) -> Result<Option<String>> {
        Ok(self.manifest(name)?.map(|bytes| artifact::digest(&bytes)))
    }

    /// The bytes of a manifest; `None` if there is none.
    pub fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let url = self.url(&format!("manifests/{name}"))?;
        // A registry answers 404 to a request that does not accept the type.
        let answer = self.send(|| self.client.get(url.clone()).header(ACCEPT, MANIFEST_TYPE))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let bytes = self.body(answer)?;
                match !name.starts_with("sha256:") || artifact::digest(&bytes) == name {
                    true => Ok(Some(bytes)),
                    false => Err(self.error(format!("other bytes are there than {name} names"))),
                }
            }
            _ => Err(self.refused(&format!("{name} cannot be read"), answer)),
        }
    }

    /// Writes a manifest under a tag, or under its own digest.
    pub fn put_manifest(&self, name: &str, manifest: &[u8]) -> Result<()> {
        let url = self.url(&format!("manifests/{name}"))?;
        let put = || self.client.put(url.clone()).header(CONTENT_TYPE, MANIFEST_TYPE).body(manifest.to_vec());
        let answer = self.send(put)?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(self.refused(&format!("{name} cannot be written"), answer)),
        }
    }

    pub(super) fn url(&self, path: &str) -> Result<HttpUrl> {
        self.base.join(path).map_err(|e| self.error(format!("{path} is no address")).because(e))
    }

    /// The address that an upload continues at; it may be relative, and may be at another host.
    pub(super) fn location(&self, headers: &HeaderMap, from: &HttpUrl) -> Result<HttpUrl> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let url = location.and_then(|location| from.join(location).ok());
        let url = url.filter(|url| url.scheme() == "https" || url.scheme() == self.base.scheme());
        url.ok_or_else(|| self.error("the registry does not say where to upload".into()))
    }

    pub(super) fn request(&self, method: Method, url: HttpUrl) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request that can be built again, with the authorization that the registry asks for.
    pub(super) fn send(&self, build: impl Fn() -> RequestBuilder) -> Result<Response> {
        self.stop.check()?;
        let answer = self.send_once(&build)?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.authorize(&answer)?;
        self.send_once(&build)
    }

    fn send_once(&self, build: &impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut request = build().build().map_err(|e| self.failed(&e))?;
        let authorization = self.authorization.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some(value) = authorization.and_then(|value| value.parse().ok())
            && request.url().origin() == self.base.origin()
        {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.client.execute(request).map_err(|e| self.failed(&e))
    }

    fn authorize(&self, answer: &Response) -> Result<()> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = headers.filter_map(|header| parse_challenge(header.to_str().ok()?)).next();
        let value = match challenge {
            Some(Challenge::Basic) => {
                self.credentials.as_ref().and_then(Credentials::basic).ok_or_else(|| self.login())?
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                format!("Bearer {}", self.token(&realm, service.as_deref(), scope.as_deref())?)
            }
            None => return Err(self.login()),
        };
        *self.authorization.lock().unwrap_or_else(|e| e.into_inner()) = Some(value);
        Ok(())
    }

    fn token(&self, realm: &str, service: Option<&str>, scope: Option<&str>) -> Result<String> {
        let url = HttpUrl::parse(realm)
            .ok()
            .filter(|url| url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback));
        let mut url = url.ok_or_else(|| self.error("the registry names no token service with TLS".into()))?;
        let scope = scope.map_or_else(|| format!("repository:{}:pull,push", self.reference.repository), str::to_string);
        let service = service.unwrap_or(&self.reference.host);
        let request = match &self.credentials {
            Some(Credentials::Identity(token)) => {
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("scope", &scope),
                    ("refresh_token", token),
                ];
                let mut form = url.clone();
                form.query_pairs_mut().clear().extend_pairs(fields);
                let body = form.query().unwrap_or_default().to_string();
                self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            credentials => {
                url.query_pairs_mut().append_pair("service", service).append_pair("scope", &scope);
                let request = self.client.get(url);
                match credentials.as_ref().and_then(Credentials::basic) {
                    Some(basic) => request.header(AUTHORIZATION, basic),
                    None => request,
                }
            }
        };
        let answer = request.send().map_err(|e| self.failed(&e))?;
        if !answer.status().is_success() {
            return Err(self.login());
        }
        let answer: Json = serde_json::from_slice(&self.body(answer)?).unwrap_or_default();
        let token = answer["token"].as_str().or_else(|| answer["access_token"].as_str());
        token.map(str::to_string).ok_or_else(|| self.error("the token service answers without a token".into()))
    }

    pub(super) fn body(&self, answer: Response) -> Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        answer
            .take(MOST + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.error("its answer breaks off".into()).because(e))?;
        match bytes.len() as u64 > MOST {
            true => Err(self.error("its answer is too large".into())),
            false => Ok(bytes),
        }
    }

    /// An answer that is a refusal, with what the registry says.
    pub(super) fn refused(&self, what: &str, answer: Response) -> Error {
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return self.login();
        }
        let body = self.body(answer).unwrap_or_default();
        let said: Json = serde_json::from_slice(&body).unwrap_or_default();
        let first = said.pointer("/errors/0").cloned().unwrap_or_default();
        let words = [&first["code"], &first["message"]].map(|word| word.as_str().unwrap_or_default().to_string());
        let error = self.error(what.to_string()).because(format!("it answers {status}"));
        match words.iter().all(String::is_empty) {
            true => error,
            false => error.because(words.join(": ")),
        }
    }

    pub(super) fn error(&self, what: String) -> Error {
        Error::new(Kind::Remote, format!("{}: {what}", self.reference))
    }

    pub(super) fn failed(&self, e: &reqwest::Error) -> Error {
        let (what, cause) = request_failure(e);
        cause.into_iter().fold(self.error(what.into()), Error::because)
    }

    fn login(&self) -> Error {
        let host = &self.reference.host;
        let who = if self.credentials.is_some() { "these credentials" } else { "a request without credentials" };
        self.error(format!("the registry refuses {who}")).hint(format!("docker login {host} — or podman login {host}"))
    }
}
