//! The valid keys, the type of each, and what the repository may set: the one table that settings files are checked
//! against and that the JSON Schema for editors is written from. A new setting is a new row of [`KEYS`].

use std::fmt;

use super::Setting;
use super::grade::Rule;
use super::modes::Modes;
use crate::url::redact_text;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ValueType {
    /// A number, at least 0.
    Count,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of some of these words; the order matters.
    Words(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// [`Modes`], as text.
    Modes,
    /// Any value that the service of a remote accepts.
    Free,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Count => f.write_str("a number from 0"),
            ValueType::Text => f.write_str("a text"),
            ValueType::Word([word]) => f.write_str(word),
            ValueType::Word(known) => write!(f, "one of {}", known.join(", ")),
            ValueType::Words(known) => write!(f, "a list of some of {}", known.join(", ")),
            ValueType::Texts => f.write_str("a list of texts"),
            ValueType::Modes => f.write_str("rights, like local:rw,remote:r"),
            ValueType::Free => f.write_str("anything"),
        }
    }
}

/// A setting: a row of [`KEYS`].
pub(super) struct SettingSpec {
    /// With the names of its tables: `cache.dir`.
    pub name: &'static str,
    /// The type of its value.
    pub takes: ValueType,
    /// Which values of `lockstep.toml` count.
    pub rule: Rule,
    /// As typed.
    pub default: Option<&'static str>,
    /// One line for editors.
    pub about: &'static str,
}

const fn setting(
    name: &'static str,
    takes: ValueType,
    rule: Rule,
    default: Option<&'static str>,
    about: &'static str,
) -> SettingSpec {
    SettingSpec { name, takes, rule, default, about }
}

/// All settings except those of remotes. The rules for options of remotes are in `remote/settings/options.rs`.
pub(super) const KEYS: &[SettingSpec] = &[
    setting(
        "cache.dir",
        ValueType::Text,
        Rule::Inside,
        None,
        "The store: a folder, from the root of the project. In lockstep.toml it must be inside the repository",
    ),
    setting(
        "cache.links",
        ValueType::Words(&["reflink", "hardlink", "copy"]),
        Rule::Narrows,
        Some("reflink,copy"),
        "How files get out of the store, in the order to try",
    ),
    setting(
        "cache.mode",
        ValueType::Modes,
        Rule::Narrows,
        None,
        "Which run caches may be read and written, as local:rw,remote:r",
    ),
    setting(
        "cache.sign",
        ValueType::Word(&["ed25519"]),
        Rule::Narrows,
        None,
        "ed25519: results are signed, and only results with good signatures count",
    ),
    setting("cache.trust", ValueType::Texts, Rule::Joins, None, "Whose results count: patterns over user@host"),
    setting("cache.verify_keys", ValueType::Texts, Rule::Joins, None, "The public keys whose results count"),
    setting("core.remote", ValueType::Text, Rule::Free, None, "The remote for commands that name none"),
    setting("jobs", ValueType::Count, Rule::Free, Some("1"), "How many stages run at once; 0 means one a core"),
    setting(
        "pass_env",
        ValueType::Texts,
        Rule::Never,
        None,
        "Credentials of the CI job that stages may see; counts only in your own settings, not in lockstep.toml",
    ),
    setting(
        "shell",
        ValueType::Text,
        Rule::RunsOnly(&["sh", "bash"]),
        Some("sh"),
        "The shell for commands; with bash, scripts run with `bash -euo pipefail`",
    ),
];

/// The folder of a deployment target, `deploy.NAME.to`: a user's word, which no file of the repository gives.
const DEPLOY_TO: SettingSpec = setting(
    "deploy.NAME.to",
    ValueType::Text,
    Rule::Never,
    None,
    "The folder of a deployment target; counts only in your own settings, not in lockstep.toml",
);

/// Whether the key is the folder of a deployment target.
pub fn is_deploy_folder(key: &str) -> bool {
    matches!(key.split('.').collect::<Vec<_>>()[..], ["deploy", name, "to"] if !name.is_empty())
}

fn find(key: &str) -> Option<&'static SettingSpec> {
    if is_deploy_folder(key) {
        return Some(&DEPLOY_TO);
    }
    KEYS.iter().find(|spec| spec.name == key)
}

/// What the repository may set for a key. Options of remotes are checked where the remote is opened, since their rules
/// depend on its scheme.
pub(super) fn rule(key: &str) -> Rule {
    find(key).map_or(Rule::Free, |spec| spec.rule)
}

/// All settings, one per line: the key and its type.
pub fn help() -> String {
    let width = "remote.NAME.url".len().max(KEYS.iter().map(|spec| spec.name.len()).max().unwrap_or(0));
    let remote = ("remote.NAME.url", ValueType::Text);
    let open = [remote, (DEPLOY_TO.name, DEPLOY_TO.takes)];
    let mut rows: Vec<(&str, ValueType)> = KEYS.iter().map(|spec| (spec.name, spec.takes)).chain(open).collect();
    rows.sort_by_key(|(key, _)| *key);
    rows.iter().map(|(key, takes)| format!("  {key:width$}  {takes}\n")).collect()
}

