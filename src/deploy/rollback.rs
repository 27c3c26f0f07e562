//! Going back to an earlier version: the release before by the journal, or the version that the user names.

use super::Manifest;
use super::build::{self, Depth};
use super::folder::{FolderState, TargetFolder};
use super::journal::{Hold, Journal, is_newer};
use super::release::{self, ReleaseFacts};
use super::request::{DeployAction, Outcome, Request};
use super::steps::{Deployment, PreparedRelease};
use super::target::{Target, Wanted};
use super::{Event, EventKind};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::model::registry::Registry;
use crate::project::{Project, Snapshot};
use crate::shell::word;
use crate::store::ObjectId;
use crate::tag::{ModelRequest, Version, Which};

/// Goes back. The target is held afterwards: the promotion that was undone does not count any more.
pub fn roll_back(
    project: &Project,
    now: &Snapshot<'_>,
    request: &Request,
    target: &Target,
    is_inside: bool,
    sink: &dyn Sink,
) -> Result<Outcome> {
    if request.dry {
        return plan(request, target);
    }
    require_ours(target)?;
    let (folder, _lock) = TargetFolder::open(project, target, is_inside, sink)?;
    let mut deployment = Deployment::start(project, request, target, &folder, sink)?;
    deployment.finish_earlier()?;
    if let Some(event) = deployment.events.last().cloned()
        && let Some((action, failure)) = answer_of_finished(&event, request)
    {
        let current = deployment.current_name()?;
        let facts = ReleaseFacts::of(&event);
        return Ok(deployment.finish(&facts, current, action, failure));
    }
    let goal = goal(&deployment.journal, target, request)?;
    refuse_withdrawn(project, &goal, request)?;
    let promotion = undone(&deployment.journal);
    if let Some(name) = existing(&folder, &goal)? {
        let facts = facts_of(&folder, &name, &goal);
        let prepared = PreparedRelease { name, staged: None };
        return deployment.perform(&facts, prepared, EventKind::Rollback, promotion);
    }
    let version = goal
        .version
        .ok_or_else(|| Error::missing(format!("the release of {} is no longer in {}", goal.name, target.to.place())))?;
    let asked = ModelRequest {
        name: goal.name.parse().map_err(Error::usage)?,
        which: Which::Version(version.parse().map_err(Error::usage)?),
    };
    let wanted = Target { what: Wanted::Version(asked), ..target.clone() };
    let release = release::resolve(project, now, &wanted, request.force)?;
    if goal.blake3.is_some_and(|hash| hash != release.facts.blake3) {
        return Err(Error::new(Kind::Check, format!("{} is not what was deployed under this version", release.facts))
            .because("its tag leads to other bytes than the journal names")
            .hint("if the tag was moved on purpose: lockstep deploy NAME@VERSION --to FOLDER"));
    }
    let prepared = deployment.prepare(&release)?;
    deployment.perform(&release.facts, prepared, EventKind::Rollback, promotion)
}

/// The answer to a rollback if the event that finished a killed call is what was asked for: another step back would be
/// one too many.
fn answer_of_finished(event: &Event, request: &Request) -> Option<(DeployAction, Option<Error>)> {
    let version = event.version.as_deref().unwrap_or("a path");
    match event.event {
        EventKind::Rollback => {
            let named = request.rollback.as_ref().and_then(Option::as_ref);
            let is_it = named.is_none() || named == event.version.as_ref();
            is_it.then_some((DeployAction::Deployed, None))
        }
        EventKind::Return => {
            let error =
                Error::new(Kind::Stage, format!("{} was finished first: {version} does not stay", event.target))
                    .because(match &event.previous {
                        Some(previous) => format!("returned to {previous}, which is current again"),
                        None => "it was the first version there, so nothing is current now".into(),
                    })
                    .hint(format!("to go back further: lockstep deploy {} --rollback", word(&event.target)));
            Some((DeployAction::Returned, Some(error)))
        }
        _ => None,
    }
}

/// The release to go back to.
#[derive(Clone, Debug, PartialEq)]
struct Goal {
    name: String,
    version: Option<String>,
    commit: Option<String>,
    /// `None` for a version that was never deployed there.
    blake3: Option<ObjectId>,
}

impl Goal {
    fn of(event: &Event) -> Goal {
        let (name, version, commit) = (event.name.clone(), event.version.clone(), event.commit.clone());
        Goal { name, version, commit, blake3: Some(event.blake3) }
    }
}

