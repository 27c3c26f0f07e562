//! The steps of a deployment that holds the lock of its folder: prepare the release, check it, name it, switch, confirm
//! it ([`super::confirm`]), prune.
//!
//! Each step leaves the folder in a state that the next call understands: see [`super::journal`].

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::build::{self, Depth};
use super::folder::{self, CurrentLink, TargetFolder};
use super::hooks::HookRunner;
use super::journal::{Hold, Journal, JournalLine, Step, StepKind, is_newer};
use super::prune::prune;
use super::release::{Release, ReleaseFacts};
use super::request::{DeployAction, Outcome, Request};
use super::target::Target;
use super::{EVENT_VERSION, Event, EventKind, EventResult, Manifest};
use crate::error::{Error, Kind, Result};
use crate::event::{Event as Progress, Sink};
use crate::model::registry::tag_write::rfc3339;
use crate::project::Project;
use crate::store;

/// A deployment that holds the lock of its folder.
pub struct Deployment<'a> {
    pub(super) project: &'a Project,
    pub(super) request: &'a Request,
    pub(super) target: &'a Target,
    pub(super) folder: &'a TargetFolder,
    pub(super) journal: Journal,
    pub(super) events: Vec<Event>,
    output: String,
    pub(super) sink: &'a dyn Sink,
    began: Instant,
}

/// A complete release: in `staging/`, or under its name already.
pub struct PreparedRelease {
    /// Its name below `releases/`.
    pub name: String,
    /// Its folder in `staging/`.
    pub staged: Option<PathBuf>,
}

/// A release with its name and the version that it has.
#[derive(Clone, Debug)]
struct NamedRelease {
    /// Below `releases/`.
    name: String,
    version: Option<String>,
}

