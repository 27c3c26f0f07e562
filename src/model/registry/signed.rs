//! Signatures that decide: which tags have to have a good one before a version or a label counts.

use crate::error::{Error, Result};
use crate::git::Repo;
use crate::model::artifact;
use crate::model::registry::{Event, Model};
use crate::path::RepoPath;
use crate::project::Snapshot;
use crate::shell::word;
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
/// also on the tags that took back those before which it would not be the latest, and a label on those that took it from
/// versions before its own: without them, a tag that anybody may push would bring an old version back.
pub fn require(repo: &Repo, model: &Model, which: Option<&Which>, at: usize) -> Result<()> {
    let mut events = vec![at];
    let (event, latest) = (&model.events[at], model.version_of(at));
    match &event.action {
        _ if which == Some(&Which::Latest) => events.extend(withdrawals(model, latest.as_ref())),
        Action::Promote(label) if model.holds(at) => events.extend(model.support(label)),
        // Where the tag of a label does not name its version, the tags of versions on its commit tell.
        Action::Promote(_) | Action::Demote(_) if event.noted != latest => {
            events.extend(latest.as_ref().and_then(|version| Some(model.versions.get(version)?.event)));
        }
        _ => {}
    }
    let checked = events.into_iter().map(|at| &model.events[at]).try_for_each(|event| check(repo, event));
    match (checked, which, latest) {
        (Err(error), Some(Which::Latest), Some(latest)) => Err(refuse_latest(repo, model, &latest, error)),
        (checked, ..) => checked,
    }
}

/// The answers of a model that a deployment asks for, its latest version and its labels: how each is called, and why its
/// tags do not do.
pub fn judge(repo: &Repo, model: &Model) -> Vec<(String, Option<Error>)> {
    let latest = model.latest().map(|(_, registered)| (model.name.to_string(), Which::Latest, registered.event));
    let labels = model
        .labels
        .iter()
        .map(|(label, given)| (format!("{}#{label}", model.name), Which::Label(label.clone()), given.event));
    let all = latest.into_iter().chain(labels);
    all.map(|(name, which, at)| (name, require(repo, model, Some(&which), at).err())).collect()
}

/// The error of [`require`] where the latest version was asked for: an older one is never taken unasked, since the newer
/// may be there to replace it.
fn refuse_latest(repo: &Repo, model: &Model, latest: &Version, error: Error) -> Error {
    let counts = model.versions.iter().rev().filter(|(version, r)| *version < latest && r.withdrawn.is_none());
    let mut good = counts.filter(|(_, r)| model.events[r.event].signature(repo).is_good());
    let error = error.because(format!("the latest version of {} would be {latest}", model.name));
    match good.next() {
        Some((version, _)) => {
            let name = format!("{}@{version}", model.name);
            error.hint(format!("the highest version below it with a good signature: {}", word(&name)))
        }
        None => error.because("no version below it has a good signature"),
    }
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
