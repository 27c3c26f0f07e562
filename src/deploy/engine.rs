//! The entry points of a deployment: resolve, lock, finish what a killed call left, and then the steps of [`super::steps`].

use super::build::{self, Depth};
use super::folder::{self, CurrentLink, FolderState, TargetFolder};
use super::journal::{Hold, Journal};
use super::release::{self, Release};
use super::request::{DeployAction, Outcome, Request};
use super::rollback;
use super::steps::{Deployment, is_of, objection};
use super::target::{self, Target, Wanted};
use super::{Event, EventKind, EventResult, Manifest};
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::model::registry::{Registry, signed};
use crate::project::{Project, Rev, Snapshot};
use crate::tag;
use crate::tag::ModelRequest;

/// Deploys what is asked for. A failed `check`, `after` or `healthy` is in [`Outcome::failure`], since there are events
/// to record; all other failures are errors, and no other version is current then.
pub fn deploy(project: &Project, request: &Request, sink: &dyn Sink) -> Result<Outcome> {
    let now = project.at(&Rev::Worktree)?;
    let target = target::find(project, &now, request)?;
    let is_inside = folder::check_place(project, &now, &target)?;
    if request.rollback.is_some() {
        return rollback::roll_back(project, &now, request, &target, is_inside, sink);
    }
    if let Some(outcome) = find_current(project, &now, request, &target) {
        return Ok(outcome);
    }
    let release = release::resolve(project, &now, &target, request.force)?;
    if request.dry {
        return plan(request, &target, &release);
    }
    let (folder, _lock) = TargetFolder::open(project, &target, is_inside, sink)?;
    let mut deployment = Deployment::start(project, request, &target, &folder, sink)?;
    deployment.finish_earlier()?;
    match deployment.decide(&release)? {
        Some(action) => {
            let current = deployment.current_name()?;
            Ok(deployment.finish(&release.facts, current, action, None))
        }
        None => {
            let prepared = deployment.prepare(&release)?;
            deployment.perform(&release.facts, prepared, EventKind::Deploy, release.promotion.clone())
        }
    }
}

/// The outcome if the version is current by its tag, the manifest and the stat of its files: the usual case of a timer,
/// without a lock and without reading the commit. `None` for all that needs a closer look.
fn find_current(project: &Project, now: &Snapshot<'_>, request: &Request, target: &Target) -> Option<Outcome> {
    let Wanted::Version(asked) = &target.what else { return None };
    if request.force || request.dry || !target.require.is_empty() || !project.repo.is_git() {
        return None;
    }
    let (folder, state) = TargetFolder::look(&target.to.folder).ok()?;
    let CurrentLink::Release(name) = folder.current().ok().filter(|_| state == FolderState::Ours)? else { return None };
    let found = Manifest::read(&folder.release(&name)).ok()??;
    let journal = Journal::read(folder.root()).ok()?;
    let is_recorded =
        journal.current().is_some_and(|event| event.blake3 == found.blake3 && event.version == found.version);
    if journal.unfinished().is_some() || !is_recorded {
        return None;
    }
    let registry = Registry::read(&project.repo).ok()?;
    let known = registry.models.keys().cloned().collect();
    let model = tag::resolve_name(&asked.name, &known, &project.cwd).ok()?;
    let (model, event, version) = registry.find(&ModelRequest { name: model, which: asked.which.clone() }).ok()?;
    let registered = model.versions.get(version?)?;
    let is_counted = registered.withdrawn.is_none() && model.deprecated.is_none();
    let commit = model.events[registered.event].commit;
    let is_same = found.name == model.name.to_string()
        && found.version == version.map(ToString::to_string)
        && found.commit.as_ref() == Some(&commit.hex())
        && event.commit == commit;
    if !is_counted || !is_same || signed::is_required(now, &model.name).unwrap_or(true) {
        return None;
    }
    let is_intact = build::differences(&folder.release(&name), &found, Depth::Stat).is_empty();
    is_intact.then(|| Outcome {
        target: target.name.clone(),
        name: found.name,
        version: found.version,
        to: target.to.folder.clone(),
        place: target.to.place(),
        release: Some(name),
        action: DeployAction::UpToDate,
        events: Vec::new(),
        failure: None,
    })
}

/// Holds a target or lets it follow its label again.
pub fn set_hold(project: &Project, name: &str, holds: bool, why: Option<String>, sink: &dyn Sink) -> Result<Outcome> {
    let now = project.at(&Rev::Worktree)?;
    let request = Request { what: name.into(), why, ..Request::default() };
    let target = target::find(project, &now, &request)?;
    let is_inside = folder::check_place(project, &now, &target)?;
    let (_, state) = TargetFolder::look(&target.to.folder)?;
    if state != FolderState::Ours {
        return Err(Error::missing(format!("nothing was deployed to {} yet", target.to.place()))
            .hint(format!("lockstep deploy {name}")));
    }
    let (folder, _lock) = TargetFolder::open(project, &target, is_inside, sink)?;
    let mut deployment = Deployment::start(project, &request, &target, &folder, sink)?;
    deployment.finish_earlier()?;
    let is_done =
        if holds { deployment.journal.hold() == Some(Hold::All) } else { deployment.journal.hold().is_none() };
    let Some(current) = deployment.journal.current().cloned() else {
        return Err(Error::missing(format!("nothing was deployed to {} yet", target.to.place())));
    };
    if !is_done {
        let kind = if holds { EventKind::Hold } else { EventKind::Resume };
        let previous = current.version.clone();
        deployment.append(Event { event: kind, result: EventResult::Ok, previous, ..current.clone() })?;
    }
    let action = if is_done { DeployAction::UpToDate } else { DeployAction::Deployed };
    Ok(Outcome {
        target: target.name.clone(),
        name: current.name,
        version: current.version,
        to: target.to.folder.clone(),
        place: target.to.place(),
        release: deployment.current_name()?,
        action,
        events: deployment.events,
        failure: None,
    })
}

/// What a call would do, without a lock and without a change.
fn plan(request: &Request, target: &Target, release: &Release<'_>) -> Result<Outcome> {
    let (folder, _) = TargetFolder::look(&target.to.folder)?;
    let journal = Journal::read(folder.root())?;
    let current = match folder.current()? {
        CurrentLink::Release(name) => Some(name),
        CurrentLink::Absent | CurrentLink::Elsewhere(_) => None,
    };
    let path = current.as_ref().map(|name| folder.release(name));
    let is_current = path.as_deref().and_then(|path| {
        let found = is_of(path, &release.facts)?;
        build::differences(path, &found, Depth::Stat).is_empty().then_some(())
    });
    let unfinished = journal.unfinished().map(|step| step.release.clone());
    let words = match (unfinished, is_current, objection(target, &journal, release.promotion.as_deref(), request)) {
        (Some(earlier), ..) => format!("would finish the deployment of {earlier}, and deploy {}", release.facts),
        (None, Some(()), _) if !request.force => format!("{} is current", release.facts),
        (None, _, Some(DeployAction::Held(why) | DeployAction::Skipped(why))) => format!("{} {why}", target.name),
        _ => format!("would deploy {} in place of {}", release.facts, current.as_deref().unwrap_or("nothing")),
    };
    Ok(Outcome {
        target: target.name.clone(),
        name: release.facts.name.clone(),
        version: release.facts.version.clone(),
        to: target.to.folder.clone(),
        place: target.to.place(),
        release: current,
        action: DeployAction::Planned(words),
        events: Vec::new(),
        failure: None,
    })
}
