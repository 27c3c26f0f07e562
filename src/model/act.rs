//! One act on the registry: a tag that is going to be made, and making it.

use std::time::{Duration, UNIX_EPOCH};

use super::note::{self, Note};
use super::registry::{Model, Registry};
use super::signed;
use crate::error::Result;
use crate::git::{Committer, GitId, NewTag};
use crate::project::{Project, Rev};
use crate::tag::{Action, ModelName, ModelTag};

/// A tag to be made.
#[derive(Clone, Debug)]
pub struct Act {
    pub tag: ModelTag,
    pub commit: GitId,
    /// The first line of its message.
    pub title: String,
    pub note: Note,
}

/// How it is made.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What the user says about it.
    pub words: Option<String>,
    pub sign: bool,
    pub push: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Done {
    /// The name of the tag.
    pub tag: String,
    /// The Git remote that it was pushed to.
    pub pushed: Option<String>,
}

impl Act {
    /// `title` is what the tag says in one line.
    pub fn new(registry: &Registry, name: &ModelName, action: Action, commit: GitId, title: String) -> Act {
        let model = registry.models.get(name);
        let event = match action {
            Action::Register(_) => "register",
            Action::Deregister(_) => "deregister",
            Action::Promote(_) => "promote",
            Action::Demote(_) => "demote",
            Action::Deprecate => "deprecate",
            Action::Create => "create",
        };
        let mut note = Note { event: event.into(), name: name.to_string(), ..Note::default() };
        match &action {
            Action::Register(version) | Action::Deregister(version) => note.version = Some(version.to_string()),
            Action::Promote(label) | Action::Demote(label) => note.label = Some(label.to_string()),
            Action::Deprecate | Action::Create => {}
        }
        Act { tag: ModelTag { name: name.clone(), counter: counter(model, &action), action }, commit, title, note }
    }

    /// Makes the tag, and pushes it if that is wanted.
    ///
    /// Errors: the tag was not made; or, [`Kind::Remote`](crate::error::Kind::Remote), it was and could not be pushed.
    pub fn perform(mut self, project: &Project, manner: &Manner) -> Result<Done> {
        let by = project.repo.committer()?;
        self.note.actor = by.who.clone();
        self.note.time = rfc3339(by.time);
        let name = self.tag.to_string();
        self.make(project, &by, &name, manner)?;
        let pushed = if manner.push { Some(project.repo.push_tag(&name)?) } else { None };
        Ok(Done { tag: name, pushed })
    }

    fn make(&self, project: &Project, by: &Committer, name: &str, manner: &Manner) -> Result<()> {
        let message = note::write(&self.title, manner.words.as_deref(), &self.note);
        let sign = manner.sign || signed::is_required(&project.at(&Rev::Worktree)?, &self.tag.name)?;
        project.repo.make_tag(&NewTag { name, commit: self.commit, message: &message, sign }, by)
    }
}

/// Labels always carry a counter. Versions do not: a number is given once. What takes something back, or ends a model,
/// carries one only where a tag of the plain name is there already.
fn counter(model: Option<&Model>, action: &Action) -> Option<u64> {
    let next = model.map_or(1, Model::next_counter);
    let taken = model.is_some_and(|model| model.events.iter().any(|e| e.action == *action));
    match action {
        Action::Promote(_) | Action::Demote(_) => Some(next),
        _ => taken.then_some(next),
    }
}

/// The end of the year 9999, after which times are written otherwise.
pub const LAST_SECOND: i64 = 253_402_300_799;

/// `2026-01-01T00:00:00Z`; a time that no calendar has is that of the beginning.
pub fn rfc3339(seconds: i64) -> String {
    let seconds = u64::try_from(seconds.min(LAST_SECOND + 1)).ok().filter(|s| *s <= LAST_SECOND as u64).unwrap_or(0);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(rfc3339(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!([rfc3339(-5), rfc3339(i64::MAX)], ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]);
    }
}
