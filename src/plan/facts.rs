//! Reads the current facts of stages from the workspace, through the stat index.

use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::environment::interpreter::Pythons;
use crate::environment::resolve::{ResolvedEnvironment, Sources, resolve};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git;
use crate::path::RepoPath;
use crate::path::links::FolderLinks;
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::{EnvironmentSource, EnvironmentSpec, FileId, InputLocation, Stage, StageId};
use crate::plan::reasons::Facts;
use crate::project::{Definitions, Project};
use crate::store::{ObjectId, Pin, Rules, TrackedPath, is_sibling_name};
use crate::url::{Url, secrets_of_text};

/// The repository's ignore rules, as the store needs them. Temporary files that lockstep puts beside an output are
/// ignored everywhere.
pub struct IgnoreRules<'a>(pub &'a git::Rules);

impl Rules for IgnoreRules<'_> {
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        is_sibling_name(path.rsplit(|b| *b == b'/').next().unwrap_or(path)) || self.0.ignored(path, is_dir)
    }

    fn id(&self) -> u64 {
        self.0.id()
    }
}

/// The rules for the source of a package: what tools leave in it when they build it is not its content.
struct SourceRules<'a> {
    rules: IgnoreRules<'a>,
    /// The folder of the package, from the root of the repository.
    folder: &'a RepoPath,
}

impl Rules for SourceRules<'_> {
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        // Deeper ones are packages or data.
        let above = path.len().saturating_sub(name.len() + 1);
        let is_top = path[..above] == *self.folder.as_str().as_bytes();
        let is_built = is_dir && is_top && [&b"build"[..], b"dist", b".venv"].contains(&name);
        let is_compiled = is_dir && name == b"__pycache__" || name.ends_with(b".pyc");
        is_built || is_compiled || name.ends_with(b".egg-info") || self.rules.ignored(path, is_dir)
    }

    fn id(&self) -> u64 {
        // The index must not take a result with these rules for one with the others, or of another folder.
        let folder = ObjectId::of(self.folder.as_str().as_bytes()).0;
        let own =
            folder.iter().take(8).fold(0x5af3_107a_4000_0001, |id: u64, byte| id.rotate_left(8) ^ u64::from(*byte));
        self.rules.id() ^ own
    }
}

/// The last result for a path of the repository.
struct CachedPin {
    pin: Result<Option<Pin>>,
    /// The content of an output must be inside the repository, that of a dep need not.
    is_out: bool,
}

/// Reads the state of paths, and remembers the results.
pub struct FactsReader<'a> {
    project: &'a Project,
    definitions: &'a Definitions,
    sink: &'a dyn Sink,
    /// Results by path, so that an output that another stage reads is read once.
    cached: FxHashMap<&'a RepoPath, CachedPin>,
    cached_outside: FxHashMap<&'a InputLocation, Result<Option<Pin>>>,
    params: ParamsCache,
    /// By file and index.
    environments: FxHashMap<(FileId, u32), Result<Arc<ResolvedEnvironment>>>,
}

