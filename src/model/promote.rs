//! What becomes of a version: it gets a label, loses it, is taken back; or its model ends.

use super::act::Act;
use super::artifact;
use super::checks::{self, Judged};
use super::gate::{Gates, Meant};
use super::note::NotedCheck;
use super::register::snapshot_of;
use super::registry::Registry;
use super::signed;
use crate::error::{Error, Kind, Result};
use crate::project::{Project, Rev};
use crate::shell::word;
use crate::tag::{Action, Asked, Label, ModelName, Version, Which};

/// A label that is going to a version.
pub struct Promotion {
    pub act: Act,
    pub version: Version,
    pub label: Label,
    /// Who has it now.
    pub before: Option<Version>,
    pub checks: Vec<Judged>,
    /// Its tag has no good signature, and needs one.
    pub unsigned: Option<Error>,
}

/// What is going to be taken away.
pub struct Removal {
    pub act: Act,
    /// `None` where a model as a whole ends.
    pub version: Option<Version>,
    /// Labels that go on pointing to it.
    pub labels: Vec<Label>,
}

impl Promotion {
    pub fn plan(project: &Project, registry: &Registry, asked: &Asked, label: &Label) -> Result<Promotion> {
        let (model, _, version) = registry.find(asked)?;
        let name = &model.name;
        let Some(version) = version.cloned() else {
            return Err(Error::missing(format!("the commit of {name} has no version that could be promoted")));
        };
        let registered = model.versions[&version];
        if registered.withdrawn.is_some() {
            return Err(Error::usage(format!("{name} {version} was taken back, and gets no labels"))
                .hint(format!("lockstep model history {}", word(&name.to_string()))));
        }
        let commit = model.events[registered.event].commit;
        let snapshots = project.snapshots();
        let snapshot = snapshot_of(&snapshots, commit, &format!("{name}@{version}"))?;
        // A version that others registered may have no artifact at its commit, and so nothing to meet.
        let checks = match artifact::declared(&snapshot, name) {
            Ok(artifact) => Gates::new(&snapshots, registry).judge(&snapshot, Meant::Artifact(&artifact)),
            Err(e) if e.kind == Kind::Missing => Vec::new(),
            Err(e) => return Err(e),
        };
        let title = format!("{name} {version} is {label}");
        let mut act = Act::new(registry, name, Action::Promote(label.clone()), commit, title);
        act.note.version = Some(version.to_string());
        act.note.checks = checks.iter().map(NotedCheck::of).collect();
        let before = model.labels.get(label).and_then(|given| given.version.clone());
        let unsigned = match signed::is_required(&project.at(&Rev::Worktree)?, name)? {
            true => signed::require(&project.repo, model, None, registered.event).err(),
            false => None,
        };
        Ok(Promotion { act, version, label: label.clone(), before, checks, unsigned })
    }

    /// Has the version the label already?
    pub fn is_done(&self) -> bool {
        self.before.as_ref() == Some(&self.version)
    }

    /// What speaks against it.
    pub fn refusal(&self) -> Option<Error> {
        let failed = checks::failure(&self.checks);
        let why = match (&failed, &self.unsigned) {
            (Some(_), _) => "it does not pass its checks",
            (None, Some(_)) => "its tag needs a good signature",
            (None, None) => return None,
        };
        let name = &self.act.tag.name;
        let what = format!("{name} {} does not become {}: {why}", self.version, self.label);
        let unsigned = self.unsigned.iter().map(|e| [std::slice::from_ref(&e.message), &e.causes].concat().join(": "));
        let causes = failed.into_iter().flat_map(|e| e.causes).chain(unsigned);
        let error = causes.fold(Error::new(Kind::Check, what), Error::because);
        Some(error.hint("--force promotes it all the same, and the tag says so"))
    }

    /// Takes what speaks against it into the tag.
    pub fn overrule(&mut self) {
        self.act.note.forced = self.refusal().map(|e| e.causes).unwrap_or_default();
    }
}

impl Removal {
    /// Takes a label away.
    pub fn demote(registry: &Registry, name: &ModelName, label: &Label) -> Result<Removal> {
        let model = registry.model(name)?;
        let Some(given) = model.labels.get(label) else { return Err(model.no_label(label)) };
        let of = given.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let commit = model.events[given.event].commit;
        let title = format!("{name}{of} is no longer {label}");
        let mut act = Act::new(registry, name, Action::Demote(label.clone()), commit, title);
        act.note.version = given.version.as_ref().map(Version::to_string);
        Ok(Removal { act, version: given.version.clone(), labels: Vec::new() })
    }

    /// Takes a version back; `asked` without one ends the model.
    pub fn deprecate(registry: &Registry, asked: &Asked, whole: bool) -> Result<Removal> {
        let model = registry.model(&asked.name)?;
        let name = &model.name;
        if whole {
            if model.deprecated.is_some() {
                return Err(Error::usage(format!("{name} is deprecated already")));
            }
            let Some(last) = model.events.last() else { return Err(Error::missing(format!("{name} has no tags"))) };
            let commit = model.latest().map_or(last.commit, |(_, r)| model.events[r.event].commit);
            let act = Act::new(registry, name, Action::Deprecate, commit, format!("{name} is deprecated"));
            return Ok(Removal { act, version: None, labels: model.labels.keys().cloned().collect() });
        }
        if let Which::Label(label) = &asked.which {
            return Err(Error::usage(format!("{name}#{label} is a label; what is deprecated is a version")).hint(
                format!(
                    "lockstep model demote {} {} — takes the label away",
                    word(&name.to_string()),
                    word(&label.to_string())
                ),
            ));
        }
        let (_, event, version) = registry.find(asked)?;
        let Some(version) = version.cloned() else { return Err(Error::missing(format!("{name} has no version"))) };
        if model.versions[&version].withdrawn.is_some() {
            return Err(Error::usage(format!("{name} {version} is deprecated already")));
        }
        let title = format!("{name} {version} is deprecated");
        let act = Act::new(registry, name, Action::Deregister(version.clone()), event.commit, title);
        let labels = model.labels_of(&version).map(|(label, _)| label.clone()).collect();
        Ok(Removal { act, version: Some(version), labels })
    }
}
