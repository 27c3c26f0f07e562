//! Grants: a remote of `lockstep.toml` that would use the user's identity at an endpoint, or in a way, that the
//! repository chose has to be trusted by the user first.
//!
//! Teams rightly commit `endpoint_url` and `profile`, and so could a stranger whose repository is cloned. Options with
//! the rule `Grant` therefore take effect from `lockstep.toml` only after `lockstep remote trust NAME`, a yes at the
//! terminal, or `LOCKSTEP_TRUST_REMOTES=NAME` without a terminal. A grant covers exactly these values; it is stored in
//! the clone, and another value needs a new one.
//!
//! A bare `s3://bucket/prefix` or `gs://bucket/prefix` needs none: requests go to Amazon's or Google's own hosts over
//! TLS, which know the credentials already, and the owner of a bucket never sees them. The same applies to
//! `ssh://host`: the agent signs for one host and reveals no key, as for a URL of Git. Folders get no credentials; but
//! if the repository names a folder that is not yet a remote, the first push would create a folder of its choice, so
//! that needs a grant, too. Values that the user's own environment (`AWS_PROFILE`, `AWS_ENDPOINT_URL`,
//! `AZURE_STORAGE_ACCOUNT`) or settings file also gives need none.
//!
//! A grant takes effect in the clone that it was given in. For another repository (`get ../other`), neither its grants
//! nor the settings of its clone are trusted, since both may have come with the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::{Grade, is_remote_name, is_secret};
use crate::document;
use crate::error::{Error, Result};
use crate::path::home::expand;
use crate::project::Project;
use crate::remote::settings::address::Scheme;
use crate::remote::settings::options::Options;
use crate::remote::{MARKER, default_name, settings_of};
use crate::replace::FileWriter;
use crate::shell::word;
use crate::store::{ObjectId, RootFolder};
use crate::url::Url;

/// Names of remotes that are trusted with their current values, or `NAME@FINGERPRINT` for exactly these values.
pub const TRUST_REMOTES: &str = "LOCKSTEP_TRUST_REMOTES";

/// The grant that a remote of the repository needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRequest {
    /// The name in the settings.
    pub remote: String,
    /// Its URL without secrets.
    pub url: String,
    /// The options of `lockstep.toml` that need the grant: names, and values without secrets.
    pub options: Vec<(&'static str, String)>,
    /// The credentials that would be used.
    pub identity: String,
    /// Everything that the grant covers.
    statement: String,
    /// Reading needs no grant.
    is_for_writing: bool,
}

impl GrantRequest {
    /// The grant that the remote `name` needs, given or not; `None` if it needs none.
    pub fn for_remote(project: &Project, name: &str) -> Result<Option<GrantRequest>> {
        let (settings, address, options) = settings_of(project, name)?;
        let grade = project.config.grade(&format!("remote.{name}.url"));
        if address.scheme == Scheme::Folder && grade == Some(Grade::Repository) {
            let root = project.repo.project_root.on_disk(project.top());
            let folder = expand(&address.path, &root, project.around.home.as_deref())?;
            return Ok((!RootFolder::new(folder.clone()).stat(MARKER).is_ok_and(|seen| seen.is_file()))
                .then(|| GrantRequest::for_folder(name, &settings.url, &folder)));
        }
        request(name, &settings.url, address.scheme, &options, &project.around.env, project.top())
    }

    /// The grant for a folder of the repository's choice that is not yet a remote.
    fn for_folder(name: &str, url: &Url, folder: &Path) -> GrantRequest {
        GrantRequest {
            remote: name.into(),
            url: url.to_string(),
            identity: "permission to make this folder and to write there".into(),
            statement: format!("{url} ({})\n", ObjectId::of(url.raw().as_bytes()).hex()),
            options: vec![("url", folder.display().to_string())],
            is_for_writing: true,
        }
    }

    /// A short hash of the values.
    pub fn fingerprint(&self) -> String {
        ObjectId::of(self.statement.as_bytes()).hex()[..16].to_string()
    }

    /// The remote with exactly these values, in the form of [`TRUST_REMOTES`].
    fn exact(&self) -> String {
        format!("{}@{}", self.remote, self.fingerprint())
    }

