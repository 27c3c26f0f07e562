//! The registry: models, their versions and labels, computed from all tags.
//!
//! Tags are never rewritten; [`tag::fold`](crate::tag::fold) computes their result. A version number is assigned once.
//! Counters increase over all tags of a model, as in GTO, including those that remove something, so none is reused.

pub mod find;
pub mod gate;
pub mod note;
pub mod promote;
pub mod publish;
pub mod register;
pub mod signed;
pub mod tag_write;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::git::{GitId, Repo, Signature, Tag};
use crate::pipeline::problem::did_you_mean;
use crate::shell::word;
use crate::tag::fold::{Assignment, ModelState, TagEvent, fold};
use crate::tag::{Action, Label, ModelName, ModelRequest, ModelTag, Version, Which, block};
use note::Note;

/// All models with tags in a repository.
#[derive(Debug, Default)]
pub struct Registry {
    /// Models with at least one tag, by name.
    pub models: BTreeMap<ModelName, Model>,
    /// Tags that resemble registry tags and are not: reported with `-v`.
    pub passed_over: Vec<String>,
}

/// A model with at least one tag.
#[derive(Debug)]
pub struct Model {
    /// Its folder and short name.
    pub name: ModelName,
    /// The oldest first.
    pub events: Vec<Event>,
    /// All registered versions, withdrawn ones included; the lowest first.
    pub versions: BTreeMap<Version, Registered>,
    /// Current labels of versions.
    pub labels: BTreeMap<Label, LabelAssignment>,
    /// The event that deprecated the model.
    pub deprecated: Option<usize>,
    state: ModelState<GitId>,
}

/// One tag.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name of the tag.
    pub tag: String,
    /// What the tag does, by its name.
    pub action: Action,
    /// The number at the end of the tag's name, if it has one.
    pub counter: Option<u64>,
    /// The commit that the tag points to.
    pub commit: GitId,
    /// `Name <mail>`; `None` for a lightweight tag.
    pub by: Option<String>,
    /// Seconds since 1970.
    pub time: Option<i64>,
    /// The text of the user.
    pub words: String,
    /// The tag object; `None` for a lightweight tag.
    pub object: Option<GitId>,
    /// Whether there is a signature, good or bad; [`Event::signature`] verifies it.
    pub has_signature: bool,
    /// The block of its message; `None` if there is none, or if its version is not known.
    pub note: Option<Note>,
    /// The version that its message names.
    pub noted: Option<Version>,
}

/// A registered version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registered {
    /// An index into [`Model::events`].
    pub event: usize,
    /// The event that withdrew it.
    pub withdrawn: Option<usize>,
}

/// The assignment of a label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelAssignment {
    /// An index into [`Model::events`].
    pub event: usize,
    /// `None` for a label on a commit without a version.
    pub version: Option<Version>,
}

impl Registry {
    /// Reads all tags of a repository.
    pub fn read(repo: &Repo) -> Result<Registry> {
        if !repo.is_git() {
            return Ok(Registry::default());
        }
        let history = repo.plain_history()?;
        let committed = |commit| history.commit(commit).and_then(|commit| commit.info()).ok().map(|about| about.time);
        Ok(Registry::from_tags(history.tags()?, &committed))
    }

    /// `committed` gives the time of a commit.
    pub fn from_tags(tags: Vec<Tag>, committed: &dyn Fn(GitId) -> Option<i64>) -> Registry {
        let mut registry = Registry::default();
        let mut events: BTreeMap<ModelName, Vec<Event>> = BTreeMap::new();
        for tag in tags {
            match tag.name.parse::<ModelTag>() {
                Ok(parsed) => events.entry(parsed.name.clone()).or_default().push(Event::of(tag, parsed)),
                Err(()) if tag.name.contains(['@', '#']) => registry.passed_over.push(tag.name),
                Err(()) => {}
            }
        }
        for (name, events) in events {
            registry.models.insert(name.clone(), Model::of(name, events, committed));
        }
        registry
    }

