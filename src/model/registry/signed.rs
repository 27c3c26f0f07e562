//! Required signatures: which tags need a good one before a version or a label is valid.

use crate::error::{Error, Result};
use crate::git::Repo;
use crate::model::artifact;
use crate::model::registry::{Event, Model};
use crate::path::RepoPath;
use crate::project::Snapshot;
use crate::shell::word;
use crate::tag::{Action, ModelName, Version, Which};

/// Returns true if the tags of a model need good signatures, by the environment or by the pipeline files of the
/// worktree in `now`, not those of the requested commit.
///
/// Errors: a pipeline file of the model's folder is invalid, and may require signatures.
pub fn is_required(now: &Snapshot<'_>, name: &ModelName) -> Result<bool> {
    if now.project.repo.require_signed {
        return Ok(true);
    }
    let is_of_model = |file: &RepoPath| file.parent().unwrap_or_default().as_str() == name.folder();
    if let Some((_, error)) = now.definitions.broken.iter().find(|(file, _)| is_of_model(file)) {
        let error = error.clone();
        return Err(error.because(format!("whether the tags of {name} must be signed is not known")));
    }
    let files = now.definitions.pipelines.files.iter().filter(|file| is_of_model(&file.path));
    let mut declared = files.flat_map(|file| &file.artifacts).filter(|(key, _)| key == name.short());
    Ok(declared.any(|(_, value)| artifact::asks_for_signatures(value)))
}

/// Refuses an answer, the event `at` of a model, that depends on a tag without a good signature. The latest version
/// also depends on the tags that withdrew higher ones, and a label on those that removed it from other versions:
/// otherwise a tag that anyone may push could bring an old version back.
pub fn require(repo: &Repo, model: &Model, which: Option<&Which>, at: usize) -> Result<()> {
    let mut events = vec![at];
    let (event, latest) = (&model.events[at], model.version_of(at));
    match &event.action {
        _ if which == Some(&Which::Latest) => events.extend(withdrawals(model, latest.as_ref())),
        Action::Promote(label) if model.holds(at) => events.extend(model.support(label)),
        // If the tag of a label does not name its version, the tags of versions on its commit decide.
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

/// The answers of a model for a deployment, its latest version and its labels: the name of each, and why its tags are
/// not sufficient.
pub fn unsigned_answers(repo: &Repo, model: &Model) -> Vec<(String, Option<Error>)> {
    let latest = model.latest().map(|(_, registered)| (model.name.to_string(), Which::Latest, registered.event));
    let labels = model
        .labels
        .iter()
        .map(|(label, given)| (format!("{}#{label}", model.name), Which::Label(label.clone()), given.event));
    let all = latest.into_iter().chain(labels);
    all.map(|(name, which, at)| (name, require(repo, model, Some(&which), at).err())).collect()
}

/// The error of [`require`] for the latest version: an older one is not used silently, since the newer may be there to
/// replace it.
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
