//! The Hugging Face Hub of this user: its address, and the token for it, where `huggingface_hub` looks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::document;
use crate::error::{Error, Result};
use crate::git::ServerHeader;
use crate::project::Surroundings;
use crate::url::Url;
use crate::url::hub::HubAddress;

const ENDPOINT: &str = "https://huggingface.co";
/// The limit of the size of a token file.
const LARGEST_TOKEN: u64 = 4096;

/// A repository of the hub, and how to reach it.
pub struct HubRepository {
    /// As the user names it, without the revision.
    pub address: HubAddress,
    /// The address for Git.
    pub git_url: Url,
    /// The address of the hub, without a slash at its end.
    pub endpoint: String,
    /// Sent to the hub alone.
    pub token: Option<String>,
}

impl HubRepository {
    /// The repository of an address; `None` if the address is not one of the hub.
    ///
    /// Errors (usage): the address, or the hub's address in `HF_ENDPOINT`, is invalid.
    pub fn of(address: &Url, around: &Surroundings) -> Result<Option<HubRepository>> {
        let Some(address) = parse(address)? else { return Ok(None) };
        let endpoint = endpoint(&around.env)?;
        let token = token(&around.env, around.home.as_deref())?;
        let git_url = address.git_url(&endpoint);
        Ok(Some(HubRepository { address, git_url, endpoint, token }))
    }

    /// The header with which Git sends the token. The hub takes it as a password, with any user.
    pub fn header(&self) -> Option<ServerHeader> {
        let token = self.token.as_ref()?;
        let header = format!("Authorization: Basic {}", BASE64.encode(format!("user:{token}")));
        Some(ServerHeader { server: self.endpoint.clone(), header })
    }

    /// What the user can do about a refusal.
    pub fn access_hints(&self) -> Vec<String> {
        let token = match self.token {
            Some(_) => format!("the token may be old, or may not read it: {}/settings/tokens", self.endpoint),
            None => "no token was sent; log in: hf auth login (or export HF_TOKEN=…)".into(),
        };
        let page = self.git_url.raw();
        vec![format!("a gated repository has terms to accept, and a private one has members: {page}"), token]
    }
}

/// Separates the revision of `hf://ORG/NAME@REV` from the address. Other addresses are returned as they are.
///
/// Errors (usage): the address is invalid, or the user gave another revision as well.
pub fn split_revision(address: &Url, rev: Option<&str>) -> Result<(Url, Option<String>)> {
    let given = rev.map(str::to_string);
    let Some(hub) = parse(address)? else { return Ok((address.clone(), given)) };
    match (&hub.rev, given) {
        (Some(one), Some(other)) if *one != other => {
            Err(Error::usage(format!("two revisions: `{one}` in the address, and `{other}` in --rev"))
                .hint("leave one out"))
        }
        (_, given) => Ok((hub.url(), given.or(hub.rev))),
    }
}

fn parse(address: &Url) -> Result<Option<HubAddress>> {
    HubAddress::parse(address).transpose().map_err(|slip| {
        let error = Error::usage(format!("`{address}` names no repository: {}", slip.why));
        slip.hint.into_iter().fold(error, Error::hint)
    })
}

/// `HF_ENDPOINT`, or the public hub. It gets the token, so it has TLS unless it is on this machine.
fn endpoint(env: &BTreeMap<String, String>) -> Result<String> {
    let Some(set) = env.get("HF_ENDPOINT").map(|set| set.trim()).filter(|set| !set.is_empty()) else {
        return Ok(ENDPOINT.into());
    };
    let set = set.trim_end_matches('/');
    let rest = set.strip_prefix("https://").or_else(|| set.strip_prefix("http://").filter(|rest| is_loopback(rest)));
    let is_plain = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ', '\\', '"']);
    match rest.filter(|rest| is_plain(rest)) {
        Some(_) => Ok(set.to_string()),
        None => Err(Error::usage(format!("HF_ENDPOINT is `{}`, which is no address of a hub", Url::from(set)))
            .hint("write https://HOST; http:// is for this machine alone")),
    }
}

fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn token(env: &BTreeMap<String, String>, home: Option<&Path>) -> Result<Option<String>> {
    let set = |name: &str| env.get(name).map(|value| value.trim().to_string()).filter(|value| !value.is_empty());
    let found = match set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")) {
        Some(token) => Some(token),
        None => match token_file(&set, home) {
            Some(file) => document::read_text(&file, LARGEST_TOKEN)?.map(|text| text.trim().to_string()),
            None => None,
        },
    };
    match found.filter(|token| !token.is_empty()) {
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(token)),
        Some(_) => Err(Error::usage("the token of the hub has blanks or control characters")
            .hint("see HF_TOKEN, and the file of `hf auth login`")),
        None => Ok(None),
    }
}

fn token_file(set: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Option<PathBuf> {
    if let Some(file) = set("HF_TOKEN_PATH") {
        return Some(file.into());
    }
    let cache = || set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".cache")));
    let folder = set("HF_HOME").map(PathBuf::from).or_else(|| cache().map(|cache| cache.join("huggingface")));
    folder.map(|folder| folder.join("token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn endpoints() {
        for (set, want) in [
            ("", Some(ENDPOINT)),
            ("https://hub.example/", Some("https://hub.example")),
            ("https://hub.example/hub", Some("https://hub.example/hub")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://localhost:8080", Some("http://localhost:8080")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://hub.example", None),
            ("http://localhost.example", None),
            ("http://localhost@hub.example", None),
            ("https://user:pw@hub.example", None),
            ("file:///etc", None),
            ("hub.example", None),
        ] {
            assert_eq!(endpoint(&env(&[("HF_ENDPOINT", set)])).ok().as_deref(), want, "{set}");
        }
    }

    #[test]
    fn tokens_are_found_where_the_hub_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let write = |path: &str, text: &str| {
            let path = home.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".cache/huggingface/token", "hf_home\n");
        write("other/token", "hf_other");
        write("xdg/huggingface/token", "hf_xdg");
        write("file", "hf_file");
        let path = |name: &str| home.join(name).display().to_string();
        let (other, xdg, file) = (path("other"), path("xdg"), path("file"));
        for (set, want) in [
            (vec![], Some("hf_home")),
            (vec![("HF_TOKEN", "hf_a"), ("HUGGING_FACE_HUB_TOKEN", "hf_b")], Some("hf_a")),
            (vec![("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "hf_b")], Some("hf_b")),
            (vec![("HF_HOME", other.as_str())], Some("hf_other")),
            (vec![("XDG_CACHE_HOME", xdg.as_str())], Some("hf_xdg")),
            (vec![("HF_TOKEN_PATH", file.as_str()), ("HF_HOME", other.as_str())], Some("hf_file")),
            (vec![("HF_HOME", file.as_str())], None),
        ] {
            assert_eq!(token(&env(&set), Some(home)).ok().flatten().as_deref(), want, "{set:?}");
        }
        assert!(token(&env(&[("HF_TOKEN", "a\nb")]), None).is_err());
        assert_eq!(token(&env(&[]), None).unwrap(), None);
    }

    #[test]
    fn a_revision_is_given_once() {
        let split = |address: &str, rev| split_revision(&address.into(), rev).map(|(url, rev)| (url.raw().into(), rev));
        let some = |rev: &str| Some(rev.to_string());
        let hub = || "hf://o/n".to_string();
        assert_eq!(split("hf://o/n@v1", None).unwrap(), (hub(), some("v1")));
        assert_eq!(split("hf://o/n@v1", Some("v1")).unwrap(), (hub(), some("v1")));
        assert_eq!(split("hf://o/n", Some("v1")).unwrap(), (hub(), some("v1")));
        assert_eq!(split("hf://o/n", None).unwrap(), (hub(), None));
        assert_eq!(split("git@host:x", None).unwrap(), ("git@host:x".to_string(), None));
        assert!(split("hf://o/n@v1", Some("v2")).is_err());
    }
}
