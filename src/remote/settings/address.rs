//! The address of a remote: its URL, parsed. Pure.
//!
//! ```text
//! /mnt/team/store   ../store   ~/store   file:///mnt/x     a folder of this machine
//! s3://bucket/prefix   gs://bucket/prefix   azure://container/prefix (az://)
//! ssh://user@host:port/path (sftp://)                      the path is absolute
//! webdavs://host/path   webdav://host/path   https://host/path   http://host/path
//! ```
//!
//! Every command that takes a URL of a remote, or reads one from the settings, parses it here. In a URL with a host,
//! percent signs encode bytes (`%20`) in user, password and path; bucket URLs are taken literally. A spelling that two
//! programs could read in two ways (`..`, a query, a port of a bucket) is refused with the unambiguous one.

use std::fmt;

use crate::error::{Error, Result};
use crate::url::form::AddressForm;
use crate::url::{Url, decode, not_utf8};

/// The kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Folder,
    S3,
    Gcs,
    Azure,
    Sftp,
    Webdav,
    /// Read-only, and cannot be listed.
    Http,
}

/// A parsed URL. No `Debug`: it may contain a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: Scheme,
    /// Bucket, container or host; empty for a folder.
    pub host: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<String>,
    /// The path of a folder as written; otherwise without leading or trailing slashes and empty parts.
    pub path: String,
    /// Whether HTTP runs over TLS.
    pub secure: bool,
}

const SCHEMES: &[(&str, Scheme, bool)] = &[
    ("s3", Scheme::S3, true),
    ("gs", Scheme::Gcs, true),
    ("gcs", Scheme::Gcs, true),
    ("azure", Scheme::Azure, true),
    ("az", Scheme::Azure, true),
    ("ssh", Scheme::Sftp, true),
    ("sftp", Scheme::Sftp, true),
    ("webdav", Scheme::Webdav, false),
    ("webdavs", Scheme::Webdav, true),
    ("http", Scheme::Http, false),
    ("https", Scheme::Http, true),
];

impl Address {
    /// Errors ([`Kind::Usage`](crate::error::Kind::Usage)): an unknown scheme, a missing host, an invalid port.
    pub fn parse(from: &Url) -> Result<Address> {
        let wrong = |why: &str| Error::usage(format!("`{from}` is not a URL of a remote: {why}"));
        let (word, rest) = match from.form() {
            Ok(AddressForm::Folder(path)) => return folder(from, &path),
            Ok(AddressForm::Service { scheme, rest }) => (scheme, rest),
            Ok(AddressForm::Host(host, path)) => return Err(misspelt(from, host, path)),
            Err(slip) => {
                let error = wrong(&slip.why);
                return Err(slip.hint.into_iter().fold(error, Error::hint));
            }
        };
        if let Some(word) = from.option() {
            return Err(wrong("a host or user that begins with `-` is refused")
                .because(format!("a program that is started for it would take `{word}` for an option")));
        }
        if let Some(letter) = from.invalid_name_character() {
            return Err(wrong(&format!("its user or host has `{}`", letter.escape_debug())));
        }
        let Some((_, scheme, secure)) = SCHEMES.iter().find(|(name, ..)| *name == word) else {
            let near = SCHEMES.iter().map(|(name, ..)| *name).min_by_key(|name| strsim::levenshtein(name, &word));
            let near = near.filter(|name| strsim::levenshtein(name, &word) == 1);
            let error = wrong(&format!("there is no service `{}`", Url::from(word.as_str())));
            return Err(match near {
                Some(name) => error.hint(format!("did you mean {name}://?")),
                None => error.hint("a folder, s3://, gs://, azure://, ssh://, webdavs://, https://"),
            });
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let plain = |part: &str| decode(part).map_err(|place| wrong(&not_utf8(from.raw(), part, place)));
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (Some(plain(user)?), Some(plain(password)?).filter(|p| !p.is_empty())),
            None => (None, None),
        };
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong("its port is not a number"))?)),
            None => (host, None),
        };
        if host.is_empty() {
            return Err(wrong("it names no bucket, container or host"));
        }
        if !is_host(host) {
            return Err(wrong("its bucket, container or host has letters that such a name cannot have"));
        }
        let (scheme, secure) = (*scheme, *secure);
        let is_bucket = matches!(scheme, Scheme::S3 | Scheme::Gcs | Scheme::Azure);
        if path.contains(['?', '#']) && scheme != Scheme::Sftp {
            let error = wrong(if is_bucket {
                "`?` and `#` have no meaning in the URL of a bucket"
            } else {
                "`?` and `#` have no meaning in the URL of a folder of a server"
            });
            return Err(match scheme {
                Scheme::Azure => {
                    error.hint("a SAS is an option of its own: lockstep remote modify --local NAME sas_token")
                }
                _ if is_bucket => error.hint("options are set beside the URL"),
                _ => error.hint("a `?` or `#` in a name is written as %3F or %23").hint(
                    "a container of Azure: azure://container/prefix, with the options account_name and sas_token",
                ),
            });
        }
        if is_bucket && (user.is_some() || port.is_some()) {
            return Err(wrong("a bucket or container has no user and no port")
                .hint("another server: lockstep remote modify NAME endpoint_url https://host:port")
                .hint("credentials: lockstep remote modify --help"));
        }
        if scheme == Scheme::Sftp && password.is_some() {
            return Err(wrong("ssh takes no password from it")
                .hint("put a key into the agent, or: lockstep remote modify NAME keyfile FILE"));
        }
        let path = path_below(from, path, is_bucket)?;
        if scheme == Scheme::Sftp && path.is_empty() {
            return Err(wrong("it names no folder").hint("ssh://user@host/absolute/path"));
        }
        Ok(Address { scheme, host: host.to_string(), port, user, password, path, secure })
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Letters, digits and punctuation that cannot end a host, so that every parser of the URL sees the same host.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_mark = |c: char| "-._$".contains(c) || (name.is_some() && c == ':');
    name.unwrap_or(host).chars().all(|c| c.is_alphanumeric() || is_mark(c))
}