    /// Returns true if the grant is stored in the clone, or given by the environment.
    pub fn is_granted(&self, project: &Project) -> bool {
        let named = project.around.env.get(TRUST_REMOTES);
        let exact = self.exact();
        // A bare name refers to the current repository, not to another one with a remote of that name. A name with `@`
        // could be the text of a grant for other values.
        let takes_names = project.address.is_none() && is_remote_name(&self.remote);
        let is_named = |word: &str| word == exact || (takes_names && word == self.remote);
        // The grants of another repository may have come with its folder.
        let kept = || if project.repo.is_other { BTreeMap::new() } else { read(&file(project)) };
        named.is_some_and(|names| names.split([',', ' ', '\n']).any(is_named))
            || kept().get(&self.remote) == Some(&self.statement)
    }

    /// Stores the grant.
    pub fn grant(&self, project: &Project) -> Result<()> {
        change(project, |grants| {
            grants.insert(self.remote.clone(), self.statement.clone());
        })
    }

    /// The error without a grant, with the command that gives it.
    pub fn refusal(&self, project: &Project) -> Error {
        let options: Vec<String> = self.options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let error =
            Error::usage(format!("you have not trusted the remote {}: nothing is sent to {}", self.remote, self.url))
                .because(format!("{} {}", said_by(project), options.join(", ")))
                .because(format!("it would get {}", self.identity));
        let name = word(&self.remote);
        if project.repo.is_other {
            let error = error.hint(format!("for one command: {TRUST_REMOTES}={}", word(&self.exact())));
            // Host keys concern one endpoint only.
            let is_for_all = |option: &str| !is_secret(option) && option != "known_hosts_strategy";
            let open = self.options.iter().filter(|(option, _)| is_for_all(option));
            return open.fold(error, |error, (option, value)| {
                let key = format!("remote.{}.{option}", self.remote);
                error.hint(format!("for good: lockstep config --user {} {}", word(&key), word(value)))
            });
        }
        if project.address.is_some() {
            let folder = project.top();
            return error.hint(format!("lockstep -C {} remote trust {name}", word(&folder.to_string_lossy())));
        }
        let mut error = error
            .hint(format!("see it, and trust it: lockstep remote trust {name}"))
            .hint(format!("in CI: {TRUST_REMOTES}={}", word(&self.exact())));
        error.untrusted = Some(Box::new(self.remote.clone()));
        error
    }
}

/// Errors: the remote needs a grant and has none. Returns the error for writes, if only those need a grant.
pub fn check(project: &Project, name: &str) -> Result<Option<Error>> {
    match GrantRequest::for_remote(project, name)? {
        Some(request) if request.is_granted(project) => Ok(None),
        Some(request) if request.is_for_writing => Ok(Some(request.refusal(project))),
        Some(request) => Err(request.refusal(project)),
        None => Ok(None),
    }
}

/// The same for several remotes; `None` is the default remote. A remote that does not exist is skipped.
pub fn check_all<'a>(project: &Project, names: impl IntoIterator<Item = Option<&'a str>>) -> Result<()> {
    let names: BTreeSet<String> =
        names.into_iter().filter_map(|name| name.map(str::to_string).or_else(|| default_name(project).ok())).collect();
    let known = project.config.remotes();
    names.iter().filter(|name| known.contains(&name.as_str())).try_for_each(|name| check(project, name).map(drop))
}

/// How the user changes a setting of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingEdit {
    /// The user types the value.
    Set,
    /// A value that the user did not type may take effect.
    Unset,
}

/// Changes the settings of a remote: `change` returns the option, or `url`. A remote that was trusted, or needed no
/// grant, stays trusted, unless a value of `lockstep.toml` that the user did not type needs a grant now.
pub fn change_trusted(
    project: &Project,
    name: &str,
    edit: SettingEdit,
    change: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let is_new = project.config.remote(name).is_err();
    let before = if is_new { Ok(None) } else { GrantRequest::for_remote(project, name) };
    let url = |project: &Project| project.config.remote(name).map(|settings| settings.url.clone()).ok();
    let url_before = url(project);
    let option = change()?;
    // Invalid settings were not trusted.
    let Ok(before) = before else { return Ok(option) };
    let was_trusted = before.as_ref().is_none_or(|request| request.is_granted(project));
    let known = before.map(|request| request.options).unwrap_or_default();
    let project = Project::open(project.around.clone())?;
    let is_typed = |name: &str| edit == SettingEdit::Set && option == name;
    if let Ok(Some(request)) = GrantRequest::for_remote(&project, name)
        // A grant for a folder covers its URL only.
        && (was_trusted || (request.is_for_writing && is_typed("url")))
        && (is_typed("url") || url(&project) == url_before)
        && request.options.iter().all(|option| is_typed(option.0) || known.contains(option))
    {
        request.grant(&project)?;
    }
    Ok(option)
}

