//! Plans changes to versions: assigning a label, removing it, withdrawing a version, deprecating a model.

use std::collections::BTreeSet;

use super::gate::{GateScope, Gates};
use super::note::NotedCheck;
use super::publish;
use super::register::snapshot_of;
use super::signed;
use crate::error::{Error, Kind, Result};
use crate::git::GitId;
use crate::model::artifact;
use crate::model::checks::{self, CheckOutcome};
use crate::model::registry::tag_write::PlannedTag;
use crate::model::registry::{Event, Model, Registry};
use crate::project::{Project, Rev};
use crate::shell::word;
use crate::tag::{Action, Label, ModelName, ModelRequest, Version, Which};

/// The plan to assign a label to a version.
pub struct Promotion {
    /// The tag that assigns the label.
    pub new_tag: PlannedTag,
    /// The version that gets the label.
    pub version: Version,
    /// The label that is assigned.
    pub label: Label,
    /// The version that has it now.
    pub before: Option<Version>,
    /// The tag that assigned it to that version.
    pub given: Option<String>,
    /// Whether the model is deprecated. This assignment revives it, with its earlier labels.
    pub revives: bool,
    /// The artifact's conditions at the commit of the version.
    pub checks: Vec<CheckOutcome>,
    /// Set if its tag needs a good signature and has none.
    pub unsigned: Option<Error>,
    /// Another version on its commit.
    pub sibling: Option<Version>,
}

/// The plan to remove a label or a version.
pub struct Removal {
    /// The tags to make, all or none.
    pub new_tags: Vec<PlannedTag>,
    /// `None` if the whole model is deprecated.
    pub version: Option<Version>,
    /// Other versions that lose the label: otherwise one of them would have it next.
    pub also: Vec<Version>,
    /// Labels that it loses, and the version that gets each.
    pub labels: Vec<(Label, Option<Version>)>,
}

impl Promotion {
    /// Plans the assignment of a label. Errors: the version does not exist, or is withdrawn.
    pub fn plan(project: &Project, registry: &Registry, asked: &ModelRequest, label: &Label) -> Result<Promotion> {
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
        let event = &model.events[registered.event];
        if event.time.is_none() {
            let tag = word(&event.tag);
            let push = match project.repo.push_remote() {
                Some(remote) => publish::force_command(&remote, &event.tag),
                None => publish::force_command(&"REMOTE".into(), &event.tag),
            };
            let register = format!("lockstep model register {} --bump patch", word(&name.to_string()));
            return Err(Error::usage(format!("{} is a lightweight tag, and its version gets no labels", event.tag))
                .because("neither GTO nor lockstep would find the label")
                .hint(format!("make it an annotated one: git tag -f -a -m {tag} {tag} {tag}"))
                .hint(format!("then, if a remote has it already: {push}"))
                .hint(format!("or register a new version: {register} --rev {}", event.commit.short())));
        }
        let commit = event.commit;
        let snapshots = project.snapshots();
        let snapshot = snapshot_of(&snapshots, commit, &format!("{name}@{version}"))?;
        // A version that was registered elsewhere may have no artifact at its commit, and so no conditions.
        let checks = match artifact::declared(&snapshot, name) {
            Ok(artifact) => Gates::new(&snapshots, registry).evaluate(&snapshot, GateScope::Artifact(&artifact)),
            Err(e) if e.kind == Kind::Missing => Vec::new(),
            Err(e) => return Err(e),
        };
        let title = format!("{name} {version} is {label}");
        let mut new_tag = PlannedTag::new(registry, name, Action::Promote(label.clone()), commit, title);
        new_tag.note.version = Some(version.to_string());
        new_tag.note.checks = checks.iter().map(NotedCheck::of).collect();
        let given = model.labels.get(label);
        let before = given.and_then(|given| given.version.clone());
        let given = given.map(|given| model.events[given.event].tag.clone());
        let unsigned = match signed::is_required(&project.at(&Rev::Worktree)?, name)? {
            true => signed::require(&project.repo, model, None, registered.event).err(),
            false => None,
        };
        let revives = model.deprecated.is_some();
        // If a version was registered there by force, the user knows.
        let is_forced = |event: &Event| event.note.as_ref().is_some_and(|note| !note.forced.is_empty());
        let here = model.events.iter().filter(|e| e.commit == commit && matches!(e.action, Action::Register(_)));
        let sibling = if here.clone().any(is_forced) { None } else { model.other_on_commit(commit, &version) };
        Ok(Promotion { new_tag, version, label: label.clone(), before, given, revives, checks, unsigned, sibling })
    }

    /// Returns true if the version has the label already.
    pub fn is_done(&self) -> bool {
        self.before.as_ref() == Some(&self.version)
    }

