//! Registering a version: a plan that only reads the repository, then one tag.
//!
//! A version that could not be reproduced later is refused: inputs that the locks do not pin, uncommitted changes,
//! failed conditions, bytes that no remote has. `--force` overrules all but the first, and the tag records it. A number
//! is assigned once, even if it is withdrawn.

use std::collections::BTreeMap;

use super::gate::{self, GateScope, Gates};
use super::note::{NotedCheck, NotedFile, NotedStage};
use crate::cache::entries::{self, RunRecord};
use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git::CommitInfo;
use crate::lfs;
use crate::model::artifact::{self, Artifact};
use crate::model::availability::{self, Availability};
use crate::model::checks::{self, CheckOutcome, Metrics};
use crate::model::origin::{self, ArtifactOrigin};
use crate::model::registry::Registry;
use crate::model::registry::tag_write::PlannedTag;
use crate::model::reproducible;
use crate::path::RepoPath;
use crate::project::Project;
use crate::project::{Rev, Snapshot, Snapshots};
use crate::shell::word;
use crate::store::ObjectKind;
use crate::tag::{Action, Bump, ModelName, Version};
use crate::value::Value;

/// The maximum number of run records in a message that people may read. Metrics are stored completely.
const MOST: usize = 200;

/// Which number the version gets.
#[derive(Clone, Debug)]
pub enum VersionNumber {
    /// This version; an error if it was ever assigned.
    This(Version),
    /// The next version after the highest one that was ever assigned.
    Next(Bump),
}

/// The plan of a registration, with the reasons against it.
pub struct RegistrationPlan {
    /// The tag that registers the version.
    pub new_tag: PlannedTag,
    /// The number that the version gets.
    pub version: Version,
    /// The artifact, as declared at the commit.
    pub artifact: Artifact,
    /// The bytes of the artifact, by the locks of the commit.
    pub origin: ArtifactOrigin,
    /// The commit that the version is registered for.
    pub about: CommitInfo,
    /// Another version on its commit.
    pub sibling: Option<Version>,
    /// Why it could not be reproduced.
    pub doubts: Vec<String>,
    /// Metrics files of its pipeline that cannot be read.
    pub unread: Vec<String>,
    /// The artifact's conditions, evaluated at the commit.
    pub checks: Vec<CheckOutcome>,
    /// What does not hinder it.
    pub warnings: Vec<String>,
}

impl RegistrationPlan {
    /// `rev` is the commit's name; `None` for the checked-out commit, which is then compared with the workspace.
    pub fn make(
        project: &Project,
        registry: &Registry,
        name: &ModelName,
        number: &VersionNumber,
        rev: Option<&str>,
        sink: &dyn Sink,
    ) -> Result<RegistrationPlan> {
        let version = unused_number(registry, name, number)?;
        let snapshots = project.snapshots();
        let snapshot = snapshots.at(&Rev::Named(rev.unwrap_or("HEAD").to_string()))?;
        let artifact = artifact::declared(&snapshot, name).map_err(|error| match rev {
            None => hint_at_workspace(project, &snapshots, name, error),
            Some(_) => error,
        })?;
        let origin = origin::trace(&snapshot, &artifact.path)?;
        refuse_pointer(project, &origin)?;
        let commit = snapshot.git().ok_or_else(|| Error::new(Kind::Bug, "a commit without Git"))?;
        let stages = reproducible::stages_to_check(&snapshot, &artifact, &origin);
        let mut doubts = reproducible::of_commit(&snapshot, &stages)?;
        if rev.is_none() {
            doubts.extend(reproducible::of_workspace(project, &snapshot, &stages, sink)?);
        }
        let mut warnings = Vec::new();
        warnings.extend(version_with_same_bytes(registry, name, &origin));
        let model = registry.models.get(name);
        let sibling = model.and_then(|model| model.on_commit(commit.id));
        if let (None, Some(other)) = (&sibling, model.and_then(|model| model.other_on_commit(commit.id, &version))) {
            warnings.push(format!(
                "{name} {other}, which was taken back, is on the same commit: GTO would fail for a label of {version}, and \
                 `lockstep model promote` refuses it"
            ));
        }
        match availability::check_availability(project, &snapshot, &origin)? {
            Availability::Nowhere => warnings.push(format!(
                "there is no remote, so no other clone can get {}: lockstep remote add -d NAME URL, then lockstep push",
                origin.path
            )),
            Availability::Lacking(why) => doubts.extend(why),
        }
        let checks = Gates::new(&snapshots, registry).evaluate(&snapshot, GateScope::Artifact(&artifact));
        let measured = gate::metrics(&snapshot, artifact.file);
        // A missing file that is not pinned has no metrics, which is fine. One that is pinned but not available has some,
        // which the tag would lack.
        let is_pinned = |path: &RepoPath| snapshot.locate(path).map_or(true, |found| found.is_some());
        let broken = measured.unread.iter().filter(|(path, error)| error.kind != Kind::Missing || is_pinned(path));
        let unread = broken.map(|(_, error)| error.message.clone()).collect();
        let title = format!("{name} {version}");
        let mut new_tag = PlannedTag::new(registry, name, Action::Register(version.clone()), commit.id, title);
        describe(project, &snapshot, &origin, measured, &checks, &mut new_tag)?;
        Ok(RegistrationPlan {
            new_tag,
            version,
            about: commit.info()?,
            artifact,
            origin,
            sibling,
            doubts,
            unread,
            checks,
            warnings,
        })
    }

