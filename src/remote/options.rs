//! The options of a remote: their names are those of each cloud's own tools, and DVC's where it has them. Pure.

use std::collections::BTreeMap;

use crate::config::{self, Setting};
use crate::error::{Error, Result};
use crate::remote::address::Scheme;

/// An option of a scheme: its name, other spellings, and how the library calls it (empty: it is read by us).
struct Known(&'static str, &'static [&'static str], &'static str);

/// What every remote takes.
const GENERAL: &[Known] = &[
    Known("read_only", &[], ""),
    Known("jobs", &[], ""),
    Known("timeout", &["read_timeout", "connect_timeout"], ""),
    Known("retries", &[], ""),
];

const S3: &[Known] = &[
    Known("endpoint_url", &["endpointurl"], "endpoint"),
    Known("region", &[], "region"),
    Known("profile", &[], "profile"),
    Known("access_key_id", &[], "access_key_id"),
    Known("secret_access_key", &[], "secret_access_key"),
    Known("session_token", &[], "session_token"),
    Known("role_arn", &[], "role_arn"),
    Known("external_id", &[], "external_id"),
    Known("allow_anonymous_login", &[], "skip_signature"),
    Known("addressing_style", &[], ""),
    Known("storage_class", &[], "default_storage_class"),
    Known("server_side_encryption", &["sse"], "server_side_encryption"),
    Known("sse_kms_key_id", &[], "server_side_encryption_aws_kms_key_id"),
];
const GCS: &[Known] = &[
    Known("endpoint_url", &["endpointurl"], "endpoint"),
    Known("credential_path", &["credentialpath"], "credential_path"),
    Known("token", &[], "token"),
    Known("allow_anonymous_login", &[], "skip_signature"),
    Known("storage_class", &[], "default_storage_class"),
];
const AZURE: &[Known] = &[
    Known("account_name", &[], "account_name"),
    Known("account_key", &[], "account_key"),
    Known("connection_string", &[], ""),
    Known("sas_token", &[], "sas_token"),
    Known("endpoint_url", &["endpointurl"], "endpoint"),
    Known("allow_anonymous_login", &[], "skip_signature"),
];
const SFTP: &[Known] = &[
    Known("user", &[], "user"),
    Known("port", &[], ""),
    Known("keyfile", &[], "key"),
    Known("known_hosts_strategy", &[], "known_hosts_strategy"),
];
const WEBDAV: &[Known] =
    &[Known("user", &[], "username"), Known("password", &[], "password"), Known("token", &[], "token")];

fn known(scheme: Scheme) -> impl Iterator<Item = &'static Known> {
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

/// The options of one remote, by their names, values as one types them.
#[derive(Clone, Default)]
pub struct Options {
    values: BTreeMap<&'static str, String>,
}

impl Options {
    /// Those that the settings give to the remote `remote`. Errors: one that its scheme does not have.
    pub fn read(remote: &str, scheme: Scheme, given: &[(String, Setting)]) -> Result<Options> {
        let mut values = BTreeMap::new();
        for (option, value) in given.iter().filter(|(option, _)| config::secret_of_place(option).is_none()) {
            let name = name(remote, scheme, option)?;
            check(name, &value.to_string())?;
            values.insert(name, value.to_string());
        }
        Ok(Options { values })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Those that the library takes, under its names.
    pub fn for_library(&self, scheme: Scheme) -> BTreeMap<String, String> {
        let own = known(scheme).filter(|known| !known.2.is_empty());
        own.filter_map(|known| Some((known.2.to_string(), self.values.get(known.0)?.clone()))).collect()
    }

    /// A text without the secrets that it may hold.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.values.iter().filter(|(name, value)| config::is_secret(name) && value.len() > 3);
        secrets.fold(text.to_string(), |text, (_, secret)| text.replace(secret, "***"))
    }
}

/// The name of an option, whichever way it was spelled.
pub fn name(remote: &str, scheme: Scheme, option: &str) -> Result<&'static str> {
    if let Some(known) = known(scheme).find(|known| known.0 == option || known.1.contains(&option)) {
        return Ok(known.0);
    }
    let error = Error::usage(format!("the remote {remote} has no option `{option}`"));
    if scheme == Scheme::Sftp && option == "password" {
        return Err(error.hint("ssh is used as it is: put a key into the agent, or name one with `keyfile`"));
    }
    let near = known(scheme).map(|known| (strsim::damerau_levenshtein(known.0, option), known.0)).min();
    Err(match near.filter(|(distance, name)| *distance <= name.len() / 3) {
        Some((_, name)) => error.hint(format!("did you mean `{name}`?")),
        None => error.hint(format!("it has {}", known(scheme).map(|k| k.0).collect::<Vec<_>>().join(", "))),
    })
}

/// Is this a value for that option?
pub fn check(name: &str, value: &str) -> Result<()> {
    let wanted = match name {
        "read_only" | "allow_anonymous_login" if !matches!(value, "true" | "false") => "true or false",
        "jobs" | "timeout" | "retries" | "port" if value.parse::<u16>().is_err() => "a number",
        "addressing_style" if !matches!(value, "path" | "virtual") => "path or virtual",
        "known_hosts_strategy" if !matches!(value, "strict" | "accept" | "add") => "strict, accept or add",
        "user" if value.starts_with('-') => "a name that does not begin with `-`",
        _ if value.is_empty() => "a text",
        _ => return Ok(()),
    };
    let shown = if config::is_secret(name) { "***" } else { value };
    Err(Error::usage(format!("`{name}` takes {wanted}, not `{shown}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let given =
            [("read_only".to_string(), Setting::Bool(true)), ("password".into(), Setting::Str("s3cr3t".into()))];
        let options = Options::read("lab", Scheme::Webdav, &given).unwrap();
        assert!(options.is_on("read_only"));
        assert_eq!(options.scrub("401 for u:s3cr3t"), "401 for u:***");
        assert_eq!(
            options.for_library(Scheme::Webdav).into_iter().collect::<Vec<_>>(),
            [("password".into(), "s3cr3t".into())]
        );
        assert!(check("jobs", "many").is_err() && check("read_only", "1").is_err() && check("region", "x").is_ok());
    }

    #[test]
    fn the_settings_know_every_secret() {
        for scheme in [Scheme::S3, Scheme::Gcs, Scheme::Azure, Scheme::Sftp, Scheme::Webdav, Scheme::Http] {
            for known in known(scheme) {
                let looks_secret = ["secret", "key", "token", "password", "string"].iter().any(|w| known.0.contains(w));
                let harmless = ["access_key_id", "keyfile", "sse_kms_key_id"].contains(&known.0);
                assert_eq!(config::is_secret(known.0), looks_secret && !harmless, "{}", known.0);
            }
        }
    }
}
