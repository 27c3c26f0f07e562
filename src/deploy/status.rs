//! What runs at each target, and what should: from the tags of this clone, the folder of the target and its journal.
//! Nothing is contacted and nothing is run, unless the caller asks for it.

use std::time::Duration;

use super::Event;
use super::Manifest;
use super::build::{self, Depth};
use super::folder::{self, CurrentLink, FolderState, TargetFolder};
use super::health::{self, ServerAnswer};
use super::journal::{Hold, Journal, is_newer};
use super::record::Record;
use super::registry::TargetRegistry;
use super::request::Request;
use super::target::{self, Target, Wanted};
use crate::error::{Error, Result};
use crate::model::registry::Registry;
use crate::project::{Project, Rev, Snapshot};
use crate::store::ObjectId;
use crate::tag;
use crate::tag::ModelRequest;

/// How long one server is asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many events of a record are read to find the last one of each host.
const MOST_RECORDED: usize = 1000;

/// What a status may read and ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusOptions {
    /// Read each file of the current releases.
    pub reads_data: bool,
    /// Ask the URLs under `healthy`.
    pub asks_servers: bool,
}

/// The status of one target.
#[derive(Debug)]
pub struct TargetStatus {
    /// Its name.
    pub target: String,
    /// Its folder, as shown; `None` if no folder is named.
    pub to: Option<String>,
    /// In one word.
    pub state: TargetState,
    /// What belongs there.
    pub wanted: Option<WantedVersion>,
    /// What is there.
    pub current: Option<CurrentRelease>,
    /// What its server says, if it was asked.
    pub serving: Option<ServerAnswer>,
    /// What the record in this clone says last, of each host: also of hosts that this clone does not deploy to.
    pub recorded: Vec<Event>,
    /// The promotion that is held, or `all`.
    pub held: Option<String>,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

/// The version that belongs to a target.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedVersion {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The tag that gave it the label.
    pub promotion: Option<String>,
}

/// The release that `current` leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentRelease {
    /// Its folder below `releases/`.
    pub release: String,
    /// The model.
    pub name: String,
    /// `None` for a path.
    pub version: Option<String>,
    /// The hash of the file, or of the tree of a folder.
    pub blake3: ObjectId,
    /// Since when, by the journal.
    pub since: Option<String>,
}

/// A target in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// The version that belongs there is current and unchanged.
    Ok,
    /// Another version is current.
    Behind,
    /// The same, and a rollback or `hold` keeps it so.
    Held,
    /// An older promotion counts again, which only a deployment by hand follows.
    FallenBack,
    /// Files of the current release were changed.
    Modified,
    /// `current` is not what the journal says.
    Moved,
    /// The server has another version.
    Stale,
    /// Nothing is deployed.
    Empty,
    /// The folder or the server cannot be asked.
    Unreachable,
}

impl TargetState {
    /// The word in JSON and for people.
    pub fn word(self) -> &'static str {
        match self {
            TargetState::Ok => "ok",
            TargetState::Behind => "behind",
            TargetState::Held => "held",
            TargetState::FallenBack => "fallen_back",
            TargetState::Modified => "modified",
            TargetState::Moved => "moved",
            TargetState::Stale => "stale",
            TargetState::Empty => "empty",
            TargetState::Unreachable => "unreachable",
        }
    }
}

/// The status of the named targets; of all if none is named.
///
/// Errors: there is no target of a name, or two have the same one.
pub fn status(project: &Project, names: &[String], options: StatusOptions) -> Result<Vec<TargetStatus>> {
    let now = project.at(&Rev::Worktree)?;
    let known: Vec<String> = target::declared(&now)?.into_iter().map(|(_, entry)| entry.name.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        let error = Error::missing(format!("there is no deployment target {name}"));
        return Err(error.hint(match known.is_empty() {
            true => "pipeline.yaml declares none".to_string(),
            false => format!("the targets are {}", known.join(", ")),
        }));
    }
    let registry = Registry::read(&project.repo)?;
    let chosen = if names.is_empty() { known } else { names.to_vec() };
    Ok(chosen.into_iter().map(|name| one(project, &now, &registry, name, options)).collect())
}

fn one(
    project: &Project,
    now: &Snapshot<'_>,
    registry: &Registry,
    name: String,
    options: StatusOptions,
) -> TargetStatus {
    let mut status = TargetStatus {
        target: name.clone(),
        to: None,
        state: TargetState::Unreachable,
        wanted: None,
        current: None,
        serving: None,
        recorded: Vec::new(),
        held: None,
        problems: Vec::new(),
    };
    match recorded(project, &name) {
        Ok(recorded) => status.recorded = recorded,
        Err(e) => status.problems.push(e.message),
    }
    let request = Request { what: name, ..Request::default() };
    let target = match target::find(project, now, &request) {
        Ok(target) => target,
        Err(e) => {
            status.problems.push(e.message);
            return status;
        }
    };
    status.to = Some(target.to.place());
    match wanted(project, registry, &target) {
        Ok(wanted) => status.wanted = Some(wanted),
        Err(e) => status.problems.push(e.message),
    }
    status.state = match look(project, now, &target, options, &mut status) {
        Ok(state) => state,
        Err(e) => {
            status.problems.push(e.message);
            TargetState::Unreachable
        }
    };
    status
}

/// The event by which the current version became current, of each host, the newest first.
fn recorded(project: &Project, name: &str) -> Result<Vec<Event>> {
    let mut latest: Vec<Event> = Vec::new();
    if !project.repo.is_git() {
        return Ok(latest);
    }
    for recorded in Record::of(&project.repo, name).read(MOST_RECORDED)? {
        let event = recorded.event.filter(Event::makes_current);
        latest.extend(event.filter(|event| latest.iter().all(|known| known.host != event.host)));
    }
    Ok(latest)
}