    /// A model that has tags.
    pub fn model(&self, name: &ModelName) -> Result<&Model> {
        self.models.get(name).ok_or_else(|| {
            let error = Error::missing(format!("no version of {name} is registered"));
            let names: Vec<String> = self.models.keys().map(ModelName::to_string).collect();
            let error = match did_you_mean(&name.to_string(), names.iter().map(String::as_str)) {
                Some(meant) => error.hint(meant),
                None => error,
            };
            error
                .hint(format!("lockstep model register {} --version v1.0.0 — registers one", word(&name.to_string())))
                .hint("git fetch --tags — if it was registered elsewhere")
        })
    }

    /// The requested version, and the event that the answer is from: its registration, or the assignment of the label.
    pub fn find(&self, asked: &ModelRequest) -> Result<(&Model, &Event, Option<&Version>)> {
        let model = self.model(&asked.name)?;
        match &asked.which {
            Which::Latest => match model.latest() {
                Some((version, registered)) => Ok((model, &model.events[registered.event], Some(version))),
                None => Err(Error::missing(format!("{} has no active version", model.name))
                    .hint(format!("lockstep model history {} — shows their history", word(&model.name.to_string())))),
            },
            Which::Version(version) => match model.versions.get_key_value(version) {
                Some((version, registered)) => Ok((model, &model.events[registered.event], Some(version))),
                None => Err(model.no_version(version)),
            },
            Which::Label(label) => match model.labels.get(label) {
                Some(given) => Ok((model, &model.events[given.event], given.version.as_ref())),
                None => Err(model.no_label(label)),
            },
        }
    }
}

impl Model {
    fn of(name: ModelName, mut events: Vec<Event>, committed: &dyn Fn(GitId) -> Option<i64>) -> Model {
        let when = |event: &Event| (event.time, event.rank(), event.counter.unwrap_or(0), event.tag.clone());
        events.sort_by_cached_key(when);
        let facts: Vec<TagEvent<GitId>> = events.iter().map(Event::fact).collect();
        let state = fold(&facts, committed);
        let mut model =
            Model { name, events, versions: BTreeMap::new(), labels: BTreeMap::new(), deprecated: state.ended, state };
        for version in model.state.versions.iter().map(|numbered| numbered.version.clone()) {
            if let Some(numbered) = model.state.version(&version)
                && let Some(event) = numbered.registered
            {
                model.versions.insert(version, Registered { event, withdrawn: numbered.withdrawn });
            }
        }
        for (label, holders) in &model.state.labels {
            model.labels.insert(label.clone(), model.given(&holders.all[0]));
        }
        model
    }

    fn given(&self, assignment: &Assignment) -> LabelAssignment {
        let version = assignment.version.map(|at| self.state.versions[at].version.clone());
        LabelAssignment { event: assignment.event, version }
    }

    /// All versions with a label: the answer first, then those that would be the answer without it.
    pub fn holders(&self, label: &Label) -> Vec<LabelAssignment> {
        let holders = self.state.labels.get(label).map(|holders| holders.all.as_slice()).unwrap_or_default();
        holders.iter().map(|assignment| self.given(assignment)).collect()
    }

    /// The events that the answer for a label depends on.
    pub fn support(&self, label: &Label) -> &[usize] {
        self.state.labels.get(label).map(|holders| holders.support.as_slice()).unwrap_or_default()
    }

    /// The version that gets a label when `version` loses it.
    pub fn next_holder(&self, label: &Label, version: &Version) -> Option<LabelAssignment> {
        self.holders(label).into_iter().find(|given| given.version.as_ref() != Some(version))
    }

    /// The highest active version on a commit: not withdrawn, and not from a lightweight tag.
    pub fn on_commit(&self, commit: GitId) -> Option<Version> {
        let here = self.state.versions.iter().filter(|v| v.commit == commit && !v.is_lightweight && v.is_active());
        here.map(|numbered| &numbered.version).max().cloned()
    }