impl<'a> Deployment<'a> {
    /// Reads the journal.
    pub fn start(
        project: &'a Project,
        request: &'a Request,
        target: &'a Target,
        folder: &'a TargetFolder,
        sink: &'a dyn Sink,
    ) -> Result<Deployment<'a>> {
        let journal = Journal::read(folder.root())?;
        let (events, output) = (Vec::new(), String::new());
        Ok(Deployment { project, request, target, folder, journal, events, output, sink, began: Instant::now() })
    }

    /// The name of the current release.
    ///
    /// Errors: `current` is not a link to a release, and is not replaced.
    pub fn current_name(&self) -> Result<Option<String>> {
        match self.folder.current()? {
            CurrentLink::Absent => Ok(None),
            CurrentLink::Release(name) => Ok(Some(name)),
            CurrentLink::Elsewhere(to) => {
                let path = self.folder.root().path().join(folder::CURRENT);
                Err(Error::new(Kind::Check, format!("{} leads to {to}, which is not a release", path.display()))
                    .because("something else changed it, and lockstep does not replace what it did not make")
                    .hint("remove the link if it is not needed, and deploy again"))
            }
        }
    }

    pub(super) fn version_of(&self, release: &str) -> Option<String> {
        Manifest::read(&self.folder.release(release)).ok().flatten().and_then(|manifest| manifest.version)
    }

    fn named(&self, release: Option<String>) -> Option<NamedRelease> {
        release.map(|name| NamedRelease { version: self.version_of(&name), name })
    }

    /// What there is to do instead of a deployment; `None`: deploy.
    pub fn decide(&self, release: &Release<'_>) -> Result<Option<DeployAction>> {
        let current = self.current_name()?;
        // A link that was put there by hand was never checked: it is deployed.
        let is_journaled = self
            .journal
            .current()
            .is_some_and(|event| event.blake3 == release.facts.blake3 && event.version == release.facts.version);
        if !self.request.force && is_journaled && current.as_ref().is_some_and(|name| self.is_intact(name, release)) {
            // It was finished just now: a killed call had switched to it.
            let is_new =
                self.events.iter().any(|event| event.makes_current() && event.version == release.facts.version);
            return Ok(Some(if is_new { DeployAction::Deployed } else { DeployAction::UpToDate }));
        }
        Ok(objection(self.target, &self.journal, release.promotion.as_deref(), self.request))
    }

    /// Whether a release has what is to be deployed, by its manifest and the stat of its files.
    fn is_intact(&self, name: &str, release: &Release<'_>) -> bool {
        let folder = self.folder.release(name);
        is_of(&folder, &release.facts).is_some_and(|found| build::differences(&folder, &found, Depth::Stat).is_empty())
    }

    /// Checks a prepared release, names it and switches.
    pub fn perform(
        mut self,
        release: &ReleaseFacts,
        prepared: PreparedRelease,
        kind: EventKind,
        promotion: Option<String>,
    ) -> Result<Outcome> {
        let from = self.named(self.current_name()?);
        let PreparedRelease { name, staged } = prepared;
        let path = staged.clone().unwrap_or_else(|| self.folder.release(&name));
        let event = self.event(kind, release, promotion, from.as_ref());
        let checked = self.check(release, &path, from.as_ref());
        let refused = match checked {
            Ok(None) => None,
            Ok(Some(why)) => Some(why),
            Err(e) => {
                discard(staged.as_deref());
                return Err(e);
            }
        };
        if let Some(why) = refused {
            discard(staged.as_deref());
            return self.refuse(release, event, from, &why);
        }
        if let Some(staged) = &staged {
            self.folder.name(staged, &name).inspect_err(|_| discard(Some(staged)))?;
        }
        let digest = match self.registry()? {
            Some(registry) => Some(registry.publish(&self.folder.release(&name), self.sink)?),
            None => None,
        };
        let event = Event { digest, ..event };
        let step = Step {
            lockstep: EVENT_VERSION,
            step: StepKind::Switching,
            release: name,
            from: from.map(|f| f.name),
            event,
            confirms: self.confirms(),
        };
        self.switch(step, release)
    }

    /// Finds the release among those that are there, verified, or builds it in `staging/`.
    pub fn prepare(&self, release: &Release<'_>) -> Result<PreparedRelease> {
        let base = release.facts.base_name();
        let mut name = base.clone();
        for n in 2.. {
            if self.folder.release(&name).symlink_metadata().is_err() {
                break;
            }
            if build::is_same_release(self.folder, &name, self.project, release) {
                return Ok(PreparedRelease { name, staged: None });
            }
            // A damaged release of this name stays, since a server may use it.
            name = format!("{base}.{n}");
        }
        let staged = self.folder.staging();
        build::build(self.project, release, &staged, self.target.link, self.sink)?;
        Ok(PreparedRelease { name, staged: Some(staged) })
    }

    /// Runs `check`; returns why it failed.
    fn check(&mut self, release: &ReleaseFacts, path: &Path, from: Option<&NamedRelease>) -> Result<Option<String>> {
        let Some(command) = self.target.check.clone() else { return Ok(None) };
        let previous = from.and_then(|from| from.version.clone());
        let ended = self.hooks(&release.name, release.version.as_deref(), path, previous.as_deref())?.run(
            "check",
            &command,
            self.target.timeout,
            true,
        )?;
        self.keep("check", &ended.output);
        let is_same = || {
            let manifest = Manifest::read(path).ok().flatten();
            manifest.is_some_and(|manifest| build::differences(path, &manifest, Depth::Stat).is_empty())
        };
        if ended.failure.is_none() && !is_same() {
            return Ok(Some("changed the files of the release".into()));
        }
        Ok(ended.failure)
    }

    fn refuse(
        mut self,
        release: &ReleaseFacts,
        event: Event,
        from: Option<NamedRelease>,
        why: &str,
    ) -> Result<Outcome> {
        let words = format!("`check` {why}");
        let event = Event { event: EventKind::Refuse, result: EventResult::Failed, why: Some(words.clone()), ..event };
        self.append(event)?;
        let error = Error::new(Kind::Stage, format!("{release} is not deployed to {}", self.target.name))
            .because(words)
            .because(match from.and_then(|from| from.version) {
                Some(version) => format!("nothing was changed: {version} is current"),
                None => "nothing was changed".into(),
            });
        Ok(self.finish(release, None, DeployAction::Refused, Some(error)))
    }

    fn switch(mut self, step: Step, release: &ReleaseFacts) -> Result<Outcome> {
        self.journal.reserve(self.folder.root())?;
        self.step(&step, StepKind::Switching)?;
        self.folder.switch(Some(&step.release))?;
        self.step(&step, StepKind::Switched)?;
        let name = step.release.clone();
        match self.complete(step)? {
            None => {
                self.prune();
                Ok(self.finish(release, Some(name), DeployAction::Deployed, None))
            }
            Some(error) => {
                let current = self.current_name()?;
                Ok(self.finish(release, current, DeployAction::Returned, Some(error)))
            }
        }
    }

    pub(super) fn step(&mut self, step: &Step, kind: StepKind) -> Result<()> {
        self.journal.append(self.folder.root(), JournalLine::Step(Box::new(Step { step: kind, ..step.clone() })))
    }

    /// Finishes an event and appends it to the journal.
    pub fn append(&mut self, event: Event) -> Result<()> {
        let now = (self.project.around.now)().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seconds = (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let why = event.why.clone().or_else(|| self.request.why.clone());
        let time = rfc3339(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let (actor, host) = (actor(self.project), host());
        let event = Event { seconds, time, why, actor, host, ..event };
        self.journal.append(self.folder.root(), JournalLine::Event(Box::new(event.clone())))?;
        self.events.push(event);
        Ok(())
    }

    fn event(
        &self,
        kind: EventKind,
        release: &ReleaseFacts,
        promotion: Option<String>,
        from: Option<&NamedRelease>,
    ) -> Event {
        Event {
            lockstep: EVENT_VERSION,
            event: kind,
            target: self.target.name.clone(),
            name: release.name.clone(),
            version: release.version.clone(),
            commit: release.commit.clone(),
            blake3: release.blake3,
            promotion,
            previous: from.and_then(|from| from.version.clone()),
            to: self.target.to.place(),
            digest: None,
            result: EventResult::Ok,
            why: None,
            seconds: 0.0,
            time: String::new(),
            actor: String::new(),
            host: String::new(),
        }
    }

    pub(super) fn hooks(
        &self,
        name: &str,
        version: Option<&str>,
        release: &Path,
        previous: Option<&str>,
    ) -> Result<HookRunner<'a>> {
        let fact = |key: &str, value: &str| (format!("LOCKSTEP_{key}"), value.to_string());
        let manifest = Manifest::read(release).ok().flatten();
        let hash = manifest.map(|manifest| manifest.blake3.hex()).unwrap_or_default();
        Ok(HookRunner {
            shell: self.project.config.shell_to_run()?.to_string(),
            wdir: &self.target.wdir,
            scratch: self.folder.staging_area(),
            facts: vec![
                fact("TARGET", &self.target.name),
                fact("NAME", name),
                fact("VERSION", version.unwrap_or_default()),
                fact("RELEASE", &release.to_string_lossy()),
                fact("PREVIOUS", previous.unwrap_or_default()),
                fact("BLAKE3", &hash),
                fact("OCI", &self.oci_name(release)?),
            ],
            stop: self.project.around.stop,
            sink: self.sink,
        })
    }

    pub(super) fn keep(&mut self, what: &str, output: &str) {
        if !output.is_empty() {
            self.output.push_str(&format!("$ {what}\n{output}"));
        }
        self.folder.keep_output(&self.output);
    }

    fn prune(&self) {
        if let Err(e) = prune(self.folder, &self.journal, self.target.keep) {
            let text = format!("old releases stay: {}", e.message);
            self.sink.event(Progress::Warning { text: &text });
        }
    }

    /// The outcome; the lock is released when its holder drops it.
    pub fn finish(
        self,
        release: &ReleaseFacts,
        current: Option<String>,
        action: DeployAction,
        failure: Option<Error>,
    ) -> Outcome {
        Outcome {
            target: self.target.name.clone(),
            name: release.name.clone(),
            version: release.version.clone(),
            to: self.target.to.folder.clone(),
            place: self.target.to.place(),
            release: current,
            action,
            events: self.events,
            failure,
        }
    }
}

