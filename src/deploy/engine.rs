//! The entry points of a deployment: resolve, lock, finish what a killed call left, and then the steps of [`super::steps`].

use super::build::{self, Depth};
use super::folder::{self, CurrentLink, TargetFolder};
use super::journal::{Hold, Journal};
use super::release::{self, Release};
use super::request::{DeployAction, Outcome, Request};
use super::rollback;
use super::steps::{Deployment, is_of, objection};
use super::target::{self, Target};
use super::{Event, EventKind, EventResult};
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::project::{Project, Rev};

/// Deploys what is asked for. A failed `check`, `after` or `healthy` is in [`Outcome::failure`], since there are events
/// to record; all other failures are errors, and no other version is current then.
pub fn deploy(project: &Project, request: &Request, sink: &dyn Sink) -> Result<Outcome> {
    let now = project.at(&Rev::Worktree)?;
    let target = target::find(project, &now, request)?;
    let is_inside = folder::check_place(project, &now, &target)?;
    if request.rollback.is_some() {
        return rollback::roll_back(project, &now, request, &target, is_inside, sink);
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

/// Holds a target or lets it follow its label again.
pub fn set_hold(project: &Project, name: &str, holds: bool, why: Option<String>, sink: &dyn Sink) -> Result<Outcome> {
    let now = project.at(&Rev::Worktree)?;
    let request = Request { what: name.into(), why, ..Request::default() };
    let target = target::find(project, &now, &request)?;
    let is_inside = folder::check_place(project, &now, &target)?;
    let (_, state) = TargetFolder::look(&target.to.folder)?;
    if state != folder::FolderState::Ours {
        return Err(Error::missing(format!("nothing was deployed to {} yet", target.to.folder.display()))
            .hint(format!("lockstep deploy {name}")));
    }
    let (folder, _lock) = TargetFolder::open(project, &target, is_inside, sink)?;
    let mut deployment = Deployment::start(project, &request, &target, &folder, sink)?;
    deployment.finish_earlier()?;
    let is_done =
        if holds { deployment.journal.hold() == Some(Hold::All) } else { deployment.journal.hold().is_none() };
    let Some(current) = deployment.journal.current().cloned() else {
        return Err(Error::missing(format!("nothing was deployed to {} yet", target.to.folder.display())));
    };
    if !is_done {
        let kind = if holds { EventKind::Hold } else { EventKind::Resume };
        let promotion = deployment.journal.last_promotion().map(str::to_string);
        let previous = current.version.clone();
        deployment.append(Event { event: kind, result: EventResult::Ok, promotion, previous, ..current.clone() })?;
    }
    let action = if is_done { DeployAction::UpToDate } else { DeployAction::Deployed };
    Ok(Outcome {
        target: target.name.clone(),
        name: current.name,
        version: current.version,
        to: target.to.folder.clone(),
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
        release: current,
        action: DeployAction::Planned(words),
        events: Vec::new(),
        failure: None,
    })
}
