//! The registry: what all tags together say of models, their versions and labels.
//!
//! Pure but for [`Registry::read`]. Tags are facts that nobody rewrites; the state is a fold over them:
//!
//! - A version is registered where its last tag says so. Its number is never given twice.
//! - A label belongs to one version, the one of its last tag, and any number of labels may point to one version.
//! - *Last* is told by the counters where tags have one, since clocks differ, else by the time of the tag, else by the
//!   sequence in its note.
//! - A label's tag points to a commit. Where two versions lie on that commit, the tag's note says which one is meant;
//!   a note that names a version which is not on that commit is not believed. Without a note (tags of GTO) the highest
//!   version on the commit is.
//! - Counters go up over all tags of a model, as GTO's do, those that take something away included, so none is reused.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::note::{self, Note};
use crate::error::{Error, Result};
use crate::git::{GitId, Repo, Signature, Tag};
use crate::pipeline::problem::did_you_mean;
use crate::shell::word;
use crate::tag::{Action, Asked, Label, ModelName, ModelTag, Version, Which, label_order};

#[derive(Debug, Default)]
pub struct Registry {
    pub models: BTreeMap<ModelName, Model>,
    /// Tags that look a little like ours and are none: said with `-v`.
    pub passed_over: Vec<String>,
}

/// A model with at least one tag.
#[derive(Debug)]
pub struct Model {
    pub name: ModelName,
    /// The oldest first.
    pub events: Vec<Event>,
    pub versions: BTreeMap<Version, Registered>,
    /// Labels that belong to a version now.
    pub labels: BTreeMap<Label, Given>,
    /// The event that ended the model, if no version was registered since.
    pub deprecated: Option<usize>,
}

/// One tag.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name of the tag.
    pub tag: String,
    pub action: Action,
    pub counter: Option<u64>,
    pub commit: GitId,
    /// `Name <mail>`; `None` for a lightweight tag.
    pub by: Option<String>,
    /// Seconds since 1970.
    pub time: Option<i64>,
    /// What people wrote.
    pub words: String,
    /// The tag object; `None` for a lightweight tag.
    pub object: Option<GitId>,
    /// Is there a signature, good or bad? [`Event::signature`] tells.
    pub has_signature: bool,
    pub note: Option<Note>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registered {
    /// Its place in [`Model::events`].
    pub event: usize,
    /// The event that took it back.
    pub withdrawn: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Its place in [`Model::events`].
    pub event: usize,
    /// `None` where the label was put on a commit that has no version.
    pub version: Option<Version>,
}

impl Registry {
    pub fn read(repo: &Repo) -> Result<Registry> {
        Ok(Registry::of(repo.tags()?))
    }