/// Options of remotes that are never shown, and that belong only in the settings of this clone or of the user.
pub(super) const SECRETS: &[&str] =
    &["account_key", "connection_string", "password", "sas_token", "secret_access_key", "session_token", "token"];

/// Whether the value of this setting (`remote.lab.password`, or `password` alone) is a secret.
pub fn is_secret(key: &str) -> bool {
    let is_option = key.starts_with("remote.") || !key.contains('.');
    is_option && key.rsplit('.').next().is_some_and(|option| SECRETS.contains(&option))
}

/// Options of remotes whose values may be shown. Any other may be a misspelt secret, such as `pasword`.
pub(super) const SHOWN: &[&str] = &[
    "access_key_id",
    "account_name",
    "addressing_style",
    "allow_anonymous_login",
    "connect_timeout",
    "credential_path",
    "credentialpath",
    "endpoint_url",
    "endpointurl",
    "external_id",
    "jobs",
    "keyfile",
    "known_hosts_strategy",
    "port",
    "profile",
    "read_only",
    "read_timeout",
    "region",
    "retries",
    "role_arn",
    "server_side_encryption",
    "sse",
    "sse_kms_key_id",
    "storage_class",
    "timeout",
    "url",
    "user",
];

/// Whether the value of this setting may be shown, with secrets in URLs masked.
pub fn is_shown(key: &str) -> bool {
    match split(key)[..] {
        ["remote", _, option] => is_shown_option(option),
        _ => !is_secret(key),
    }
}

/// Like [`is_shown`], for an option of a remote, or the last word of any other key.
pub fn is_shown_option(option: &str) -> bool {
    let is_key = || KEYS.iter().any(|spec| spec.name.rsplit('.').next() == Some(option));
    SHOWN.contains(&option) || secret_of_place(option).is_some() || is_key()
}

/// Whether a remote may have this name. Any other could be read as several names, or as a name with a fingerprint, in
/// `LOCKSTEP_TRUST_REMOTES`.
pub fn is_remote_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.chars().all(is_fine) && !name.starts_with(['-', '.'])
}

/// The keys that the repository may not set freely.
#[cfg(test)]
pub(super) fn limited() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|spec| spec.rule != Rule::Free).map(|spec| spec.name)
}

/// The secret whose destination an option restricts: `password_for` names the host that `password` may be sent to.
pub fn secret_of_place(option: &str) -> Option<&str> {
    option.strip_suffix("_for").filter(|secret| SECRETS.contains(secret))
}

pub(super) fn defaults() -> impl Iterator<Item = (&'static str, Setting)> {
    KEYS.iter().filter_map(|spec| Some((spec.name, parse(spec.name, spec.default?).ok()?)))
}

/// The type of a key. Errors: the key is unknown.
pub(super) fn takes(key: &str) -> Result<ValueType, String> {
    match split(key)[..] {
        ["remote", name, option] if !name.is_empty() && !option.is_empty() => {
            if !is_remote_name(name) {
                let name = name.escape_debug();
                return Err(format!(
                    "`{name}` is not a valid name of a remote, which has letters, digits, `-`, `_` and `.`"
                ));
            }
            return Ok(if option == "url" { ValueType::Text } else { ValueType::Free });
        }
        _ => {}
    }
    if let Some(spec) = find(key) {
        return Ok(spec.takes);
    }
    let near = KEYS.iter().map(|spec| (strsim::damerau_levenshtein(spec.name, key), spec.name)).min();
    Err(match near.filter(|(distance, k)| *distance <= (k.len() / 3).max(1)) {
        Some((_, k)) => format!("unknown setting `{key}` — did you mean `{k}`?"),
        None => format!("unknown setting `{key}`"),
    })
}

/// Whether `key` is a table that holds settings (`cache`, `remote.lab`).
pub(super) fn is_table(key: &str) -> bool {
    let parent = format!("{key}.");
    key == "remote"
        || key.starts_with("remote.")
        || key == "deploy"
        || is_deploy_folder(&format!("{key}.to"))
        || KEYS.iter().any(|spec| spec.name.starts_with(&parent))
}

/// The parts of a key, split at dots; the name of a remote may contain dots.
pub(super) fn split(key: &str) -> Vec<&str> {
    match key.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')) {
        Some((name, option)) => vec!["remote", name, option],
        None => key.split('.').collect(),
    }
}

/// A list of texts in TOML.
fn list(text: &str) -> Option<Vec<String>> {
    let value: toml_edit::Value = text.trim().parse().ok()?;
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_string)).collect()
}

/// Parses the typed value `text` for `key`.
pub(super) fn parse(key: &str, text: &str) -> Result<Setting, String> {
    let value = match takes(key)? {
        ValueType::Count => text.trim().parse().map(Setting::Int).unwrap_or(Setting::Str(text.into())),
        ValueType::Text | ValueType::Word(_) | ValueType::Modes | ValueType::Free => Setting::Str(text.into()),
        ValueType::Words(_) | ValueType::Texts if text.trim_start().starts_with('[') => {
            Setting::List(list(text).ok_or_else(|| {
                format!("`{key}` takes a list, like `[\"a\", \"b\"]` or `a,b`, not `{}`", shown(text))
            })?)
        }
        ValueType::Words(_) | ValueType::Texts => {
            Setting::List(text.split(',').map(|word| word.trim().to_string()).collect())
        }
    };
    check(key, value)
}

