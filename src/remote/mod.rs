//! Remotes: copies of the store's objects elsewhere.
//!
//! ```text
//! lockstep-remote     text `lockstep-remote 1`: the version of the format
//! objects/ab/<hex>    contents of 1 MiB and more, unchanged
//! packs/<hex>.pack    everything smaller, and all trees, in the store's own format of packs
//! index/<name>        segments, the rows of one push each: see `segment`
//! index/<name>.…      notes on data that is marked for removal: see `marks`
//! index/all           the names of all segments, for readers that cannot list: see `summary`
//! tmp/                unfinished uploads, on services without atomic writes
//! ```
//!
//! The location of an object follows from its size alone, so a reader knows where to look. Every file except
//! `index/all` and the marker is immutable and named by its hash, so pushes from many clones do not disturb each other,
//! and a second copy is identical. A push writes objects and packs first, then the segment: an index never points to
//! missing bytes, and a killed push leaves only harmless objects, which the next one overwrites or reuses.
//!
//! What is missing at a remote is decided from its segments (`catalog`), not by requests for objects: an output with a
//! root row is complete there. Objects that a new output shares with earlier ones are found in the indexes of packs,
//! which the clone caches; an object that is not found there costs a duplicate, nothing more.
//!
//! Unneeded data is marked, and removed a day later: `gc::plan` plans it (pure), `gc::apply` does it. First the
//! segments that list it are replaced, then the files are removed, so no index ever points to missing bytes.
//!
//! `push` and `fetch` plan (pure except for reading trees) and then transfer; `scope` selects what a command works on;
//! `backend` hides whether a remote is a folder or a service. Everything that comes from a remote is untrusted until
//! verified.

pub mod backend;
pub mod catalog;
pub mod check;
pub mod fetch;
pub mod gc;
pub mod push;
pub mod scope;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod unpushed;
pub mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

pub use backend::TransferCost;
pub use catalog::{Catalog, packs_of};

use crate::config;
use crate::error::{Error, Kind, Result};
use crate::path::home::expand;
use crate::path::normalise;
use crate::project::Project;
use crate::remote::catalog::Memory;
use crate::store::{ObjectId, ObjectKind, Pin, WritableArea};
use crate::url::Url;
use backend::Backend;
use settings::address::{Address, Scheme};
use settings::options::Options;

const VERSION: u32 = 1;
const MARKER: &str = "lockstep-remote";
/// Contents of at least this size are objects of their own at a remote.
pub const LARGE: u64 = 1 << 20;
/// The number of objects that travel at once over a network.
const NETWORK_JOBS: usize = 16;

/// A whole output, or tracked data, that a remote stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its path, for messages.
    pub name: String,
    /// The whole file or folder.
    pub pin: Pin,
}

/// An open remote.
pub struct Remote {
    /// The name in the settings.
    pub name: String,
    backend: Backend,
    memory: Memory,
    /// The area that a remote in a folder must not overlap.
    area: WritableArea,
    /// Whether a file of the repository names the folder.
    is_of_repository: bool,
    /// The error for every write, if the user has not allowed writes yet.
    unwritable: Option<Error>,
    read_only: bool,
    jobs: usize,
    /// When it was opened, in seconds since 1970.
    now: u64,
    known: Mutex<Option<Arc<Catalog>>>,
    /// The command that starts an empty remote at this address.
    start_over: String,
}