    /// The highest version on a commit except this one. GTO fails for a label on such a commit, even if the other
    /// version is withdrawn.
    pub fn other_on_commit(&self, commit: GitId, version: &Version) -> Option<Version> {
        let here = self.state.versions.iter().filter(|v| v.commit == commit && !v.is_lightweight);
        here.map(|numbered| &numbered.version).filter(|other| *other != version).max().cloned()
    }

    /// The time of its last tag, in seconds since 1970.
    pub fn last_time(&self) -> Option<i64> {
        self.events.iter().filter_map(|event| event.time).max()
    }

    /// The index of one of its events.
    pub fn index_of(&self, event: &Event) -> usize {
        self.events.iter().position(|e| e.tag == event.tag).unwrap_or(0)
    }

    /// The version that an event refers to.
    pub fn version_of(&self, event: usize) -> Option<Version> {
        match &self.events[event].action {
            Action::Register(version) | Action::Deregister(version) => Some(version.clone()),
            _ => self.state.about[event].map(|at| self.state.versions[at].version.clone()),
        }
    }

    /// Returns true if an event is still in effect.
    pub fn holds(&self, at: usize) -> bool {
        match &self.events[at].action {
            Action::Register(version) => {
                self.versions.get(version).is_some_and(|r| r.event == at && r.withdrawn.is_none())
            }
            Action::Deregister(version) => self.versions.get(version).is_some_and(|r| r.withdrawn.is_some()),
            Action::Promote(label) => self.labels.get(label).is_some_and(|given| given.event == at),
            Action::Demote(label) => {
                let version = self.version_of(at);
                version.is_some() && self.holders(label).iter().all(|given| given.version != version)
            }
            Action::Deprecate => self.deprecated.is_some(),
            Action::Create => self.deprecated.is_none(),
        }
    }

    /// The highest version that is not withdrawn; a pre-release only if there is no release.
    pub fn latest(&self) -> Option<(&Version, &Registered)> {
        let counts = || self.versions.iter().filter(|(_, r)| r.withdrawn.is_none());
        counts().rfind(|(version, _)| !version.is_prerelease()).or_else(|| counts().next_back())
    }

    /// The highest number ever assigned: the base of the next one.
    pub fn highest(&self) -> Option<&Version> {
        self.versions.keys().next_back()
    }

    /// The next free counter.
    pub fn next_counter(&self) -> u64 {
        self.events.iter().filter_map(|e| e.counter).max().unwrap_or(0).saturating_add(1)
    }

    /// The labels of a version.
    pub fn labels_of(&self, version: &Version) -> impl Iterator<Item = (&Label, &LabelAssignment)> {
        self.labels.iter().filter(move |(_, given)| given.version.as_ref() == Some(version))
    }

    /// The error for an unknown version.
    pub fn no_version(&self, version: &Version) -> Error {
        let error = Error::missing(format!("{} has no version {version}", self.name));
        let known: Vec<String> = self.versions.keys().rev().take(5).map(Version::to_string).collect();
        match known.is_empty() {
            true => error,
            false => error.hint(format!("there are {}; see all: lockstep model list --all", known.join(", "))),
        }
    }

    /// The error for an unknown label.
    pub fn no_label(&self, label: &Label) -> Error {
        let error = Error::missing(format!("no version of {} has the label {label}", self.name));
        if self.deprecated.is_some() {
            return error.because(format!("{} is deprecated", self.name)).hint(format!(
                "lockstep model history {} — shows the history of its versions",
                word(&self.name.to_string())
            ));
        }
        let known: Vec<String> = self.labels.keys().map(Label::to_string).collect();
        match known.is_empty() {
            true => error.hint(format!(
                "lockstep model promote {}@VERSION {} — gives it to one",
                word(&self.name.to_string()),
                word(&label.to_string())
            )),
            false => error.hint(format!("its labels are {}", known.join(", "))),
        }
    }
}