/// Checks the type of a value that a file gives for `key`.
pub(super) fn check(key: &str, value: Setting) -> Result<Setting, String> {
    if key.chars().chain(value.to_string().chars()).any(char::is_control) {
        return Err(format!("`{}` has a control character in its name or its value", key.escape_debug()));
    }
    let wanted = match (takes(key)?, value) {
        (ValueType::Free, value) => return Ok(value),
        (ValueType::Modes, Setting::Str(text)) if Modes::parse(&text).is_ok() => return Ok(Setting::Str(text)),
        (ValueType::Count, Setting::Int(n)) if n >= 0 => return Ok(Setting::Int(n)),
        (ValueType::Text, Setting::Str(text)) if !text.is_empty() => return Ok(Setting::Str(text)),
        (ValueType::Word(known), Setting::Str(word)) if known.contains(&word.as_str()) => {
            return Ok(Setting::Str(word));
        }
        (ValueType::Texts, Setting::List(items)) if items.iter().all(|item| !item.is_empty()) => {
            return Ok(Setting::List(items));
        }
        (ValueType::Words(known), Setting::List(words))
            if !words.is_empty() && words.iter().all(|word| known.contains(&word.as_str())) =>
        {
            return Ok(Setting::List(words));
        }
        wanted => wanted,
    };
    let made = if key == "cache.sign" { "; make a pair of keys: lockstep store keygen" } else { "" };
    Err(format!("`{key}` takes {}, not `{}`{made}", wanted.0, shown(&wanted.1.to_string())))
}

/// A value, shortened for a message.
fn shown(value: &str) -> String {
    const MOST: usize = 200;
    let value = redact_text(value);
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_key() {
        assert_eq!(defaults().count(), KEYS.iter().filter(|spec| spec.default.is_some()).count());
        assert!(KEYS.is_sorted_by_key(|spec| spec.name));
    }

    #[test]
    fn every_key_says_what_the_repository_may_set() {
        let rules: Vec<String> = KEYS.iter().map(|spec| format!("{}: {:?}", spec.name, spec.rule)).collect();
        // A new key is a decision: may the file of a stranger set it, and can it do harm with any value?
        insta::assert_snapshot!(rules.join("\n"), @r#"
        cache.dir: Inside
        cache.links: Narrows
        cache.mode: Narrows
        cache.sign: Narrows
        cache.trust: Joins
        cache.verify_keys: Joins
        core.remote: Free
        jobs: Free
        pass_env: Never
        shell: RunsOnly(["sh", "bash"])
        "#);
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
            ("cache.sign", "ed25519", "ed25519"),
            ("cache.sign", "rsa", "`cache.sign` takes ed25519, not `rsa`; make a pair of keys: lockstep store keygen"),
            ("cache.trust", "ci@*, me@laptop", "ci@*,me@laptop"),
            ("cache.trust", r#"["ci@*", 'me@laptop']"#, "ci@*,me@laptop"),
            ("cache.trust", "[ci@*]", "`cache.trust` takes a list, like `[\"a\", \"b\"]` or `a,b`, not `[ci@*]`"),
            ("cache.links", r#"["copy"]"#, "copy"),
            ("cache.trust", "", "`cache.trust` takes a list of texts, not ``"),
            ("remote.x.y.url", "s3://b", "s3://b"),
            ("remote.x.anything", "1", "1"),
            ("remote.x", "1", "unknown setting `remote.x`"),
            (
                "remote.lab@0123456789abcdef.url",
                "/x",
                "`lab@0123456789abcdef` is not a valid name of a remote, which has letters, digits, `-`, `_` and `.`",
            ),
            ("remote.*.url", "/x", "`*` is not a valid name of a remote, which has letters, digits, `-`, `_` and `.`"),
            (
                "remote.-lab.url",
                "/x",
                "`-lab` is not a valid name of a remote, which has letters, digits, `-`, `_` and `.`",
            ),
            ("cache.dri", "x", "unknown setting `cache.dri` — did you mean `cache.dir`?"),
            ("colour", "x", "unknown setting `colour`"),
            ("cache.mode", "local:rw", "local:rw"),
            ("cache.mode", "all", "`cache.mode` takes rights, like local:rw,remote:r, not `all`"),
            ("cache.dir", "x\nkey=evil", "`cache.dir` has a control character in its name or its value"),
            ("cache.trust", "a,b\u{1b}[2J", "`cache.trust` has a control character in its name or its value"),
            (
                "remote.x\r.url",
                "s3://b",
                "`x\\r` is not a valid name of a remote, which has letters, digits, `-`, `_` and `.`",
            ),
            ("remote.x.user", "a\u{7f}", "`remote.x.user` has a control character in its name or its value"),
        ] {
            let got = parse(key, text).map_or_else(|e| e, |value| value.to_string());
            assert_eq!(got, want);
        }
    }
}
