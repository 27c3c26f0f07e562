//! Remotes: the same objects elsewhere.
//!
//! ```text
//! lockstep-remote     text `lockstep-remote 1`: the version of the format
//! objects/ab/<hex>    contents of 1 MiB and more, each as it is
//! packs/<hex>.pack    everything smaller, and all trees, in the store's own format of packs
//! index/<name>        segments, each what one push added: see `segment`
//! index/<name>.…      notes on what is about to go: see `marks`
//! index/all           the names of all segments, for readers that cannot list: see `summary`
//! tmp/                what is being written, where the service does not put in one step
//! ```
//! Where an object lies follows from its size alone, so a reader knows where to look. Everything but the two index
//! files `all` and the marker is immutable and named by its hash, so pushes from many clones never disturb each other,
//! and what arrives twice is the same. The order of a push is objects and packs, then the segment: an index never points
//! at bytes that are not there, and a push that is killed leaves nothing but harmless objects, which the next one
//! overwrites or finds.
//!
//! What is missing at a remote is decided from its segments (`catalog`), not by asking for objects: what has a root row
//! is complete there. What an output that is new shares with earlier ones is found in the indexes of packs, which are
//! kept in the clone; that it is not found costs a duplicate, nothing more.
//!
//! What nobody needs is marked, and goes a day later: `garbage` plans it (pure), `clean` does it. First segments that tell
//! of it are replaced by one that does not, then the files go, so that no index ever points at missing bytes.
//!
//! `push` and `fetch` plan (pure but for reading trees) and then move; `scope` says what a command is about; `place`
//! hides whether a remote is a `folder` or a `service`. Whatever comes from a remote is hostile until verified.

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

pub use backend::Spent;
pub use catalog::segment::RunRow;
pub use catalog::{Catalog, packs_of};

use crate::config;
use crate::error::{Error, Kind, Result};
use crate::path::home::expand;
use crate::path::normalise;
use crate::project::Project;
use crate::remote::catalog::Memory;
use crate::store::{ObjectId, ObjectKind, Pin, WritableArea};
use crate::url::Url;
use backend::Place;
use settings::address::{Address, Scheme};
use settings::options::Options;

const VERSION: u32 = 1;
const MARKER: &str = "lockstep-remote";
/// Contents of this size and more are files of their own at a remote.
pub const LARGE: u64 = 1 << 20;
/// Objects that travel at once where the network is what takes time.
const NETWORK_JOBS: usize = 16;

/// Something whole that is kept at a remote: an output, or tracked data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As people call it: its path.
    pub name: String,
    pub pin: Pin,
}

/// An open remote.
pub struct Remote {
    pub name: String,
    place: Place,
    memory: Memory,
    /// Where a remote that is a folder must not lie.
    area: WritableArea,
    /// Does the repository name the folder?
    is_of_repository: bool,
    /// Why nothing may be written to it, where the user has to allow that first.
    unwritable: Option<Error>,
    read_only: bool,
    jobs: usize,
    /// Seconds since 1970 when it was opened.
    now: u64,
    known: Mutex<Option<Arc<Catalog>>>,
    /// What to type to begin with an empty remote at this address.
    start_over: String,
}

impl Remote {
    /// The remote `name`, or the one that counts where none is named: `core.remote`, or the only one there is. Nothing
    /// is asked of it yet.
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
        let place = Place::open(&name, &settings.url, &address, options, &root, &around.env, around.stop)?;
        let now = (project.around.now)().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let area = project.writable_area().clone();
        let is_of_repository = project.config.grade(&format!("remote.{name}.url")) == Some(config::Grade::Repository);
        let known = Mutex::default();
        let start_over = catalog::lost::start_over(project, &name, &settings.url);
        Ok(Remote { name, place, memory, area, is_of_repository, unwritable, read_only, jobs, now, known, start_over })
    }

    /// As it may be shown.
    pub fn url(&self) -> &Url {
        self.place.url()
    }

    /// As whom we come there, where that is known.
    pub fn who(&self) -> Option<String> {
        self.place.who().map(str::to_string)
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What it cost until now.
    pub fn spent(&self) -> Spent {
        self.place.spent()
    }

    /// What is there, asked once. A place that was never written to is empty, see [`Catalog::has_marker`]; a remote that is
    /// lost is an error.
    pub fn known(&self) -> Result<Arc<Catalog>> {
        self.look(false)
    }

    /// The same for readers. A place without its marker has nothing to read, and is no remote that lacks something.
    pub fn contents(&self) -> Result<Arc<Catalog>> {
        let known = self.known()?;
        if known.has_marker { Ok(known) } else { Err(self.unmarked()?) }
    }

    /// Did it say what it has?
    pub fn is_known(&self) -> bool {
        self.known.lock().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    fn look(&self, from_scratch: bool) -> Result<Arc<Catalog>> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = known.as_ref().filter(|_| !from_scratch) {
            return Ok(Arc::clone(known));
        }
        let catalog = if self.marker()? {
            catalog::read(&self.place, &self.memory, from_scratch)?
        } else {
            self.refuse_lost()?;
            Catalog::default()
        };
        Ok(Arc::clone(known.insert(Arc::new(catalog))))
    }

    /// The same, without what is remembered of it in memory.
    fn look_again(&self) -> Result<Arc<Catalog>> {
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = None;
        self.known()
    }

    /// Was it written to before? Refuses a format that this program does not know.
    fn marker(&self) -> Result<bool> {
        let Some(bytes) = self.place.get(MARKER, backend::cap::MARKER)? else { return Ok(false) };
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
        self.place.put(MARKER, format!("lockstep-remote {VERSION}\n").into_bytes(), true)
    }

    fn must_be_writable(&self) -> Result<()> {
        if let Some(folder) = self.place.folder() {
            let what = format!("the remote {}", self.name);
            self.area.check_folder(folder, &what)?;
            self.area.check_outside_git(folder, &what)?;
            if self.is_of_repository {
                self.area.check_committed_folder(folder, &what)?;
            }
        }
        if !self.read_only {
            let Some(refusal) = &self.unwritable else { return Ok(()) };
            // No grant brings a disk back.
            self.refuse_lost_folder()?;
            return Err(refusal.clone());
        }
        let error = Error::new(Kind::Remote, format!("the remote {} ({}) may only be read", self.name, self.url()));
        Err(if self.place.lists() {
            error.hint(format!("allow writing: lockstep remote modify {} read_only false", self.name))
        } else {
            error.hint("push to where its web server takes its files from")
        })
    }
}

/// Where an object of this kind and size lies at a remote.
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

/// What the settings say of the remote `name`, checked.
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

/// Where this clone remembers the remote `name`.
fn memory_dir(project: &Project, name: &str) -> Result<PathBuf> {
    let (_, address, options) = settings_of(project, name)?;
    let root = project.repo.project_root.on_disk(project.top());
    let name = memory_name(&address, &options, &root, project.around.home.as_deref())?;
    Ok(project.repo.remotes_dir().join(name))
}

/// The same for all spellings of an address. The same bucket name at another server is another remote.
fn memory_name(address: &Address, options: &Options, root: &Path, home: Option<&Path>) -> Result<String> {
    let place = match address.scheme {
        Scheme::Folder => normalise(&expand(&address.path, root, home)?.to_string_lossy()),
        _ => format!("{address}\n{}", options.get("endpoint_url").unwrap_or_default()),
    };
    Ok(ObjectId::of(place.as_bytes()).hex()[..32].to_string())
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