/// A path at a service, without empty parts and without parts that only some programs normalise.
fn path_below(from: &Url, path: &str, is_bucket: bool) -> Result<String> {
    let wrong = |why: &str| Error::usage(format!("`{from}` is not a URL of a remote: {why}"));
    let mut parts = Vec::new();
    let mut is_plain = true;
    for part in path.split('/') {
        let plain = || decode(part).map_err(|place| wrong(&not_utf8(from.raw(), part, place)));
        let part = if is_bucket { part.to_string() } else { plain()? };
        if part.contains('/') || part.chars().any(char::is_control) {
            return Err(wrong("a part of its path has a slash or a control character"));
        }
        match part.as_str() {
            "" => {}
            "." => is_plain = false,
            ".." => {
                is_plain = false;
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if is_plain {
        return Ok(parts.join("/"));
    }
    let shown = from.without_secret();
    let start = shown.raw().split_once("://").map_or("", |(scheme, _)| scheme).to_string();
    let authority = shown.raw().split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    Err(wrong("`.` and `..` have no meaning in it").hint(format!("{start}://{authority}/{}", parts.join("/"))))
}

fn is_service(word: &str) -> bool {
    SCHEMES.iter().any(|(name, ..)| name.eq_ignore_ascii_case(word))
}

/// A colon without the two slashes of a URL: most likely a typo, which would put the data in a folder of the workspace.
fn misspelt(from: &Url, host: &str, path: &str) -> Error {
    let wrong = |why: &str| Error::usage(format!("`{from}` is not a URL of a remote: {why}"));
    // In a malformed URL a password may be anywhere before an `@`.
    let is_plain = !path.contains('@');
    if host.is_empty() {
        return wrong("it begins with a colon");
    }
    if is_service(host) {
        let path = path.trim_start_matches(['/', '\\']).replace('\\', "/");
        let error = wrong(&format!("two slashes come after `{host}:`"));
        let error = if is_plain { error.hint(Url::from(format!("{host}://{path}")).to_string()) } else { error };
        return error.hint(format!("a folder of that name: ./{host}:…"));
    }
    let first = path.split('/').next().unwrap_or_default();
    let spelled = if !is_plain || path.starts_with(':') {
        "ssh://user@host/absolute/path".to_string()
    } else if path.starts_with('/') {
        format!("ssh://{host}{path}")
    } else if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) {
        format!("ssh://{host}:{path}")
    } else {
        format!("ssh://{host}/absolute/path/{path}")
    };
    wrong("the part before a colon is a host").hint(Url::from(spelled).to_string()).hint("a folder of that name: ./…")
}

fn folder(from: &Url, path: &str) -> Result<Address> {
    let (first, below) = path.split_once('/').unwrap_or((path, ""));
    let wrong = |why: &str, spelled: String| {
        Error::usage(format!("`{from}` is not a URL of a remote: {why}"))
            .hint(Url::from(spelled).to_string())
            .hint(format!("a folder of that name: ./{first}/…"))
    };
    if is_service(first) && below.starts_with('/') {
        let spelled = format!("{}:/{below}", first.to_ascii_lowercase());
        return Err(wrong("a colon stands before its two slashes", spelled));
    }
    if first.contains('@') && !first.starts_with('.') {
        let below = if below.is_empty() { "absolute/path" } else { below };
        return Err(wrong("an `@` stands before its first slash", format!("ssh://{first}/{below}")));
    }
    let (host, user, password) = (String::new(), None, None);
    Ok(Address { scheme: Scheme::Folder, host, port: None, user, password, path: path.to_string(), secure: true })
}

/// One text for all spellings of an address, without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |(_, scheme, secure): &&(&str, Scheme, bool)| (*scheme, *secure) == (self.scheme, self.secure);
        if let Some((name, ..)) = SCHEMES.iter().find(of) {
            write!(f, "{name}://")?;
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let authority = self.authority().to_lowercase();
        let slash = if authority.is_empty() || self.path.is_empty() { "" } else { "/" };
        write!(f, "{authority}{slash}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, want) in [
            ("/mnt/store", "Folder  - - /mnt/store"),
            ("../store", "Folder  - - ../store"),
            ("./s3:/x", "Folder  - - ./s3:/x"),
            ("file:///mnt/x", "Folder  - - /mnt/x"),
            ("s3://bucket/a/b/", "S3 bucket - - a/b"),
            ("s3://bucket", "S3 bucket - - "),
            ("gs://b/x", "Gcs b - - x"),
            ("azure://c/x", "Azure c - - x"),
            ("ssh://me@host:2222/srv/x", "Sftp host:2222 me - srv/x"),
            ("sftp://host/srv", "Sftp host - - srv"),
            ("webdav://u:p@host/x", "Webdav host u p x"),
            ("https://host:8080/x/y", "Http host:8080 - - x/y"),
            ("HTTPS://host/x/", "Http host - - x"),
            ("S3://bucket/a//b/", "S3 bucket - - a/b"),
            ("s3://bucket/a%20b", "S3 bucket - - a%20b"),
            ("https://host/a%20b", "Http host - - a b"),
            ("ssh://host/a%20b/", "Sftp host - - a b"),
            ("webdavs://me%40corp:p%2Fw@host/x", "Webdav host me@corp p/w x"),
            ("webdavs://[::1]:8080/x", "Webdav [::1]:8080 - - x"),
            ("ssh://me@[fe80::1]/x", "Sftp [fe80::1] me - x"),
            ("file:///mnt/a%20b", "Folder  - - /mnt/a b"),
            ("FILE:/mnt/x", "Folder  - - /mnt/x"),
            ("./me@host/x", "Folder  - - ./me@host/x"),
        ] {
            let a = Address::parse(&url.into()).unwrap();
            let text = |t: &Option<String>| t.clone().unwrap_or("-".into());
            let got = format!("{:?} {} {} {} {}", a.scheme, a.authority(), text(&a.user), text(&a.password), a.path);
            assert_eq!(got, want, "{url}");
        }
        let parse = |url: &str| Address::parse(&url.into()).unwrap();
        assert!(parse("https://h/").secure && !parse("webdav://h/").secure);
    }

    #[test]
    fn all_spellings_of_an_address_are_one() {
        for (urls, want) in [
            (&["s3://bucket/x", "S3://bucket/x/", "s3://bucket//x"][..], "s3://bucket/x"),
            (&["gs://b", "gcs://b/"], "gs://b"),
            (&["azure://c/x", "az://c/x"], "azure://c/x"),
            (&["ssh://me@Host/srv/x", "sftp://me@host/srv//x/"], "ssh://me@host/srv/x"),
            (&["https://h:8/a%20b", "https://u:pw@h:8/a b"], "https://h:8/a b"),
        ] {
            for url in urls {
                let mut address = Address::parse(&(*url).into()).unwrap();
                address.user = address.user.filter(|user| user != "u");
                assert_eq!(address.to_string(), want, "{url}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_the_right_spelling() {
        for (url, hint) in [
            ("s3:/bucket/x", "s3://bucket/x"),
            ("s3:bucket/x", "s3://bucket/x"),
            ("s3:\\\\bucket\\x", "s3://bucket/x"),
            ("s3//bucket/x", "s3://bucket/x"),
            ("https:/host/x", "https://host/x"),
            ("me@host:/srv/x", "ssh://me@host/srv/x"),
            ("nas:/x", "ssh://nas/x"),
            ("nas:2222/x", "ssh://nas:2222/x"),
            ("nas:x", "ssh://nas/absolute/path/x"),
            ("[::1]:/x", "ssh://[::1]/x"),
            ("me@host/srv", "ssh://me@host/srv"),
            ("me@host", "ssh://me@host/absolute/path"),
            ("s3://b/a/../c", "s3://b/c"),
            ("s3://b/./c", "s3://b/c"),
            ("https://h:8/a/%2e%2e/c", "https://h:8/c"),
            ("C:\\store", "/mnt/c/store"),
            ("s3://b:9000/x", "another server: lockstep remote modify NAME endpoint_url https://host:port"),
            ("azure://c/x?sv=1&sig=2", "a SAS is an option of its own: lockstep remote modify --local NAME sas_token"),
            ("https://a.blob.core.windows.net/c?sig=2", "a `?` or `#` in a name is written as %3F or %23"),
        ] {
            let e = Address::parse(&url.into()).err().unwrap();
            assert_eq!(e.hints.first().map(String::as_str), Some(hint), "{url}: {e}");
        }
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        for (url, want) in [
            (
                "s4://bucket",
                "`s4://bucket` is not a URL of a remote: there is no service `s4`\n  hint: did you mean s3://?",
            ),
            (
                "ftp://u:secret@host/x",
                "`ftp://u:***@host/x` is not a URL of a remote: there is no service `ftp`\n  hint:",
            ),
            ("s3:///x", "`s3:///x` is not a URL of a remote: it names no bucket"),
            ("s3://b/x?endpoint=h", "`s3://b/x?***` is not a URL of a remote: `?` and `#` have no meaning"),
            ("ssh://host", "`ssh://host` is not a URL of a remote: it names no folder"),
            ("ssh://host:x/p", "`ssh://host:x/p` is not a URL of a remote: its port is not a number"),
            ("", "`` is not a URL of a remote: it is empty"),
            ("s3:/bucket/x", "`s3:/bucket/x` is not a URL of a remote: two slashes come after `s3:`"),
            ("HTTPS:/u:pw@h/x", "`HTTPS:***@h/x` is not a URL of a remote: two slashes come after `HTTPS:`"),
            ("file://x", "`file://x` is not a URL"),
            ("me:S3CR3T@host:/x", "`me:***@host:/x` is not a URL of a remote: the part before a colon is a host"),
            (":x", "`:x` is not a URL of a remote: it begins with a colon"),
            ("ssh://u:S3CR3T@h/x", "`ssh://u:***@h/x` is not a URL of a remote: ssh takes no password"),
            ("s3://key:S3CR3T@b/x", "`s3://key:***@b/x` is not a URL of a remote: a bucket or container has no user"),
            ("https://u:S3CR3T@h/a/../c", "`https://u:***@h/a/../c` is not a URL of a remote: `.` and `..`"),
            ("webdavs://h/a%2Fb", "`webdavs://h/a%2Fb` is not a URL of a remote: a part of its path"),
            (
                "ssh://-oProxyCommand=x/p",
                "`ssh://-oProxyCommand=x/p` is not a URL of a remote: a host or user that begins",
            ),
            ("s3://-b/x", "`s3://-b/x` is not a URL of a remote: a host or user that begins"),
            ("s3://evil.org?x/y", "`s3://evil.org?***` is not a URL of a remote: its bucket"),
        ] {
            let e = Address::parse(&url.into()).err().unwrap();
            let shown = format!("{e} {:?} {:?}", e.causes, e.hints);
            assert!(shown.starts_with(want) && !shown.contains("S3CR3T"), "{url}: {shown}");
        }
    }
}
