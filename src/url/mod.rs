//! URLs of remotes and of other repositories. They may contain passwords and tokens, so [`Url`] has one conversion to
//! text for people, which leaves those out, and one to the bytes of a request or of a settings file.
//!
//! Users type URLs that no parser accepts (`https://me:pa/ss@host`), and these appear in error messages first. If the
//! parts cannot be distinguished, too much of a URL is hidden rather than too little of a password.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serializer};

/// A URL, or the path of a folder. It does not implement `Serialize`, so that it is not written to JSON by accident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Url(String);

/// The form without secrets.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redact(&self.0), f)
    }
}

impl<T: Into<String>> From<T> for Url {
    fn from(text: T) -> Url {
        Url(text.into())
    }
}

impl Url {
    /// The form with its secrets, for a request or a settings file.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Returns true if it contains a password, a token or a signature.
    pub fn has_secret(&self) -> bool {
        !secrets(&self.0).is_empty()
    }

    /// The same without password, token and query.
    pub fn without_secret(&self) -> Url {
        let Some((scheme, rest)) = split_scheme(&self.0) else { return self.clone() };
        let scheme = scheme.rsplit('@').next().unwrap_or(scheme);
        let (user, place) = split_user(rest);
        let user = user.map(|user| user.split(':').next().unwrap_or_default());
        let user = user.filter(|user| !user.is_empty() && !is_token(user)).map(|user| format!("{user}@"));
        let place = place.split(['?', '#']).next().unwrap_or_default();
        Url(format!("{scheme}{}{place}", user.unwrap_or_default()))
    }

    /// The name of a repository: the last part of its address, without `.git`.
    pub fn name(&self) -> Option<&str> {
        let path = self.0.trim_end_matches('/');
        let name = path.strip_suffix(".git").unwrap_or(path).rsplit(['/', ':']).next().unwrap_or_default();
        Some(name).filter(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['?', '#', '@', '~']))
    }

    /// A text of another program about this URL, without its secrets.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.replace(&self.0, &redact(&self.0));
        for secret in secrets(&self.0).into_iter().filter(|secret| secret.len() > 3) {
            text = text.replace(&decoded(secret), "***").replace(secret, "***");
        }
        let user = split_scheme(&self.0).and_then(|(_, rest)| split_user(rest).0);
        if let Some(user) = user.filter(|user| user.contains(':')) {
            text = text.replace(&BASE64.encode(decoded(user)), "***");
        }
        redact_text(&redact_authorization(&text))
    }

    /// A character of the user or host that ssh, or a shell in the user's ssh settings, would not read as part of a
    /// name.
    pub fn invalid_name_character(&self) -> Option<char> {
        let authority = match split_scheme(&self.0) {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("file://") => return None,
            Some((scheme, rest)) => {
                let authority = rest.split('/').next().unwrap_or_default();
                if !scheme.to_ascii_lowercase().contains("ssh") && !scheme.eq_ignore_ascii_case("sftp://") {
                    return authority.chars().find(|c| c.is_whitespace() || c.is_control());
                }
                authority
            }
            None => self.0.split_once(':').filter(|(before, _)| before.len() > 1 && !before.contains('/'))?.0,
        };
        // Git decodes percent signs before it starts ssh.
        decoded(authority).chars().find(|c| !(is_name_letter(*c) || "[:]%".contains(*c)))
    }
}

/// Returns true for characters in the name of a user or host.
pub fn is_name_letter(c: char) -> bool {
    c.is_alphanumeric() || "-_.+@".contains(c)
}

/// The secrets in an environment variable with a URL (`HTTPS_PROXY`, `DATABASE_URL`).
pub fn secrets_of_text(text: &str) -> Vec<&str> {
    secrets(text)
}

/// Removes HTTP credentials from a text of another program: servers repeat them in their answers.
fn redact_authorization(text: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "+/=-_.~".contains(c);
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    // The lower-case text has the same offsets.
    while let Some((at, word)) =
        ["basic ", "bearer "].iter().filter_map(|w| Some((rest.to_ascii_lowercase().find(w)?, *w))).min()
    {
        let start = at + word.len();
        let end = rest[start..].find(|c| !is_letter(c)).map_or(rest.len(), |end| start + end);
        let token = &rest[start..end];
        let is_basic = || BASE64.decode(token).is_ok_and(|bytes| bytes.contains(&b':'));
        let is_secret = if word == "basic " { is_basic() } else { token.len() >= 16 };
        done.push_str(&rest[..start]);
        done.push_str(if is_secret { "***" } else { token });
        rest = &rest[end..];
    }
    done.push_str(rest);
    done
}