    /// The refusal; `None` if there is none.
    pub fn refusal(&self) -> Option<Error> {
        let failed = checks::failure(&self.checks);
        if self.sibling.is_none() && self.doubts.is_empty() && self.unread.is_empty() && failed.is_none() {
            return None;
        }
        let (name, version) = (&self.artifact.name, &self.version);
        let why = match () {
            _ if self.sibling.is_some() => "its commit has a version already",
            _ if !self.doubts.is_empty() => "it could not be reproduced later",
            _ if failed.is_some() => "it does not pass its checks",
            _ => "its metrics cannot be read",
        };
        let mut error = Error::new(Kind::Check, format!("{name} {version} is not registered: {why}"));
        error.causes.extend(self.sibling.as_ref().map(|sibling| {
            format!(
                "{name} {sibling} is on the commit {}: GTO, and what builds on it, reads no repository with two versions of a \
                 model on one commit",
                self.new_tag.commit.short()
            )
        }));
        error.causes.extend(self.doubts.iter().chain(&self.unread).cloned());
        error.causes.extend(failed.into_iter().flat_map(|e| e.causes));
        if let Some(sibling) = &self.sibling {
            error = error.hint(format!("use the existing version: {}", word(&format!("{name}@{sibling}"))));
            error = error.hint(format!(
                "or give the number to a new commit: git commit --allow-empty -m {}",
                word(&format!("{name} {version}"))
            ));
        }
        if !self.doubts.is_empty() {
            error = error.hint("fix that and register again: lockstep repro, git commit, lockstep push");
        }
        Some(error.hint("--force registers it nevertheless, and the tag records it"))
    }

    /// Records the refusals in the tag, to proceed with `--force`.
    pub fn overrule(&mut self) {
        self.new_tag.note.forced = self.refusal().map(|e| e.causes).unwrap_or_default();
    }
}

/// Adds the hint to commit an artifact that the workspace declares and `HEAD` does not.
fn hint_at_workspace(project: &Project, snapshots: &Snapshots<'_>, name: &ModelName, error: Error) -> Error {
    // A bare repository has no workspace.
    if project.repo.is_bare() || error.kind != Kind::Missing {
        return error;
    }
    let is_declared = snapshots.at(&Rev::Worktree).is_ok_and(|now| artifact::declared(&now, name).is_ok());
    if !is_declared {
        return error;
    }
    let file = artifact::pipeline_of(name).relative_to(&project.cwd);
    let hint = format!("the workspace declares it; commit that: git add {} && git commit", word(&file));
    Error { hints: vec![hint], ..error }
}

