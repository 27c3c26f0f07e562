//! Binds a secret to an endpoint: scheme, host and port, like Git's credentials. Settings that name another endpoint,
//! by a commit that changes the URL or the endpoint, do not get it.
//!
//! The endpoint of an option that is a secret is known in two ways. If the file with the secret also has the URL of the
//! remote, that is the endpoint. Otherwise `password_for` beside `password` names it; `remote modify` writes both.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::config::{self, Origin, Remote};
use crate::error::{Error, Result};
use crate::project::Project;
use crate::remote::settings::address::{Address, Scheme};
use crate::remote::settings::endpoint::Endpoint;
use crate::remote::settings::options::Options;
use crate::remote::settings::{complete, has_temporary_profile};
use crate::secret;
use crate::shell::word;
use crate::url::decoded;

/// The options of a remote that are secrets for another endpoint than the settings name, and are left out.
///
/// Errors: a secret of this repository's settings is for another endpoint. Another repository's settings name unrelated
/// remotes: secrets are left out without an error.
pub fn for_other_places(project: &Project, name: &str, remote: &Remote) -> Result<Vec<String>> {
    let env = &project.around.env;
    let place = LazyCell::new(|| Endpoint::of_remote(name, &remote.url, &remote.options, env));
    let mut left_out = Vec::new();
    // The user name is not secret among the user's own settings, but is not given to a stranger.
    let is_bound = |option: &str| config::is_secret(option) || (option == "user" && project.address.is_some());
    for (option, _) in remote.options.iter().filter(|(option, _)| is_bound(option)) {
        let Some((_, origin)) = project.config.get(&format!("remote.{name}.{option}"))? else { continue };
        let places = places_of(project, name, option, origin);
        if place.as_ref().is_some_and(|place| places.contains(place)) {
            continue;
        }
        if project.address.is_none() {
            return Err(misplaced(project, name, option, origin, &places, place.as_ref()));
        }
        left_out.push(option.clone());
    }
    Ok(left_out)
}

/// The endpoints that a secret was given for, by the file that has it.
fn places_of(project: &Project, name: &str, option: &str, origin: &Origin) -> Vec<Endpoint> {
    let (url, options) = project.config.remote_by(name, origin);
    let written = options.iter().rev().find(|(known, _)| config::secret_of_place(known) == Some(option));
    let written = written.and_then(|(_, place)| Endpoint::parse(&place.to_string()));
    let of_url = url.and_then(|url| Endpoint::of_remote(name, &url, &options, &project.around.env));
    written.into_iter().chain(of_url).collect()
}

fn misplaced(
    project: &Project,
    name: &str,
    option: &str,
    origin: &Origin,
    places: &[Endpoint],
    place: Option<&Endpoint>,
) -> Error {
    let given = match places.first() {
        Some(old) => format!("was given for {old}"),
        None => "was given for no place".to_string(),
    };
    let new = place.map_or("an unknown address".to_string(), Endpoint::to_string);
    let error = Error::usage(format!(
        "{option} of the remote {name} {given}, and the settings now name {new}: it was not sent"
    ));
    let said = |key: &str| {
        let (_, from) = project.config.get(&format!("remote.{name}.{key}")).ok()??;
        (from != origin).then(|| format!("{from} sets {key} of {name}"))
    };
    let error = ["endpoint_url", "account_name", "region", "url"]
        .into_iter()
        .find_map(said)
        .into_iter()
        .fold(error, Error::because);
    let level = match origin {
        Origin::File(file) if project.around.user_config.as_ref() == Some(file) => "--user ",
        Origin::File(file) if *file == project.repo.local_config() => "--local ",
        _ => "",
    };
    match place {
        Some(place) => error
            .hint(format!(
                "if that place is the right one: lockstep config {level}remote.{name}.{option}_for {}",
                word(&place.to_string())
            ))
            .hint(format!("or give another one, for this clone alone: lockstep remote modify --local {name} {option}")),
        None => error.hint("see what each file says: lockstep config --show-origin"),
    }
}

/// The endpoint to write beside a secret; `None` if the file has the URL itself.
pub fn place_to_write(project: &Project, name: &str, origin: &Origin) -> Option<Endpoint> {
    let remote = project.config.remote(name).ok()?;
    match project.config.remote_by(name, origin) {
        (Some(_), _) => None,
        (None, _) => Endpoint::of_remote(name, &remote.url, &remote.options, &project.around.env),
    }
}

