//! The form of an address: a folder of this machine, or a location elsewhere. Only this module distinguishes remotes
//! and repositories from folders, so that all commands read an address in the same way.
//!
//! ```text
//! /mnt/x   ../x   x   ~/x   ./a:b   file:///mnt/my%20disk     a folder
//! SCHEME://rest                                               a service; the scheme in any case
//! user@host:path   host:path   NAME::address                  another machine, as scp and Git write it
//! ```
//!
//! Forms that a shell or another system would read differently (`C:\x`, `$HOME/x`, `~user/x`) are refused: otherwise a
//! command would make a folder of that name in the workspace.

use std::borrow::Cow;

use super::{Url, decode, not_utf8};
use crate::path::home::below_home;

/// A parsed address.
#[derive(Debug, PartialEq, Eq)]
pub enum AddressForm<'u> {
    /// As written; may begin with `~/`.
    Folder(Cow<'u, str>),
    /// `scheme://…`
    Service {
        /// In lower case.
        scheme: String,
        /// The text after `://`.
        rest: &'u str,
    },
    /// The parts before and after the colon.
    Host(&'u str, &'u str),
}

/// Why an address is invalid.
#[derive(Debug, PartialEq, Eq)]
pub struct Misspelling {
    /// The reason, as the end of a sentence.
    pub why: String,
    /// The correct spelling.
    pub hint: Option<String>,
}

fn wrong<T>(why: &str, hint: Option<String>) -> Result<T, Misspelling> {
    Err(Misspelling { why: why.into(), hint })
}

impl Url {
    /// Parses the address. Errors: its form is ambiguous or unsupported.
    pub fn form(&self) -> Result<AddressForm<'_>, Misspelling> {
        let text = self.raw();
        if text.is_empty() {
            return wrong("it is empty", None);
        }
        if text.trim() != text {
            return wrong("it begins or ends with a blank", None);
        }
        let is_path = ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start));
        if is_path || [".", "..", "~"].contains(&text) {
            return folder(text.into());
        }
        if let Some(rest) = strip_scheme(text, "file:") {
            return of_file(text, rest);
        }
        if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
            return Ok(AddressForm::Service { scheme: scheme.to_ascii_lowercase(), rest });
        }
        let first = text.split('/').next().unwrap_or_default();
        // The brackets of an IPv6 address contain colons.
        let from = first.rfind(']').unwrap_or(0);
        if let Some(colon) = first[from..].find(':').map(|at| from + at) {
            let (before, after) = (&text[..colon], &text[colon + 1..]);
            if before.starts_with('.') {
                return folder(text.into());
            }
            if before.starts_with('\\') {
                return windows(text, text);
            }
            if before.len() == 1 && before.is_ascii() && !after.starts_with(':') && !after.contains('@') {
                return windows(text, after);
            }
            return Ok(AddressForm::Host(before, after));
        }
        if text.contains('\\') {
            return windows(text, text);
        }
        if text.starts_with(['$', '%', '`']) {
            let hint = "write the path itself, or ~/… for a folder in HOME";
            return wrong("variables and commands are not replaced in it", Some(hint.into()));
        }
        if text.starts_with('~') {
            return wrong("the home of another user is not looked up", Some("write the whole path".into()));
        }
        folder(text.into())
    }
}

/// Writes a folder so that it is read as this path: `a:b` would be a host, and is written `./a:b`.
pub fn folder_url(path: &str) -> Url {
    let url = Url::from(path);
    let is_read_so = matches!(url.form(), Ok(AddressForm::Folder(read)) if read == path) && below_home(path).is_none();
    if is_read_so { url } else { Url::from(format!("./{path}")) }
}

fn folder(path: Cow<'_, str>) -> Result<AddressForm<'_>, Misspelling> {
    if path.chars().any(char::is_control) {
        wrong("it has a control character", None)
    } else {
        Ok(AddressForm::Folder(path))
    }
}

/// The path of a `file:` URL, as in RFC 8089: percent signs encode bytes, as in Git.
fn of_file(text: &str, rest: &str) -> Result<AddressForm<'static>, Misspelling> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => match rest.split_once('/') {
            Some((host, _)) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => &rest[host.len()..],
            Some((host, path)) if !host.is_empty() && host.starts_with(['~', '.']) => {
                return wrong("file:// takes an absolute path", Some(format!("{host}/{path}")));
            }
            _ => return wrong("file:// takes an absolute path", Some("file:///path".into())),
        },
        None => rest,
    };
    if !path.starts_with('/') || path.starts_with("//") && !rest.starts_with("//") {
        return wrong("file: takes an absolute path", Some("file:///path".into()));
    }
    match decode(path) {
        Ok(path) => folder(path.into()),
        Err(place) => wrong(&not_utf8(text, path, place), Some("write the path itself, if its name is UTF-8".into())),
    }
}

/// A path with a drive or with backslashes.
fn windows<T>(text: &str, path: &str) -> Result<T, Misspelling> {
    let path = path.replace('\\', "/");
    let hint = match text.split_once(':') {
        // The part before an `@` may be a password.
        _ if text.contains('@') => None,
        Some((drive, _)) if drive.len() == 1 => {
            Some(format!("/mnt/{}/{}", drive.to_ascii_lowercase(), path.trim_start_matches('/')))
        }
        _ if path.starts_with("//") => Some("the folder where the share is mounted".into()),
        _ => Some(path),
    };
    wrong("it is a path of Windows", hint)
}