impl Url {
    /// The host, user or path that ssh or Git would read as an option, such as `-oProxyCommand=…` (CVE-2017-1000117).
    pub fn option(&self) -> Option<String> {
        let words = match split_scheme(&self.0) {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("file://") => return None,
            Some((_, rest)) => {
                let (user, place) = split_user(rest);
                let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
                let parser_host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                [user.unwrap_or_default(), place, authority, parser_host].map(str::to_string).to_vec()
            }
            // `user@host:path`, as in scp. A folder has no colon before its first slash.
            None => match self.0.split_once(':').filter(|(before, _)| before.len() > 1 && !before.contains('/')) {
                Some((before, path)) => {
                    let host = before.rsplit_once('@').map_or(before, |(_, host)| host);
                    [before, host, path, path.rsplit_once("]:").map_or("", |(_, path)| path)]
                        .map(str::to_string)
                        .to_vec()
                }
                None => return None,
            },
        };
        let words = words.iter().map(|word| decoded(word.trim_start_matches('[')));
        words.into_iter().find(|word| word.trim_start().starts_with('-'))
    }
}

/// Serializes a URL unchanged, with its secrets. For files that contain it in full anyway.
pub fn serialize<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&url.0)
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    String::deserialize(deserializer).map(Url)
}

/// Removes secrets from URLs in a text of another program.
pub fn redact_text(text: &str) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(colon) = rest.find("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let start = rest[..colon]
            .rfind(|c| !is_scheme(c))
            .map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        let is_end = |c: char| c.is_whitespace() || "'\"`<>,;)}]".contains(c);
        let after = colon + 3;
        // The brackets of an IPv6 address belong to it.
        let from = if rest[after..].starts_with('[') {
            rest[after..].find(']').map_or(after, |at| after + at + 1)
        } else {
            after
        };
        let end = rest[from..].find(is_end).map_or(rest.len(), |at| from + at);
        let end = if is_cut(&rest[after..end]) { end_of_user(rest, end, is_end) } else { end };
        done.push_str(&rest[..start]);
        done.push_str(&redact(&rest[start..end]));
        rest = &rest[end..];
    }
    done.push_str(rest);
    done
}

/// Returns true if a URL, without its scheme, ends within a possible password: `bob:Sup3r`.
fn is_cut(rest: &str) -> bool {
    let port =
        rest.split('/').next().filter(|_| !rest.starts_with('[')).and_then(|authority| authority.split_once(':'));
    port.is_some_and(|(_, port)| !rest.contains('@') && !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The end of a URL whose password contains a blank, a comma or the like: the end of the host after the next `@` of the
/// line.
fn end_of_user(text: &str, end: usize, is_end: impl Fn(char) -> bool) -> usize {
    let line = text[end..].split('\n').next().unwrap_or_default();
    let Some(at) = line.find('@') else { return end };
    line[at..].find(is_end).map_or(end + line.len(), |n| end + at + n)
}

/// A URL without secrets.
fn redact(text: &str) -> String {
    let Some((scheme, rest)) = split_scheme(text) else { return redact_scp(text) };
    // `user:password@https://host`, which users type as well.
    let scheme = scheme.rfind('@').map_or(scheme.to_string(), |at| format!("***{}", &scheme[at..]));
    let scheme = scheme.as_str();
    let (user, place) = split_user(rest);
    let shown = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        None => String::new(),
        Some((user, "")) if is_token(user) || is_web(scheme) => "***@".into(),
        Some((user, "")) => format!("{user}@"),
        // GitHub's older form has the token in place of the user name.
        Some((user, password)) if is_token(user) || password == "x-oauth-basic" => "***@".into(),
        Some((user, _)) => format!("{user}:***@"),
    };
    let (path, query) = place.find(['?', '#']).map_or((place, ""), |at| place.split_at(at));
    // The path may contain another URL.
    let path = if path.contains("://") { redact(path) } else { path.to_string() };
    let query = match query.chars().next() {
        Some(mark) if query.len() > 1 => format!("{mark}***"),
        _ => query.to_string(),
    };
    format!("{scheme}{shown}{path}{query}")
}

/// `user:password@host/path` without a scheme, which no program accepts, but users type.
fn redact_scp(text: &str) -> String {
    let is_folder = text.starts_with(['/', '.', '~']);
    let colon = text.split('/').next().unwrap_or_default().find(':');
    // `c:/x` is a drive.
    let colon = colon.filter(|at| !is_folder && (*at > 1 || !text[at + 1..].starts_with(['/', '\\'])));
    match colon.and_then(|colon| Some((colon, text.rfind('@').filter(|at| *at > colon)?))) {
        // In `git@host:path` the user is before the colon.
        Some((colon, at)) if !text[..colon].contains('@') => format!("{}:***{}", &text[..colon], &text[at..]),
        _ => text.to_string(),
    }
}

/// The scheme with its `://`, and the rest. Additional slashes are treated as a typo, except for folders.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let after = text.find("://")? + 3;
    let is_folder = text[..after].to_ascii_lowercase().ends_with("file://");
    let slashes = text[after..].bytes().take_while(|byte| *byte == b'/' && !is_folder).count();
    Some(text.split_at(after + slashes))
}