impl<'a> FactsReader<'a> {
    /// Reads nothing yet.
    pub fn new(project: &'a Project, definitions: &'a Definitions, sink: &'a dyn Sink) -> FactsReader<'a> {
        let (cached, cached_outside, environments) = Default::default();
        let params = ParamsCache::default();
        FactsReader { project, definitions, sink, cached, cached_outside, params, environments }
    }

    /// Reads everything that these stages read and write, in one sweep.
    pub fn sweep(&mut self, ids: &[StageId]) {
        self.sweep_paths(ids, true);
    }

    /// Reads the outs of these stages, but not their deps, which may be a hundred thousand files.
    pub fn sweep_outs(&mut self, ids: &[StageId]) {
        self.sweep_paths(ids, false);
    }

    fn sweep_paths(&mut self, ids: &[StageId], with_deps: bool) {
        let definitions = self.definitions;
        let (mut paths, mut outside) = (Vec::new(), Vec::new());
        for out in ids.iter().flat_map(|id| &definitions.pipelines.stage(*id).outs) {
            let cached = self.cached.get_mut(&out.path);
            if cached.is_none_or(|cached| !cached.is_out) {
                self.cached.insert(&out.path, CachedPin { pin: Ok(None), is_out: true });
                paths.push(&out.path);
            }
        }
        let outs = paths.len();
        for dep in ids.iter().flat_map(|id| &definitions.pipelines.stage(*id).deps).filter(|_| with_deps) {
            match &dep.place {
                InputLocation::Repo(path) if !self.cached.contains_key(path) => {
                    self.cached.insert(path, CachedPin { pin: Ok(None), is_out: false });
                    paths.push(path);
                }
                InputLocation::Outside(_) | InputLocation::Url(_) if !self.cached_outside.contains_key(&dep.place) => {
                    self.cached_outside.insert(&dep.place, Ok(None));
                    outside.push(&dep.place);
                }
                _ => {}
            }
        }
        if paths.is_empty() && outside.is_empty() {
            return;
        }
        let top = self.project.top();
        let spots: Vec<TrackedPath> = paths
            .iter()
            .map(|path| TrackedPath::from(*path))
            .chain(outside.iter().map(|place| spot(place, top)))
            .collect();
        let mut found = read_pins(self.project, definitions, &spots, self.sink);
        require_inside(self.project, &spots[..outs], &mut found[..outs]);
        let found_outside = found.split_off(paths.len());
        for (path, pin) in paths.into_iter().zip(found) {
            self.cached.entry(path).and_modify(|cached| cached.pin = pin);
        }
        for (place, pin) in outside.into_iter().zip(found_outside) {
            self.cached_outside
                .insert(place, if let InputLocation::Url(url) = place { Err(url_error(url)) } else { pin });
        }
    }

    /// Forgets all results, after a command ran or outputs were restored.
    pub fn forget(&mut self) {
        self.cached.clear();
        self.cached_outside.clear();
        self.environments.clear();
        self.params = ParamsCache::default();
    }

    /// The current pin of an out or data; `None` if it does not exist. Errors: it cannot be read, or is outside of the
    /// repository.
    pub fn out(&mut self, path: &'a RepoPath) -> Result<Option<Pin>> {
        if let Some(cached) = self.cached.get(path).filter(|cached| cached.is_out) {
            return cached.pin.clone();
        }
        let pin = read_out_pins(self.project, self.definitions, &[TrackedPath::from(path)], self.sink)
            .pop()
            .unwrap_or(Ok(None));
        self.cached.insert(path, CachedPin { pin: pin.clone(), is_out: true });
        pin
    }

    /// The facts of a stage; what was not read yet is read now.
    pub fn facts(&mut self, id: StageId) -> Result<Facts> {
        let stage = self.definitions.pipelines.stage(id);
        self.sweep(&[id]);
        let dep = |place: &InputLocation| match place {
            InputLocation::Repo(path) => self.cached[path].pin.clone(),
            InputLocation::Outside(_) | InputLocation::Url(_) => self.cached_outside[place].clone(),
        };
        let deps = stage.deps.iter().map(|d| dep(&d.place)).collect::<Result<_>>()?;
        let outs = stage.outs.iter().map(|o| self.cached[&o.path].pin.clone()).collect::<Result<_>>()?;
        let params = read_params(&self.project.files(), stage, &mut self.params)?;
        let env = env_values(self.project, stage);
        refuse_password(stage, &env)?;
        let environment = match self.environment(stage) {
            Some(Ok(environment)) => Some(environment),
            Some(Err(error)) if !stage.frozen => return Err(error),
            _ => None,
        };
        Ok(Facts { deps, params, env, outs, environment })
    }

    /// What the environment of a stage resolves to; `None` if it names none.
    pub fn environment(&mut self, stage: &Stage) -> Option<Result<Arc<ResolvedEnvironment>>> {
        let wanted = stage.environment.as_ref()?;
        let key = (wanted.file, wanted.index);
        if let Some(found) = self.environments.get(&key) {
            return Some(found.clone());
        }
        let spec = self.definitions.pipelines.environment(wanted)?;
        let found = resolve_environment(self.project, self.definitions, spec, self.sink).map(Arc::new);
        self.environments.insert(key, found.clone());
        Some(found)
    }
}

/// What a declared environment resolves to, with the files of the worktree.
pub fn resolve_environment(
    project: &Project,
    definitions: &Definitions,
    spec: &EnvironmentSpec,
    sink: &dyn Sink,
) -> Result<ResolvedEnvironment> {
    let is_source = !matches!(spec.source, EnvironmentSource::Files { .. });
    let mut pin = |path: &RepoPath| {
        let spots = [TrackedPath::from(path)];
        let rules = IgnoreRules(&definitions.rules);
        let mut found = match is_source {
            true => project.index().scan(&spots, &SourceRules { rules, folder: path }, sink),
            false => project.index().scan(&spots, &rules, sink),
        };
        require_inside(project, &spots, &mut found);
        found.pop().unwrap_or(Ok(None))
    };
    let pythons = Pythons::new(&project.around.env, project.around.home.as_deref());
    let environments = project.repo.environments_dir();
    let mut sources =
        Sources { files: &project.files(), pin: &mut pin, pythons: &pythons, environments, undeclared: None };
    resolve(spec, &mut sources)
}

/// The location of a dep on this disk. A URL has none.
pub fn spot(place: &InputLocation, top: &Path) -> TrackedPath {
    match place {
        InputLocation::Repo(path) => TrackedPath::from(path),
        InputLocation::Outside(path) => TrackedPath::Outside(top.join(path)),
        InputLocation::Url(url) => TrackedPath::Outside(top.join(url.raw())),
    }
}

fn url_error(url: &Url) -> Error {
    Error::new(Kind::Usage, format!("{url} is a URL: its content cannot be pinned as a dep"))
        .hint("fetch it in a stage of its own, and depend on what that stage writes")
}

/// Reads paths through the index; one result each.
pub fn read_pins(
    project: &Project,
    definitions: &Definitions,
    asks: &[TrackedPath],
    sink: &dyn Sink,
) -> Vec<Result<Option<Pin>>> {
    project.index().scan(asks, &IgnoreRules(&definitions.rules), sink)
}

/// The values of the environment variables that a stage declares.
pub fn env_values(project: &Project, stage: &Stage) -> Vec<Option<String>> {
    stage.env.iter().map(|name| project.around.env.get(name).cloned()).collect()
}

/// Errors: a value is a URL with a password, which the lock would hold in clear, whatever the name of the variable.
fn refuse_password(stage: &Stage, values: &[Option<String>]) -> Result<()> {
    let has_password = |value: &Option<String>| value.as_ref().is_some_and(|text| !secrets_of_text(text).is_empty());
    let Some((name, _)) = stage.env.iter().zip(values).find(|(_, value)| has_password(value)) else { return Ok(()) };
    let message = format!(
        "{name}, an input of stage {}, holds a URL with a password, and pipeline.lock would hold it, too",
        stage.name
    );
    Err(Error::usage(message).hint(format!("pass it to the commands and record nothing: - {name}: {{input: false}}")))
}

/// Reads outs and data, whose content must be inside the repository; one result each.
pub fn read_out_pins(
    project: &Project,
    definitions: &Definitions,
    asks: &[TrackedPath],
    sink: &dyn Sink,
) -> Vec<Result<Option<Pin>>> {
    let mut found = read_pins(project, definitions, asks, sink);
    require_inside(project, asks, &mut found);
    found
}

/// Replaces each result whose content is outside of the repository by an error.
fn require_inside(project: &Project, asks: &[TrackedPath], found: &mut [Result<Option<Pin>>]) {
    let mut links = FolderLinks::below(project.top());
    for (ask, found) in asks.iter().zip(found) {
        let pin = found.as_ref().ok().and_then(|pin| pin.as_ref());
        if let Err(e) = project.index().check_inside(ask, pin, &mut links) {
            *found = Err(e);
        }
    }
}
