//! Credentials for a registry, as Docker and Podman keep them, and tokens that a registry gives for them.
//!
//! A password goes to the token service that the registry names, over TLS or to this machine, and into no message.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use crate::document;
use crate::error::{Error, Kind, Result};

/// The largest file of credentials.
const MOST: u64 = 4 << 20;

/// A user and a password, or a token that can be exchanged for others.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// For Basic authentication.
    Password {
        /// The user.
        user: String,
        /// The password or an access token.
        password: String,
    },
    /// A refresh token of OAuth 2.
    Identity(String),
}

/// How a registry wants to be asked: the header `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The password itself.
    Basic,
    /// A token of this service.
    Bearer {
        /// The URL of the service.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
        /// What the token is for.
        scope: Option<String>,
    },
}

impl Credentials {
    /// Finds those of a host: `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG` or `~/.docker/config.json`, and Podman's file.
    /// `None` if there are none.
    ///
    /// Errors: a file or a credential helper that is configured cannot be used.
    pub fn find(host: &str, env: &BTreeMap<String, String>, home: Option<&Path>) -> Result<Option<Credentials>> {
        for path in files(env, home) {
            let Some(text) = document::read_text(&path, MOST)? else { continue };
            let config: Json = serde_json::from_str(&text)
                .map_err(|e| Error::usage(format!("{} is not JSON", path.display())).because(e))?;
            if let Some(helper) = helper(&config, host) {
                // A helper without credentials leaves the search to the other files.
                if let Some(found) = ask_helper(helper, host, env)? {
                    return Ok(Some(found));
                }
                continue;
            }
            if let Some(found) = of_file(&config, host) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The value of `Authorization` for Basic authentication; `None` for a token.
    pub fn basic(&self) -> Option<String> {
        match self {
            Credentials::Password { user, password } => {
                Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
            }
            Credentials::Identity(_) => None,
        }
    }
}

/// The files of credentials, in their order.
fn files(env: &BTreeMap<String, String>, home: Option<&Path>) -> Vec<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = set("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    let podman = set("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    set("REGISTRY_AUTH_FILE").into_iter().chain(docker.map(|dir| dir.join("config.json"))).chain(podman).collect()
}

fn helper<'c>(config: &'c Json, host: &str) -> Option<&'c str> {
    config.pointer(&format!("/credHelpers/{}", pointer(host))).or_else(|| config.get("credsStore"))?.as_str()
}

fn of_file(config: &Json, host: &str) -> Option<Credentials> {
    let entry = config.pointer(&format!("/auths/{}", pointer(host)))?;
    if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
        return Some(Credentials::Identity(token.into()));
    }
    let decoded = BASE64.decode(entry["auth"].as_str()?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials::Password { user: user.into(), password: password.into() })
}

/// A key of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// `docker-credential-NAME get`, which reads the host and writes JSON. The user configured it.
fn ask_helper(name: &str, host: &str, env: &BTreeMap<String, String>) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{name}");
    let failed =
        |why: String| Error::new(Kind::Remote, format!("{program} gives no credentials for {host}")).because(why);
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(failed("its name has characters that no helper has".into()));
    }
    let mut command = Command::new(&program);
    command.arg("get").env_clear().envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // If the helper does not read, its answer says why.
        let _ = pipe.write_all(host.as_bytes());
    }
    let out = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let said = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed(format!("it ended with {}", out.status))),
        };
    }
    let answer: Json = serde_json::from_str(&said).map_err(|_| failed("its answer is not JSON".into()))?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
    Ok(Some(match text("Username").as_str() {
        "<token>" => Credentials::Identity(text("Secret")),
        user => Credentials::Password { user: user.into(), password: text("Secret") },
    }))
}

/// Parses `WWW-Authenticate`; `None` for a scheme that is not known.
pub fn parse_challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = rest.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        values.insert(key.trim().to_ascii_lowercase(), value.to_string());
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Some(Challenge::Bearer {
        realm: values.remove("realm")?,
        service: values.remove("service"),
        scope: values.remove("scope"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(str::to_string),
            scope: scope.map(str::to_string),
        };
        for (header, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/token\",service=\"r\",scope=\"repository:a/b:pull,push\"",
                Some(bearer("https://a/token", Some("r"), Some("repository:a/b:pull,push"))),
            ),
            ("bearer realm=https://a/token, service=r", Some(bearer("https://a/token", Some("r"), None))),
            ("Bearer service=\"r\"", None),
            ("Bearer realm=\"open", None),
            ("Negotiate x", None),
            ("", None),
        ] {
            assert_eq!(parse_challenge(header), want, "{header}");
        }
    }

    #[test]
    fn credentials_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("config.json"), text).unwrap();
        let env = BTreeMap::from([("DOCKER_CONFIG".to_string(), dir.path().to_str().unwrap().to_string())]);
        let find = |host: &str| Credentials::find(host, &env, None);
        assert!(find("r:5000").unwrap().is_none());
        write(&format!(
            "{{\"auths\": {{\"r:5000\": {{\"auth\": \"{}\"}}, \"i\": {{\"identitytoken\": \"t\"}}}}}}",
            BASE64.encode("me:p:w")
        ));
        let password = Credentials::Password { user: "me".into(), password: "p:w".into() };
        assert!(find("r:5000").unwrap() == Some(password));
        assert!(find("i").unwrap() == Some(Credentials::Identity("t".into())));
        assert!(find("other").unwrap().is_none());
        write("{\"credHelpers\": {\"r\": \"there-is-no-such-helper\"}}");
        assert_eq!(find("r").err().unwrap().kind, Kind::Remote);
        write("{\"credsStore\": \"../../bin/sh\"}");
        assert!(find("r").err().unwrap().to_string().contains("characters"));
        write("{");
        assert_eq!(find("r").err().unwrap().kind, Kind::Usage);
    }
}