    pub fn of(tags: Vec<Tag>) -> Registry {
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
            registry.models.insert(name.clone(), Model::of(name, events));
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

    /// The version that is asked for, and the event that says so: its registration, or the gift of the label.
    pub fn find(&self, asked: &Asked) -> Result<(&Model, &Event, Option<&Version>)> {
        let model = self.model(&asked.name)?;
        match &asked.which {
            Which::Latest => match model.latest() {
                Some((version, registered)) => Ok((model, &model.events[registered.event], Some(version))),
                None => Err(Error::missing(format!("{} has no version that counts", model.name)).hint(format!(
                    "lockstep model history {} — tells what became of them",
                    word(&model.name.to_string())
                ))),
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
    fn of(name: ModelName, mut events: Vec<Event>) -> Model {
        events.sort_by(|a, b| a.when().cmp(&b.when()).then(a.rank().cmp(&b.rank())).then(a.tag.cmp(&b.tag)));
        let mut model = Model { name, events, versions: BTreeMap::new(), labels: BTreeMap::new(), deprecated: None };
        model.versions = model.fold_versions();
        model.labels = model.fold_labels();
        let last = |is: fn(&Action) -> bool| model.events.iter().rposition(|e| is(&e.action));
        let registered = last(|action| matches!(action, Action::Register(_)));
        model.deprecated = last(|action| *action == Action::Deprecate).filter(|ended| Some(*ended) > registered);
        model
    }

    fn fold_versions(&self) -> BTreeMap<Version, Registered> {
        let mut by_version: BTreeMap<&Version, Vec<usize>> = BTreeMap::new();
        for (at, event) in self.events.iter().enumerate() {
            if let Action::Register(version) | Action::Deregister(version) = &event.action {
                by_version.entry(version).or_default().push(at);
            }
        }
        let mut versions = BTreeMap::new();
        for (version, mut ats) in by_version {
            ats.sort_by(|a, b| self.order(*a, *b));
            let is_register = |at: &usize| matches!(self.events[*at].action, Action::Register(_));
            // Taken back without ever having been registered here: a tag that was not fetched, or deleted.
            let Some(event) = ats.iter().copied().rfind(is_register) else { continue };
            let withdrawn = ats.last().copied().filter(|at| *at != event);
            versions.insert(version.clone(), Registered { event, withdrawn });
        }
        versions
    }

    fn fold_labels(&self) -> BTreeMap<Label, Given> {
        let mut by_label: BTreeMap<&Label, Vec<usize>> = BTreeMap::new();
        for (at, event) in self.events.iter().enumerate() {
            if let Action::Promote(label) | Action::Demote(label) = &event.action {
                by_label.entry(label).or_default().push(at);
            }
        }
        let mut labels = BTreeMap::new();
        for (label, ats) in by_label {
            let last = ats.into_iter().max_by(|a, b| self.order(*a, *b));
            if let Some(event) = last.filter(|at| matches!(self.events[*at].action, Action::Promote(_))) {
                labels.insert(label.clone(), Given { event, version: self.version_of(event) });
            }
        }
        labels
    }

    /// The place of one of its events.
    pub fn place(&self, event: &Event) -> usize {
        self.events.iter().position(|e| e.tag == event.tag).unwrap_or(0)
    }

    /// The order of two events about one thing.
    fn order(&self, a: usize, b: usize) -> Ordering {
        let (x, y) = (&self.events[a], &self.events[b]);
        label_order((x.counter, x.time), (y.counter, y.time)).then(a.cmp(&b))
    }

    /// Which version an event is about.
    pub fn version_of(&self, event: usize) -> Option<Version> {
        let event = &self.events[event];
        if let Action::Register(version) | Action::Deregister(version) = &event.action {
            return Some(version.clone());
        }
        let here =
            |version: &Version| self.versions.get(version).is_some_and(|r| self.events[r.event].commit == event.commit);
        event.noted_version().filter(here).or_else(|| self.versions.keys().rfind(|version| here(version)).cloned())
    }

    /// The highest version that was not taken back; a pre-release only where there is nothing else.
    pub fn latest(&self) -> Option<(&Version, &Registered)> {
        let counts = || self.versions.iter().filter(|(_, r)| r.withdrawn.is_none());
        counts().rfind(|(version, _)| !version.is_prerelease()).or_else(|| counts().next_back())
    }

    /// The highest number that was ever given: what the next one goes up from.
    pub fn highest(&self) -> Option<&Version> {
        self.versions.keys().next_back()
    }

    /// The next free counter.
    pub fn next_counter(&self) -> u64 {
        self.events.iter().filter_map(|e| e.counter).max().unwrap_or(0).saturating_add(1)
    }

    /// The labels of a version.
    pub fn labels_of(&self, version: &Version) -> impl Iterator<Item = (&Label, &Given)> {
        self.labels.iter().filter(move |(_, given)| given.version.as_ref() == Some(version))
    }

    pub fn no_version(&self, version: &Version) -> Error {
        let error = Error::missing(format!("{} has no version {version}", self.name));
        let known: Vec<String> = self.versions.keys().rev().take(5).map(Version::to_string).collect();
        match known.is_empty() {
            true => error,
            false => error.hint(format!("there are {}; see all: lockstep model list --all", known.join(", "))),
        }
    }

    pub fn no_label(&self, label: &Label) -> Error {
        let error = Error::missing(format!("no version of {} has the label {label}", self.name));
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
        };
        if let Some(about) = tag.annotated {
            event.object = Some(about.id);
            event.has_signature = about.has_signature;
            event.words = note::words(&about.message);
            event.note = note::read(&about.message);
            event.by = Some(about.tagger).filter(|by| !by.is_empty());
            event.time = Some(about.time);
        }
        event
    }

    fn when(&self) -> (Option<i64>, u64, u64) {
        (self.time, self.note.as_ref().map_or(0, |note| note.sequence), self.counter.unwrap_or(0))
    }

    /// What comes first where nothing else tells.
    fn rank(&self) -> u8 {
        match self.action {
            Action::Create => 0,
            Action::Register(_) => 1,
            Action::Promote(_) => 2,
            Action::Demote(_) => 3,
            Action::Deregister(_) => 4,
            Action::Deprecate => 5,
        }
    }

    /// The version that its tag names in its note.
    pub fn noted_version(&self) -> Option<Version> {
        self.note.as_ref()?.version.as_ref()?.parse().ok()
    }

    /// The signature of its tag, verified: one run of `git`.
    pub fn signature(&self, repo: &Repo) -> Signature {
        match self.object {
            Some(object) if self.has_signature => repo.verify_tag(&self.tag, object),
            _ => Signature::unchecked(false),
        }
    }

    /// The word for what it did.
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
        Registry::of(tags.collect())
    }

    /// Versions (`-` before those taken back) and labels of `m`.
    fn shown(lines: &str) -> String {
        let registry = registry(lines);
        let model = &registry.models[&"m".parse().unwrap()];
        let versions =
            model.versions.iter().map(|(v, r)| format!("{}{v}", if r.withdrawn.is_some() { "-" } else { "" }));
        let labels = model.labels.iter().map(|(l, g)| match &g.version {
            Some(v) => format!("{l}={v}"),
            None => format!("{l}=?"),
        });
        let end = model.deprecated.map(|_| "deprecated".to_string());
        versions.chain(labels).chain(end).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_fold() {
        for (what, lines, want) in [
            ("one of each", "m@v1.0.0 1 10\n m#prod#1 1 11", "v1.0.0 prod=v1.0.0"),
            ("a lightweight tag counts", "m@v1.0.0 1 -", "v1.0.0"),
            (
                "a label moves",
                "m@v1.0.0 1 10\n m@v1.1.0 2 11\n m#prod#1 1 12\n m#prod#2 2 13",
                "v1.0.0 v1.1.0 prod=v1.1.0",
            ),
            ("back again", "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#1 1 3\n m#p#2 2 4\n m#p#3 1 5", "v1.0.0 v1.1.0 p=v1.0.0"),
            ("taken away", "m@v1.0.0 1 10\n m#prod#1 1 11\n m#prod!#2 1 12", "v1.0.0"),
            (
                "counters beat clocks",
                "m@v1.0.0 1 10\n m@v1.1.0 2 11\n m#p#9 1 90\n m#p#10 2 12",
                "v1.0.0 v1.1.0 p=v1.1.0",
            ),
            ("GTO's plain style", "m@v1.0.0 1 10\n m#prod 1 11\n m#prod! 1 12\n m#dev 1 13", "v1.0.0 dev=v1.0.0"),
            ("several labels", "m@v1.0.0 1 10\n m#a#1 1 11\n m#b#2 1 11", "v1.0.0 a=v1.0.0 b=v1.0.0"),
            ("a version is taken back", "m@v1.0.0 1 10\n m@v1.0.0! 1 10", "-v1.0.0"),
            ("and registered anew", "m@v1.0.0 1 10\n m@v1.0.0!#1 1 11\n m@v1.0.0#2 2 12", "v1.0.0"),
            ("taken back without a start", "m@v1.0.0! 1 10", ""),
            ("a label without a version", "m#prod#1 7 10", "prod=?"),
            ("two on one commit, noted", "m@v1.0.0 1 1\n m@v1.1.0 1 2\n m#p#1 1 3 v1.0.0", "v1.0.0 v1.1.0 p=v1.0.0"),
            ("two on one commit, not noted", "m@v1.0.0 1 1\n m@v1.1.0 1 2\n m#p#1 1 3", "v1.0.0 v1.1.0 p=v1.1.0"),
            ("a lying note", "m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v2.0.0", "v1.0.0 v2.0.0 p=v1.0.0"),
            ("a note with rubbish", "m@v1.0.0 1 1\n m#p#1 1 3 ../../x", "v1.0.0 p=v1.0.0"),
            ("the end", "m@v1.0.0 1 1\n m@deprecated 1 2", "v1.0.0 deprecated"),
            ("revived", "m@v1.0.0 1 1\n m@deprecated 1 2\n m@v1.1.0 2 3", "v1.0.0 v1.1.0"),
            ("ended in the same second", "m@v1.0.0 1 1\n m@deprecated#3 1 1", "v1.0.0 deprecated"),
        ] {
            assert_eq!(shown(lines), want, "{what}");
        }
    }

    #[test]
    fn the_order_of_tags_does_not_matter() {
        let lines: Vec<String> = (0..20)
            .map(|n| format!("m#p#{} {} {}", n + 1, n % 8 + 1, 100 - n))
            .chain((1..9).map(|n| format!("m@v1.{n}.0 {n} 5")))
            .collect();
        let forth = shown(&lines.join("\n"));
        let back = shown(&lines.iter().rev().map(String::as_str).collect::<Vec<_>>().join("\n"));
        assert_eq!(forth, back);
        assert!(forth.ends_with("p=v1.4.0"), "{forth}");
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