impl Remote {
    /// Opens the remote `name`, or the default one: `core.remote`, or the only one. Sends no request yet.
    ///
    /// Errors: there is no such remote, or no default one; its settings are invalid; it needs a grant that the user has
    /// not given. If only writes need a grant, writing is the error.
    pub fn open(project: &Project, name: Option<&str>, jobs: Option<usize>) -> Result<Remote> {
        let name = match name {
            Some(name) => name.to_string(),
            None => default_name(project)?,
        };
        let (settings, address, options) = settings_of(project, &name).map_err(|e| match nearest(project, &name) {
            Some(near) if e.kind == Kind::Missing => e.hint(format!("did you mean `{near}`?")),
            _ => e,
        })?;
        let unwritable = settings::grant::check(project, &name)?;
        let is_folder = address.scheme == Scheme::Folder;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = jobs.filter(|n| *n > 0).or_else(|| options.number("jobs").map(|n| n as usize)).filter(|n| *n > 0);
        let jobs = jobs.unwrap_or(if is_folder { cores } else { NETWORK_JOBS }).min(256);
        let read_only = options.is_on("read_only") || address.scheme == Scheme::Http;
        let root = project.repo.project_root.on_disk(project.top());
        let around = &project.around;
        let memory = Memory::new(project.repo.remotes_dir().join(memory_name(
            &address,
            &options,
            &root,
            around.home.as_deref(),
        )?));
        let backend = Backend::open(&name, &settings.url, &address, options, &root, &around.env, around.stop)?;
        let now = (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let area = project.writable_area().clone();
        let is_of_repository = project.config.grade(&format!("remote.{name}.url")) == Some(config::Grade::Repository);
        let known = Mutex::default();
        let start_over = catalog::lost::start_over(project, &name, &settings.url);
        Ok(Remote {
            name,
            backend,
            memory,
            area,
            is_of_repository,
            unwritable,
            read_only,
            jobs,
            now,
            known,
            start_over,
        })
    }

    /// The URL without secrets.
    pub fn url(&self) -> &Url {
        self.backend.url()
    }

    /// The identity that is used, where it is known.
    pub fn identity(&self) -> Option<String> {
        self.backend.identity().map(str::to_string)
    }

    /// Returns true if the settings forbid writes, or the remote is reached by plain HTTP.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The requests and bytes so far.
    pub fn spent(&self) -> TransferCost {
        self.backend.spent()
    }

    /// The catalog of the remote, read once. A location that was never written to is empty, see
    /// [`Catalog::has_marker`]; a remote that has disappeared is an error.
    pub fn catalog(&self) -> Result<Arc<Catalog>> {
        self.load_catalog(false)
    }

    /// The same for readers. A location without a marker is an error.
    pub fn contents(&self) -> Result<Arc<Catalog>> {
        let known = self.catalog()?;
        if known.has_marker { Ok(known) } else { Err(self.missing_marker_error()?) }
    }

    /// Returns true if the catalog has been read.
    pub fn has_catalog(&self) -> bool {
        self.known.lock().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    fn load_catalog(&self, from_scratch: bool) -> Result<Arc<Catalog>> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = known.as_ref().filter(|_| !from_scratch) {
            return Ok(Arc::clone(known));
        }
        let catalog = if self.marker()? {
            catalog::read(&self.backend, &self.memory, from_scratch)?
        } else {
            self.refuse_lost()?;
            Catalog::default()
        };
        Ok(Arc::clone(known.insert(Arc::new(catalog))))
    }

    /// Reads the catalog again, without the copy in memory.
    fn read_catalog_again(&self) -> Result<Arc<Catalog>> {
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = None;
        self.catalog()
    }

    /// Returns true if the remote was written to before. Refuses a format that this program does not know.
    fn marker(&self) -> Result<bool> {
        let Some(bytes) = self.backend.get(MARKER, backend::cap::MARKER)? else { return Ok(false) };
        let text = String::from_utf8_lossy(&bytes);
        let version = text.strip_prefix("lockstep-remote ").and_then(|rest| rest.trim().parse::<u32>().ok());
        let wrong = |what: &str| Error::new(Kind::Remote, format!("the remote {} ({}) {what}", self.name, self.url()));
        match version {
            Some(VERSION) => Ok(true),
            Some(newer) if newer > VERSION => {
                Err(wrong(&format!("has format {newer}; this lockstep knows format {VERSION}"))
                    .hint("install a newer lockstep, or use another remote"))
            }
            _ => {
                Err(wrong(&format!("has a file {MARKER} that is not lockstep's")).hint("use another folder or prefix"))
            }
        }
    }

    fn write_marker(&self) -> Result<()> {
        self.backend.put(MARKER, format!("lockstep-remote {VERSION}\n").into_bytes(), true)
    }

    fn must_be_writable(&self) -> Result<()> {
        if let Some(folder) = self.backend.folder() {
            let what = format!("the remote {}", self.name);
            self.area.check_folder(folder, &what)?;
            self.area.check_outside_git(folder, &what)?;
            if self.is_of_repository {
                self.area.check_committed_folder(folder, &what)?;
            }
        }
        if !self.read_only {
            let Some(refusal) = &self.unwritable else { return Ok(()) };
            // A grant does not bring a disk back.
            self.refuse_lost_folder()?;
            return Err(refusal.clone());
        }
        let error = Error::new(Kind::Remote, format!("the remote {} ({}) may only be read", self.name, self.url()));
        Err(if self.backend.can_list() {
            error.hint(format!("allow writing: lockstep remote modify {} read_only false", self.name))
        } else {
            error.hint("push to where its web server takes its files from")
        })
    }
}

/// Returns true if an object of this kind and size is stored separately at a remote.
fn is_large(kind: ObjectKind, size: u64) -> bool {
    kind == ObjectKind::Content && size >= LARGE
}

fn object_path(id: &ObjectId) -> String {
    let hex = id.hex();
    format!("objects/{}/{hex}", &hex[..2])
}

fn pack_path(id: &crate::store::pack::format::PackId) -> String {
    format!("packs/{}", id.file_name())
}

/// The settings of the remote `name`, checked.
fn settings_of(project: &Project, name: &str) -> Result<(config::Remote, Address, Options)> {
    let mut settings = project.config.remote(name)?;
    let withheld = settings::secrets::for_other_places(project, name, &settings)?;
    settings.said.retain(|(option, _)| !withheld.contains(option));
    let key = format!("remote.{name}.url");
    let address = Address::parse(&settings.url).map_err(|e| match project.config.origin(&key) {
        Some(origin) => e.because(format!("{key} in {origin} says so")),
        None => e,
    })?;
    settings::options::check_container(&address)?;
    let options = Options::read(name, address.scheme, &settings.said)?;
    let root = project.repo.project_root.on_disk(project.top());
    Ok((settings, address, options.with_paths_from(&root, project.around.home.as_deref())?))
}

/// The cache folder of the remote `name` in this clone.
fn memory_dir(project: &Project, name: &str) -> Result<PathBuf> {
    let (_, address, options) = settings_of(project, name)?;
    let root = project.repo.project_root.on_disk(project.top());
    let name = memory_name(&address, &options, &root, project.around.home.as_deref())?;
    Ok(project.repo.remotes_dir().join(name))
}

/// Equal for all spellings of an address. The same bucket name on another server is another remote.
fn memory_name(address: &Address, options: &Options, root: &Path, home: Option<&Path>) -> Result<String> {
    let location = match address.scheme {
        Scheme::Folder => normalise(&expand(&address.path, root, home)?.to_string_lossy()),
        _ => format!("{address}\n{}", options.get("endpoint_url").unwrap_or_default()),
    };
    Ok(ObjectId::of(location.as_bytes()).hex()[..32].to_string())
}

fn default_name(project: &Project) -> Result<String> {
    if let Some(name) = project.config.default_remote() {
        return Ok(name.to_string());
    }
    match project.config.remotes()[..] {
        [only] => Ok(only.to_string()),
        [] => Err(Error::usage("there is no remote").hint("name one: lockstep remote add -d NAME URL")),
        ref several => Err(Error::usage(format!("which remote? There are {}", several.join(", ")))
            .hint("name one: -r NAME")
            .hint("or say which counts: lockstep remote default NAME")),
    }
}

fn nearest<'a>(project: &'a Project, name: &str) -> Option<&'a str> {
    let near = project.config.remotes().into_iter().map(|n| (strsim::damerau_levenshtein(n, name), n)).min();
    near.filter(|(distance, n)| *distance <= (n.len() / 3).max(1)).map(|(_, n)| n)
}