fn strip_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let start = text.get(..scheme.len())?;
    let rest = &text[scheme.len()..];
    // `file::address` would start a program of that name.
    (start.eq_ignore_ascii_case(scheme) && !rest.starts_with(':')).then_some(rest)
}

fn is_scheme(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_a_service_or_a_host() {
        for (text, want) in [
            ("/mnt/x", "Folder /mnt/x"),
            ("x", "Folder x"),
            ("..", "Folder .."),
            ("../a b", "Folder ../a b"),
            ("~", "Folder ~"),
            ("~/x", "Folder ~/x"),
            ("./a:b", "Folder ./a:b"),
            (".a:b", "Folder .a:b"),
            ("a/b:c", "Folder a/b:c"),
            ("./s3://x", "Folder ./s3://x"),
            ("/a/https://b", "Folder /a/https://b"),
            ("./$HOME", "Folder ./$HOME"),
            ("./~a", "Folder ./~a"),
            ("./a\\b", "Folder ./a\\b"),
            ("file:///a%20b/c%25", "Folder /a b/c%"),
            ("FILE:///a", "Folder /a"),
            ("file:/a", "Folder /a"),
            ("file://localhost/a", "Folder /a"),
            ("s3://b/x", "Service s3 b/x"),
            ("HTTPS://H/X", "Service https H/X"),
            ("git+ssh://h/x", "Service git+ssh h/x"),
            ("https://h/x:y", "Service https h/x:y"),
            ("me@host:/srv", "Host me@host /srv"),
            ("nas:x/y", "Host nas x/y"),
            ("s3:/b/x", "Host s3 /b/x"),
            ("[::1]:/x", "Host [::1] /x"),
            ("evil::https://h/x", "Host evil :https://h/x"),
            ("file::/x", "Host file :/x"),
            ("a b://c", "Host a b //c"),
            ("u:pw@https://h/x", "Host u pw@https://h/x"),
        ] {
            let url = Url::from(text);
            let got = match url.form().unwrap() {
                AddressForm::Folder(path) => format!("Folder {path}"),
                AddressForm::Service { scheme, rest } => format!("Service {scheme} {rest}"),
                AddressForm::Host(host, path) => format!("Host {host} {path}"),
            };
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn a_folder_is_written_so_that_it_is_read_back() {
        for (path, want) in [
            ("x", "x"),
            ("../x", "../x"),
            ("/a:b", "/a:b"),
            ("a:b", "./a:b"),
            ("s3:/x", "./s3:/x"),
            ("~/x", "./~/x"),
            ("~", "./~"),
            ("$x", "./$x"),
            ("file:/x", "./file:/x"),
            ("c:/x", "./c:/x"),
        ] {
            let url = folder_url(path);
            assert_eq!(url.raw(), want);
            assert!(matches!(url.form(), Ok(AddressForm::Folder(_))), "{path}");
        }
    }

    #[test]
    fn what_would_be_a_folder_of_an_odd_name_is_refused() {
        for (text, why, hint) in [
            ("", "it is empty", None),
            (" /mnt/x", "it begins or ends with a blank", None),
            ("s3://b/x\n", "it begins or ends with a blank", None),
            ("/a\nb", "it has a control character", None),
            ("file:///a%0ab", "it has a control character", None),
            ("C:\\store\\x", "it is a path of Windows", Some("/mnt/c/store/x")),
            ("d:/store", "it is a path of Windows", Some("/mnt/d/store")),
            ("\\\\nas\\share", "it is a path of Windows", Some("the folder where the share is mounted")),
            ("..\\store", "it is a path of Windows", Some("../store")),
            (
                "$HOME/x",
                "variables and commands are not replaced in it",
                Some("write the path itself, or ~/… for a folder in HOME"),
            ),
            (
                "`pwd`/x",
                "variables and commands are not replaced in it",
                Some("write the path itself, or ~/… for a folder in HOME"),
            ),
            (
                "%USERPROFILE%/x",
                "variables and commands are not replaced in it",
                Some("write the path itself, or ~/… for a folder in HOME"),
            ),
            ("\\\\?\\C:\\x", "it is a path of Windows", Some("the folder where the share is mounted")),
            ("~ann/x", "the home of another user is not looked up", Some("write the whole path")),
            ("file://~/x", "file:// takes an absolute path", Some("~/x")),
            ("file://x", "file:// takes an absolute path", Some("file:///path")),
            ("file://nas/x", "file:// takes an absolute path", Some("file:///path")),
            (
                "file:///a%20b/%FFc",
                "the bytes at character 15 are not UTF-8",
                Some("write the path itself, if its name is UTF-8"),
            ),
            (
                "file:///ä/%c3/x",
                "the bytes at character 11 are not UTF-8",
                Some("write the path itself, if its name is UTF-8"),
            ),
            ("file:x", "file: takes an absolute path", Some("file:///path")),
        ] {
            let want = Misspelling { why: why.into(), hint: hint.map(str::to_string) };
            assert_eq!(Url::from(text).form(), Err(want), "{text}");
        }
    }
}
