//! An open repository: its folders, definitions and locks.

mod compiled;
pub mod hub;
mod linked;
pub mod listing;
mod locks;
mod open_repository;
pub mod origin;
mod snapshot;
mod target;
pub mod values;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use self::compiled::{Compiled, ReadAhead};
use self::locks::CompiledLocks;
use crate::config::{Config, GivenSetting, Grade, Sources, WorktreeArea};
use crate::document::Bounds;
use crate::error::{Error, Result};
use crate::event::StopSignal;
use crate::git::{self, Repo};
use crate::path::RepoPath;
use crate::path::names::folded;
use crate::pipeline::Files;
use crate::pipeline::graph::{self, Graph};
use crate::pipeline::load::{self, Loaded};
use crate::pipeline::problem;
use crate::pipeline::stage::{InputLocation, Pipelines};
use crate::store::{LinkTypes, ObjectId, ProtectedKind, StatIndex, Store, WritableArea, WritablePath, real_path};
use crate::url::Url;

pub use linked::resolve_links;
pub use locks::{Locks, write_lock};
pub use open_repository::{OpenedRepository, open_repository};
pub use snapshot::{FileSource, PinnedPath, Rev, Snapshot, Snapshots};
pub use target::check_target;

/// The environment of the process, which only the command line reads and passes to all other code.
#[derive(Clone)]
pub struct Surroundings {
    /// The current folder, absolute.
    pub cwd: PathBuf,
    /// Environment variables; those that are not UTF-8 are missing.
    pub env: BTreeMap<String, String>,
    /// Git's environment variables.
    pub git: git::Variables,
    /// The clock.
    pub now: fn() -> SystemTime,
    /// The path of this binary, for the watchdog.
    pub program: PathBuf,
    /// The user's settings file, if its folder is known.
    pub user_config: Option<PathBuf>,
    /// The user's home folder; `None` if it is not known.
    pub home: Option<PathBuf>,
    /// Returns the user's name from the environment or, if it is not set there, from the system.
    pub user: fn(&BTreeMap<String, String>) -> String,
    /// Settings from the environment and the command line, from the weakest to the strongest.
    pub settings: Vec<GivenSetting>,
    /// Whether the user wants to stop.
    pub stop: StopSignal,
}

impl Surroundings {
    /// Whether `LOCKSTEP_REQUIRE_SIGNED` requires good signatures on the tags of model versions.
    pub fn requires_signed(&self) -> bool {
        self.env.get("LOCKSTEP_REQUIRE_SIGNED").is_some_and(|value| !["", "0", "false"].contains(&value.as_str()))
    }
}

/// An open project: one root folder of a repository, with its settings, store and index.
pub struct Project {
    /// The Git repository, or a folder outside of Git.
    pub repo: Repo,
    /// The merged settings.
    pub config: Config,
    /// The current folder, relative to the top.
    pub cwd: RepoPath,
    /// The environment of the process.
    pub around: Surroundings,
    /// The address that the user gave, if it is not the current repository.
    pub address: Option<Url>,
    bounds: OnceLock<Bounds>,
    index: OnceLock<StatIndex>,
    store: OnceLock<Store>,
    area: OnceLock<WritableArea>,
    /// The locks, read ahead because most commands need them after the pipelines.
    locks_ahead: ReadAhead<CompiledLocks>,
    index_ahead: ReadAhead<StatIndex>,
}

/// The content of all pipeline files, resolved, with their graph.
pub struct Definitions {
    /// The pipeline files with their stages, data and artifacts.
    pub pipelines: Pipelines,
    /// Which stage needs which, and who makes what.
    pub graph: Graph,
    /// Pipeline files that could not be read, each with all its errors.
    pub broken: Vec<(RepoPath, Error)>,
    /// `pipeline.yaml` files of other tools.
    pub foreign: Vec<RepoPath>,
    /// `pipeline.lock` files with no `pipeline.yaml` beside them.
    pub locks_alone: Vec<RepoPath>,
    /// DVC's pipelines and data pointers, for hints.
    pub dvc: Vec<RepoPath>,
    /// The `.lockstepignore` rules, which hashing of folders obeys.
    pub rules: git::Rules,
    /// Folders and ignore rules that could not be read during discovery, each with the reason.
    pub unreadable: Vec<Error>,
    /// Every file that was read, with BLAKE3 of its content (`None`: it did not exist).
    pub inputs: Vec<(InputLocation, Option<[u8; 32]>)>,
}

