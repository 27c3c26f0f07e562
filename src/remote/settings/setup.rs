//! Setting up remotes: `remote add`, `modify`, `rename`, `remove`, `default`. The settings files are edited in place.
//!
//! A secret is written to the settings of this clone only, never to `lockstep.toml`, which is committed.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, Origin, Sources};
use crate::error::{Error, Result};
use crate::path::home::below_home;
use crate::path::normalise;
use crate::project::Project;
use crate::remote::settings::address::{Address, Scheme};
use crate::remote::settings::{options, secrets};
use crate::shell::word;
use crate::url::form::folder_url;
use crate::url::{Url, redact_text};

/// Which settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `lockstep.toml`, which is committed.
    Project,
    /// The settings of this clone, which are not committed.
    Local,
}

/// A remote in the settings, for display: without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSummary {
    /// The name in the settings.
    pub name: String,
    /// The URL without secrets.
    pub url: String,
    /// Whether commands without `-r` use it.
    pub is_default: bool,
    /// Name and value, in the order of the settings; a secret is `***`.
    pub options: Vec<(String, String)>,
}

/// Settings of the project are in its files, and a bare repository has none.
fn writable(project: &Project, level: Level) -> Result<()> {
    match level {
        Level::Project => project.with_files().map_err(|e| Error::usage(e.message).hint("for it alone: --local")),
        Level::Local => Ok(()),
    }
}

/// The settings file of a level.
pub fn file(project: &Project, level: Level) -> PathBuf {
    match level {
        Level::Project => project.repo.project_config(),
        Level::Local => project.repo.local_config(),
    }
}

/// Adds a remote, or with `replace` changes its URL. Returns what was written.
pub fn add(project: &Project, name: &str, url: &Url, level: Level, replace: bool, default: bool) -> Result<Url> {
    check_name(name)?;
    writable(project, level)?;
    let address = Address::parse(url)?;
    if holds_password(url, &address) && level == Level::Project {
        return Err(Error::usage("a password does not belong in lockstep.toml, which is committed")
            .hint(format!("lockstep remote add {name} {}", word(url.without_secret().raw())))
            .hint(format!("lockstep remote modify --local {name} password")));
    }
    if !replace && project.config.remotes().contains(&name) {
        return Err(Error::usage(format!("there is a remote `{name}` already: {}", shown_url(project, name)))
            .hint("give it another URL: lockstep remote add --force …"));
    }
    let written = if address.scheme == Scheme::Folder { from_root(project, &address).into() } else { url.clone() };
    let file = file(project, level);
    config::set(&file, &format!("remote.{name}.url"), written.raw())?;
    if default {
        config::set(&file, "core.remote", name)?;
    }
    Ok(written)
}

fn holds_password(url: &Url, address: &Address) -> bool {
    address.password.is_some() || url.has_secret()
}

/// The URL of a remote as written to the settings: a folder relative to the current directory becomes relative to the
/// root.
///
/// Errors (usage): it is misspelt.
pub fn written_url(project: Option<&Project>, value: &str) -> Result<String> {
    let address = Address::parse(&Url::from(value))?;
    match project.filter(|_| address.scheme == Scheme::Folder) {
        Some(project) => Ok(from_root(project, &address)),
        None => Ok(value.to_string()),
    }
}

/// A folder relative to the current directory, relative to the root of the project.
fn from_root(project: &Project, address: &Address) -> String {
    let path = &address.path;
    if Path::new(path).is_absolute() || below_home(path).is_some() {
        return path.clone();
    }
    let path = normalise(&format!("{}/{path}", project.cwd.relative_to(&project.repo.project_root)));
    // An `@` in its first part would not be read as a folder.
    let url = folder_url(&path);
    if Address::parse(&url).is_ok() { url.raw().to_string() } else { format!("./{path}") }
}

fn check_name(name: &str) -> Result<()> {
    if config::is_remote_name(name) {
        return Ok(());
    }
    Err(Error::usage(format!("`{name}` is not a valid name of a remote")).hint("letters, digits, `-`, `_` and `.`"))
}

/// Sets an option, or the URL. Returns the name of the option as written.
pub fn modify(project: &Project, name: &str, option: &str, value: &str, level: Level) -> Result<String> {
    let option = option_name(project, name, option)?;
    writable(project, level)?;
    if config::is_secret(&option) {
        refuse_committed(name, &option, level)?;
        options::check(&option, value)?;
        set_secret(project, name, &option, value, file(project, level))?;
        return Ok(option);
    }
    let mut value = value.to_string();
    if option == "url" {
        let url = Url::from(value.as_str());
        let address = Address::parse(&url)?;
        if holds_password(&url, &address) && level == Level::Project {
            return Err(Error::usage("a password does not belong in lockstep.toml, which is committed")
                .hint(format!("lockstep remote modify --local {name} password")));
        }
        if address.scheme == Scheme::Folder {
            value = from_root(project, &address);
        }
    } else {
        options::check(&option, &value)?;
        if level == Level::Project && Url::from(value.as_str()).has_secret() {
            return Err(Error::usage(format!("`{option}` holds a password, and lockstep.toml is committed"))
                .hint(format!("for this clone alone: lockstep remote modify --local {name} {option} URL")));
        }
    }
    config::set(&file(project, level), &format!("remote.{name}.{option}"), &value)?;
    Ok(option)
}