/// Refuses a Git LFS pointer that was pinned as if it were the model.
fn refuse_pointer(project: &Project, origin: &ArtifactOrigin) -> Result<()> {
    let pin = origin.pin;
    if pin.is_dir() || pin.size >= lfs::LARGEST || !project.store().contains(&pin) {
        return Ok(());
    }
    match lfs::is_pointer(&project.store().read(&pin.id, ObjectKind::Content)?) {
        true => Err(lfs::refuse(&origin.path).hint(lfs::HINT).hint("then pin the file: lockstep repro")),
        false => Ok(()),
    }
}

/// The number, if it was never assigned.
fn unused_number(registry: &Registry, name: &ModelName, number: &VersionNumber) -> Result<Version> {
    let model = registry.models.get(name);
    let highest = model.and_then(|m| m.highest());
    let version = match number {
        VersionNumber::This(version) => version.clone(),
        VersionNumber::Next(bump) => highest.cloned().unwrap_or_else(Version::zero).bumped(*bump),
    };
    let Some(registered) = model.and_then(|m| m.versions.get(&version)) else { return Ok(version) };
    let what = if registered.withdrawn.is_some() { "was registered and taken back" } else { "is registered already" };
    let next = highest.unwrap_or(&version).bumped(Bump::Patch);
    Err(Error::usage(format!("{name} {version} {what}; a number is assigned once"))
        .hint(format!("lockstep model register {} --version {next}", word(&name.to_string()))))
}

/// A version with the same bytes.
fn version_with_same_bytes(registry: &Registry, name: &ModelName, origin: &ArtifactOrigin) -> Option<String> {
    let model = registry.models.get(name)?;
    let hash = origin.pin.id.hex();
    let same = |event: usize| model.events[event].note.as_ref()?.file.as_ref().map(|f| f.blake3 == hash);
    let (version, _) = model.versions.iter().rev().find(|(_, r)| same(r.event) == Some(true))?;
    Some(format!("{name} {version} is the same file, byte for byte"))
}

/// Adds to the tag what neither its name nor the commit's lock has.
fn describe(
    project: &Project,
    snapshot: &Snapshot<'_>,
    origin: &ArtifactOrigin,
    measured: Metrics,
    checks: &[CheckOutcome],
    new_tag: &mut PlannedTag,
) -> Result<()> {
    let pipelines = &snapshot.definitions.pipelines;
    let pin = origin.pin;
    new_tag.note.file = Some(NotedFile {
        path: origin.path.to_string(),
        blake3: pin.id.hex(),
        size: pin.size,
        files: pin.files,
        sha256: if pin.is_dir() { None } else { availability::sha256(project.store(), &pin.id) },
        dir_hash: if pin.is_dir() { availability::dir_hash(project.store(), &pin) } else { None },
    });
    for id in origin.stages.iter().take(MOST) {
        let Some(entry) = origin::lock_entry(snapshot, *id)? else { continue };
        let address = pipelines.address(*id, &RepoPath::root());
        if new_tag.note.stage.is_none() {
            new_tag.note.stage = Some(NotedStage { address: address.clone(), key: entry.key.hex() });
        }
        if let Some(record) = record(project, entry) {
            new_tag.note.runs.insert(address, record);
        }
    }
    for (path, values) in measured.files {
        let values: BTreeMap<String, Value> = values.into_iter().collect();
        if !values.is_empty() {
            new_tag.note.metrics.insert(path.to_string(), values);
        }
    }
    new_tag.note.checks = checks.iter().map(NotedCheck::of).collect();
    Ok(())
}

/// The run that made the pinned output: the newest under its key with the same outputs.
fn record(project: &Project, entry: &crate::lock::StageLock) -> Option<RunRecord> {
    let same = |run: &crate::lock::StageLock| {
        entry.outs.iter().all(|(path, out)| run.outs.get(path).is_some_and(|o| o.pin.id == out.pin.id))
    };
    let trust = TrustPolicy::from_settings(project).ok()?;
    entries::get(project.store(), &entry.key, &trust).into_iter().find(|(run, _)| same(run)).map(|(_, record)| record)
}

/// The snapshot of a version's commit, named as the version.
pub fn snapshot_of<'p>(snapshots: &Snapshots<'p>, commit: crate::git::GitId, name: &str) -> Result<Snapshot<'p>> {
    let commit = snapshots.history()?.commit(commit)?;
    snapshots.of_commit(commit, name)
}
