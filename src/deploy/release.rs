//! A release: what is deployed, its name, and its manifest.

use std::collections::BTreeMap;

use super::target::{Target, Wanted};
use super::{Event, Manifest, ReleasedFile};
use crate::error::{Error, Kind, Result};
use crate::model::availability::{Availability, check_availability};
use crate::model::registry::{Registry, signed};
use crate::model::trace::Trace;
use crate::model::{origin, provenance};
use crate::path::RepoPath;
use crate::pipeline::deploy::Requirement;
use crate::project::{Project, Rev, Snapshot};
use crate::shell::word;
use crate::store::{ObjectId, Pin};
use crate::tag::{self, ModelRequest, Which};
use crate::value::Value;

/// The version of the format of manifests.
const MANIFEST_VERSION: u64 = 1;
/// Digits of the hash in the name of a release.
const DIGITS: usize = 12;

/// What identifies a release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseFacts {
    /// The name of the model, or the path.
    pub name: String,
    /// `None` for a path.
    pub version: Option<String>,
    /// The commit that pins the bytes.
    pub commit: Option<String>,
    /// The hash of the file, or of the tree of a folder.
    pub blake3: ObjectId,
}

/// What is deployed.
pub struct Release<'p> {
    /// What identifies it.
    pub facts: ReleaseFacts,
    /// The tag that gave it the label that was asked for.
    pub promotion: Option<String>,
    /// From the root of the repository.
    pub path: RepoPath,
    /// The bytes.
    pub pin: Pin,
    /// Whether the store has them; else Git.
    pub is_stored: bool,
    /// The state of the repository that pins them.
    pub snapshot: Snapshot<'p>,
    /// By file and key, from the version's tag.
    pub metrics: BTreeMap<String, BTreeMap<String, Value>>,
    /// The statement of `model provenance`, if it can be made.
    pub provenance: Option<String>,
}

/// The name of a release: its version, and the beginning of its hash.
pub fn release_name(version: Option<&str>, blake3: &ObjectId) -> String {
    let digits = &blake3.hex()[..DIGITS];
    match version {
        Some(version) => format!("{version}-{digits}"),
        None => digits.to_string(),
    }
}

impl ReleaseFacts {
    /// Those of the release that an event is about.
    pub fn of(event: &Event) -> ReleaseFacts {
        let (name, version, commit) = (event.name.clone(), event.version.clone(), event.commit.clone());
        ReleaseFacts { name, version, commit, blake3: event.blake3 }
    }

    /// Its name below `releases/`, unless a damaged release has it.
    pub fn base_name(&self) -> String {
        release_name(self.version.as_deref(), &self.blake3)
    }
}

/// The model with its version.
impl std::fmt::Display for ReleaseFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Release<'_> {
    /// The name of its file or folder in the release.
    pub fn file_name(&self) -> &str {
        self.path.name()
    }

    /// The manifest with these files. The same version always has the same one.
    pub fn manifest(&self, project: &Project, files: Vec<ReleasedFile>, format: Option<String>) -> Manifest {
        Manifest {
            lockstep: MANIFEST_VERSION,
            name: self.facts.name.clone(),
            version: self.facts.version.clone(),
            commit: self.facts.commit.clone(),
            repository: project.repo.origin_url().map(|url| url.without_secret().to_string()),
            path: self.path.to_string(),
            blake3: self.pin.id,
            size: self.pin.size,
            format,
            files,
            metrics: self.metrics.clone(),
        }
    }
}

/// Finds the bytes of what a target wants.
///
/// Errors: [`Kind::Missing`] if there is no such version or pin; [`Kind::Check`] if it was withdrawn, contradicts its
/// tag, or lacks what the target requires.
pub fn resolve<'p>(project: &'p Project, now: &Snapshot<'p>, target: &Target, force: bool) -> Result<Release<'p>> {
    match &target.what {
        Wanted::Version(asked) => of_version(project, now, target, asked, force),
        Wanted::Path(path) => of_path(project, target, path),
    }
}

