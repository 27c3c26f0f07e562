//! Addresses of repositories of the Hugging Face Hub: `hf://ORG/NAME`, `hf://datasets/ORG/NAME`, `hf://spaces/…`. A
//! revision may follow: `hf://ORG/NAME@v1.0`. Each is the spelling of a Git repository at the hub.

use super::form::Misspelling;
use super::{Url, decode};

const SCHEME: &str = "hf://";
/// The first part of an address that is not one of a model.
const KINDS: [&str; 2] = ["datasets", "spaces"];
/// The limit of the hub for a part of a name.
const LONGEST_NAME: usize = 96;

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAddress {
    /// `ORG/NAME`, or `datasets/ORG/NAME`.
    path: String,
    /// The revision after `@`.
    pub rev: Option<String>,
}

impl HubAddress {
    /// Parses the address; `None` if it is not one of the hub.
    pub fn parse(url: &Url) -> Option<Result<HubAddress, Misspelling>> {
        let text = url.raw();
        let is_hub = text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
        is_hub.then(|| parse(&text[SCHEME.len()..]))
    }

    /// The address without the revision.
    pub fn url(&self) -> Url {
        Url::from(format!("{SCHEME}{}", self.path))
    }

    /// The address for Git, of the hub at `endpoint`.
    pub fn git_url(&self, endpoint: &str) -> Url {
        Url::from(format!("{endpoint}/{}", self.path))
    }
}

fn parse(rest: &str) -> Result<HubAddress, Misspelling> {
    let (path, rev) = match rest.split_once('@') {
        Some((path, rev)) => (path, Some(rev)),
        None => (rest, None),
    };
    let rev = rev.map(|rev| match decode(rev) {
        Ok(rev) if !rev.is_empty() && !rev.starts_with('-') && !rev.chars().any(char::is_control) => Ok(rev),
        _ => Err(misspelling("the revision after `@` is none", "hf://ORG/NAME@REV")),
    });
    let path = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    let (kind, name) = match parts.split_first() {
        Some((kind, rest)) if KINDS.contains(kind) => (Some(*kind), rest),
        _ => (None, parts.as_slice()),
    };
    if name.len() > 2 && name.iter().all(|part| !part.is_empty()) {
        let kind = kind.map_or(String::new(), |kind| format!("{kind}/"));
        let hint = format!("give the path in the repository after it: {SCHEME}{kind}{}/{} PATH", name[0], name[1]);
        return Err(Misspelling { why: "it has more than an organisation and a name".into(), hint: Some(hint) });
    }
    if name.is_empty() || name.len() > 2 || !name.iter().all(|part| is_name(part)) {
        return Err(misspelling(
            "it is not the name of a repository of the hub",
            "hf://ORG/NAME, hf://datasets/ORG/NAME",
        ));
    }
    Ok(HubAddress { path: path.to_string(), rev: rev.transpose()? })
}

fn misspelling(why: &str, hint: &str) -> Misspelling {
    Misspelling { why: why.into(), hint: Some(hint.into()) }
}

/// The hub allows these letters, and `..` and `--` nowhere.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= LONGEST_NAME
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("..")
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_hub() {
        for (text, path, rev) in [
            ("hf://org/name", "org/name", None),
            ("HF://org/name/", "org/name", None),
            ("hf://gpt2", "gpt2", None),
            ("hf://distilbert-base-uncased@main", "distilbert-base-uncased", Some("main")),
            ("hf://org/name@v1.0", "org/name", Some("v1.0")),
            ("hf://org/name@refs/pr/3", "org/name", Some("refs/pr/3")),
            ("hf://org/name@refs%2Fpr%2F3", "org/name", Some("refs/pr/3")),
            ("hf://datasets/org/name@a@b", "datasets/org/name", Some("a@b")),
            ("hf://datasets/squad", "datasets/squad", None),
            ("hf://spaces/org/My_app.2", "spaces/org/My_app.2", None),
        ] {
            let address = HubAddress::parse(&text.into()).unwrap().unwrap();
            assert_eq!((address.path.as_str(), address.rev.as_deref()), (path, rev), "{text}");
            assert_eq!(address.git_url("https://h").raw(), format!("https://h/{path}"));
        }
        for text in ["https://huggingface.co/org/name", "org/name", "hf:/org/name", "hf", ""] {
            assert!(HubAddress::parse(&text.into()).is_none(), "{text}");
        }
        for text in [
            "hf://",
            "hf://@main",
            "hf://datasets",
            "hf://datasets/",
            "hf:///name",
            "hf://org//name",
            "hf://org/name@",
            "hf://org/name@-u",
            "hf://org/name@a%0Ab",
            "hf://org/name/file.bin",
            "hf://org/../name",
            "hf://../x",
            "hf://org/na me",
            "hf://user:hf_secret@org/name",
            "hf://host:80/name",
            "hf://org/name?x=1",
            "hf://org/name#x",
            "hf://org/-name",
            "hf://org/näme",
            "hf://org%2Fname",
        ] {
            assert!(HubAddress::parse(&text.into()).unwrap().is_err(), "{text}");
        }
    }
}
