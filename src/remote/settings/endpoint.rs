//! Network endpoints: the scheme, host and port that the requests of a remote go to. Secrets are bound to an endpoint.
//! Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::config::Setting;
use crate::remote::settings::address::{Address, Scheme};
use crate::remote::settings::complete;
use crate::remote::settings::options::Options;
use crate::url::Url;

/// An endpoint. It is shown without the default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    host: String,
    port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if usual_port(&self.scheme) == Some(self.port) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Endpoint {
    /// The endpoint of a URL. `None` if the URL is neither HTTP nor SSH, or if two parsers could see two hosts in it.
    pub fn parse(text: &str) -> Option<Endpoint> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "webdav" => "http".to_string(),
            "webdavs" => "https".to_string(),
            "sftp" => "ssh".to_string(),
            scheme => scheme.to_string(),
        };
        let authority = rest.split('/').next()?;
        let authority = if scheme == "ssh" { authority.rsplit('@').next()? } else { authority };
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, usual_port(&scheme)?),
        };
        let is_letter =
            |c: char| c.is_alphanumeric() || "-._".contains(c) || (host.starts_with('[') && "[]:".contains(c));
        let is_fine = !host.is_empty() && host.chars().all(is_letter) && usual_port(&scheme).is_some();
        is_fine.then(|| Endpoint { scheme, host: host.to_lowercase(), port })
    }

    /// The endpoint of a remote with these settings. `None` for a folder, or if it is not known.
    pub fn of_remote(
        name: &str,
        url: &Url,
        options: &[(String, Setting)],
        env: &BTreeMap<String, String>,
    ) -> Option<Endpoint> {
        let address = Address::parse(url).ok()?;
        let options = Options::of_values(name, address.scheme, options).ok()?;
        let mut settings = options.for_library(address.scheme);
        complete(&address, &options, env, &mut settings);
        Endpoint::of_settings(&address, &settings)
    }

    /// The same from the settings of the library.
    pub fn of_settings(address: &Address, settings: &BTreeMap<String, String>) -> Option<Endpoint> {
        let endpoint = settings.get("endpoint").map(String::as_str);
        match address.scheme {
            Scheme::Folder => None,
            Scheme::S3 => {
                // The region is part of a host name.
                let region = settings.get("region").map_or("", String::as_str);
                if !region.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
                    return None;
                }
                let endpoint = endpoint.unwrap_or("https://s3.amazonaws.com");
                let endpoint =
                    if endpoint.starts_with("http") { endpoint.into() } else { format!("https://{endpoint}") };
                // The library takes the bucket out of the host.
                Endpoint::parse(&endpoint.replace(&format!("//{}.", address.host), "//"))
            }
            Scheme::Gcs => Endpoint::parse(endpoint.unwrap_or("https://storage.googleapis.com")),
            Scheme::Azure | Scheme::Sftp | Scheme::Webdav | Scheme::Http => Endpoint::parse(endpoint?),
        }
    }

    /// Returns true if the connection is not encrypted.
    pub fn is_in_clear(&self) -> bool {
        self.scheme == "http" && !self.is_loopback()
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host == "[::1]" || self.host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "ssh" => Some(22),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared_by_scheme_host_and_port() {
        for (text, want) in [
            ("https://Store.example.org/x", Some("https://store.example.org")),
            ("webdavs://h:443", Some("https://h")),
            ("webdav://h:8080/x", Some("http://h:8080")),
            ("http://[::1]:80/x", Some("http://[::1]")),
            ("ssh://me@h/x", Some("ssh://h")),
            ("https://good.org@evil.org", None),
            ("https://good.org\\@evil.org", None),
            ("https://good.org#@evil.org", None),
            ("https://good.org?x", None),
            ("https://h:x", None),
            ("https:///x", None),
            ("good.org", None),
            ("ftp://h", None),
        ] {
            assert_eq!(Endpoint::parse(text).map(|e| e.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn loopback_is_what_the_machine_itself_answers() {
        for (text, want) in [
            ("http://h", true),
            ("https://h", false),
            ("http://127.0.0.1:1", false),
            ("http://127.8.0.1", false),
            ("http://localhost", false),
            ("http://[::1]", false),
            ("http://127.0.0.1.evil.org", true),
            ("http://localhost.evil.org", true),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().is_in_clear(), want, "{text}");
        }
    }

    #[test]
    fn a_remote_is_where_its_settings_send_it() {
        for (url, options, env, want) in [
            ("/mnt/x", vec![], vec![], None),
            ("s3://b/x", vec![], vec![], Some("https://s3.amazonaws.com")),
            ("s3://b/x", vec![("region", "eu")], vec![], Some("https://s3.amazonaws.com")),
            ("s3://b/x", vec![("region", "evil.org/")], vec![], None),
            ("s3://b/x", vec![("endpoint_url", "http://minio:9000")], vec![], Some("http://minio:9000")),
            ("s3://b/x", vec![("endpoint_url", "minio:9000")], vec![], Some("https://minio:9000")),
            ("s3://store/x", vec![("endpoint_url", "https://store.h.org")], vec![], Some("https://h.org")),
            ("s3://b/x", vec![], vec![("AWS_ENDPOINT_URL", "http://minio")], Some("http://minio")),
            ("gs://b/x", vec![], vec![], Some("https://storage.googleapis.com")),
            ("azure://c/x", vec![("account_name", "acc")], vec![], Some("https://acc.blob.core.windows.net")),
            ("azure://c/x", vec![("account_name", "evil.org/")], vec![], None),
            ("azure://c/x", vec![], vec![], None),
            ("webdavs://u:p@h/x", vec![], vec![], Some("https://h")),
            ("webdavs://h/x", vec![("no_such", "x")], vec![], None),
        ] {
            let options: Vec<_> =
                options.iter().map(|(k, v): &(&str, &str)| (k.to_string(), Setting::Str(v.to_string()))).collect();
            let env = env.iter().map(|(k, v): &(&str, &str)| (k.to_string(), v.to_string())).collect();
            let got = Endpoint::of_remote("lab", &url.into(), &options, &env).map(|e| e.to_string());
            assert_eq!(got.as_deref(), want, "{url} {options:?}");
        }
    }
}
