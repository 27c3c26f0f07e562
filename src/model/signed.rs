//! Signatures that decide: which tags have to have a good one before a version or a label counts.

use super::artifact;
use super::registry::{Event, Model};
use crate::error::Result;
use crate::git::Repo;
use crate::path::RepoPath;
use crate::project::Snapshot;
use crate::tag::{Action, ModelName, Version, Which};

/// Must the tags of a model have good signatures? The environment says so, or the pipeline files of the worktree as
/// `now` has them: not those of the commit that is being asked for.
///
/// Errors: a pipeline file of the model's folder has mistakes, and may ask for signatures.
pub fn is_required(now: &Snapshot<'_>, name: &ModelName) -> Result<bool> {
    if now.project.repo.require_signed {
        return Ok(true);
    }
    let is_of_model = |file: &RepoPath| file.parent().unwrap_or_default().as_str() == name.folder();
    if let Some((_, error)) = now.definitions.broken.iter().find(|(file, _)| is_of_model(file)) {
        let error = error.clone();
        return Err(error.because(format!("whether the tags of {name} must be signed cannot be told")));
    }
    let files = now.definitions.pipelines.files.iter().filter(|file| is_of_model(&file.path));
    let mut declared = files.flat_map(|file| &file.artifacts).filter(|(key, _)| key == name.short());
    Ok(declared.any(|(_, value)| artifact::asks_for_signatures(value)))
}

/// Refuses an answer, the event `at` of a model, that rests on a tag without a good signature. The latest version rests
/// also on the tags that took back those before which it would not be the latest: without them, a tag that anybody may
/// push would bring an old version back.
pub fn require(repo: &Repo, model: &Model, which: Option<&Which>, at: usize) -> Result<()> {
    let mut events = vec![at];
    let version = model.version_of(at);
    if which == Some(&Which::Latest) {
        events.extend(withdrawals(model, version.as_ref()));
    }
    let event = &model.events[at];
    // Where the tag of a label does not name its version, the tags of versions on its commit tell.
    if matches!(event.action, Action::Promote(_) | Action::Demote(_)) && event.noted_version() != version {
        events.extend(version.and_then(|version| Some(model.versions.get(&version)?.event)));
    }
    events.into_iter().map(|at| &model.events[at]).try_for_each(|event| check(repo, event))
}

/// The events that took back versions that come before `answer`.
fn withdrawals(model: &Model, answer: Option<&Version>) -> Vec<usize> {
    let rank = |version: &Version| (!version.is_prerelease(), version.clone());
    let comes_before = |version: &Version| answer.is_none_or(|answer| rank(version) > rank(answer));
    let versions = model.versions.iter().filter(|(version, _)| comes_before(version));
    versions.filter_map(|(_, registered)| registered.withdrawn).collect()
}

fn check(repo: &Repo, event: &Event) -> Result<()> {
    event.signature(repo).require(&event.tag)
}
