//! The options of a remote: their names are those of each cloud's own tools, and DVC's where it has them. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Rule::{self, Free, Grant, Narrows};
use crate::config::{self, Grade, GradedValue, Origin, Setting, grade};
use crate::error::{Error, Result};
use crate::path::home::expand;
use crate::remote::settings::address::{Address, Scheme};
use crate::url::{is_name_letter, redact_text};

/// An option of a scheme: its name, other spellings, its name in the library (empty: lockstep reads it), and what
/// `lockstep.toml` may say of it. An option that names a file, a key, an identity, or a host that would get credentials
/// of the user needs a grant. A secret in `lockstep.toml` belongs to the repository and is used without the user's
/// credentials.
struct OptionSpec(&'static str, &'static [&'static str], &'static str, Rule);

/// Options of every remote.
const GENERAL: &[OptionSpec] = &[
    OptionSpec("read_only", &[], "", Narrows),
    OptionSpec("jobs", &[], "", Free),
    OptionSpec("timeout", &["read_timeout", "connect_timeout"], "", Free),
    OptionSpec("retries", &[], "", Free),
];

const S3: &[OptionSpec] = &[
    OptionSpec("endpoint_url", &["endpointurl"], "endpoint", Grant),
    OptionSpec("region", &[], "region", Free),
    OptionSpec("profile", &[], "profile", Grant),
    OptionSpec("access_key_id", &[], "access_key_id", Grant),
    OptionSpec("secret_access_key", &[], "secret_access_key", Free),
    OptionSpec("session_token", &[], "session_token", Free),
    OptionSpec("role_arn", &[], "role_arn", Grant),
    OptionSpec("external_id", &[], "external_id", Grant),
    OptionSpec("allow_anonymous_login", &[], "skip_signature", Narrows),
    OptionSpec("addressing_style", &[], "", Free),
    OptionSpec("storage_class", &[], "default_storage_class", Free),
    OptionSpec("server_side_encryption", &["sse"], "server_side_encryption", Free),
    // With a key of a stranger, the stranger can make the stored data unreadable.
    OptionSpec("sse_kms_key_id", &[], "server_side_encryption_aws_kms_key_id", Grant),
];
const GCS: &[OptionSpec] = &[
    OptionSpec("endpoint_url", &["endpointurl"], "endpoint", Grant),
    OptionSpec("credential_path", &["credentialpath"], "credential_path", Grant),
    OptionSpec("token", &[], "token", Free),
    OptionSpec("allow_anonymous_login", &[], "skip_signature", Narrows),
    OptionSpec("storage_class", &[], "default_storage_class", Free),
];
const AZURE: &[OptionSpec] = &[
    // It is a part of the host that gets the key or the token of the environment.
    OptionSpec("account_name", &[], "account_name", Grant),
    OptionSpec("account_key", &[], "account_key", Free),
    // It may name a host and leave the key to the environment.
    OptionSpec("connection_string", &[], "", Grant),
    OptionSpec("sas_token", &[], "sas_token", Free),
    OptionSpec("endpoint_url", &["endpointurl"], "endpoint", Grant),
    OptionSpec("allow_anonymous_login", &[], "skip_signature", Narrows),
];
const SFTP: &[OptionSpec] = &[
    OptionSpec("user", &[], "user", Free),
    OptionSpec("port", &[], "", Free),
    OptionSpec("keyfile", &[], "key", Grant),
    OptionSpec("known_hosts_strategy", &[], "known_hosts_strategy", Grant),
];
const WEBDAV: &[OptionSpec] = &[
    OptionSpec("user", &[], "username", Free),
    OptionSpec("password", &[], "password", Free),
    OptionSpec("token", &[], "token", Free),
];

/// With more retries, a command would wait nearly forever for a server that is down; `lockstep.toml` may be a
/// stranger's.
const MOST_RETRIES: u16 = 20;
const LONGEST_TIMEOUT: u16 = 3600;

/// Options whose value is a path; a relative one is resolved against the root of the project.
const FILES: &[&str] = &["credential_path", "keyfile"];

fn specs(scheme: Scheme) -> impl Iterator<Item = &'static OptionSpec> {
    let own = match scheme {
        Scheme::Folder => &[],
        Scheme::S3 => S3,
        Scheme::Gcs => GCS,
        Scheme::Azure => AZURE,
        Scheme::Sftp => SFTP,
        Scheme::Webdav | Scheme::Http => WEBDAV,
    };
    GENERAL.iter().chain(own)
}