impl Event {
    fn of(tag: Tag, parsed: ModelTag) -> Event {
        let mut event = Event {
            tag: tag.name,
            action: parsed.action,
            counter: parsed.counter,
            commit: tag.commit,
            by: None,
            time: None,
            words: String::new(),
            object: None,
            has_signature: false,
            note: None,
            noted: None,
        };
        if let Some(about) = tag.annotated {
            event.object = Some(about.id);
            event.has_signature = about.has_signature;
            event.words = note::user_text(&about.message);
            event.note = note::read(&about.message);
            event.noted = block::version(&about.message);
            event.by = Some(about.tagger).filter(|by| !by.is_empty());
            event.time = Some(about.time);
        }
        event
    }

    fn fact(&self) -> TagEvent<GitId> {
        let (tag, action) = (self.tag.clone(), self.action.clone());
        TagEvent { tag, action, commit: self.commit, time: self.time, noted: self.noted.clone() }
    }

    /// The order of events of one second, as in GTO.
    fn rank(&self) -> u8 {
        match self.action {
            Action::Create => 0,
            Action::Deprecate => 1,
            Action::Register(_) => 2,
            Action::Deregister(_) => 3,
            Action::Promote(_) => 4,
            Action::Demote(_) => 5,
        }
    }

    /// The signature of its tag, verified: one run of `git`.
    pub fn signature(&self, repo: &Repo) -> Signature {
        match self.object {
            Some(object) if self.has_signature => repo.verify_tag(&self.tag, object),
            _ => Signature::unchecked(false),
        }
    }

    /// The word for its action.
    pub fn word(&self) -> &'static str {
        match self.action {
            Action::Register(_) => "register",
            Action::Deregister(_) => "deregister",
            Action::Promote(_) => "promote",
            Action::Demote(_) => "demote",
            Action::Deprecate => "deprecate",
            Action::Create => "create",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Annotation;

    /// `tag commit time [version in its note]`, a line each; `-` for a lightweight tag.
    fn registry(lines: &str) -> Registry {
        let id = |n: &str| GitId::from_hex(&n.repeat(40)).unwrap();
        let tags = lines.split('\n').map(str::trim).filter(|l| !l.is_empty()).map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let note = words.get(3).map(|version| {
                let note = Note { version: Some(version.to_string()), ..Note::default() };
                note::write("t", None, &note)
            });
            let annotated = words[2].parse().ok().map(|time| Annotation {
                id: id("f"),
                tagger: "A <a@example.org>".into(),
                time,
                message: note.unwrap_or_default(),
                has_signature: false,
            });
            Tag { name: words[0].into(), commit: id(words[1]), annotated }
        });
        Registry::from_tags(tags.collect(), &|_| None)
    }

    #[test]
    fn latest_highest_and_the_next_counter() {
        let registry = registry(
            "m@v1.9.0 1 1\n m@v1.10.0 2 2\n m@v2.0.0-rc.1 3 3\n m@v1.11.0 4 4\n m@v1.11.0! 4 5\n m#p#3 1 6\n m#q!#7 1 7\n \
             other#p#99 1 1\n x@1.0.0 1 1\n release 1 1",
        );
        let model = &registry.models[&"m".parse().unwrap()];
        assert_eq!(model.latest().map(|(v, _)| v.to_string()).as_deref(), Some("v1.10.0"));
        assert_eq!(model.highest().map(Version::to_string).as_deref(), Some("v2.0.0-rc.1"));
        assert_eq!(model.next_counter(), 8);
        assert_eq!(registry.passed_over, ["x@1.0.0"]);
    }

    #[test]
    fn what_is_not_there() {
        let registry = registry("digits@v1.0.0 1 1\n digits#prod#1 1 2");
        for (asked, want) in [
            ("digit", "no version of digit is registered|did you mean `digits`?"),
            ("digits@v2.0.0", "digits has no version v2.0.0|there are v1.0.0"),
            ("digits#dev", "no version of digits has the label dev|its labels are prod"),
        ] {
            let error = registry.find(&asked.parse().unwrap()).map(|_| ()).unwrap_err().to_string();
            for part in want.split('|') {
                assert!(error.contains(part), "{asked}: {error}");
            }
        }
    }
}
