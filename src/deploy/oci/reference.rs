//! Names of repositories and tags in a registry, by the grammar of the OCI distribution specification.

use crate::error::{Error, Result};

/// `oci://HOST[:PORT]/REPOSITORY`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    /// With the port, if one is given.
    pub host: String,
    /// Its parts are separated by `/`.
    pub repository: String,
}

/// The beginning of an address of a repository in a registry.
pub const SCHEME: &str = "oci://";
/// The longest tag.
const MOST_TAG: usize = 128;
/// The longest name of a repository.
const MOST_NAME: usize = 255;

impl OciReference {
    /// Parses an address with the scheme.
    ///
    /// Errors (usage): it is not one, or names a tag.
    pub fn parse(text: &str) -> Result<OciReference> {
        let refused = |why: &str| {
            Error::usage(format!("`{text}` is not a repository of a registry: {why}"))
                .hint("as oci://registry.example.org/team/digits; lockstep chooses the tags")
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refused("it does not begin with oci://"))?;
        let (host, repository) = rest.split_once('/').ok_or_else(|| refused("it names no repository"))?;
        if host.contains('@') {
            return Err(refused("it has a user; credentials are those of `docker login`"));
        }
        let (name, port) = host.rsplit_once(':').filter(|(name, _)| !name.is_empty()).unwrap_or((host, "443"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || port.parse::<u16>().is_err() && !host.ends_with(']') {
            return Err(refused("its host is not a name with a port or without one"));
        }
        if repository.contains('@') || repository.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            return Err(refused("it names a tag or a digest"));
        }
        if repository.len() > MOST_NAME || !repository.split('/').all(is_part) {
            return Err(refused("parts of its name are lower-case letters, digits, and `.`, `_` or `-` between them"));
        }
        Ok(OciReference { host: host.into(), repository: repository.into() })
    }

    /// Is it on this machine? HTTP without TLS is used for loopback alone.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl std::fmt::Display for OciReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)
    }
}

/// Is it a host of this machine, with or without a port?
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The tag for a version or a label. `+`, which versions may have and tags may not, becomes `_`.
///
/// Errors: no tag can have this name.
pub fn tag(name: &str) -> Result<String> {
    let tag = name.replace('+', "_");
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match tag.chars().all(is_fine) && !tag.starts_with(['.', '-']) && (1..=MOST_TAG).contains(&tag.len()) {
        true => Ok(tag),
        false => Err(Error::usage(format!("no tag of a registry can be named {name}"))),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(is_word).filter(|run| !run.is_empty());
    let mut separators =
        separators.map(|run| run == "." || run == "_" || run == "__" || run.bytes().all(|b| b == b'-'));
    part.starts_with(is_word) && part.ends_with(is_word) && separators.all(|is_fine| is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("oci://r.example.org/team/digits", Some(("r.example.org", "team/digits", false))),
            ("oci://localhost:5000/digits", Some(("localhost:5000", "digits", true))),
            ("oci://127.0.0.1:5000/a", Some(("127.0.0.1:5000", "a", true))),
            ("oci://[::1]:5000/a", Some(("[::1]:5000", "a", true))),
            ("oci://r/a--b/c__d.e_f", Some(("r", "a--b/c__d.e_f", false))),
            ("oci://r/digits:v1", None),
            ("oci://r/digits@sha256:00", None),
            ("oci://me:pw@r/digits", None),
            ("oci://r/Digits", None),
            ("oci://r/a//b", None),
            ("oci://r/a/../b", None),
            ("oci://r/-a", None),
            ("oci://r/a-", None),
            ("oci://r/", None),
            ("oci://r", None),
            ("oci:///a", None),
            ("oci://r:x/a", None),
            ("oci://r x/a", None),
            ("https://r/a", None),
        ] {
            let parsed = OciReference::parse(text).ok();
            let parsed = parsed.as_ref().map(|r| (r.host.as_str(), r.repository.as_str(), r.is_loopback()));
            assert_eq!(parsed, want, "{text}");
        }
    }

    #[test]
    fn tags() {
        assert_eq!(tag("v1.2.0+cuda").ok().as_deref(), Some("v1.2.0_cuda"));
        assert_eq!(tag("prod").ok().as_deref(), Some("prod"));
        for bad in ["", "-a", ".a", "a#b", "a/b", &"x".repeat(129)] {
            assert!(tag(bad).is_err(), "{bad}");
        }
    }
}
