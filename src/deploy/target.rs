//! The target of a deployment: the entry of `pipeline.yaml`, the options of the command line, and the folder that the
//! user allows.
//!
//! Targets are read from the worktree of the clone that deploys, never from the commit that is deployed: a tag must not
//! bring commands with it. A folder outside of the repository is the user's word: `--to`, or the setting
//! `deploy.NAME.to`, which `lockstep.toml` cannot give.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::oci::{OciReference, SCHEME};
use super::request::Request;
use crate::config::{Grade, Setting};
use crate::error::{Error, Result};
use crate::model::artifact;
use crate::path::home::expand;
use crate::path::{RepoPath, normalise};
use crate::pipeline::deploy::{DeployTarget, ReleaseLink, Requirement};
use crate::pipeline::problem::did_you_mean;
use crate::project::{Project, Snapshot};
use crate::shell::word;
use crate::store::hash;
use crate::tag::{ModelName, ModelRequest, Which};

/// How many releases stay besides the current one and the one before.
const KEEP: u64 = 5;
/// The limit of each command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A target with everything that a deployment needs.
#[derive(Clone, Debug)]
pub struct Target {
    /// The key below `deploy`, or the name of the folder of `--to`.
    pub name: String,
    /// Whether `pipeline.yaml` has it.
    pub is_declared: bool,
    /// What belongs there.
    pub what: Wanted,
    /// The folder.
    pub to: Destination,
    /// The folder in which commands run: that of the pipeline file, or the current one.
    pub wdir: PathBuf,
    /// The command before the switch.
    pub check: Option<String>,
    /// The command after it.
    pub after: Option<String>,
    /// The URL or command that is asked until it holds.
    pub healthy: Option<String>,
    /// The limit of each of the three.
    pub timeout: Duration,
    /// How many releases stay besides the current one and the one before.
    pub keep: u64,
    /// What a version needs.
    pub require: Vec<Requirement>,
    /// How files get into a release.
    pub link: ReleaseLink,
}

/// What is to be deployed.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A version of the registry.
    Version(ModelRequest),
    /// Data or an output of the worktree, as its lock pins it.
    Path(RepoPath),
}

/// A folder, and who named it.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Absolute, without `.` and `..`.
    pub folder: PathBuf,
    /// As shown.
    pub shown: String,
    /// The registry; the folder is then one of this clone, with the journal and the last releases.
    pub registry: Option<OciReference>,
    /// Whether the user named it, not only a file of the repository.
    pub is_users: bool,
}

/// The setting that names the folder of a target.
pub fn setting_of(target: &str) -> String {
    format!("deploy.{target}.to")
}

/// All targets of the worktree with the folder of their pipeline file, by name.
///
/// Errors: two files have one of the same name.
pub fn declared<'s>(now: &'s Snapshot<'_>) -> Result<Vec<(RepoPath, &'s DeployTarget)>> {
    let files = now.definitions.pipelines.files.iter();
    let mut all: Vec<(RepoPath, &DeployTarget)> =
        files.flat_map(|file| file.deploy.iter().map(|target| (file.path.clone(), target))).collect();
    all.sort_by(|a, b| (&a.1.name, &a.0).cmp(&(&b.1.name, &b.0)));
    match all.windows(2).find(|pair| pair[0].1.name == pair[1].1.name) {
        None => Ok(all),
        Some(pair) => Err(Error::usage(format!("two deployment targets have the name {}", pair[0].1.name))
            .because(format!("{} and {} have one each", pair[0].0, pair[1].0))
            .hint("rename one of them")),
    }
}

/// The target that a request names.
///
/// Errors: there is no such target, version or path, or its folder is not allowed.
pub fn find(project: &Project, now: &Snapshot<'_>, request: &Request) -> Result<Target> {
    let targets = declared(now)?;
    if let Some((file, entry)) = targets.iter().find(|(_, entry)| entry.name == request.what) {
        return of_entry(project, now, request, file, entry);
    }
    let Some(typed) = &request.to else { return Err(unknown(now, request, &targets)) };
    let what = match request.what.parse::<ModelRequest>() {
        Ok(asked) if is_model(project, now, &asked) => Wanted::Version(asked),
        parsed => match project.typed(&request.what) {
            Some(path) if now.pin(&path)?.is_some() => Wanted::Path(path),
            _ => Wanted::Version(parsed.map_err(Error::usage)?),
        },
    };
    let name = place_name(Path::new(typed.trim_start_matches(SCHEME)));
    let to = typed_destination(project, &name, typed)?;
    Ok(with_options(request, name, what, to, project.around.cwd.clone(), &DeployTarget::default()))
}