/// The options of one remote, by their names.
#[derive(Clone, Default)]
pub struct Options {
    values: BTreeMap<&'static str, OptionValue>,
}

/// The value in effect, as typed, and its source.
#[derive(Clone)]
struct OptionValue {
    value: String,
    grade: Grade,
}

impl Options {
    /// The options in effect for the remote `remote`, merged from all sources, the weakest first. Errors: an option
    /// that its scheme does not have.
    pub fn read(remote: &str, scheme: Scheme, said: &[(String, GradedValue)]) -> Result<Options> {
        // An option has several spellings, and sources may differ in theirs.
        let mut all: BTreeMap<&'static str, Vec<GradedValue>> = BTreeMap::new();
        for (option, said) in said.iter().filter(|(option, _)| config::secret_of_place(option).is_none()) {
            let name = name(remote, scheme, option)?;
            check(name, &said.value.to_string())?;
            all.entry(name).or_default().push(said.clone());
        }
        let rule = |name: &str| specs(scheme).find(|known| known.0 == name).map_or(Free, |known| known.3);
        let counts =
            all.iter().filter_map(|(name, said)| Some((*name, grade::combine(name, rule(name), said, None).0?)));
        let given = |said: &GradedValue| OptionValue { value: said.value.to_string(), grade: said.grade };
        Ok(Options { values: counts.map(|(name, said)| (name, given(said))).collect() })
    }

    /// The same for the values of one source.
    pub fn of_values(remote: &str, scheme: Scheme, values: &[(String, Setting)]) -> Result<Options> {
        let said = |value: &Setting| GradedValue {
            value: value.clone(),
            origin: Origin::Default,
            grade: Grade::User,
            order: 0,
        };
        let said: Vec<_> = values.iter().map(|(option, value)| (option.clone(), said(value))).collect();
        Options::read(remote, scheme, &said)
    }

    /// The same with paths resolved against `root`, the root of the project, and `home`.
    pub fn with_paths_from(mut self, root: &Path, home: Option<&Path>) -> Result<Options> {
        for name in FILES {
            let Some(given) = self.values.get_mut(name) else { continue };
            let path = expand(&given.value, root, home).map_err(|e| e.because(format!("it is the option {name}")))?;
            given.value = path.to_string_lossy().into_owned();
        }
        Ok(self)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|given| given.value.as_str())
    }

    /// Options of the repository that need a grant: names and values.
    pub fn of_repository(&self, scheme: Scheme) -> impl Iterator<Item = (&'static str, &str)> {
        let asked = specs(scheme).filter(|known| known.3 == Grant);
        let given = asked.filter_map(|known| Some((known.0, self.values.get(known.0)?)));
        given.filter(|(_, given)| given.grade == Grade::Repository).map(|(name, given)| (name, given.value.as_str()))
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// The options of the library, under its names.
    pub fn for_library(&self, scheme: Scheme) -> BTreeMap<String, String> {
        let own = specs(scheme).filter(|known| !known.2.is_empty());
        own.filter_map(|known| Some((known.2.to_string(), self.get(known.0)?.to_string()))).collect()
    }

    /// The values that are secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(name, _)| config::is_secret(name)).map(|(_, given)| given.value.as_str())
    }
}

/// The canonical name of an option.
pub fn name(remote: &str, scheme: Scheme, option: &str) -> Result<&'static str> {
    if let Some(known) = specs(scheme).find(|known| known.0 == option || known.1.contains(&option)) {
        return Ok(known.0);
    }
    let error = Error::usage(format!("the remote {remote} has no option `{option}`"));
    if scheme == Scheme::Sftp && option == "password" {
        return Err(error.hint("ssh is used as it is: put a key into the agent, or name one with `keyfile`"));
    }
    let near = specs(scheme).map(|known| (strsim::damerau_levenshtein(known.0, option), known.0)).min();
    Err(match near.filter(|(distance, name)| *distance <= name.len() / 3) {
        Some((_, name)) => error.hint(format!("did you mean `{name}`?")),
        None => error.hint(format!("it has {}", specs(scheme).map(|k| k.0).collect::<Vec<_>>().join(", "))),
    })
}

