//! The types of resolved stages, which all other rooms use.
//!
//! Everything here is plain data that serialises; the compiled form of a pipeline is the encoding of these types.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::deploy::DeployTarget;
use crate::path::RepoPath;
use crate::url::Url;
use crate::value::{Mark, Value};

/// Index into [`Pipelines::stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId(pub u32);

/// Index into [`Pipelines::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// All pipeline files of a repository, resolved. Stages are in the order of their files, and within a file in the order
/// in which they are written (generated ones at the place of their group).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pipelines {
    /// By [`FileId`]; a file of a folder comes before those below it.
    pub files: Vec<PipelineFile>,
    /// By [`StageId`].
    pub stages: Vec<Stage>,
}

/// One resolved pipeline file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineFile {
    /// Where the file is: `sub/pipeline.yaml`.
    pub path: RepoPath,
    /// Its stages, in its order.
    pub stages: Vec<StageId>,
    /// Names of `foreach` and `matrix` groups with their stages; a group may be empty.
    pub groups: Vec<(String, Vec<StageId>)>,
    /// The entries of `data`, in the order of the file.
    pub data: Vec<Data>,
    /// Files from which the file's templates take variables: `params.yaml` beside it and those under `vars`, with the
    /// keys that are loaded (`None`: all).
    pub template_files: Vec<(InputLocation, Option<Vec<String>>)>,
    /// Paths that leave a folder that they name by `..`, as they are written: that folder may be a symlink.
    pub back_steps: Vec<BackStep>,
    /// Top-level `params`, `metrics`: paths relative to the file, normalised.
    pub params: Vec<String>,
    /// Like `params`.
    pub metrics: Vec<String>,
    /// Top-level `plots` and `artifacts` as written, templates resolved.
    pub plots: Vec<(String, Value)>,
    /// By name; each is a map with a `path`.
    pub artifacts: Vec<(String, Value)>,
    /// Deployment targets, in the order of the file.
    pub deploy: Vec<DeployTarget>,
    /// In the order of the file.
    pub environments: Vec<EnvironmentSpec>,
    /// Conditions that versions of the artifacts must meet.
    pub checks: Vec<Check>,
    /// Warnings of this file (e.g. `datasets` is accepted and unused), each a full sentence with its place.
    pub warnings: Vec<String>,
}

/// A declared environment. Paths are from the root of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentSpec {
    /// The name by which stages use it.
    pub name: String,
    /// What it is made from.
    pub source: EnvironmentSource,
    /// The folder of the file that declares it, where its commands run.
    pub folder: RepoPath,
    /// The place of its name in the pipeline file.
    pub mark: Mark,
}

/// What an environment is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvironmentSource {
    /// A project with a `uv.lock`.
    Uv {
        /// Its `pyproject.toml`.
        project: RepoPath,
        /// Groups besides the default ones.
        groups: Vec<String>,
        /// Optional dependencies.
        extras: Vec<String>,
        /// `3.11` or `3.11.7`.
        python: Option<String>,
    },
    /// A requirements file with exact versions.
    Pip {
        /// The file.
        requirements: RepoPath,
        /// `3.11` or `3.11.7`.
        python: Option<String>,
    },
    /// Another kind, by the user's own commands.
    Files {
        /// Files and folders that it is made from, sorted.
        files: Vec<RepoPath>,
        /// The command that makes it.
        setup: Option<String>,
        /// The command that is put before the commands of a stage.
        run: Option<String>,
    },
}

/// The environment that a stage names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEnvironment {
    /// The name.
    pub name: String,
    /// The file that declares it.
    pub file: FileId,
    /// Its index among the environments of that file.
    pub index: u32,
    /// The place of the name in the stage.
    pub mark: Mark,
}

/// See [`PipelineFile::back_steps`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackStep {
    /// ``stage `a`, `deps` ``.
    pub at: String,
    /// The path as written.
    pub spelling: String,
    /// The folder to which the path is relative.
    pub base: RepoPath,
    /// The place of the path in the pipeline file.
    pub mark: Mark,
}

/// A tracked input that no stage makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Data {
    /// Relative to the pipeline file, normalised: the key in the lock.
    pub spelled: String,
    /// From the root of the repository.
    pub path: RepoPath,
    /// The remote that it goes to; `None` for the default one.
    pub remote: Option<String>,
    /// Whether it goes to remotes.
    pub push: bool,
    /// For people.
    pub desc: Option<String>,
    /// The key `type`.
    pub kind: Option<String>,
    /// For people, in the order of the file.
    pub labels: Vec<String>,
    /// Anything that the user writes there; `None` for null.
    pub meta: Option<Value>,
    /// The origin of imported data.
    pub import: Option<Import>,
    /// The place of the path in the pipeline file.
    pub mark: Mark,
}

/// The origin of imported data: a path of another repository, at one of its commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// As `git clone` takes it, or a folder, relative to the folder of the pipeline file.
    #[serde(with = "crate::url")]
    pub url: Url,
    /// Relative to the root of that repository.
    pub path: String,
    /// The revision that `update` follows; `HEAD` by default.
    pub rev: String,
    /// 40 hexadecimal digits, or 64 in a repository with SHA-256.
    pub commit: String,
}

