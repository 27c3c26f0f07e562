//! Writes registry tags: plans a tag, and makes it together with others.

use std::time::{Duration, UNIX_EPOCH};

use super::note::{self, Note};
use super::publish::{PendingTag, Publisher};
use super::signed;
use crate::error::{Error, Result};
use crate::git::{Committer, GitId, NewTag};
use crate::model::registry::{Model, Registry};
use crate::project::{Project, Rev};
use crate::shell::word;
use crate::tag::{Action, ModelName, ModelTag};
use crate::url::Url;

/// A tag to be made.
#[derive(Clone, Debug)]
pub struct PlannedTag {
    /// The model, the action and the counter, which form its name.
    pub tag: ModelTag,
    /// The commit that the tag points to.
    pub commit: GitId,
    /// The tag is dated later than this, in seconds since 1970.
    pub after: Option<i64>,
    /// The tag of the model with the latest time.
    latest: Option<String>,
    /// The first line of its message.
    pub title: String,
    /// The block of its message; `actor` and `time` are set when the tag is made.
    pub note: Note,
}

/// How tags are made.
#[derive(Clone, Debug, Default)]
pub struct TagOptions {
    /// The user's text.
    pub words: Option<String>,
    /// Whether to sign the tag, even if the artifact does not require it.
    pub sign: bool,
}

/// The result.
#[derive(Clone, Debug)]
pub struct TagResult {
    /// The Git remote that the tags were pushed to.
    pub pushed: Option<Url>,
    /// Remarks for the user.
    pub remarks: Vec<String>,
}

/// A tag with its whole content.
struct DraftTag {
    name: String,
    commit: GitId,
    message: String,
    sign: bool,
}

impl PlannedTag {
    /// `title` is what the tag says in one line.
    pub fn new(registry: &Registry, name: &ModelName, action: Action, commit: GitId, title: String) -> PlannedTag {
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
        let tag = ModelTag { name: name.clone(), counter: counter(model, &action), action };
        let latest = model.and_then(|model| model.events.iter().max_by_key(|event| event.time));
        let latest = latest.map(|event| event.tag.clone());
        PlannedTag { tag, commit, after: model.and_then(Model::last_time), latest, title, note }
    }

    /// Sets the time of the commit, so that the tag is later than it.
    pub fn after(self, time: Option<i64>) -> PlannedTag {
        let latest = self.latest.filter(|_| self.after >= time);
        PlannedTag { after: self.after.max(time), latest, ..self }
    }

    fn draft(mut self, by: &Committer, project: &Project, options: &TagOptions) -> Result<DraftTag> {
        self.note.actor = by.who.clone();
        self.note.time = rfc3339(by.time);
        let message = note::write(&self.title, options.words.as_deref(), &self.note);
        let sign = options.sign || signed::is_required(&project.at(&Rev::Worktree)?, &self.tag.name)?;
        Ok(DraftTag { name: self.tag.to_string(), commit: self.commit, message, sign })
    }
}

/// Makes tags, and pushes them if there is a publisher: all of them, or none.
///
/// Errors: none was made; or, [`Kind::Remote`](crate::error::Kind::Remote), their state at the remote is unknown.
pub fn perform(
    project: &Project,
    new_tags: Vec<PlannedTag>,
    options: &TagOptions,
    publisher: Option<&Publisher<'_>>,
) -> Result<TagResult> {
    let (by, remarks) = dated(project.repo.committer()?, &new_tags)?;
    let drafts =
        new_tags.into_iter().map(|new_tag| new_tag.draft(&by, project, options)).collect::<Result<Vec<_>>>()?;
    let entries: Vec<PendingTag> = drafts.iter().map(|draft| draft.entry(&by)).collect();
    if let Some(publisher) = publisher {
        publisher.announce(entries.clone())?;
    }
    for (at, draft) in drafts.iter().enumerate() {
        if let Err(error) = project.repo.make_tag(&draft.tag(), &by) {
            for made in &entries[..at] {
                made.delete(&project.repo)?;
            }
            publisher.map_or(Ok(()), Publisher::remove_journal)?;
            return Err(error);
        }
    }
    let Some(publisher) = publisher else { return Ok(TagResult { pushed: None, remarks }) };
    publisher.push_new(&entries)?;
    Ok(TagResult { pushed: Some(publisher.remote.clone()), remarks })
}

impl DraftTag {
    fn tag(&self) -> NewTag<'_> {
        NewTag { name: &self.name, commit: self.commit, message: &self.message, sign: self.sign }
    }

    fn entry(&self, by: &Committer) -> PendingTag {
        PendingTag::new(&self.name, &self.tag().content(by))
    }
}

/// Readers order tags by their times, so a new tag is dated after existing ones: a second later if the clock is behind.
fn dated(by: Committer, new_tags: &[PlannedTag]) -> Result<(Committer, Vec<String>)> {
    let times = new_tags.iter().filter_map(|new_tag| Some((new_tag.after?, new_tag)));
    let Some((last, new_tag)) = times.max_by_key(|(time, _)| *time).filter(|(last, _)| *last >= by.time) else {
        return Ok((by, Vec::new()));
    };
    if last >= LAST_SECOND {
        let name = new_tag.tag.name.to_string();
        let dated = match &new_tag.latest {
            Some(tag) => format!("the tag {tag} is dated after the year 9999"),
            None => format!("a commit of {name} is dated after the year 9999"),
        };
        let error = Error::usage(format!("{dated}, so no later tag can be made"))
            .hint(format!("see it: lockstep model history {}", word(&name)));
        return Err(match &new_tag.latest {
            Some(tag) => error.hint(format!("if it is a mistake, delete the tag: git tag -d {}", word(tag))),
            None => error,
        });
    }
    let ahead = last - by.time;
    let remark = format!(
        "the last tag of the model is dated {}, ahead of this clock; the new one is dated a second later, so that it takes effect",
        rfc3339(last)
    );
    Ok((by.with_time(last + 1), if ahead > TOLERANCE { vec![remark] } else { Vec::new() }))
}

/// Labels always have a counter. Versions do not: a number is assigned once. A tag that withdraws or deprecates has one
/// only if the plain name is taken.
fn counter(model: Option<&Model>, action: &Action) -> Option<u64> {
    let next = model.map_or(1, Model::next_counter);
    let taken = model.is_some_and(|model| model.events.iter().any(|e| e.action == *action));
    match action {
        Action::Promote(_) | Action::Demote(_) => Some(next),
        _ => taken.then_some(next),
    }
}

/// The usual difference between clocks of collaborators, in seconds.
const TOLERANCE: i64 = 300;

/// The end of the year 9999, after which times have another format.
pub const LAST_SECOND: i64 = 253_402_300_799;

/// `2026-01-01T00:00:00Z`; an invalid time is shown as the epoch.
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