impl Definitions {
    /// Combines the loaded pipelines with the results of discovery.
    pub fn of(loaded: Loaded, found: git::DiscoveredFiles, graph: Graph) -> Definitions {
        let broken = loaded.broken.iter().map(|(path, problems)| (path.clone(), problem::render(problems))).collect();
        Definitions {
            pipelines: loaded.pipelines,
            graph,
            broken,
            foreign: loaded.foreign,
            locks_alone: found.locks,
            dvc: found.dvc,
            rules: found.rules,
            unreadable: found.unreadable,
            inputs: loaded.inputs,
        }
    }
}

impl Project {
    /// Finds and opens the project of the current folder.
    ///
    /// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if there is no project;
    /// [`Kind::Usage`](crate::error::Kind::Usage) for a repository of another user, or settings that are invalid.
    pub fn open(around: Surroundings) -> Result<Project> {
        let mut repo = Repo::find_current(&around.cwd, &around.git)?;
        repo.require_signed = around.requires_signed();
        Project::open_repo(repo, around)
    }

    /// Opens a discovered repository. The settings of its clone are trusted as the user's, unless it is another
    /// repository ([`Repo::is_other`]): an unpacked folder brings such settings along.
    fn open_repo(repo: Repo, around: Surroundings) -> Result<Project> {
        if repo.is_bare() {
            let config = open_repository::settings_of_bare(&around, &repo, None)?;
            config.cache_dir(&repo.top, around.home.as_deref())?;
            return Ok(Project::of(repo, config, RepoPath::root(), around));
        }
        repo.bounds().find(&repo.project_config())?;
        let user = around.user_config.iter().map(|file| (file.clone(), Grade::User));
        let own =
            [(repo.project_config(), Grade::Repository), (repo.local_config(), open_repository::grade_of_clone(&repo))];
        let checkout = WorktreeArea { top: repo.top.clone(), root: repo.project_root.on_disk(&repo.top) };
        let mut config = Config::load(&Sources {
            files: user.chain(own).collect(),
            given: around.settings.clone(),
            checkout: Some(checkout),
        })?;
        if repo.is_other {
            open_repository::use_known_store(&repo, &around, &mut config)?;
        }
        config.cache_dir(&repo.top, around.home.as_deref())?;
        let cwd = std::fs::canonicalize(&around.cwd).map_err(|e| Error::io("find", &around.cwd, e))?;
        // If settings put the work tree elsewhere, paths are relative to its top, as in Git.
        let cwd = if cwd.starts_with(&repo.top) { cwd } else { repo.top.clone() };
        let cwd = RepoPath::from_absolute(&repo.top, &cwd).ok_or_else(|| {
            Error::usage(format!("the name of the current folder is not UTF-8: {}", around.cwd.display()))
        })?;
        Ok(Project::of(repo, config, cwd, around))
    }

    fn of(repo: Repo, config: Config, cwd: RepoPath, around: Surroundings) -> Project {
        Project {
            repo,
            config,
            cwd,
            around,
            address: None,
            bounds: OnceLock::new(),
            index: OnceLock::new(),
            store: OnceLock::new(),
            area: OnceLock::new(),
            locks_ahead: ReadAhead::default(),
            index_ahead: ReadAhead::default(),
        }
    }

    /// The top folder of the repository on disk.
    pub fn top(&self) -> &Path {
        &self.repo.top
    }

    /// Parses a typed path: relative to the current folder, or absolute. `None` if it is outside of the repository.
    pub fn typed(&self, word: &str) -> Option<RepoPath> {
        self.cwd.join_typed(self.top(), word)
    }