/// Checks the value of an option.
pub fn check(name: &str, value: &str) -> Result<()> {
    let wanted = match name {
        "read_only" | "allow_anonymous_login" if !matches!(value, "true" | "false") => "true or false",
        "retries" if value.parse::<u16>().map_or(true, |n| n > MOST_RETRIES) => "a number up to 20",
        "timeout" if value.parse::<u16>().map_or(true, |n| n > LONGEST_TIMEOUT) => "a number of seconds up to 3600",
        "jobs" | "port" if value.parse::<u16>().is_err() => "a number",
        "addressing_style" if !matches!(value, "path" | "virtual") => "path or virtual",
        // These become a part of a host name.
        "region" | "account_name" if !is_label(value) => "letters, digits and hyphens",
        "endpoint_url" if !value.is_ascii() || value.contains(['@', '#', '?', '\\', ' ']) => {
            "an address like https://host:port"
        }
        "known_hosts_strategy" if !matches!(value, "strict" | "accept" | "add") => "strict, accept or add",
        // A command in the settings of ssh may pass it to a shell.
        "user" if value.starts_with('-') || !value.chars().all(is_name_letter) => {
            "letters, digits and `-_.+@`, without `-` as the first"
        }
        _ if value.is_empty() => "a text",
        _ => return Ok(()),
    };
    let shown = if config::is_shown_option(name) { redact_text(value) } else { "***".to_string() };
    Err(Error::usage(format!("`{name}` takes {wanted}, not `{shown}`")))
}

