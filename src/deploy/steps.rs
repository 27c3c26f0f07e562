//! The steps of a deployment that holds the lock of its folder: prepare the release, check it, name it, switch, `after`
//! and `healthy`, else return; then prune.
//!
//! Each step leaves the folder in a state that the next call understands: see [`super::journal`].

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::build::{self, Depth};
use super::folder::{self, CurrentLink, TargetFolder};
use super::health::{self, ServedRelease};
use super::hooks::HookRunner;
use super::journal::{Hold, Journal, JournalLine, Step, StepKind, counter};
use super::prune::prune;
use super::registry::TargetRegistry;
use super::release::{Release, ReleaseFacts};
use super::request::{DeployAction, Outcome, Request};
use super::target::{Target, Wanted};
use super::{EVENT_VERSION, Event, EventKind, EventResult, Manifest};
use crate::error::{Error, Kind, Result};
use crate::event::{Event as Progress, Sink};
use crate::model::registry::tag_write::rfc3339;
use crate::project::Project;
use crate::store;
use crate::tag::{ModelRequest, Which};

/// A deployment that holds the lock of its folder.
pub struct Deployment<'a> {
    pub(super) project: &'a Project,
    pub(super) request: &'a Request,
    pub(super) target: &'a Target,
    pub(super) folder: &'a TargetFolder,
    pub(super) journal: Journal,
    pub(super) events: Vec<Event>,
    output: String,
    sink: &'a dyn Sink,
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

    fn version_of(&self, release: &str) -> Option<String> {
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
        };
        self.switch(step, release)
    }

    /// The registry of the target, if it has one.
    fn registry(&self) -> Result<Option<TargetRegistry>> {
        let label = match &self.target.what {
            Wanted::Version(ModelRequest { which: Which::Label(label), .. }) => Some(label.to_string()),
            _ => None,
        };
        let open = |reference| TargetRegistry::open(self.project, reference, label.as_deref());
        self.target.to.registry.as_ref().map(open).transpose()
    }

    fn switch_registry(&self, digest: Option<&str>) -> Result<()> {
        match (self.registry()?, digest) {
            (Some(registry), Some(digest)) => registry.switch(digest),
            (Some(_), None) => {
                let text = "the tag of the label stays on the version that failed: there is no version before it";
                self.sink.event(Progress::Warning { text });
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// The digest under which a release was written, by the journal.
    fn digest_of(&self, release: &str) -> Option<String> {
        let found = Manifest::read(&self.folder.release(release)).ok().flatten()?;
        let is_of = |event: &&Event| event.blake3 == found.blake3 && event.version == found.version;
        let steps = self.journal.unfinished().map(|step| &step.event);
        self.journal
            .events()
            .rfind(|event| is_of(event) && event.digest.is_some())
            .or(steps.filter(is_of))?
            .digest
            .clone()
    }

    /// `HOST/REPOSITORY@DIGEST` of a release folder; empty before it is in a registry.
    fn oci_name(&self, release: &Path) -> Result<String> {
        let name = release.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let digest = self.digest_of(&name);
        let registry = self.registry()?;
        Ok(registry.zip(digest).map(|(registry, digest)| registry.name_of(&digest)).unwrap_or_default())
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

    /// `after` and `healthy`, then the event; the way back if one of them fails. Returns the error for the user.
    fn complete(&mut self, step: Step) -> Result<Option<Error>> {
        let event = step.event.clone();
        // A killed call may have switched the folder and not the registry.
        self.switch_registry(event.digest.as_deref())?;
        let path = self.folder.release(&step.release);
        let previous = event.previous.clone();
        let hooks = self.hooks(&event.name, event.version.as_deref(), &path, previous.as_deref())?;
        let mut why = None;
        let mut outputs = Vec::new();
        if let Some(command) = &self.target.after {
            let ended = hooks.run("after", command, self.target.timeout, true)?;
            why = ended.failure.map(|why| format!("`after` {why}"));
            outputs.push(("after", ended.output));
        }
        if let (None, Some(healthy)) = (&why, &self.target.healthy) {
            let wanted = ServedRelease { version: event.version.clone(), blake3: event.blake3 };
            let result = health::wait_for(healthy, &wanted, self.target.timeout, &hooks)?;
            why = result.failure.map(|why| format!("`healthy` {why}"));
            outputs.push(("healthy", result.output));
        }
        drop(hooks);
        outputs.iter().for_each(|(what, output)| self.keep(what, output));
        match why {
            None => self.append(event).map(|()| None),
            Some(why) => self.go_back(step, why).map(Some),
        }
    }

    /// Lets the release before be current again, and runs `after` for it.
    fn go_back(&mut self, step: Step, why: String) -> Result<Error> {
        let failed = Step { event: Event { why: Some(why.clone()), ..step.event.clone() }, ..step };
        self.step(&failed, StepKind::Returning)?;
        self.folder.switch(failed.from.as_deref())?;
        let before = failed.from.as_deref().and_then(|from| self.digest_of(from));
        self.switch_registry(before.as_deref())?;
        let event = &failed.event;
        let shown = format!("{}{}", event.name, event.version.as_ref().map(|v| format!(" {v}")).unwrap_or_default());
        let mut error =
            Error::new(Kind::Stage, format!("{shown} does not stay deployed to {}", self.target.name)).because(&why);
        let again = match &failed.from {
            Some(from) => self.after_return(from, event.version.as_deref())?,
            None => None,
        };
        error = error.because(match (&failed.from, self.version_of(failed.from.as_deref().unwrap_or_default())) {
            (None, _) => "it was the first version there, so nothing is current now".to_string(),
            (Some(_), Some(version)) => format!("returned to {version}, which is current again"),
            (Some(from), None) => format!("returned to {from}, which is current again"),
        });
        let mut words = why;
        if let Some(again) = again {
            error = error.because(format!("`after` {again} on the way back, too: a service may still have {shown}"));
            words = format!("{words}; on the way back `after` {again}");
        }
        let event = Event { event: EventKind::Return, result: EventResult::Failed, why: Some(words), ..failed.event };
        self.append(event)?;
        Ok(error)
    }

    /// Runs `after` for the release that is current again; returns why it failed.
    fn after_return(&mut self, release: &str, failed: Option<&str>) -> Result<Option<String>> {
        let Some(command) = self.target.after.clone() else { return Ok(None) };
        let path = self.folder.release(release);
        let manifest = Manifest::read(&path).ok().flatten();
        let name = manifest.as_ref().map_or_else(String::new, |manifest| manifest.name.clone());
        let version = manifest.and_then(|manifest| manifest.version);
        let hooks = self.hooks(&name, version.as_deref(), &path, failed)?;
        let ended = hooks.run("after", &command, self.target.timeout, true)?;
        self.keep("after", &ended.output);
        Ok(ended.failure)
    }

    /// Finishes what a killed call left: see [`super::journal`].
    pub fn finish_earlier(&mut self) -> Result<()> {
        let Some(step) = self.journal.unfinished().cloned() else { return Ok(()) };
        let current = self.current_name()?;
        let is_new = current.as_deref() == Some(&step.release);
        let is_before = current == step.from;
        if !is_new && !is_before {
            let text = "an earlier deployment was killed, and `current` was changed since; it is not finished";
            self.sink.event(Progress::Warning { text });
            return Ok(());
        }
        let version = step.event.version.clone().unwrap_or_else(|| step.release.clone());
        let text = format!("finishing the deployment of {version}, which was killed");
        match step.step {
            StepKind::Switching if !is_new => Ok(()),
            StepKind::Returning => {
                self.sink.event(Progress::Note { text: &text });
                let why = step.event.why.clone().unwrap_or_default();
                self.go_back(step, why).map(drop)
            }
            // The link was put back by hand: the service may still have the new one.
            StepKind::Switched if !is_new => self.go_back(step, "it was put back by hand".into()).map(drop),
            StepKind::Switching | StepKind::Switched => {
                self.sink.event(Progress::Note { text: &text });
                if let Some(error) = self.complete(step)? {
                    self.sink.event(Progress::Warning { text: &error.to_string() });
                }
                Ok(())
            }
        }
    }

    fn step(&mut self, step: &Step, kind: StepKind) -> Result<()> {
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

    fn hooks(
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

    fn keep(&mut self, what: &str, output: &str) {
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
    let last = journal.last_promotion()?;
    (counter(promotion) <= counter(last)).then(|| {
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