/// `user` or `user:password`, if present, and the part after the `@`.
fn split_user(rest: &str) -> (Option<&str>, &str) {
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let at = match authority.find(':').filter(|_| !authority.starts_with('[')) {
        // A port, not a password: `host:8080/files/me@example.org`.
        Some(colon) if !authority.contains('@') && authority[colon + 1..].bytes().all(|b| b.is_ascii_digit()) => None,
        // A password may contain `/`, `?` and `@` that should have been written as `%2F`, `%3F` and `%40`.
        Some(colon) => rest.rfind('@').filter(|at| *at > colon || authority.contains('@')),
        None => authority.rfind('@'),
    };
    match at {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

/// All secrets of a URL.
fn secrets(text: &str) -> Vec<&str> {
    let Some((scheme, rest)) = split_scheme(text) else { return Vec::new() };
    let (user, place) = split_user(rest);
    let mut found: Vec<&str> = scheme.rfind('@').map(|at| &scheme[..at]).into_iter().collect();
    if let Some(user) = user {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        found.extend(Some(password).filter(|password| !password.is_empty()));
        found.extend(Some(user).filter(|user| is_token(user)));
    }
    let query = place.split_once(['?', '#']).map_or("", |(_, query)| query);
    for (name, value) in query.split(['&', ';', '#', '?']).filter_map(|pair| pair.split_once('=')) {
        let name = name.to_ascii_lowercase();
        let words = ["sig", "token", "key", "secret", "passw", "credential", "auth", "code"];
        if !value.is_empty() && words.iter().any(|word| name.contains(word)) {
            found.push(value);
        }
    }
    found
}

fn is_web(scheme: &str) -> bool {
    let scheme = scheme.trim_end_matches(['/', ':']).to_ascii_lowercase();
    scheme.ends_with("http") || scheme.ends_with("https")
}

/// Returns true if a user name looks like a token of a forge.
fn is_token(user: &str) -> bool {
    let known = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_"];
    known.iter().any(|start| user.starts_with(start)) || (user.len() >= 20 && !user.contains(['@', '.']))
}

/// Percent-decoded, for searching or hiding: bytes that are not UTF-8 are replaced.
pub fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&bytes_of(text).0).into_owned()
}

/// Percent-decoded, for use.
///
/// Errors: the offset of the first byte that is not UTF-8, in bytes of `text`.
pub fn decode(text: &str) -> Result<String, usize> {
    let (bytes, places) = bytes_of(text);
    String::from_utf8(bytes).map_err(|e| places[e.utf8_error().valid_up_to()])
}

/// The percent-decoded bytes, and the offset of each in the text.
fn bytes_of(text: &str) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut places) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        places.push(text.len() - rest.len());
        let digits = after.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|two| std::str::from_utf8(two).ok()).filter(|_| *first == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    (bytes, places)
}

/// `the byte %FF at character 9 is not UTF-8`: of `part`, which is a slice of `text`, at an offset from [`decode`].
pub fn not_utf8(text: &str, part: &str, place: usize) -> String {
    // Parts are borrowed from the text, so their offset in it is known.
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.get(..start + place).unwrap_or_default().chars().count();
    format!("the bytes at character {} are not UTF-8", before + 1)
}

pub mod form;
pub mod hub;
#[cfg(test)]
mod tests;
