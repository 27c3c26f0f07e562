//! Reads what `uv sync` takes from `pyproject.toml`: the project's name, its default groups and its requirements.

use std::str::FromStr;

use pep508_rs::pep440_rs::VersionSpecifiers;
use pep508_rs::{PackageName, Requirement, VerbatimUrl, VersionOrUrl};

use super::markers::check_size;
use super::uv_lock::UvLock;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::problem::did_you_mean;
use crate::pipeline::stage::InputLocation;
use crate::shell::word;
use crate::value::Value;

/// The group that `uv sync` installs if `tool.uv.default-groups` says nothing.
const DEFAULT_GROUP: &str = "dev";

/// A project with its lock file.
#[derive(Debug)]
pub struct UvProject {
    /// Normalised.
    pub name: String,
    /// The content of `uv.lock`.
    pub lock: UvLock,
    /// The folder of `uv.lock`: that of the project, or of its workspace.
    pub lock_folder: RepoPath,
    /// Chosen groups and the default ones, normalised.
    pub groups: Vec<String>,
    /// Chosen extras, normalised.
    pub extras: Vec<String>,
}

/// Reads a project and its lock file.
///
/// Errors (usage): one of them is missing or invalid, the lock file is not of this project, or there is no such group
/// or extra.
pub fn read(files: &dyn Files, path: &RepoPath, groups: &[String], extras: &[String]) -> Result<UvProject> {
    let root = read_toml(files, path)?
        .ok_or_else(|| Error::missing(format!("{path} does not exist")).hint("make a project: uv init"))?;
    let project = root.get("project");
    let name = project.and_then(|project| project.get("name")).and_then(Value::as_str);
    let name = name.and_then(normalise).ok_or_else(|| Error::usage(format!("{path} has no [project] with a name")))?;
    let folder = path.parent().unwrap_or_default();
    let (lock_folder, lock) = find_lock(files, &folder)?.ok_or_else(|| no_lock(&folder))?;
    let lock_path = lock_folder.join("uv.lock").unwrap_or_default();
    if !lock.has_project(&name) {
        return Err(Error::usage(format!("{lock_path} has no package `{name}`, the project of {path}"))
            .hint(make_lock(&folder)));
    }
    check_requirements(path, &lock_path, project, &lock, &name)?;
    let groups = all_groups(path, &root, &lock, &name, groups)?;
    let known = lock.extras_of(&name);
    let extras = extras.iter().map(|extra| chosen(path, "extra", extra, &known)).collect::<Result<_>>()?;
    Ok(UvProject { name, lock, lock_folder, groups, extras })
}

/// The lock file beside the project, or that of the workspace around it.
fn find_lock(files: &dyn Files, folder: &RepoPath) -> Result<Option<(RepoPath, UvLock)>> {
    let mut at = Some(folder.clone());
    while let Some(place) = at {
        let path = place.join("uv.lock").unwrap_or_default();
        if let Some(bytes) = files.read(&InputLocation::Repo(path.clone()))? {
            return Ok(Some((place, super::uv_lock::read_text(&path, &bytes)?)));
        }
        at = None;
        let mut above = place.parent();
        while let Some(parent) = above {
            let toml = read_toml(files, &parent.join("pyproject.toml").unwrap_or_default())?;
            if toml.is_some_and(|toml| toml.get("tool.uv.workspace").is_some()) {
                at = Some(parent);
                break;
            }
            above = parent.parent();
        }
    }
    Ok(None)
}

fn no_lock(folder: &RepoPath) -> Error {
    let at = if folder.is_root() { "uv.lock".to_string() } else { format!("{folder}/uv.lock") };
    Error::missing(format!("{at} does not exist: the versions of the packages are not known")).hint(make_lock(folder))
}

fn make_lock(folder: &RepoPath) -> String {
    match folder.is_root() {
        true => "make it: uv lock".into(),
        false => format!("make it: uv lock --project {}", word(folder.as_str())),
    }
}

fn read_toml(files: &dyn Files, path: &RepoPath) -> Result<Option<Value>> {
    let Some(bytes) = files.read(&InputLocation::Repo(path.clone()))? else { return Ok(None) };
    let text = crate::value::decode(&bytes).map_err(|fault| fault.error(path.as_str(), ""))?;
    crate::value::parse("project.toml", text).map(Some).map_err(|fault| fault.error(path.as_str(), text))
}