    /// Makes an absolute path into the repository relative to the current folder; other arguments are returned
    /// unchanged.
    pub fn seen(&self, word: &str) -> String {
        let path = self.typed(word).filter(|_| word.starts_with('/'));
        path.map_or_else(|| word.to_string(), |path| path.relative_to(&self.cwd))
    }

    /// The area of this worktree that lockstep may write to.
    pub fn writable_area(&self) -> &WritableArea {
        self.area.get_or_init(|| {
            let git = [&self.repo.git_dir, &self.repo.common_dir].into_iter().flatten();
            let git = git.map(|folder| (folder.clone(), ProtectedKind::Git));
            let own = [(self.store_dir(), ProtectedKind::Store), (self.repo.worktree_dir(), ProtectedKind::State)];
            WritableArea::new(self.top(), &git.chain(own).collect::<Vec<_>>())
        })
    }

    /// The place of a path that lockstep writes, moves or deletes. Errors: it belongs to Git or lockstep, or is behind
    /// a symlink.
    pub fn writable(&self, path: &RepoPath) -> Result<WritablePath> {
        self.writable_area().path(path)
    }

    /// An existing folder of the repository to write into. Errors: it is a symlink or behind one.
    pub fn folder(&self, path: &RepoPath) -> Result<PathBuf> {
        self.writable_area().folder(path)
    }

    /// The state folder of this project root in this worktree: compiled forms, journal, lock, backups.
    pub fn state_dir(&self) -> PathBuf {
        let root = self.repo.project_root.as_str();
        let name = if root.is_empty() { "root".to_string() } else { root.replace('%', "%25").replace('/', "%2F") };
        self.repo.worktree_dir().join("state").join(name)
    }

    /// The folder of all run logs.
    pub fn logs_dir(&self) -> PathBuf {
        self.repo.worktree_dir().join("logs")
    }

    /// The folder of the store.
    pub fn store_dir(&self) -> PathBuf {
        let root = self.repo.project_root.on_disk(self.top());
        // `open` has already checked that HOME is set if it is needed.
        let dir = self.config.cache_dir(&root, self.around.home.as_deref()).ok().flatten();
        dir.unwrap_or_else(|| self.repo.store_dir())
    }

    /// The store, opened at the first call.
    pub fn store(&self) -> &Store {
        self.store.get_or_init(|| {
            let dir = self.store_dir();
            let store = Store::open(&dir, self.links()).with_stop_signal(self.around.stop);
            // Its own store serves only this repository; a clone of another repository stores nothing.
            let is_own = dir == self.repo.store_dir();
            let store = if is_own { store.at_own_place() } else { store };
            let is_alone = is_own || self.repo.is_bare();
            if is_alone { store } else { store.for_project(self.repo.home(), self.repo.id_file()) }
        })
    }

    /// The link types of the settings, which accept only valid names.
    fn links(&self) -> LinkTypes {
        LinkTypes::new(self.config.cache_links().iter().filter_map(|word| word.parse().ok()))
    }

    /// The stat index, opened at the first call.
    pub fn index(&self) -> &StatIndex {
        self.index.get_or_init(|| {
            let file = self.index_file();
            let open = || StatIndex::open(&file, self.top(), self.repo.file_mode()).within(self.bounds().clone());
            self.index_ahead.take(&file).unwrap_or_else(open)
        })
    }

    fn index_file(&self) -> PathBuf {
        self.repo.worktree_dir().join("index")
    }

    /// Starts to read the locks in the background.
    fn read_ahead(&self) {
        let locks = self.compiled_locks();
        let from = locks.clone();
        self.locks_ahead.start(&locks, move || compiled::read(&from).unwrap_or_default());
        let (index, top, file_mode) = (self.index_file(), self.top().to_path_buf(), self.repo.file_mode());
        let (from, bounds) = (index.clone(), self.bounds().clone());
        self.index_ahead.start(&index, move || StatIndex::open(&from, &top, file_mode).within(bounds));
    }