/// Buckets and containers may become a part of a host name.
pub fn check_container(address: &Address) -> Result<()> {
    let is_container = matches!(address.scheme, Scheme::S3 | Scheme::Gcs | Scheme::Azure);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !is_container || address.host.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` cannot be a bucket or container: letters, digits, `-`, `_` and `.`", address.host)))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
pub(in crate::remote) mod tests {
    use super::*;
    use crate::config::{Origin, Setting};

    /// Options as the user's settings.
    pub fn said(options: &[(&str, &str)]) -> Vec<(String, GradedValue)> {
        let one =
            |(order, (name, value)): (usize, &(&str, &str))| (name.to_string(), word_of(Grade::User, value, order));
        options.iter().enumerate().map(one).collect()
    }

    /// All options that need a grant if they come from the repository.
    pub fn with_grant(scheme: Scheme) -> Vec<&'static str> {
        specs(scheme).filter(|known| known.3 == Grant).map(|known| known.0).collect()
    }

    fn word_of(grade: Grade, value: &str, order: usize) -> GradedValue {
        GradedValue { value: Setting::Str(value.into()), origin: Origin::Default, grade, order }
    }

    #[test]
    fn every_option_says_what_the_repository_may_set() {
        let mut rows = Vec::new();
        for scheme in [Scheme::Folder, Scheme::S3, Scheme::Gcs, Scheme::Azure, Scheme::Sftp, Scheme::Webdav] {
            let free: Vec<&str> = specs(scheme).filter(|known| known.3 == Free).map(|known| known.0).collect();
            rows.push(format!("{scheme:?} {}", free.join(" ")));
        }
        // A new option is a decision: an option without a grant must be harmless with any value of a stranger.
        insta::assert_snapshot!(rows.join("\n"), @r"
        Folder jobs timeout retries
        S3 jobs timeout retries region secret_access_key session_token addressing_style storage_class server_side_encryption
        Gcs jobs timeout retries token storage_class
        Azure jobs timeout retries account_key sas_token
        Sftp jobs timeout retries user port
        Webdav jobs timeout retries user password token
        ");
    }

    #[test]
    fn the_repository_never_widens_what_the_user_said() {
        use Grade::{Repository, User};
        for (option, places, want, grade) in [
            ("read_only", vec![(User, "true"), (Repository, "false")], "true", User),
            ("read_only", vec![(Repository, "true")], "true", Repository),
            ("allow_anonymous_login", vec![(User, "true"), (Repository, "false")], "true", User),
            ("profile", vec![(Repository, "theirs"), (User, "mine")], "mine", User),
            ("profile", vec![(User, "mine"), (Repository, "theirs")], "theirs", Repository),
        ] {
            let said = places.iter().enumerate().map(|(n, (grade, value))| (option.into(), word_of(*grade, value, n)));
            let options = Options::read("lab", Scheme::S3, &said.collect::<Vec<_>>()).unwrap();
            assert_eq!((options.get(option), options.values[option].grade), (Some(want), grade), "{option} {places:?}");
        }
        // Another spelling is the same option.
        let both = [("endpoint_url", Repository, "http://theirs"), ("endpointurl", User, "http://mine")];
        let said =
            both.iter().enumerate().map(|(n, (name, grade, value))| (name.to_string(), word_of(*grade, value, n)));
        let options = Options::read("lab", Scheme::S3, &said.collect::<Vec<_>>()).unwrap();
        assert_eq!(options.get("endpoint_url"), Some("http://mine"));
        assert_eq!(options.of_repository(Scheme::S3).count(), 0);
    }

    #[test]
    fn values_do_not_lead_to_another_host() {
        for (name, value) in [
            ("region", "evil.example/#"),
            ("region", "a.b"),
            ("region", ""),
            ("account_name", "evil.example/"),
            ("account_name", "a@b"),
            ("endpoint_url", "https://s3.amazonaws.com@evil.example"),
            ("endpoint_url", "https://evil.example\\@s3.amazonaws.com"),
            ("endpoint_url", "https://evil.example/?"),
            ("endpoint_url", "https://s3.amaz\u{43e}naws.com"),
        ] {
            assert!(check(name, value).is_err(), "{name} {value}");
        }
        for (url, want) in [
            ("s3://evil.example#/x", false),
            ("gs://b%2f/x", false),
            ("azure://évil/x", false),
            ("s3://b.c-d_e/x", true),
            ("webdavs://h/x#", false),
            ("webdavs://h/x%23", true),
        ] {
            assert_eq!(
                Address::parse(&url.into()).and_then(|address| check_container(&address)).is_ok(),
                want,
                "{url}"
            );
        }
        assert!(check("region", "eu-west-1").is_ok() && check("endpoint_url", "http://127.0.0.1:9/a").is_ok());
    }

    #[test]
    fn names_are_checked_by_scheme() {
        for (scheme, option, want) in [
            (Scheme::S3, "endpointurl", "endpoint_url"),
            (Scheme::S3, "regoin", "the remote lab has no option `regoin`\n  hint: did you mean `region`?"),
            (Scheme::Folder, "region", "the remote lab has no option `region`\n  hint: it has read_only, jobs"),
            (Scheme::Sftp, "password", "the remote lab has no option `password`\n  hint: ssh is used"),
            (Scheme::Azure, "account_key", "account_key"),
            (Scheme::Gcs, "credentialpath", "credential_path"),
        ] {
            let got = name("lab", scheme, option).map_or_else(|e| e.to_string(), str::to_string);
            assert!(got.starts_with(want), "{option}: {got}");
        }
    }

    #[test]
    fn values_are_checked_and_secrets_stay_secret() {
        let options =
            Options::read("lab", Scheme::Webdav, &said(&[("read_only", "true"), ("password", "s3cr3t")])).unwrap();
        assert!(options.is_on("read_only"));
        assert_eq!(options.secrets().collect::<Vec<_>>(), ["s3cr3t"]);
        assert_eq!(
            options.for_library(Scheme::Webdav).into_iter().collect::<Vec<_>>(),
            [("password".into(), "s3cr3t".into())]
        );
        assert!(check("jobs", "many").is_err() && check("read_only", "1").is_err() && check("region", "x").is_ok());
    }

    #[test]
    fn the_settings_know_every_secret() {
        for scheme in [Scheme::S3, Scheme::Gcs, Scheme::Azure, Scheme::Sftp, Scheme::Webdav, Scheme::Http] {
            for known in specs(scheme) {
                let looks_secret = ["secret", "key", "token", "password", "string"].iter().any(|w| known.0.contains(w));
                let harmless = ["access_key_id", "keyfile", "sse_kms_key_id"].contains(&known.0);
                assert_eq!(config::is_secret(known.0), looks_secret && !harmless, "{}", known.0);
                for spelled in known.1.iter().chain([&known.0]) {
                    assert_eq!(config::is_shown_option(spelled), !config::is_secret(known.0), "{spelled}");
                }
            }
        }
    }
}
