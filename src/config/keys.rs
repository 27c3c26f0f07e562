//! The keys that exist and what each takes. A new setting is a new row of [`KEYS`].

use super::Setting;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Takes {
    /// A number from 0.
    Count,
    Text,
    /// A list of some of these words, the order counts.
    Words(&'static [&'static str]),
    /// Whatever the service of a remote understands.
    Free,
}

/// All keys but those of remotes, each with what it takes and its default as one types it.
const KEYS: &[(&str, Takes, Option<&str>)] = &[
    ("cache.dir", Takes::Text, None),
    ("cache.links", Takes::Words(&["reflink", "hardlink", "copy"]), Some("reflink,copy")),
    ("core.remote", Takes::Text, None),
    ("jobs", Takes::Count, Some("1")),
    ("shell", Takes::Text, Some("sh")),
];

/// Options of remotes that are never shown, and that belong into the settings of this clone or of the user alone.
const SECRETS: &[&str] =
    &["account_key", "connection_string", "password", "sas_token", "secret_access_key", "session_token", "token"];

/// Is the value of this setting (`remote.lab.password`, or `password` alone) a secret?
pub fn is_secret(key: &str) -> bool {
    let is_option = key.starts_with("remote.") || !key.contains('.');
    is_option && key.rsplit('.').next().is_some_and(|option| SECRETS.contains(&option))
}

pub(super) fn defaults() -> impl Iterator<Item = (&'static str, Setting)> {
    KEYS.iter().filter_map(|(key, _, default)| Some((*key, parse(key, (*default)?).ok()?)))
}

/// What a key takes, or why there is no such key.
pub(super) fn takes(key: &str) -> Result<Takes, String> {
    match split(key)[..] {
        ["remote", name, option] if !name.is_empty() && !option.is_empty() => {
            return Ok(if option == "url" { Takes::Text } else { Takes::Free });
        }
        _ => {}
    }
    if let Some((_, takes, _)) = KEYS.iter().find(|(k, ..)| *k == key) {
        return Ok(*takes);
    }
    let near = KEYS.iter().map(|(k, ..)| (strsim::damerau_levenshtein(k, key), *k)).min();
    Err(match near.filter(|(distance, k)| *distance <= (k.len() / 3).max(1)) {
        Some((_, k)) => format!("unknown setting `{key}` — did you mean `{k}`?"),
        None => format!("unknown setting `{key}`"),
    })
}

/// Is `key` a table that holds settings (`cache`, `remote.lab`)?
pub(super) fn is_table(key: &str) -> bool {
    let parent = format!("{key}.");
    key == "remote" || key.starts_with("remote.") || KEYS.iter().any(|(k, ..)| k.starts_with(&parent))
}

/// The parts of a key, at the dots; the name of a remote may have dots of its own.
pub(super) fn split(key: &str) -> Vec<&str> {
    match key.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')) {
        Some((name, option)) => vec!["remote", name, option],
        None => key.split('.').collect(),
    }
}

/// The value of `key` that one types as `text`.
pub(super) fn parse(key: &str, text: &str) -> Result<Setting, String> {
    let value = match takes(key)? {
        Takes::Count => text.trim().parse().map(Setting::Int).unwrap_or(Setting::Str(text.into())),
        Takes::Text | Takes::Free => Setting::Str(text.into()),
        Takes::Words(_) => Setting::List(text.split(',').map(|word| word.trim().to_string()).collect()),
    };
    check(key, value)
}

/// A value that a file gives for `key`, if it is of the right kind.
pub(super) fn check(key: &str, value: Setting) -> Result<Setting, String> {
    let wanted = match (takes(key)?, value) {
        (Takes::Free, value) => return Ok(value),
        (Takes::Count, Setting::Int(n)) if n >= 0 => return Ok(Setting::Int(n)),
        (Takes::Text, Setting::Str(text)) if !text.is_empty() => return Ok(Setting::Str(text)),
        (Takes::Words(known), Setting::List(words))
            if !words.is_empty() && words.iter().all(|word| known.contains(&word.as_str())) =>
        {
            return Ok(Setting::List(words));
        }
        (Takes::Count, value) => ("a number from 0".to_string(), value),
        (Takes::Text, value) => ("a text".to_string(), value),
        (Takes::Words(known), value) => (format!("a list of some of {}", known.join(", ")), value),
    };
    Err(format!("`{key}` takes {}, not `{}`", wanted.0, wanted.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_key() {
        assert_eq!(defaults().count(), KEYS.iter().filter(|(.., default)| default.is_some()).count());
        assert!(KEYS.is_sorted_by_key(|(key, ..)| *key));
    }

    #[test]
    fn values_are_checked() {
        for (key, text, want) in [
            ("jobs", "4", "4"),
            ("jobs", "-1", "`jobs` takes a number from 0, not `-1`"),
            ("cache.links", "hardlink, copy", "hardlink,copy"),
            (
                "cache.links",
                "softlink",
                "`cache.links` takes a list of some of reflink, hardlink, copy, not `softlink`",
            ),
            ("cache.links", "", "`cache.links` takes a list of some of reflink, hardlink, copy, not ``"),
            ("shell", "", "`shell` takes a text, not ``"),
            ("remote.x.y.url", "s3://b", "s3://b"),
            ("remote.x.anything", "1", "1"),
            ("remote.x", "1", "unknown setting `remote.x`"),
            ("cache.dri", "x", "unknown setting `cache.dri` — did you mean `cache.dir`?"),
            ("colour", "x", "unknown setting `colour`"),
        ] {
            let got = parse(key, text).map_or_else(|e| e, |value| value.to_string());
            assert_eq!(got, want);
        }
    }
}