/// Refuses secrets of the environment for another endpoint: a connection string and an account in the environment name
/// theirs. If the options have secrets of their own, those of the environment are ignored.
pub fn refuse_foreign_environment(
    address: &Address,
    options: &Options,
    env: &BTreeMap<String, String>,
    settings: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let is_set = |name: &&str| env.get(*name).is_some_and(|value| !value.is_empty());
    let named = ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT"].iter().any(is_set);
    let variable = ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"];
    let Some(variable) = variable.iter().find(|name| is_set(name)).filter(|_| named) else { return Ok(()) };
    let mut own = BTreeMap::new();
    complete(address, &Options::default(), env, &mut own);
    let (own, place) = (Endpoint::of_settings(address, &own), Endpoint::of_settings(address, settings));
    if address.scheme != Scheme::Azure || own == place {
        return Ok(());
    }
    let mut of_options = options.for_library(address.scheme);
    complete(address, options, &BTreeMap::new(), &mut of_options);
    let secrets = ["account_key", "sas_token"];
    let is_own = secrets.iter().any(|key| of_options.contains_key(*key)) || options.is_on("allow_anonymous_login");
    if !is_own {
        let shown = |place: Option<Endpoint>| place.map_or("no place".to_string(), |place| place.to_string());
        let (own, place) = (shown(own), shown(place));
        return Err(format!("{variable} is for {own}, and the settings name {place}: it was not sent"));
    }
    for key in secrets.into_iter().filter(|key| !of_options.contains_key(*key)) {
        settings.remove(key);
    }
    Ok(())
}

/// Texts that are never shown, even if a server repeats them.
pub struct HiddenTexts(Vec<String>);

impl HiddenTexts {
    /// Collects the secrets of an address, its options and the environment.
    pub fn collect(address: &Address, options: &Options, env: &BTreeMap<String, String>) -> HiddenTexts {
        let mut settings = options.for_library(address.scheme);
        complete(address, options, env, &mut settings);
        let mut texts: Vec<String> = options.secrets().map(str::to_string).collect();
        let secret = settings.iter().filter(|(name, _)| config::is_secret(name));
        texts.extend(secret.map(|(_, value)| value.clone()));
        if let (Some(user), Some(password)) = (settings.get("username"), settings.get("password")) {
            texts.push(BASE64.encode(format!("{user}:{password}")));
        }
        // The signature of a SAS token.
        let parts = settings.get("sas_token").into_iter().flat_map(|token| token.split(['?', '&']));
        let signatures: Vec<String> = parts.filter_map(|part| part.strip_prefix("sig=")).map(str::to_string).collect();
        texts.extend(signatures.iter().map(|signature| decoded(signature)));
        texts.extend(signatures);
        // Shorter values of the environment, which may belong to another program, are parts of other words.
        let of_env = env.iter().filter(|(name, value)| secret::is_secret(name) && value.len() >= 8);
        texts.extend(of_env.map(|(_, value)| value.clone()));
        texts.retain(|text| text.len() > 3);
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        HiddenTexts(texts)
    }

    /// Replaces the secrets in a text.
    pub fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, hidden| text.replace(hidden, "***"))
    }
}

/// Refuses to send credentials unencrypted.
pub fn refuse_in_clear(
    address: &Address,
    settings: &BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
) -> Result<(), String> {
    let Some(place) = Endpoint::of_settings(address, settings).filter(Endpoint::is_in_clear) else { return Ok(()) };
    match sent_as_it_is(address.scheme, settings, env) {
        Some(what) => {
            Err(format!("{place} would get {what} in clear, where others can read it; only https:// and loopback do"))
        }
        None => Ok(()),
    }
}

/// What a request contains that is as good as a password. A signature made with a key is valid for one request only.
fn sent_as_it_is(
    scheme: Scheme,
    settings: &BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
) -> Option<&'static str> {
    let has = |name: &str| settings.contains_key(name);
    let is_anonymous = settings.get("skip_signature").is_some_and(|skip| skip == "true");
    match scheme {
        Scheme::Webdav | Scheme::Http => {
            let options = [("password", "the password"), ("token", "the token"), ("username", "the user")];
            options.into_iter().find(|(name, _)| has(name)).map(|(_, what)| what)
        }
        Scheme::Azure if has("sas_token") => Some("the sas_token"),
        Scheme::Azure if !is_anonymous && !has("account_key") => Some("an access token"),
        Scheme::Gcs if !is_anonymous => Some("an access token"),
        Scheme::S3 if !is_anonymous => {
            // Keys of the environment are used if the settings have none.
            let names = [
                "AWS_SESSION_TOKEN",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            ];
            let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
            let has_key = is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY");
            let of_env = names.iter().any(|name| is_set(name) && (!has_key || *name == "AWS_SESSION_TOKEN"));
            let of_profile = || !has_key && has_temporary_profile(settings, env);
            let is_temporary =
                has("session_token") || has("role_arn") || (!has("access_key_id") && (of_env || of_profile()));
            is_temporary.then_some("a session token")
        }
        _ => None,
    }
}