/// A name as packages, groups and extras are compared.
pub fn normalise(name: &str) -> Option<String> {
    PackageName::from_str(name).ok().map(|name| name.to_string())
}

fn all_groups(path: &RepoPath, root: &Value, lock: &UvLock, project: &str, wanted: &[String]) -> Result<Vec<String>> {
    let known = lock.groups_of(project);
    let mut groups = wanted.iter().map(|name| chosen(path, "group", name, &known)).collect::<Result<Vec<_>>>()?;
    match root.get("tool.uv.default-groups") {
        None => groups.extend(known.contains(&DEFAULT_GROUP).then(|| DEFAULT_GROUP.to_string())),
        Some(Value::Str(all)) if all == "all" => groups.extend(known.iter().map(|name| name.to_string())),
        Some(Value::List(names)) => {
            for name in names {
                let name = name.as_str().unwrap_or_default();
                groups.push(chosen(path, "group", name, &known)?);
            }
        }
        Some(other) => {
            let message = format!("{path}: `tool.uv.default-groups` must be a list, not {}", other.kind());
            return Err(Error::usage(message));
        }
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}

fn chosen(path: &RepoPath, what: &str, name: &str, known: &[&str]) -> Result<String> {
    let found = normalise(name).filter(|name| known.contains(&name.as_str()));
    found.ok_or_else(|| {
        let error = Error::usage(format!("{path} has no {what} `{name}`, or uv.lock does not know it yet"));
        let error = match did_you_mean(name, known.iter().copied()) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.hint("if it is new: uv lock")
    })
}

/// Errors: the project asks for other packages than when the lock file was made. Ranges are compared where both sides
/// have one; `uv lock --check` compares more.
fn check_requirements(
    path: &RepoPath,
    lock_path: &RepoPath,
    project: Option<&Value>,
    lock: &UvLock,
    name: &str,
) -> Result<()> {
    let Some(required) = lock.required_by(name) else { return Ok(()) };
    let dynamic = project.and_then(|project| project.get("dynamic"));
    if matches!(dynamic, Some(Value::List(names)) if names.iter().any(|n| n.as_str() == Some("dependencies"))) {
        return Ok(());
    }
    let asked = match project.and_then(|project| project.get("dependencies")) {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let differs = |what: &str| {
        let message = format!("{lock_path} was made for other requirements than those of {path}: {what}");
        Err(Error::usage(message).hint(make_lock(&path.parent().unwrap_or_default())))
    };
    let mut names = Vec::new();
    for text in asked {
        let parsed = check_size(text).ok().and_then(|()| Requirement::<VerbatimUrl>::from_str(text).ok());
        let Some(requirement) = parsed else {
            return Err(Error::usage(format!("{path}: `{text}` is not a requirement")));
        };
        let wanted = requirement.name.to_string();
        let locked: Vec<_> = required.iter().filter(|(name, _)| *name == wanted).collect();
        if locked.is_empty() {
            return differs(&format!("`{wanted}` is new"));
        }
        if let Some(VersionOrUrl::VersionSpecifier(range)) = &requirement.version_or_url {
            let is_same = |text: &str| VersionSpecifiers::from_str(text).is_ok_and(|locked| same(&locked, range));
            let ranges: Vec<&str> = locked.iter().filter_map(|(_, range)| range.as_deref()).collect();
            if !ranges.is_empty() && !ranges.iter().any(|text| is_same(text)) {
                return differs(&format!("`{text}` was `{wanted}{}`", ranges[0]));
            }
        }
        names.push(wanted);
    }
    match required.iter().find(|(name, _)| !names.contains(name)) {
        Some((gone, _)) => differs(&format!("`{gone}` is gone")),
        None => Ok(()),
    }
}

/// Whether both have the same conditions in any order.
fn same(one: &VersionSpecifiers, other: &VersionSpecifiers) -> bool {
    let sorted = |range: &VersionSpecifiers| {
        let mut parts: Vec<String> = range.iter().map(|part| part.to_string()).collect();
        parts.sort();
        parts
    };
    sorted(one) == sorted(other)
}