/// The release before the current one, or the one with the version that the user names.
fn goal(journal: &Journal, target: &Target, request: &Request) -> Result<Goal> {
    let stack = journal.stack();
    let Some((current, before)) = stack.split_last() else {
        return Err(Error::missing(format!("nothing was deployed to {} yet", target.name)));
    };
    let Some(Some(typed)) = &request.rollback else {
        return match before.last() {
            Some(event) => Ok(Goal::of(event)),
            None => Err(Error::missing(format!("{} has no release before the current one", target.name))
                .because(format!("{} is the first", Goal::of(current).shown()))
                .hint("go back to a version by its name: --rollback VERSION")),
        };
    };
    let version: Version = typed.parse().map_err(Error::usage)?;
    let version = Some(version.to_string());
    if current.version == version {
        return Err(Error::usage(format!("{} is current in {}", Goal::of(current).shown(), target.name)));
    }
    let known = journal.events().filter(|event| event.makes_current()).rfind(|event| event.version == version);
    Ok(known.map_or_else(|| Goal { name: current.name.clone(), version, commit: None, blake3: None }, Goal::of))
}

impl Goal {
    fn shown(&self) -> String {
        self.version.as_ref().map_or_else(|| self.name.clone(), |version| format!("{} {version}", self.name))
    }
}

/// The promotion that a rollback undoes: the highest that was current or is held.
fn undone(journal: &Journal) -> Option<String> {
    let held = match journal.hold() {
        Some(Hold::UpTo(promotion)) => Some(promotion),
        _ => None,
    };
    let current = journal.current().and_then(|event| event.promotion.clone());
    match (held, current) {
        (Some(held), Some(current)) if is_newer(&held, &current) => Some(held),
        (held, current) => current.or(held),
    }
}

/// A release of the goal that is still there, with every byte verified against its manifest.
fn existing(folder: &TargetFolder, goal: &Goal) -> Result<Option<String>> {
    let Some(hash) = goal.blake3 else { return Ok(None) };
    for entry in folder.releases()? {
        let Ok(Some(found)) = Manifest::read(&entry.path) else { continue };
        let is_same = found.name == goal.name && found.version == goal.version && found.blake3 == hash;
        if is_same && build::differences(&entry.path, &found, Depth::Bytes).is_empty() {
            return Ok(Some(entry.text().to_string()));
        }
    }
    Ok(None)
}

fn facts_of(folder: &TargetFolder, name: &str, goal: &Goal) -> ReleaseFacts {
    let commit = Manifest::read(&folder.release(name)).ok().flatten().and_then(|manifest| manifest.commit);
    ReleaseFacts {
        name: goal.name.clone(),
        version: goal.version.clone(),
        commit: goal.commit.clone().or(commit),
        blake3: goal.blake3.unwrap_or(ObjectId([0; 32])),
    }
}

/// A version may have been withdrawn since it was deployed.
fn refuse_withdrawn(project: &Project, goal: &Goal, request: &Request) -> Result<()> {
    let Some(version) = goal.version.as_ref().and_then(|version| version.parse::<Version>().ok()) else {
        return Ok(());
    };
    if request.force || !project.repo.is_git() {
        return Ok(());
    }
    let registry = Registry::read(&project.repo)?;
    let model = goal.name.parse().ok().and_then(|name| registry.models.get(&name));
    match model.and_then(|model| Some(&model.events[model.versions.get(&version)?.withdrawn?])) {
        None => Ok(()),
        Some(by) => Err(Error::new(Kind::Check, format!("{} was withdrawn: nothing was deployed", goal.shown()))
            .because(format!("the tag {} says so", by.tag))
            .hint("go back to another version: --rollback VERSION; or nevertheless: --force")),
    }
}

fn require_ours(target: &Target) -> Result<()> {
    match TargetFolder::look(&target.to.folder)? {
        (_, FolderState::Ours) => Ok(()),
        _ => Err(Error::missing(format!("nothing was deployed to {} yet", target.name))),
    }
}

/// What a rollback would do.
fn plan(request: &Request, target: &Target) -> Result<Outcome> {
    require_ours(target)?;
    let (folder, _) = TargetFolder::look(&target.to.folder)?;
    let journal = Journal::read(folder.root())?;
    let goal = goal(&journal, target, request)?;
    let there =
        if existing(&folder, &goal)?.is_some() { "which is still there" } else { "whose bytes are fetched again" };
    Ok(Outcome {
        target: target.name.clone(),
        name: goal.name.clone(),
        version: goal.version.clone(),
        to: target.to.folder.clone(),
        place: target.to.place(),
        release: None,
        action: DeployAction::Planned(format!("would go back to {}, {there}", goal.shown())),
        events: Vec::new(),
        failure: None,
    })
}