    /// The shell of the settings if it is not `sh`.
    pub fn shell(&self) -> Option<String> {
        Some(self.config.shell().to_string()).filter(|s| s != "sh")
    }

    /// All pipelines of the project, from the compiled form if no file changed. A file that cannot be read is listed in
    /// `broken`. Errors: the graph is invalid.
    pub fn definitions(&self) -> Result<Definitions> {
        match self.load()? {
            (definitions, None) => Ok(definitions),
            (_, Some(error)) => Err(error),
        }
    }

    /// Like [`Project::definitions`], but an invalid graph is replaced by an empty one.
    pub fn definitions_without_graph(&self) -> Result<Definitions> {
        Ok(self.load()?.0)
    }

    /// Errors: the repository is bare, so it has no files to work on.
    pub fn with_files(&self) -> Result<()> {
        if !self.repo.is_bare() {
            return Ok(());
        }
        Err(Error::usage(format!("{} is a bare repository: it has no files to work on", self.top().display()))
            .hint("name a commit, where the command takes one: --rev HEAD")
            .hint("git clone, and work there"))
    }

    /// All pipelines, and the error of their graph.
    fn load(&self) -> Result<(Definitions, Option<Error>)> {
        self.with_files()?;
        self.read_ahead();
        let compiled = compiled::read::<Compiled>(&self.compiled_pipelines());
        self.check_store_place(&[])?;
        let skip = compiled.as_ref().map(|c| skipped(&c.pipelines)).unwrap_or_default();
        let mut found = git::discover(&self.repo, &skip)?;
        drop_accompanied(&mut found);
        if let Some(c) = compiled
            && c.paths == found.pipelines
            && self.unchanged(&c.inputs)
        {
            let definitions = Definitions {
                pipelines: c.pipelines,
                graph: c.graph,
                broken: Vec::new(),
                foreign: c.foreign,
                locks_alone: found.locks,
                dvc: found.dvc,
                rules: found.rules,
                unreadable: found.unreadable,
                inputs: c.inputs,
            };
            self.check_store_place(&skip)?;
            return Ok(self.without_links(definitions, None, &found.links));
        }
        let files = self.files();
        let mut loaded = load::load(&files, &found.pipelines, &self.repo.project_root);
        // A former out may contain a pipeline file, which discovery skipped.
        if skipped(&loaded.pipelines) != skip {
            found = git::discover(&self.repo, &skipped(&loaded.pipelines))?;
            drop_accompanied(&mut found);
            loaded = load::load(&files, &found.pipelines, &self.repo.project_root);
        }
        self.check_store_place(&skipped(&loaded.pipelines))?;
        let (graph, wrong) = match graph::build(&loaded.pipelines) {
            Ok(graph) => (graph, None),
            Err(error) => (Graph::default(), Some(error)),
        };
        let paths = std::mem::take(&mut found.pipelines);
        let links = std::mem::take(&mut found.links);
        let definitions = Definitions::of(loaded, found, graph);
        if definitions.broken.is_empty() && wrong.is_none() {
            let compiled = Compiled {
                paths,
                inputs: definitions.inputs.clone(),
                foreign: definitions.foreign.clone(),
                pipelines: definitions.pipelines.clone(),
                graph: definitions.graph.clone(),
            };
            compiled::write(&self.compiled_pipelines(), &compiled);
        }
        Ok(self.without_links(definitions, wrong, &links))
    }

    /// Definitions with resolved deps, and their graph.
    fn without_links(
        &self,
        mut definitions: Definitions,
        mut wrong: Option<Error>,
        links: &[RepoPath],
    ) -> (Definitions, Option<Error>) {
        let built = match resolve_links(&mut definitions.pipelines, self.top(), links) {
            Ok(false) => return (definitions, wrong),
            Ok(true) => graph::build(&definitions.pipelines),
            Err(error) => Err(wrong.take().unwrap_or(error)),
        };
        match built {
            Ok(graph) => (definitions.graph, wrong) = (graph, None),
            Err(error) => (definitions.graph, wrong) = (Graph::default(), Some(error)),
        }
        (definitions, wrong)
    }