/// The name of an option if it is a secret that may be written at this level, so that the caller can ask for its value.
pub fn secret_to_ask_for(project: &Project, name: &str, option: &str, level: Level) -> Result<Option<String>> {
    let option = option_name(project, name, option)?;
    if !config::is_secret(&option) {
        return Ok(None);
    }
    refuse_committed(name, &option, level)?;
    Ok(Some(option))
}

fn refuse_committed(name: &str, option: &str, level: Level) -> Result<()> {
    if level == Level::Local {
        return Ok(());
    }
    Err(Error::usage(format!("`{option}` is a secret and does not belong in lockstep.toml, which is committed"))
        .hint(format!("lockstep remote modify --local {name} {option}")))
}

/// Writes a secret to a settings file, with its endpoint: the current one of the remote.
pub fn set_secret(project: &Project, name: &str, option: &str, value: &str, file: PathBuf) -> Result<()> {
    let place = secrets::place_to_write(project, name, &Origin::File(file.clone())).map(|place| place.to_string());
    let (key, place_key) = (format!("remote.{name}.{option}"), format!("remote.{name}.{option}_for"));
    config::change(&file, &[(&key, Some(value)), (&place_key, place.as_deref())])
}

/// Removes an option.
pub fn unset(project: &Project, name: &str, option: &str, level: Level) -> Result<String> {
    let is_written = project.config.remote(name)?.options.iter().any(|(known, _)| known == option);
    let option = if is_written { option.to_string() } else { option_name(project, name, option)? };
    let file = file(project, level);
    if !config::unset(&file, &format!("remote.{name}.{option}"))? {
        return Err(Error::missing(format!("{} does not set `{option}` of {name}", file.display()))
            .hint("see what does: lockstep config --show-origin"));
    }
    if config::is_secret(&option) {
        config::unset(&file, &format!("remote.{name}.{option}_for"))?;
    }
    Ok(option)
}

fn option_name(project: &Project, name: &str, option: &str) -> Result<String> {
    let remote = project.config.remote(name)?;
    if option == "url" {
        return Ok(option.to_string());
    }
    let scheme = Address::parse(&remote.url)?.scheme;
    options::name(name, scheme, option).map(str::to_string)
}

/// Removes a remote from the settings of this clone and of the project; its objects stay. Returns the files that had
/// it.
pub fn remove(project: &Project, name: &str) -> Result<Vec<PathBuf>> {
    project.config.remote(name)?;
    let mut files = Vec::new();
    for file in [file(project, Level::Project), file(project, Level::Local)] {
        let is_there = config::unset(&file, &format!("remote.{name}"))?;
        let alone = Config::load(&Sources::file(file.clone()))?;
        if alone.default_remote() == Some(name) {
            config::unset(&file, "core.remote")?;
        }
        if is_there {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::usage(format!("the remote `{name}` is in your own settings, not in this repository's"))
            .hint(format!("lockstep config --user --unset remote.{name}")));
    }
    Ok(files)
}

/// Renames a remote in all settings of this repository.
pub fn rename(project: &Project, old: &str, new: &str) -> Result<()> {
    check_name(new)?;
    project.config.remote(old)?;
    if project.config.remotes().contains(&new) {
        return Err(Error::usage(format!("there is a remote `{new}` already: {}", shown_url(project, new))));
    }
    let prefix = format!("remote.{old}.");
    for file in [file(project, Level::Project), file(project, Level::Local)] {
        let alone = Config::load(&Sources::file(file.clone()))?;
        let values: Vec<_> = alone.list().iter().filter(|(key, ..)| key.starts_with(&prefix)).collect();
        for (key, value, _) in &values {
            config::set(&file, &format!("remote.{new}.{}", &key[prefix.len()..]), &value.to_string())?;
        }
        if !values.is_empty() {
            config::unset(&file, &format!("remote.{old}"))?;
        }
        let default = alone.list().iter().any(|(key, value, origin)| {
            key == "core.remote" && value.to_string() == old && matches!(origin, Origin::File(_))
        });
        if default {
            config::set(&file, "core.remote", new)?;
        }
    }
    Ok(())
}

/// Sets the default remote.
pub fn set_default(project: &Project, name: &str, level: Level) -> Result<()> {
    project.config.remote(name)?;
    writable(project, level)?;
    config::set(&file(project, level), "core.remote", name)
}

/// All remotes, sorted by name.
pub fn list(project: &Project) -> Result<Vec<RemoteSummary>> {
    let default = project.config.default_remote();
    let mut all = Vec::new();
    for name in project.config.remotes() {
        let remote = project.config.remote(name)?;
        let shown = |(option, value): &(String, config::Setting)| {
            let value =
                if config::is_shown_option(option) { redact_text(&value.to_string()) } else { "***".to_string() };
            (option.clone(), value)
        };
        all.push(RemoteSummary {
            name: name.to_string(),
            url: remote.url.to_string(),
            is_default: default == Some(name),
            options: remote.options.iter().map(shown).collect(),
        });
    }
    Ok(all)
}

fn shown_url(project: &Project, name: &str) -> String {
    project.config.remote(name).map(|remote| remote.url.to_string()).unwrap_or_default()
}