/// Why a promotion is not deployed though it is not current; pure.
pub fn objection(
    target: &Target,
    journal: &Journal,
    promotion: Option<&str>,
    request: &Request,
) -> Option<DeployAction> {
    if request.force || !target.is_declared {
        return None;
    }
    match journal.hold() {
        Some(Hold::All) => return Some(DeployAction::Held("is held until it is resumed".into())),
        Some(hold @ Hold::UpTo(_)) if hold.covers(promotion) => {
            let Hold::UpTo(held) = hold else { return None };
            return Some(DeployAction::Held(format!("was rolled back from {held}; a later promotion lifts that")));
        }
        _ => {}
    }
    if !request.is_following {
        return None;
    }
    let Some(promotion) = promotion else { return Some(DeployAction::Skipped("it follows no label".into())) };
    if let Some(failed) = journal.failure(promotion) {
        let why = failed.why.clone().unwrap_or_default();
        return Some(DeployAction::Skipped(format!("{promotion} failed here before: {why}")));
    }
    let last = journal.last_promotion_like(promotion)?;
    (!is_newer(promotion, last)).then(|| {
        DeployAction::Skipped(format!("{promotion} counts again, and {last} was deployed since; deploy it by hand"))
    })
}

/// The manifest of a release folder, if it is of the same version and bytes.
pub fn is_of(folder: &Path, release: &ReleaseFacts) -> Option<Manifest> {
    let found = Manifest::read(folder).ok().flatten()?;
    let is_same = found.name == release.name
        && found.version == release.version
        && found.commit == release.commit
        && found.blake3 == release.blake3;
    is_same.then_some(found)
}

fn discard(staged: Option<&Path>) {
    if let Some(staged) = staged {
        let _ = store::remove(staged);
    }
}

/// `Name <address>` of the user of Git, or the name of the system's user.
pub fn actor(project: &Project) -> String {
    let of_git = || project.repo.committer().ok().map(|committer| committer.who);
    let of_git = if project.repo.is_git() { of_git() } else { None };
    of_git.unwrap_or_else(|| (project.around.user)(&project.around.env))
}

/// The name of this host.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
