//! Where a remote is: its URL, taken apart. Pure.
//!
//! ```text
//! /mnt/team/store   ../store   ~/store   file:///mnt/x     a folder of this machine
//! s3://bucket/prefix   gs://bucket/prefix   azure://container/prefix (az://)
//! ssh://user@host:port/path (sftp://)                      the path is absolute
//! webdavs://host/path   webdav://host/path   https://host/path   http://host/path
//! ```

use crate::error::{Error, Result};
use crate::url::Url;

/// The sort of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Folder,
    S3,
    Gcs,
    Azure,
    Sftp,
    Webdav,
    /// Can only be read, and cannot be listed.
    Http,
}

/// A URL, taken apart. No `Debug`: there may be a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: Scheme,
    /// Bucket, container or host; empty for a folder.
    pub host: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<String>,
    /// A folder's path as it was written; else without slashes at its ends.
    pub path: String,
    /// Is HTTP spoken over TLS?
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
    /// Errors ([`Kind::Usage`](crate::error::Kind::Usage)): no scheme of ours, no host, a port that is none.
    pub fn parse(from: &Url) -> Result<Address> {
        let wrong = |why: &str| Error::usage(format!("`{from}` is no URL of a remote: {why}"));
        let url = from.raw();
        if let Some(path) = url.strip_prefix("file://") {
            return if path.starts_with('/') { Ok(folder(path)) } else { Err(wrong("file:// takes an absolute path")) };
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            // A slip, after which the data would lie in a folder of the workspace.
            let is_service = |word: &str| SCHEMES.iter().any(|(name, ..)| name.eq_ignore_ascii_case(word));
            if let Some((scheme, _)) = url.split_once(':').filter(|(scheme, _)| is_service(scheme)) {
                return Err(wrong(&format!("two slashes come after `{scheme}:`"))
                    .hint(format!("a folder of that name: ./{scheme}:…")));
            }
            return if url.is_empty() { Err(wrong("it is empty")) } else { Ok(folder(url)) };
        };
        if let Some(word) = from.option() {
            return Err(wrong("a host or user that begins with `-` is refused")
                .because(format!("a program that is started for it would take `{word}` for an option")));
        }
        if let Some(letter) = from.odd_letter() {
            return Err(wrong(&format!("its user or host has `{}`", letter.escape_debug())));
        }
        let Some((_, scheme, secure)) = SCHEMES.iter().find(|(name, ..)| *name == scheme) else {
            let near = SCHEMES.iter().map(|(name, ..)| *name).min_by_key(|name| strsim::levenshtein(name, scheme));
            let near = near.filter(|name| strsim::levenshtein(name, scheme) == 1);
            let error = wrong(&format!("there is no service `{}`", Url::from(scheme)));
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
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (Some(user.to_string()), Some(password.to_string()).filter(|p| !p.is_empty())),
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
        if matches!(scheme, Scheme::S3 | Scheme::Gcs | Scheme::Azure) && path.contains(['?', '#']) {
            return Err(
                wrong("`?` and `#` have no meaning in the URL of a bucket").hint("options stand beside the URL")
            );
        }
        let path = path.trim_matches('/').to_string();
        if *scheme == Scheme::Sftp && path.is_empty() {
            return Err(wrong("it names no folder").hint("ssh://user@host/absolute/path"));
        }
        Ok(Address { scheme: *scheme, host: host.to_string(), port, user, password, path, secure: *secure })
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Letters, digits and marks that end no host, so that every parser of the URL sees the same one.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_mark = |c: char| "-._$".contains(c) || (name.is_some() && c == ':');
    name.unwrap_or(host).chars().all(|c| c.is_alphanumeric() || is_mark(c))
}

fn folder(path: &str) -> Address {
    let (host, user, password) = (String::new(), None, None);
    Address { scheme: Scheme::Folder, host, port: None, user, password, path: path.to_string(), secure: true }
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
    fn mistakes_are_told_without_secrets() {
        for (url, want) in [
            (
                "s4://bucket",
                "`s4://bucket` is no URL of a remote: there is no service `s4`\n  hint: did you mean s3://?",
            ),
            ("ftp://u:secret@host/x", "`ftp://u:***@host/x` is no URL of a remote: there is no service `ftp`\n  hint:"),
            ("s3:///x", "`s3:///x` is no URL of a remote: it names no bucket"),
            ("s3://b/x?endpoint=h", "`s3://b/x?***` is no URL of a remote: `?` and `#` have no meaning"),
            ("ssh://host", "`ssh://host` is no URL of a remote: it names no folder"),
            ("ssh://host:x/p", "`ssh://host:x/p` is no URL of a remote: its port is not a number"),
            ("", "`` is no URL of a remote: it is empty"),
            ("s3:/bucket/x", "`s3:/bucket/x` is no URL of a remote: two slashes come after `s3:`"),
            ("HTTPS:/u:pw@h/x", "`HTTPS:***@h/x` is no URL of a remote: two slashes come after `HTTPS:`"),
            ("file://x", "`file://x` is no URL"),
            (
                "ssh://-oProxyCommand=x/p",
                "`ssh://-oProxyCommand=x/p` is no URL of a remote: a host or user that begins",
            ),
            ("s3://-b/x", "`s3://-b/x` is no URL of a remote: a host or user that begins"),
            ("s3://evil.org?x/y", "`s3://evil.org?***` is no URL of a remote: its bucket"),
        ] {
            let e = Address::parse(&url.into()).err().unwrap().to_string();
            assert!(e.starts_with(want), "{url}: {e}");
        }
    }
}