fn of_version<'p>(
    project: &'p Project,
    now: &Snapshot<'p>,
    target: &Target,
    asked: &ModelRequest,
    force: bool,
) -> Result<Release<'p>> {
    if !project.repo.is_git() {
        return Err(Error::usage("this folder is not in a Git repository, and versions are Git tags")
            .hint("deploy a pinned path: lockstep deploy PATH --to FOLDER"));
    }
    let registry = Registry::read(&project.repo)?;
    let name = tag::resolve_name(&asked.name, &registry.models.keys().cloned().collect(), &project.cwd)?;
    let asked = ModelRequest { name, which: asked.which.clone() };
    let (model, event, version) = registry.find(&asked)?;
    let Some(version) = version else {
        return Err(Error::missing(format!("{}: the label is on a commit without a version", event.tag)).hint(
            format!("lockstep model register {} --rev {}", word(&asked.name.to_string()), event.commit.short()),
        ));
    };
    let shown = format!("{} {version}", model.name);
    if !force {
        let withdrawn = model.versions.get(version).and_then(|registered| registered.withdrawn);
        if let Some(by) = withdrawn.or(model.deprecated).map(|at| &model.events[at]) {
            let what = if withdrawn.is_some() { "was withdrawn" } else { "is deprecated" };
            return Err(Error::new(Kind::Check, format!("{shown} {what}: nothing was deployed"))
                .because(format!("the tag {} says so", by.tag))
                .hint("deploy it nevertheless: --force"));
        }
    }
    let needs_signatures = target.require.contains(&Requirement::Signed);
    if needs_signatures || signed::is_required(now, &model.name)? {
        signed::require(&project.repo, model, Some(&asked.which), model.index_of(event)).map_err(refused)?;
        if let Some(registered) = model.versions.get(version) {
            let which = Which::Version(version.clone());
            signed::require(&project.repo, model, Some(&which), registered.event).map_err(refused)?;
        }
    }
    let promotion = matches!(asked.which, Which::Label(_)).then(|| event.tag.clone());
    let (version, name) = (version.clone(), asked.name.clone());
    let by_version = ModelRequest { name: name.clone(), which: Which::Version(version.clone()) };
    let trace = Trace::load(project, &registry, &by_version)?;
    let statement = provenance::statement(&trace)?;
    let metrics = trace.event.note.as_ref().map(|note| note.metrics.clone()).unwrap_or_default();
    let commit = trace.event.commit.hex();
    let (Some(origin), Some(snapshot)) = (trace.origin, trace.snapshot) else {
        return Err(Error::missing(format!("{shown} cannot be traced")));
    };
    if target.require.contains(&Requirement::Stored) {
        check_stored(project, &snapshot, &origin, &shown)?;
    }
    Ok(Release {
        facts: ReleaseFacts {
            name: name.to_string(),
            version: Some(version.to_string()),
            commit: Some(commit),
            blake3: origin.pin.id,
        },
        promotion,
        path: origin.path,
        pin: origin.pin,
        is_stored: origin.root.cache,
        snapshot,
        metrics,
        provenance: Some(serde_json::to_string_pretty(&statement).unwrap_or_default() + "\n"),
    })
}

fn refused(error: Error) -> Error {
    error.because("signatures are required; nothing was deployed")
}

/// Errors: no remote has the bytes.
fn check_stored(
    project: &Project,
    snapshot: &Snapshot<'_>,
    origin: &origin::ArtifactOrigin,
    shown: &str,
) -> Result<()> {
    let lacking = match check_availability(project, snapshot, origin)? {
        Availability::Nowhere => vec!["there is no remote".to_string()],
        Availability::Lacking(lacking) => lacking,
    };
    if lacking.is_empty() {
        return Ok(());
    }
    let error = Error::new(Kind::Check, format!("{shown} is not stored at a remote; nothing was deployed"))
        .because("the target requires it: `require: [stored]`");
    Err(lacking.into_iter().fold(error, Error::because).hint("lockstep push"))
}

fn of_path<'p>(project: &'p Project, target: &Target, path: &RepoPath) -> Result<Release<'p>> {
    if target.require.contains(&Requirement::Signed) {
        return Err(Error::usage(format!("{path} is not a version, so no tag of it can be signed")));
    }
    let snapshot = project.at(&Rev::Worktree)?;
    let traced = origin::trace(&snapshot, path)?;
    if target.require.contains(&Requirement::Stored) {
        check_stored(project, &snapshot, &traced, path.as_str())?;
    }
    Ok(Release {
        facts: ReleaseFacts { name: path.to_string(), version: None, commit: None, blake3: traced.pin.id },
        promotion: None,
        path: path.clone(),
        pin: traced.pin,
        is_stored: traced.root.cache,
        snapshot,
        metrics: BTreeMap::new(),
        provenance: None,
    })
}