fn wanted(project: &Project, registry: &Registry, target: &Target) -> Result<WantedVersion> {
    let Wanted::Version(asked) = &target.what else { return Err(Error::missing("it is no version")) };
    let name = tag::resolve_name(&asked.name, &registry.models.keys().cloned().collect(), &project.cwd)?;
    let (model, event, version) = registry.find(&ModelRequest { name, which: asked.which.clone() })?;
    let version = version.ok_or_else(|| Error::missing(format!("{} is on a commit without a version", event.tag)))?;
    let promotion = matches!(asked.which, tag::Which::Label(_)).then(|| event.tag.clone());
    Ok(WantedVersion { name: model.name.to_string(), version: version.to_string(), promotion })
}

fn look(
    project: &Project,
    now: &Snapshot<'_>,
    target: &Target,
    options: StatusOptions,
    status: &mut TargetStatus,
) -> Result<TargetState> {
    folder::check_place(project, now, target)?;
    let (folder, state) = TargetFolder::look(&target.to.folder)?;
    if state != FolderState::Ours {
        return Ok(TargetState::Empty);
    }
    let journal = Journal::read(folder.root())?;
    status.held = journal.hold().map(|hold| match hold {
        Hold::All => "all".into(),
        Hold::UpTo(promotion) => promotion,
    });
    let name = match folder.current()? {
        CurrentLink::Absent => {
            let is_lost = journal.current().is_some();
            status.problems.extend(is_lost.then(|| "`current` was removed".to_string()));
            return Ok(if is_lost { TargetState::Moved } else { TargetState::Empty });
        }
        CurrentLink::Elsewhere(to) => {
            status.problems.push(format!("`current` leads to {to}, which is not a release"));
            return Ok(TargetState::Moved);
        }
        CurrentLink::Release(name) => name,
    };
    let path = folder.release(&name);
    let Some(manifest) = Manifest::read(&path)? else {
        status.problems.push(format!("the current release {name} has no manifest"));
        return Ok(TargetState::Modified);
    };
    let entry = journal.current().filter(|event| is_about(event, &manifest));
    status.current = Some(CurrentRelease {
        release: name.clone(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        blake3: manifest.blake3,
        since: entry.map(|event| event.time.clone()),
    });
    if let Some(step) = journal.unfinished() {
        let version = step.event.version.clone().unwrap_or_else(|| step.release.clone());
        status.problems.push(format!("the deployment of {version} was killed; the next call finishes it"));
        return Ok(TargetState::Behind);
    }
    if entry.is_none() {
        status.problems.push(format!("`current` leads to {name}, which the journal does not have as current"));
        return Ok(TargetState::Moved);
    }
    let depth = if options.reads_data { Depth::Bytes } else { Depth::Stat };
    let differences = build::differences(&path, &manifest, depth);
    if !differences.is_empty() {
        status.problems.extend(differences);
        return Ok(TargetState::Modified);
    }
    if options.asks_servers
        && let Some(why) = registry_difference(project, target, &journal)?
    {
        status.problems.push(why);
        return Ok(TargetState::Moved);
    }
    if let Some(url) = target.healthy.as_deref().filter(|healthy| options.asks_servers && health::is_url(healthy)) {
        let answer = ask(url, &manifest)?;
        let failure = answer.failure.clone();
        let is_reached = !answer.versions.is_empty();
        status.serving = Some(answer);
        if let Some(why) = failure {
            status.problems.push(why);
            return Ok(if is_reached { TargetState::Stale } else { TargetState::Unreachable });
        }
    }
    Ok(compare(status.wanted.as_ref(), &manifest, &journal))
}

/// Whether the tag of the label in the registry names something else than the journal.
fn registry_difference(project: &Project, target: &Target, journal: &Journal) -> Result<Option<String>> {
    let Wanted::Version(ModelRequest { which: tag::Which::Label(label), .. }) = &target.what else { return Ok(None) };
    let Some(reference) = &target.to.registry else { return Ok(None) };
    let there = TargetRegistry::open(project, reference, Some(&label.to_string()))?.current()?;
    let wanted = journal.current().and_then(|event| event.digest.clone());
    Ok((there != wanted).then(|| {
        let shown = |digest: Option<String>| digest.unwrap_or_else(|| "nothing".into());
        format!("the tag {label} in {reference} names {}, and {} was deployed", shown(there), shown(wanted))
    }))
}

fn ask(url: &str, manifest: &Manifest) -> Result<ServerAnswer> {
    let served = health::ServedRelease { version: manifest.version.clone(), blake3: manifest.blake3 };
    health::ask(url, Some(&served), PATIENCE)
}

fn is_about(event: &Event, manifest: &Manifest) -> bool {
    event.blake3 == manifest.blake3 && event.version == manifest.version && event.name == manifest.name
}

/// The state of an unchanged release; pure.
fn compare(wanted: Option<&WantedVersion>, manifest: &Manifest, journal: &Journal) -> TargetState {
    let Some(wanted) = wanted else { return TargetState::Behind };
    if Some(&wanted.version) == manifest.version.as_ref() && wanted.name == manifest.name {
        return TargetState::Ok;
    }
    if journal.hold().is_some_and(|hold| hold.covers(wanted.promotion.as_deref())) {
        return TargetState::Held;
    }
    let is_older =
        |promotion: &str| journal.last_promotion_like(promotion).is_some_and(|last| is_newer(last, promotion));
    match wanted.promotion.as_deref() {
        Some(promotion) if is_older(promotion) => TargetState::FallenBack,
        _ => TargetState::Behind,
    }
}