/// One resolved stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// The file that declares it.
    pub file: FileId,
    /// `train`, or `proc@x` for a generated one.
    pub name: String,
    /// One shell per item; each without one trailing line end.
    pub cmd: Vec<String>,
    /// Whether `cmd` was written as a list, which the lock preserves.
    pub cmd_is_list: bool,
    /// The working folder, from the root.
    pub wdir: RepoPath,
    /// As used in the stage key: relative to the pipeline file's folder, `.` if it is that folder.
    pub wdir_spelled: String,
    /// Each path once, in the order of the file.
    pub deps: Vec<Dep>,
    /// Each file once.
    pub params: Vec<ParamsFile>,
    /// Names of environment variables that are inputs, sorted, each once.
    pub env: Vec<String>,
    /// Names of variables that the stage asks for and that are not inputs (`input: false`), sorted, each once.
    pub env_asked: Vec<String>,
    /// Outs, metrics and plots, in the order of the file.
    pub outs: Vec<Out>,
    /// The environment in which the commands run.
    pub environment: Option<StageEnvironment>,
    /// In the order of the file.
    pub scratch: Vec<Scratch>,
    /// Whether it is never run.
    pub frozen: bool,
    /// Whether it is run each time.
    pub always_changed: bool,
    /// For people.
    pub desc: Option<String>,
    /// The value of `desc` if it was written as `${x}` and is not a string.
    pub desc_value: Option<Value>,
    /// Anything that the user writes there; `None` for null.
    pub meta: Option<Value>,
    /// The place of the stage's (or its group's) name in its file.
    pub mark: Mark,
}

/// One dep of a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dep {
    /// Relative to the stage's wdir, normalised: the key in the lock. URLs and paths outside as written.
    pub spelled: String,
    /// Where its content is.
    pub place: InputLocation,
    /// The place of the path in the pipeline file.
    pub mark: Mark,
}

/// The location of a dep.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InputLocation {
    /// Inside the repository.
    Repo(RepoPath),
    /// Outside the repository: hashed and pinned, never stored, fetched or written. Absolute, or relative to the root.
    Outside(String),
    /// An address, which lockstep never reads.
    Url(#[serde(with = "crate::url")] Url),
}

/// A params file of a stage, with the keys that the stage reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParamsFile {
    /// Relative to wdir, normalised: the key in the lock.
    pub spelled: String,
    /// Where the file is.
    pub place: InputLocation,
    /// The keys as written (`model.depth`, `layers.0`), each once; `None` for the whole file.
    pub keys: Option<Vec<String>>,
    /// The place of its first entry in the pipeline file.
    pub mark: Mark,
}

/// One out of a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Out {
    /// Relative to wdir, normalised: the key in the lock.
    pub spelled: String,
    /// From the root of the repository.
    pub path: RepoPath,
    /// Whether the store keeps it; otherwise Git tracks it.
    pub cache: bool,
    /// Whether it stays in place while the stage runs.
    pub persist: bool,
    /// Whether it goes to remotes.
    pub push: bool,
    /// The remote that it goes to; `None` for the default one.
    pub remote: Option<String>,
    /// Whether it is listed under `metrics`.
    pub metric: bool,
    /// Its plot, if it is listed under `plots`.
    pub plot: Option<Plot>,
    /// For people.
    pub desc: Option<String>,
    /// The key `type`.
    pub kind: Option<String>,
    /// For people, in the order of the file.
    pub labels: Vec<String>,
    /// Anything that the user writes there, as `better` of a metric; `None` for null.
    pub meta: Option<Value>,
    /// The place of the path in the pipeline file.
    pub mark: Mark,
}

/// A plot, with its properties (`x`, `y`, `template`, …) as written; empty if it has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plot(pub Vec<(String, Value)>);

/// A scratch folder of a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scratch {
    /// Relative to wdir, normalised.
    pub spelled: String,
    /// From the root of the repository.
    pub path: RepoPath,
}

impl fmt::Display for InputLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputLocation::Repo(path) => path.fmt(f),
            InputLocation::Outside(path) => f.write_str(path),
            InputLocation::Url(url) => write!(f, "{url}"),
        }
    }
}

impl Pipelines {
    /// The stage of an id, which must be one of these pipelines.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0 as usize]
    }

    /// The file of an id, which must be one of these pipelines.
    pub fn file(&self, id: FileId) -> &PipelineFile {
        &self.files[id.0 as usize]
    }

    /// The environment that a stage names.
    pub fn environment(&self, of: &StageEnvironment) -> Option<&EnvironmentSpec> {
        self.files.get(of.file.0 as usize)?.environments.get(of.index as usize)
    }

    /// The ids of all stages, in their order.
    pub fn ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len() as u32).map(StageId)
    }

    /// The name of a stage as seen from the folder `from`: `train`, or `sub/pipeline.yaml:train` for a stage of another
    /// folder.
    pub fn address(&self, id: StageId, from: &RepoPath) -> String {
        let stage = self.stage(id);
        let file = &self.file(stage.file).path;
        if file.parent().as_ref() == Some(from) {
            stage.name.clone()
        } else {
            format!("{}:{}", file.relative_to(from), stage.name)
        }
    }
}
