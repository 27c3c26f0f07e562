//! Where the LFS files of another repository are, and which addresses may be asked for them. Pure.

use reqwest::Url as HttpUrl;

use crate::error::{Error, Result};
use crate::url::form::AddressForm;
use crate::url::{Url, decode};

/// A server of LFS.
#[derive(Debug, PartialEq)]
pub struct LfsEndpoint {
    /// `https://host/org/name.git/info/lfs`, without user and password.
    pub url: HttpUrl,
    /// The user and password of the address.
    pub user: Option<(String, String)>,
}

/// The server of LFS of a repository, by the rule of Git LFS: `URL.git/info/lfs`, over HTTPS for an address of SSH.
///
/// Errors (usage): an address that Git LFS has no rule for, or one without TLS that leaves this machine.
pub fn endpoint_of(repository: &Url) -> Result<LfsEndpoint> {
    let unusable = || {
        Error::usage(format!("{repository} has files in Git LFS, and no address to get them from"))
            .hint("name the server, for you alone: git config --global lfs.url https://HOST/ORG/NAME.git/info/lfs")
    };
    let text = match repository.form() {
        Ok(AddressForm::Service { scheme, rest }) if ["http", "https"].contains(&scheme.as_str()) => {
            format!("{scheme}://{rest}")
        }
        Ok(AddressForm::Service { rest, .. }) => {
            let rest = rest.split_once('/').ok_or_else(unusable)?;
            format!("https://{}/{}", host_without_port(rest.0), rest.1)
        }
        Ok(AddressForm::Host(host, path)) => {
            format!("https://{}/{}", host_without_port(host), path.trim_start_matches('/'))
        }
        _ => return Err(unusable()),
    };
    let mut url = HttpUrl::parse(&text).map_err(|_| unusable())?;
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_string();
    let path = if path.ends_with(".git") { format!("{path}/info/lfs") } else { format!("{path}.git/info/lfs") };
    url.set_path(&path);
    endpoint(url).ok_or_else(|| no_tls(repository))
}

/// The server that `lfs.url` names.
pub fn endpoint_at(address: &Url) -> Result<LfsEndpoint> {
    let url = HttpUrl::parse(address.raw()).ok().filter(|url| url.host().is_some());
    let url = url.ok_or_else(|| Error::usage(format!("lfs.url is `{address}`, which is no address of a server")))?;
    endpoint(url).ok_or_else(|| no_tls(address))
}

fn endpoint(mut url: HttpUrl) -> Option<LfsEndpoint> {
    let user = url.password().map(|password| (url.username().to_string(), password.to_string()));
    let user = user.or_else(|| Some((url.username().to_string(), String::new())).filter(|(user, _)| !user.is_empty()));
    let user = user.map(|(user, password)| (decode(&user).unwrap_or(user), decode(&password).unwrap_or(password)));
    let _ = (url.set_username(""), url.set_password(None));
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
    is_safe.then_some(LfsEndpoint { url, user })
}

fn no_tls(address: &Url) -> Error {
    Error::usage(format!("{address} has files in Git LFS, which are not fetched without TLS"))
        .hint("use an address that begins with https://")
}

/// Without the user and the port of SSH.
fn host_without_port(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.starts_with('[') {
        true => host.split_inclusive(']').next().unwrap_or(host),
        false => host.split(':').next().unwrap_or(host),
    }
}

fn is_loopback(url: &HttpUrl) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a server at `from` may send us to this address: with TLS, or on this machine if the server is. Addresses
/// that only mean something on this machine's own network link (metadata of a cloud) are never used.
pub fn may_follow(from: &HttpUrl, to: &HttpUrl) -> bool {
    let host = to.host_str().unwrap_or_default().trim_matches(['[', ']']).to_string();
    let is_link_local = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => is_local_v4(ip),
        Ok(std::net::IpAddr::V6(ip)) => {
            ip.segments()[0] & 0xffc0 == 0xfe80 || ip.is_unspecified() || ip.to_ipv4_mapped().is_some_and(is_local_v4)
        }
        Err(_) => false,
    };
    match to.scheme() {
        _ if host.is_empty() || is_link_local => false,
        "https" => !is_loopback(to) || is_loopback(from),
        "http" => is_loopback(to) && is_loopback(from) && from.scheme() == "http",
        _ => false,
    }
}

fn is_local_v4(ip: std::net::Ipv4Addr) -> bool {
    ip.is_link_local() || ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_lfs() {
        for (repository, want) in [
            ("https://host/org/name", Some("https://host/org/name.git/info/lfs")),
            ("https://host/org/name.git/", Some("https://host/org/name.git/info/lfs")),
            ("HTTPS://host:8443/name?x=1", Some("https://host:8443/name.git/info/lfs")),
            ("https://me:secret@host/name", Some("https://host/name.git/info/lfs")),
            ("git@host:org/name.git", Some("https://host/org/name.git/info/lfs")),
            ("host:/org/name", Some("https://host/org/name.git/info/lfs")),
            ("ssh://git@host:2222/org/name", Some("https://host/org/name.git/info/lfs")),
            ("ssh://git@[::1]:22/name", Some("https://[::1]/name.git/info/lfs")),
            ("git://host/name", Some("https://host/name.git/info/lfs")),
            ("http://127.0.0.1:80/name", Some("http://127.0.0.1/name.git/info/lfs")),
            ("http://host/name", None),
            ("/a/folder", None),
            ("ssh://host", None),
        ] {
            let found = endpoint_of(&repository.into()).ok().map(|endpoint| endpoint.url.to_string());
            assert_eq!(found.as_deref(), want, "{repository}");
        }
        let user = |text: &str| endpoint_of(&text.into()).unwrap().user;
        assert_eq!(user("https://me:a%40b@host/name"), Some(("me".into(), "a@b".into())));
        assert_eq!(user("https://token@host/name"), Some(("token".into(), String::new())));
        assert_eq!(user("ssh://git@host/name"), None);
        assert!(endpoint_at(&"https://host/lfs".into()).is_ok());
        assert!(endpoint_at(&"http://host/lfs".into()).is_err() && endpoint_at(&"lfs".into()).is_err());
    }

    #[test]
    fn addresses_that_a_server_sends_us_to() {
        let url = |text: &str| HttpUrl::parse(text).unwrap();
        for (from, to, want) in [
            ("https://hub.example/x", "https://cdn.example/y", true),
            ("https://hub.example/x", "https://10.0.0.5/y", true),
            ("https://hub.example/x", "http://cdn.example/y", false),
            ("https://hub.example/x", "http://169.254.169.254/latest", false),
            ("https://hub.example/x", "https://169.254.169.254/latest", false),
            ("https://hub.example/x", "https://[::ffff:169.254.169.254]/latest", false),
            ("https://hub.example/x", "https://[fe80::1]/", false),
            ("https://hub.example/x", "http://127.0.0.1:8080/", false),
            ("https://hub.example/x", "https://localhost/", false),
            ("https://hub.example/x", "https://0.0.0.0/", false),
            ("https://hub.example/x", "file:///etc/passwd", false),
            ("https://hub.example/x", "ftp://cdn.example/y", false),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:2/y", true),
            ("http://127.0.0.1:1/x", "http://169.254.169.254/y", false),
            ("http://127.0.0.1:1/x", "http://2852039166/y", false),
            ("http://127.0.0.1:1/x", "http://cdn.example/y", false),
            ("http://127.0.0.1:1/x", "https://cdn.example/y", true),
        ] {
            assert_eq!(may_follow(&url(from), &url(to)), want, "{from} {to}");
        }
    }
}