    /// The refusal, if there is one.
    pub fn refusal(&self) -> Option<Error> {
        let failed = checks::failure(&self.checks);
        let why = match (&failed, &self.unsigned, &self.sibling) {
            (Some(_), ..) => "it does not pass its checks",
            (None, Some(_), _) => "its tag needs a good signature",
            (None, None, Some(_)) => "its commit has another version",
            (None, None, None) => return None,
        };
        let name = &self.new_tag.tag.name;
        let what = format!("{name} {} does not become {}: {why}", self.version, self.label);
        let unsigned = self.unsigned.iter().map(|e| [std::slice::from_ref(&e.message), &e.causes].concat().join(": "));
        let sibling = self.sibling.as_ref().map(|sibling| {
            format!(
                "{name} {sibling} is on the commit {}, too: GTO reads no repository with a label on such a commit",
                self.new_tag.commit.short()
            )
        });
        let causes = failed.into_iter().flat_map(|e| e.causes).chain(unsigned).chain(sibling);
        let mut error = causes.fold(Error::new(Kind::Check, what), Error::because);
        if self.sibling.is_some() {
            let message = word(&format!("{name} {}", self.version)).into_owned();
            error = error.hint(format!("register a version on a new commit: git commit --allow-empty -m {message}"));
        }
        Some(error.hint("--force promotes it nevertheless, and the tag records it"))
    }

    /// Records the refusals in the tag, to proceed with `--force`.
    pub fn overrule(&mut self) {
        self.new_tag.note.forced = self.refusal().map(|e| e.causes).unwrap_or_default();
    }
}

impl Removal {
    /// Removes a label from all versions that have it, so that none gets it back.
    pub fn demote(registry: &Registry, name: &ModelName, label: &Label) -> Result<Removal> {
        let model = registry.model(name)?;
        let holders = model.holders(label);
        let Some(answer) = holders.first() else { return Err(model.no_label(label)) };
        if let Some(lone) = holders.iter().find(|given| given.version.is_none()) {
            return Err(without_version(model, label, lone.event));
        }
        let mut new_tags = Vec::new();
        // The answer is last: an interruption leaves it unchanged.
        for (given, counter) in holders.iter().rev().zip(model.next_counter()..) {
            let Some(version) = &given.version else { continue };
            let commit = model.events[given.event].commit;
            let title = format!("{name} {version} is no longer {label}");
            let mut new_tag = PlannedTag::new(registry, name, Action::Demote(label.clone()), commit, title);
            new_tag.tag.counter = Some(counter);
            new_tag.note.version = Some(version.to_string());
            new_tags.push(new_tag);
        }
        let also = holders[1..].iter().filter_map(|given| given.version.clone()).collect();
        Ok(Removal { new_tags, version: answer.version.clone(), also, labels: Vec::new() })
    }

    /// Withdraws a version; `asked` without one deprecates the model.
    pub fn deprecate(project: &Project, registry: &Registry, asked: &ModelRequest, whole: bool) -> Result<Removal> {
        let model = registry.model(&asked.name)?;
        let name = &model.name;
        if model.deprecated.is_some() {
            let error = Error::usage(format!("{name} is deprecated already"));
            return Err(if whole {
                error
            } else {
                error.because("a tag about one of its versions would bring it back")
            });
        }
        let mut removal = Removal { new_tags: Vec::new(), version: None, also: Vec::new(), labels: Vec::new() };
        if whole {
            let Some(last) = model.events.last() else { return Err(Error::missing(format!("{name} has no tags"))) };
            let commit = model.latest().map_or(last.commit, |(_, r)| model.events[r.event].commit);
            let new_tag = PlannedTag::new(registry, name, Action::Deprecate, commit, format!("{name} is deprecated"));
            removal.new_tags.push(new_tag.after(last_commit(project, model)?));
            removal.labels = model.labels.keys().map(|label| (label.clone(), None)).collect();
            return Ok(removal);
        }
        if let Which::Label(label) = &asked.which {
            return Err(Error::usage(format!("{name}#{label} is a label; what is deprecated is a version")).hint(
                format!(
                    "lockstep model demote {} {} — removes the label",
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
        removal.new_tags.push(PlannedTag::new(
            registry,
            name,
            Action::Deregister(version.clone()),
            event.commit,
            title,
        ));
        let heir = |label: &Label| model.next_holder(label, &version).and_then(|given| given.version);
        removal.labels = model.labels_of(&version).map(|(label, _)| (label.clone(), heir(label))).collect();
        removal.version = Some(version);
        Ok(removal)
    }
}

/// The time of the newest commit that has tags of a model.
fn last_commit(project: &Project, model: &Model) -> Result<Option<i64>> {
    let history = project.repo.history()?;
    let commits: BTreeSet<GitId> = model.events.iter().map(|event| event.commit).collect();
    let times = commits.into_iter().map(|commit| Ok(history.commit(commit)?.info()?.time));
    Ok(times.collect::<Result<Vec<_>>>()?.into_iter().max())
}

fn without_version(model: &Model, label: &Label, event: usize) -> Error {
    let (name, event) = (&model.name, &model.events[event]);
    let what =
        format!("{} gives {name}#{label} to the commit {}, which has no version", event.tag, event.commit.short());
    let register =
        format!("lockstep model register {} --bump patch --rev {}", word(&name.to_string()), event.commit.short());
    Error::usage(what)
        .because("by GTO's rules no tag takes a label from such a commit")
        .hint(format!("give it a version first: {register}"))
        .hint(format!("or delete the tag, here and at the remote: git tag -d {}", word(&event.tag)))
}
