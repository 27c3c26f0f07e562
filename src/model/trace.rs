//! Traces one version: its tag and the locks of its commit, combined.

use std::collections::BTreeMap;

use super::artifact::{self, Artifact};
use super::origin::{self, ArtifactOrigin};
use super::registry::{Event, LabelAssignment, Model, Registry};
use crate::cache::entries::RunRecord;
use crate::error::Result;
use crate::git::CommitInfo;
use crate::lock::StageLock;
use crate::model::registry::note::NotedFile;
use crate::model::registry::register::snapshot_of;
use crate::path::RepoPath;
use crate::project::{Project, Snapshot, Snapshots};
use crate::store::Pin;
use crate::tag::{Label, ModelRequest, Version};
use crate::value::Value;

/// A version with its tag and the locks of its commit.
pub struct Trace<'r, 'p> {
    /// The model that was asked for.
    pub model: &'r Model,
    /// `None` for a label on a commit without a version.
    pub version: Option<&'r Version>,
    /// The tag that registered it, or assigned the label.
    pub event: &'r Event,
    /// The tag that withdrew the version.
    pub withdrawn: Option<&'r Event>,
    /// Its labels, each with the tag that gave it.
    pub labels: Vec<(&'r Label, &'r Event)>,
    /// `None` if its commit is not in this clone.
    pub about: Option<CommitInfo>,
    /// The state of the repository at the commit; `None` if it cannot be loaded.
    pub snapshot: Option<Snapshot<'p>>,
    /// The artifact, as declared at that commit.
    pub artifact: Option<Artifact>,
    /// The origin of its bytes by the locks of that commit; `None` if they do not have it.
    pub origin: Option<ArtifactOrigin>,
    /// What is unknown or contradictory.
    pub remarks: Vec<String>,
}

impl<'r, 'p> Trace<'r, 'p> {
    /// Traces a request. What the commit does not contain is a remark, not an error.
    pub fn load(project: &'p Project, registry: &'r Registry, asked: &ModelRequest) -> Result<Trace<'r, 'p>> {
        let (model, found, version) = registry.find(asked)?;
        let registered = version.and_then(|version| model.versions.get(version));
        let event = registered.map_or(found, |r| &model.events[r.event]);
        let gift = |given: &LabelAssignment| &model.events[given.event];
        let labels = model.labels.iter().filter(|(_, g)| g.version.as_ref() == version && version.is_some());
        let mut trace = Trace {
            model,
            version,
            event,
            withdrawn: registered.and_then(|r| r.withdrawn).map(|at| &model.events[at]),
            labels: labels.map(|(label, given)| (label, gift(given))).collect(),
            about: None,
            snapshot: None,
            artifact: None,
            origin: None,
            remarks: Vec::new(),
        };
        let snapshots = project.snapshots();
        if let Err(error) = trace.load_commit(&snapshots) {
            trace.remarks.push(error.message.lines().next().unwrap_or_default().to_string());
        }
        Ok(trace)
    }

    fn load_commit(&mut self, snapshots: &Snapshots<'p>) -> Result<()> {
        let name = match self.version {
            Some(version) => format!("{}@{version}", self.model.name),
            None => self.event.commit.short(),
        };
        let snapshot = snapshot_of(snapshots, self.event.commit, &name)?;
        self.about = snapshot.git().map(|commit| commit.info()).transpose()?;
        let artifact = artifact::declared(&snapshot, &self.model.name);
        let traced = artifact.and_then(|artifact| {
            self.artifact = Some(artifact.clone());
            origin::trace(&snapshot, &artifact.path)
        });
        self.snapshot = Some(snapshot);
        let origin = traced?;
        if let Some(noted) = self.noted_file().filter(|noted| !same(noted, &origin)) {
            self.remarks.push(format!(
                "its tag and its lock do not agree: the tag names {} with {}, the lock {} with {}",
                noted.path,
                noted.blake3,
                origin.path,
                origin.pin.id.hex()
            ));
        }
        self.origin = Some(origin);
        Ok(())
    }

    /// Returns true if the tag and the lock name the same bytes. (A tag without a hash does not contradict.)
    pub fn agrees(&self) -> bool {
        match (self.noted_file(), &self.origin) {
            (Some(noted), Some(origin)) => same(noted, origin),
            _ => true,
        }
    }

    /// The file that the version's tag names.
    pub fn noted_file(&self) -> Option<&NotedFile> {
        self.event.note.as_ref()?.file.as_ref()
    }

    /// The pin in the locks of the commit.
    pub fn pin(&self) -> Option<Pin> {
        self.origin.as_ref().map(|origin| origin.pin)
    }

    /// The stage that made it, by its address from the root, as the lock has it.
    pub fn maker(&self) -> Option<(String, &StageLock)> {
        self.chain().into_iter().next()
    }

    /// The stage that made it and those upstream, with their lock entries.
    pub fn chain(&self) -> Vec<(String, &StageLock)> {
        let (Some(snapshot), Some(origin)) = (&self.snapshot, &self.origin) else { return Vec::new() };
        let pipelines = &snapshot.definitions.pipelines;
        let one = |id: &crate::pipeline::stage::StageId| {
            let entry = origin::lock_entry(snapshot, *id).ok().flatten()?;
            Some((pipelines.address(*id, &RepoPath::root()), entry))
        };
        origin.stages.iter().filter_map(one).collect()
    }

    /// The params of all these stages, by file from the root and by key.
    pub fn params(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        let mut found: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        let (Some(snapshot), Some(origin)) = (&self.snapshot, &self.origin) else { return found };
        for id in &origin.stages {
            let stage = snapshot.definitions.pipelines.stage(*id);
            let Some(entry) = origin::lock_entry(snapshot, *id).ok().flatten() else { continue };
            for (file, values) in &entry.params {
                let path = stage.wdir.join(file).map_or_else(|| file.clone(), |path| path.to_string());
                let all = found.entry(path).or_default();
                all.extend(values.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        found
    }

    /// The record of the run that made it, as its tag has it.
    pub fn run(&self) -> Option<&RunRecord> {
        let note = self.event.note.as_ref()?;
        note.runs.get(&note.stage.as_ref()?.address)
    }
}

fn same(noted: &NotedFile, origin: &ArtifactOrigin) -> bool {
    noted.blake3 == origin.pin.id.hex() && noted.path == origin.path.as_str()
}