/// The same when a remote is renamed.
pub fn rename<T>(project: &Project, old: &str, new: &str, change: impl FnOnce() -> Result<T>) -> Result<T> {
    let request = GrantRequest::for_remote(project, old).ok().flatten().filter(|request| request.is_granted(project));
    let changed = change()?;
    if let Some(request) = request {
        revoke(project, old)?;
        GrantRequest { remote: new.into(), ..request }.grant(project)?;
    }
    Ok(changed)
}

/// Checks a folder outside of the repository that only a file of the repository names; `what` says which file.
///
/// Errors: the user has not allowed it to be read.
pub fn check_folder(project: &Project, folder: &Path, what: &str) -> Result<()> {
    // A missing or unreadable repository is an error of the caller that opens it.
    let Ok(real) = std::fs::canonicalize(folder) else { return Ok(()) };
    let named = project.around.env.get(TRUST_REMOTES).filter(|_| project.address.is_none());
    let is_named = |word: &str| Path::new(word) == real;
    if real.starts_with(project.top())
        || named.is_some_and(|names| names.split([',', '\n']).any(is_named))
        || read(&file(project)).contains_key(&key_of_folder(&real))
    {
        return Ok(());
    }
    let shown = real.to_string_lossy();
    Err(Error::usage(format!("{what} {shown}, a folder outside of this repository, and you have not trusted it"))
        .because("what is imported from it is stored, and the next push publishes it")
        .hint(format!("if its files may go where this repository's go: lockstep remote trust {}", word(&shown)))
        .hint(format!("in CI: {TRUST_REMOTES}={}", word(&shown))))
}

/// Stores the grant for a folder that the user named.
pub fn grant_folder(project: &Project, folder: &Path) -> Result<()> {
    let Ok(real) = std::fs::canonicalize(folder) else { return Ok(()) };
    let key = key_of_folder(&real);
    if real.starts_with(project.top()) || read(&file(project)).contains_key(&key) {
        return Ok(());
    }
    change(project, |grants| {
        grants.insert(key, "its files may be imported".into());
    })
}

/// The key of a grant for a folder; no remote can have this name.
pub fn key_of_folder(real: &Path) -> String {
    format!("folder {}", real.display())
}

/// Revokes a grant; returns whether there was one.
pub fn revoke(project: &Project, name: &str) -> Result<bool> {
    let mut was_there = false;
    if read(&file(project)).contains_key(name) {
        change(project, |grants| was_there = grants.remove(name).is_some())?;
    }
    Ok(was_there)
}