fn of_entry(
    project: &Project,
    now: &Snapshot<'_>,
    request: &Request,
    file: &RepoPath,
    entry: &DeployTarget,
) -> Result<Target> {
    let name = wanted_model(now, file, entry)?;
    let which = match &entry.label {
        Some(label) => Which::Label(label.parse().map_err(|why| misplaced(file, entry, "label", why))?),
        None => Which::Latest,
    };
    let to = destination(project, request, file, entry)?;
    let what = Wanted::Version(ModelRequest { name, which });
    let wdir = file.parent().unwrap_or_default().on_disk(project.top());
    let target = with_options(request, entry.name.clone(), what, to, wdir, entry);
    Ok(Target { is_declared: true, ..target })
}

fn with_options(
    request: &Request,
    name: String,
    what: Wanted,
    to: Destination,
    wdir: PathBuf,
    entry: &DeployTarget,
) -> Target {
    let pick = |typed: &Option<String>, written: &Option<String>| {
        typed.clone().or_else(|| written.clone()).filter(|text| !text.trim().is_empty())
    };
    let mut require = [entry.require.clone(), request.require.clone()].concat();
    require.sort_unstable();
    require.dedup();
    Target {
        name,
        is_declared: false,
        what,
        to,
        wdir,
        check: pick(&request.check, &entry.check),
        after: pick(&request.after, &entry.after),
        healthy: pick(&request.healthy, &entry.healthy),
        timeout: request.timeout.or(entry.timeout).unwrap_or(TIMEOUT),
        keep: request.keep.or(entry.keep).unwrap_or(KEEP),
        require,
        link: request.link.or(entry.link).unwrap_or_default(),
    }
}

/// The artifact of a target: the one that it names, or the only one.
fn wanted_model(now: &Snapshot<'_>, file: &RepoPath, entry: &DeployTarget) -> Result<ModelName> {
    let folder = file.parent().unwrap_or_default();
    if let Some(written) = &entry.artifact {
        let name: ModelName = written.parse().map_err(|why| misplaced(file, entry, "artifact", why))?;
        let known = artifact::all(now).into_iter().map(|artifact| artifact.name).collect();
        return crate::tag::resolve_name(&name, &known, &folder);
    }
    let all = artifact::all(now);
    let beside: Vec<&artifact::Artifact> = all.iter().filter(|a| a.name.folder() == folder.as_str()).collect();
    match (&beside[..], &all[..]) {
        ([one], _) => Ok(one.name.clone()),
        ([], [one]) => Ok(one.name.clone()),
        _ => {
            let names: Vec<String> = all.iter().map(|artifact| artifact.name.to_string()).collect();
            let why = if names.is_empty() { "no artifact is declared".into() } else { names.join(", ") };
            Err(misplaced(file, entry, "artifact", "is missing, and there is not exactly one artifact".into())
                .because(why)
                .hint(format!("name it: `deploy: {{{}: {{artifact: NAME}}}}`", entry.name)))
        }
    }
}

fn misplaced(file: &RepoPath, entry: &DeployTarget, key: &str, why: String) -> Error {
    let (line, column) = (entry.mark.line, entry.mark.column);
    Error::usage(format!("{file}:{line}:{column}: deployment target `{}`, `{key}`: {why}", entry.name))
}