    /// Errors: `cache.dir` puts the store into a path that stages write, where it would be emptied, moved or stored.
    fn check_store_place(&self, written: &[RepoPath]) -> Result<()> {
        let dir = self.store_dir();
        if dir == self.repo.store_dir() {
            return Ok(());
        }
        self.writable_area().check_folder(&dir, "cache.dir")?;
        let real = real_path(&dir);
        if !real.starts_with(self.top()) {
            return Ok(());
        }
        let meets = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        // A folder that does not exist yet is compared by name, ignoring case, as the file system may.
        let is_new = !real.exists();
        let new = folded_path(&real);
        let touches = |path: &&RepoPath| {
            let on_disk = path.on_disk(self.top());
            meets(&real, &on_disk) || (is_new && meets(&new, &folded_path(&on_disk)))
        };
        match written.iter().find(touches) {
            Some(path) => Err(Error::usage(format!(
                "cache.dir is {}, and {path} is an output, data or scratch: one would contain the other",
                dir.display()
            ))
            .hint("set cache.dir to a folder of its own: lockstep store dir PATH")),
            None => Ok(()),
        }
    }

    /// The files of the worktree.
    pub fn files(&self) -> Worktree<'_> {
        Worktree { top: self.top(), bounds: self.bounds() }
    }

    /// The folders from which documents may be read.
    pub fn bounds(&self) -> &Bounds {
        self.bounds.get_or_init(|| {
            let objects = self.store_dir().join("objects");
            Bounds::new(self.top(), self.repo.git_dir.iter().chain(&self.repo.common_dir), Some(&objects))
        })
    }

    /// Whether the files are unchanged since these definitions were read.
    pub fn is_current(&self, definitions: &Definitions) -> bool {
        self.unchanged(&definitions.inputs)
    }

    fn unchanged(&self, inputs: &[(InputLocation, Option<[u8; 32]>)]) -> bool {
        let files = self.files();
        inputs.iter().all(|(place, hash)| match files.read(place) {
            Ok(bytes) => bytes.map(|b| ObjectId::of(&b).0) == *hash,
            Err(_) => false,
        })
    }

    fn compiled_pipelines(&self) -> PathBuf {
        self.state_dir().join("pipelines")
    }
}

/// A path as a case-insensitive file system may read it.
fn folded_path(path: &Path) -> PathBuf {
    PathBuf::from(OsString::from_vec(folded(path.as_os_str().as_bytes())))
}

/// Keeps, of the discovered locks, those without a pipeline file beside them.
fn drop_accompanied(found: &mut git::DiscoveredFiles) {
    let beside: HashSet<RepoPath> = found.pipelines.iter().map(Project::lock_path).collect();
    found.locks.retain(|lock| !beside.contains(lock));
}

/// Folders that discovery of pipeline files skips: outputs of stages, and tracked data.
pub fn skipped(pipelines: &Pipelines) -> Vec<RepoPath> {
    let outs = pipelines.stages.iter().flat_map(|s| &s.outs).map(|o| &o.path);
    let scratch = pipelines.stages.iter().flat_map(|s| &s.scratch).map(|s| &s.path);
    let data = pipelines.files.iter().flat_map(|f| &f.data).map(|d| &d.path);
    let mut all: Vec<RepoPath> = outs.chain(scratch).chain(data).cloned().collect();
    all.sort();
    all
}

/// The current files of the worktree.
pub struct Worktree<'a> {
    top: &'a Path,
    bounds: &'a Bounds,
}

impl Files for Worktree<'_> {
    fn top(&self) -> &Path {
        self.top
    }

    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
        match place {
            InputLocation::Repo(path) => self.bounds.read(&path.on_disk(self.top)),
            InputLocation::Outside(path) => self.bounds.read(&self.top.join(path)),
            InputLocation::Url(url) => Err(Error::usage(format!("{url} is not a file that can be read here"))),
        }
    }
}
