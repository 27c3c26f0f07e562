//! Signatures that decide: which tags have to have a good one before a version or a label counts.

use super::artifact::{self, Artifact};
use super::registry::{Event, Model};
use crate::error::Result;
use crate::git::Repo;
use crate::project::Snapshot;
use crate::tag::{ModelName, Version, Which};

/// Must the tags of a model have good signatures? The environment says so, or the pipeline files of the worktree as
/// `now` has them: not those of the commit that is being asked for.
pub fn is_required(now: &Snapshot<'_>, name: &ModelName) -> bool {
    let asks = |artifact: &Artifact| artifact.require_signed && artifact.name == *name;
    now.project.repo.require_signed || artifact::all(now).iter().any(asks)
}

/// Refuses an answer, the event `at` of a model, that rests on a tag without a good signature. The latest version rests
/// also on the tags that took back those before which it would not be the latest: without them, a tag that anybody may
/// push would bring an old version back.
pub fn require(repo: &Repo, model: &Model, which: Option<&Which>, at: usize) -> Result<()> {
    let mut events = vec![at];
    if which == Some(&Which::Latest) {
        events.extend(withdrawals(model, model.version_of(at).as_ref()));
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