/// The folder of a declared target: `--to`, else the setting, else the pipeline file.
fn destination(project: &Project, request: &Request, file: &RepoPath, entry: &DeployTarget) -> Result<Destination> {
    if let Some(typed) = &request.to {
        return typed_destination(project, &entry.name, typed);
    }
    let key = setting_of(&entry.name);
    let root = project.repo.project_root.on_disk(project.top());
    let home = project.around.home.as_deref();
    if project.config.grade(&key) == Some(Grade::User)
        && let Some((Setting::Str(text), _)) = project.config.get(&key)?
    {
        if text.starts_with(SCHEME) {
            return of_registry(project, &entry.name, text, true);
        }
        let folder = absolute(&expand(text, &root, home)?);
        return Ok(Destination { folder, shown: text.clone(), registry: None, is_users: true });
    }
    let Some(written) = &entry.to else {
        return Err(misplaced(file, entry, "to", "is missing, so there is no folder to deploy to".into())
            .hint(format!("write it there, or: lockstep config --local {} FOLDER", word(&key)))
            .hint("or for this time: --to FOLDER"));
    };
    if written.starts_with(SCHEME) {
        return of_registry(project, &entry.name, written, false);
    }
    if written.contains("://") || written.starts_with("remote:") {
        return Err(misplaced(file, entry, "to", format!("`{written}` is not a folder and not oci://HOST/REPOSITORY")));
    }
    let base = file.parent().unwrap_or_default().on_disk(project.top());
    let folder = absolute(&expand(written, &base, home)?);
    Ok(Destination { folder, shown: written.clone(), registry: None, is_users: false })
}

fn typed_destination(project: &Project, name: &str, typed: &str) -> Result<Destination> {
    if typed.starts_with(SCHEME) {
        return of_registry(project, name, typed, true);
    }
    if typed.contains("://") {
        return Err(Error::usage(format!("`{typed}` is not a folder and not oci://HOST/REPOSITORY")));
    }
    let folder = absolute(&project.around.cwd.join(typed));
    Ok(Destination { folder, shown: typed.to_string(), registry: None, is_users: true })
}

/// A registry, with the folder of this clone for the journal. Registries of one name have folders of their own.
fn of_registry(project: &Project, name: &str, address: &str, is_users: bool) -> Result<Destination> {
    let registry = OciReference::parse(address)?;
    let hash = hash::hash_bytes(registry.to_string().as_bytes()).hex();
    let folder = project.repo.targets_dir().join(format!("{name}-{}", &hash[..12]));
    Ok(Destination { folder, shown: registry.to_string(), registry: Some(registry), is_users })
}

impl Destination {
    /// The folder or the registry, for messages, journals and records.
    pub fn place(&self) -> String {
        match &self.registry {
            Some(registry) => registry.to_string(),
            None => self.folder.display().to_string(),
        }
    }
}

/// Without `.`, `..` and a slash at the end. By spelling: links are looked at when the folder is opened.
fn absolute(path: &Path) -> PathBuf {
    PathBuf::from(normalise(&path.to_string_lossy()))
}

/// A name for the place of `--to`, of the letters that targets may have.
fn place_name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fine: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let fine = fine.trim_matches(['-', '_']);
    if fine.is_empty() { "folder".into() } else { fine.chars().take(100).collect() }
}

/// Whether a model of this name has tags or is declared.
fn is_model(project: &Project, now: &Snapshot<'_>, asked: &ModelRequest) -> bool {
    use crate::model::registry::Registry;
    let named = |name: &ModelName| name.short() == asked.name.short();
    artifact::all(now).iter().any(|artifact| named(&artifact.name))
        || Registry::read(&project.repo).is_ok_and(|registry| registry.models.keys().any(named))
}

fn unknown(now: &Snapshot<'_>, request: &Request, targets: &[(RepoPath, &DeployTarget)]) -> Error {
    let what = &request.what;
    let names = || targets.iter().map(|(_, entry)| entry.name.as_str());
    let error = match now.definitions.broken.first() {
        Some((_, broken)) => return broken.clone().because(format!("it may have the deployment target {what}")),
        None => Error::missing(format!("there is no deployment target {what}")),
    };
    let error = did_you_mean(what, names()).into_iter().fold(error, Error::hint);
    let error = match names().collect::<Vec<_>>() {
        names if names.is_empty() => error.hint("declare one in pipeline.yaml: `deploy: {prod: {label: prod, to: …}}`"),
        names => error.hint(format!("the targets are {}", names.join(", "))),
    };
    error.hint(format!("a version of a model to a folder: lockstep deploy {} --to FOLDER", word(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_name_that_a_target_could_have() {
        for (folder, want) in [("/srv/digits", "digits"), ("/", "folder"), ("/a/ü b", "b"), ("/x/-", "folder")] {
            assert_eq!(place_name(Path::new(folder)), want);
            assert_eq!(crate::pipeline::deploy::name_problem(want), None);
        }
    }
}
