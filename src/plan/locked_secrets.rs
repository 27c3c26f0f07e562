//! Values of secrets in a lock that an earlier version, the user or another program wrote.
//!
//! They are found by their names and are never shown. A name that the stage declares as a harmless input is skipped.

use crate::lock::{Lock, StageLock};
use crate::path::RepoPath;
use crate::pipeline::stage::Stage;
use crate::project::{Definitions, Locks, Project};
use crate::secret::may_be_secret;
use crate::shell::word;
use crate::url::secrets_of_text;

/// A sentence for each lock that holds values of secrets.
pub fn warnings(project: &Project, definitions: &Definitions, locks: &Locks) -> Vec<String> {
    let pipelines = &definitions.pipelines;
    let known = pipelines.files.iter().zip(&locks.all).filter_map(|(file, lock)| {
        let stage = |name: &str| file.stages.iter().map(|id| pipelines.stage(*id)).find(|stage| stage.name == name);
        warning(project, &file.path, lock, &stage)
    });
    // A pipeline file that names such a variable is refused, but its lock may hold the value.
    let broken = definitions.broken.iter().filter_map(|(path, _)| {
        let lock = project.read_lock(&Project::lock_path(path)).ok().flatten()?;
        warning(project, path, &lock, &|_| None)
    });
    known.chain(broken).collect()
}

fn warning<'s>(
    project: &Project,
    file: &RepoPath,
    lock: &Lock,
    stage: &dyn Fn(&str) -> Option<&'s Stage>,
) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut stages: Vec<&str> = Vec::new();
    for (name, entry) in lock.stages.iter().filter(|(_, entry)| !entry.env.is_empty()) {
        let found = secrets_of(entry, stage(name)).collect::<Vec<_>>();
        if !found.is_empty() {
            stages.push(name);
            names.extend(found);
        }
    }
    if stages.is_empty() {
        return None;
    }
    names.sort_unstable();
    names.dedup();
    let path = Project::lock_path(file).relative_to(&project.cwd);
    let file = file.relative_to(&project.cwd);
    let typed: Vec<String> = stages
        .iter()
        .map(|stage| match file.as_str() {
            "pipeline.yaml" => word(stage).into_owned(),
            file => word(&format!("{file}:{stage}")).into_owned(),
        })
        .collect();
    Some(format!(
        "{path} holds the value of {} (stage {}), and Git's history and what was pushed may hold it: revoke it, and write \
         `- {}: {{input: false}}` in {file} (or `{{input: true}}`, if it is harmless); then `lockstep repro {}` writes the \
         lock without it",
        names.join(", "),
        stages.join(", "),
        names[0],
        typed.join(" "),
    ))
}

fn secrets_of<'e>(entry: &'e StageLock, stage: Option<&Stage>) -> impl Iterator<Item = &'e str> {
    let is_declared = move |name: &String| stage.is_some_and(|stage| stage.env.contains(name));
    let held = entry.env.iter().filter(move |(name, value)| {
        value.as_ref().is_some_and(|value| {
            !secrets_of_text(value).is_empty() || (!value.is_empty() && may_be_secret(name) && !is_declared(name))
        })
    });
    held.map(|(name, _)| name.as_str())
}

/// The entry with secrets removed, so that it can be shown.
pub fn without_secrets(stage: &Stage, entry: &StageLock) -> StageLock {
    let mut shown = entry.clone();
    for name in secrets_of(entry, Some(stage)) {
        shown.env.insert(name.to_string(), Some("***".into()));
    }
    shown
}