fn request(
    name: &str,
    url: &Url,
    scheme: Scheme,
    options: &Options,
    env: &BTreeMap<String, String>,
    top: &Path,
) -> Result<Option<GrantRequest>> {
    let asked: Vec<(&'static str, &str)> =
        options.of_repository(scheme).filter(|(option, value)| needs_grant(option, value, options, env)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    // The URL without its secrets, for people, and a hash of all of it: the secrets are covered as well.
    let mut statement = format!("{url} ({})\n", ObjectId::of(url.raw().as_bytes()).hex());
    let mut shown = Vec::new();
    for (option, value) in asked {
        let hashed = || ObjectId::of(value.as_bytes()).hex();
        let said = if is_secret(option) { hashed() } else { value.to_string() };
        statement.push_str(&format!("{option} = {said}{}\n", content(name, option, value, top)?));
        shown.push((option, if is_secret(option) { "***".to_string() } else { value.to_string() }));
    }
    let identity = identity(scheme, options, env);
    Ok(Some(GrantRequest {
        remote: name.into(),
        url: url.to_string(),
        options: shown,
        identity,
        statement,
        is_for_writing: false,
    }))
}

/// Returns true if the repository's value of this option needs a grant.
fn needs_grant(option: &str, value: &str, options: &Options, env: &BTreeMap<String, String>) -> bool {
    let of_the_user: &[&str] = match option {
        "profile" => &["AWS_PROFILE"],
        "endpoint_url" => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"],
        "account_name" => &["AZURE_STORAGE_ACCOUNT"],
        _ => &[],
    };
    // The first variable that is set takes effect.
    if of_the_user.iter().find_map(|name| env.get(*name)).is_some_and(|said| said == value) {
        return false;
    }
    match option {
        // No credentials are sent to a host with anonymous access.
        "endpoint_url" | "account_name" => !options.is_on("allow_anonymous_login"),
        "known_hosts_strategy" => value != "strict",
        _ => true,
    }
}

/// The content of the file at a path. A file in the repository is controlled by the repository, too: its content is
/// part of the statement.
///
/// Errors: the file cannot be read completely, so a grant would not cover its content.
fn content(remote: &str, option: &str, path: &str, top: &Path) -> Result<String> {
    const MOST: u64 = 1 << 20;
    if !matches!(option, "credential_path" | "keyfile") {
        return Ok(String::new());
    }
    let failed = |e: Error| Error { message: format!("the {option} of remote {remote}: {}", e.message), ..e };
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(String::new()),
        Err(e) => return Err(failed(Error::io("look at", path, e))),
    };
    if !real.starts_with(top) {
        return Ok(format!(" ({})", real.display()));
    }
    match document::read(&real, MOST) {
        Ok(bytes) => Ok(format!(" ({})", ObjectId::of(&bytes.unwrap_or_default()).hex())),
        Err(e) => {
            let e = Error { hints: Vec::new(), ..failed(e) };
            Err(e.hint(format!(
                "name a file of your own: lockstep remote modify --local {} {option} FILE",
                word(remote)
            )))
        }
    }
}

fn identity(scheme: Scheme, options: &Options, env: &BTreeMap<String, String>) -> String {
    let set = |name: &str| options.get(name);
    match scheme {
        Scheme::S3 => {
            let profile = set("profile").or_else(|| env.get("AWS_PROFILE").map(String::as_str));
            let who = match (set("access_key_id"), profile) {
                (Some(key), _) => format!("the AWS access key {key}"),
                (None, Some(profile)) => format!("your AWS credentials, by the profile {profile}"),
                (None, None) => "your AWS credentials: those of the environment, of ~/.aws or of this machine".into(),
            };
            set("role_arn").map_or(who.clone(), |role| format!("{who}, to take the role {role}"))
        }
        Scheme::Gcs => match set("credential_path") {
            Some(path) => format!("what the credentials file {path} says, which may name other files and hosts"),
            None => "your Google credentials: those of the environment, of gcloud or of this machine".into(),
        },
        Scheme::Azure => "your Azure credentials: those of the settings, of the environment or of this machine".into(),
        Scheme::Sftp => match set("keyfile") {
            Some(path) => format!("a proof that you have the SSH key {path}"),
            None => "a proof that you have your SSH keys".into(),
        },
        Scheme::Folder | Scheme::Webdav | Scheme::Http => "your credentials".into(),
    }
}

fn said_by(project: &Project) -> String {
    match &project.address {
        Some(address) if project.repo.is_other => format!("the settings of {address} say"),
        _ => "lockstep.toml says".into(),
    }
}

fn file(project: &Project) -> PathBuf {
    project.repo.grants_file()
}

/// The granted statements, by the names of remotes. An unreadable file grants nothing.
fn read(file: &Path) -> BTreeMap<String, String> {
    let bytes = document::read(file, document::MOST).ok().flatten();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn change(project: &Project, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
    let file = file(project);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    let turn = FileWriter::lock(&file)?;
    let mut grants = read(&file);
    change(&mut grants);
    turn.write(&serde_json::to_vec_pretty(&grants).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GradedValue, Origin, Setting};
    use crate::remote::settings::address::Address;
    use crate::remote::settings::options::tests::with_grant;

    fn requested(
        url: &str,
        repository: &[(&str, &str)],
        user: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Option<GrantRequest> {
        let scheme = Address::parse(&url.into()).unwrap().scheme;
        let places = [(Grade::Repository, repository), (Grade::User, user)];
        let said = places.into_iter().flat_map(|(grade, options)| {
            options.iter().map(move |(name, value)| {
                let value = Setting::Str(value.to_string());
                (name.to_string(), GradedValue { value, origin: Origin::Default, grade, order: 0 })
            })
        });
        let options = Options::read("lab", scheme, &said.collect::<Vec<_>>()).unwrap();
        let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        request("lab", &url.into(), scheme, &options, &env, Path::new("/nowhere")).unwrap()
    }

    #[test]
    fn what_would_use_the_identity_of_the_user_needs_a_grant() {
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: &[(&str, Pairs, Pairs, Pairs, &str)] = &[
            ("s3://b/x", &[], &[], &[], ""),
            ("s3://b/x", &[("region", "eu")], &[], &[], ""),
            ("s3://b/x", &[("endpoint_url", "http://h")], &[], &[], "endpoint_url"),
            ("s3://b/x", &[("endpointurl", "http://h")], &[], &[], "endpoint_url"),
            ("s3://b/x", &[("endpoint_url", "http://h")], &[("endpoint_url", "http://mine")], &[], ""),
            ("s3://b/x", &[("endpoint_url", "http://h"), ("allow_anonymous_login", "true")], &[], &[], ""),
            (
                "s3://b/x",
                &[("endpoint_url", "http://h"), ("allow_anonymous_login", "true")],
                &[("allow_anonymous_login", "false")],
                &[],
                "endpoint_url",
            ),
            ("s3://b/x", &[("endpoint_url", "http://h")], &[], &[("AWS_ENDPOINT_URL", "http://h")], ""),
            ("s3://b/x", &[("endpoint_url", "http://h")], &[], &[("AWS_ENDPOINT_URL", "http://mine")], "endpoint_url"),
            ("s3://b/x", &[("profile", "p"), ("role_arn", "r")], &[], &[], "profile role_arn"),
            ("s3://b/x", &[("profile", "p"), ("allow_anonymous_login", "true")], &[], &[], "profile"),
            ("s3://b/x", &[("profile", "p")], &[], &[("AWS_PROFILE", "p")], ""),
            ("s3://b/x", &[], &[("profile", "p")], &[], ""),
            ("gs://b/x", &[], &[], &[], ""),
            ("gs://b/x", &[("credential_path", "c.json")], &[], &[], "credential_path"),
            (
                "gs://b/x",
                &[("credentialpath", "c.json"), ("allow_anonymous_login", "true")],
                &[],
                &[],
                "credential_path",
            ),
            ("gs://b/x", &[], &[("credential_path", "c.json")], &[], ""),
            ("azure://c/x", &[("account_name", "a")], &[], &[], "account_name"),
            ("azure://c/x", &[("account_name", "a")], &[], &[("AZURE_STORAGE_ACCOUNT", "a")], ""),
            ("azure://c/x", &[("connection_string", "BlobEndpoint=http://h")], &[], &[], "connection_string"),
            ("ssh://h/x", &[("user", "u"), ("port", "22")], &[], &[], ""),
            ("ssh://h/x", &[("keyfile", "k")], &[], &[], "keyfile"),
            ("ssh://h/x", &[("known_hosts_strategy", "accept")], &[], &[], "known_hosts_strategy"),
            ("ssh://h/x", &[("known_hosts_strategy", "strict")], &[], &[], ""),
            ("webdavs://h/x", &[("user", "u")], &[], &[], ""),
            ("/mnt/store", &[("read_only", "true")], &[], &[], ""),
        ];
        for (url, repository, user, env, want) in cases {
            let options = requested(url, repository, user, env).map(|request| request.options).unwrap_or_default();
            let got: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            assert_eq!(got.join(" "), *want, "{url} {repository:?} {user:?} {env:?}");
        }
    }

    #[test]
    fn every_option_that_needs_a_grant_asks_for_one() {
        for url in ["s3://b/x", "gs://b/x", "azure://c/x", "ssh://h/x", "webdavs://h/x", "https://h/x", "/mnt/store"] {
            for option in with_grant(Address::parse(&url.into()).unwrap().scheme) {
                let value = if option == "known_hosts_strategy" { "add" } else { "value" };
                let request = requested(url, &[(option, value)], &[], &[]);
                assert_eq!(request.map(|request| request.options.len()), Some(1), "{url} {option}");
                assert_eq!(requested(url, &[], &[(option, value)], &[]), None, "{url} {option}");
            }
        }
    }

    #[test]
    fn a_grant_is_for_exactly_these_values() {
        let of = |url: &str, options: &[(&str, &str)]| requested(url, options, &[], &[]).unwrap().fingerprint();
        let first = of("s3://b/x", &[("endpoint_url", "http://h")]);
        assert_eq!(first, of("s3://b/x", &[("endpointurl", "http://h"), ("jobs", "3")]));
        for (url, options) in [
            ("s3://other/x", vec![("endpoint_url", "http://h")]),
            ("s3://b/x", vec![("endpoint_url", "http://h:1")]),
            ("s3://b/x", vec![("endpoint_url", "http://h"), ("profile", "p")]),
        ] {
            assert_ne!(first, of(url, &options), "{url} {options:?}");
        }
    }

    #[test]
    fn secrets_are_neither_shown_nor_kept() {
        let request = requested("azure://c/x", &[("connection_string", "AccountKey=s3cr3t")], &[], &[]).unwrap();
        assert!(!format!("{request:?}").contains("s3cr3t"));
    }
}
