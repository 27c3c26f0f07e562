//! After the switch: `after` and `healthy`, the way back if one of them fails, and what a killed call left of that.

use super::health::{self, ServedRelease};
use super::journal::{Step, StepKind};
use super::steps::Deployment;
use super::{Event, EventKind, EventResult, Manifest};
use crate::error::{Error, Kind, Result};
use crate::event::Event as Progress;
use crate::shell::word;

impl Deployment<'_> {
    /// `after` and `healthy`, then the event; the way back if one of them fails or cannot be started. Returns the error
    /// for the user.
    ///
    /// Errors: an interruption, a registry or a disk that fails: the version is current and not confirmed, and the next
    /// call goes on.
    pub(super) fn complete(&mut self, step: Step) -> Result<Option<Error>> {
        // A killed call may have switched the folder and not the registry.
        self.switch_registry(step.event.digest.as_deref()).map_err(|e| self.unconfirmed(e, &step))?;
        let why = match self.confirm(&step) {
            Ok(why) => why,
            Err(e) if matches!(e.kind, Kind::Signal(_)) => return Err(self.unconfirmed(e, &step)),
            Err(e) => Some(e.to_string()),
        };
        match why {
            None => self.append(step.event).map(|()| None),
            Some(why) => self.go_back(step, why).map(Some),
        }
    }

    /// Runs `after` and asks `healthy`; returns which of them failed, and how.
    fn confirm(&mut self, step: &Step) -> Result<Option<String>> {
        let event = &step.event;
        let path = self.folder.release(&step.release);
        let hooks = self.hooks(&event.name, event.version.as_deref(), &path, event.previous.as_deref())?;
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
        Ok(why)
    }

    /// Which of `after` and `healthy` this call has.
    pub(super) fn confirms(&self) -> Vec<String> {
        let has = [("after", self.target.after.is_some()), ("healthy", self.target.healthy.is_some())];
        has.iter().filter(|(_, has)| *has).map(|(what, _)| what.to_string()).collect()
    }

    fn unconfirmed(&self, error: Error, step: &Step) -> Error {
        let version = step.event.version.as_deref().unwrap_or(&step.release);
        error
            .because(format!("{version} is current, and not confirmed"))
            .hint(format!("the next call goes on from there: lockstep deploy {}", word(&self.target.name)))
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
        match hooks.run("after", &command, self.target.timeout, true) {
            Ok(ended) => {
                self.keep("after", &ended.output);
                Ok(ended.failure)
            }
            Err(e) if matches!(e.kind, Kind::Signal(_)) => Err(e),
            Err(e) => Ok(Some(format!("did not run: {e}"))),
        }
    }

    /// Finishes what a killed call left: see [`super::journal`].
    pub(super) fn finish_earlier(&mut self) -> Result<()> {
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
        let lacking = step.confirms.iter().find(|what| !self.confirms().contains(what));
        if let Some(what) = lacking.filter(|_| is_new) {
            let text = format!("the killed call had `{what}`, and this one has none: {version} is not asked for it");
            self.sink.event(Progress::Warning { text: &text });
        }
        match step.step {
            StepKind::Abandoned => Ok(()),
            StepKind::Switching if !is_new => self.step(&step, StepKind::Abandoned),
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
}
