//! One interface over both kinds of remote, a folder and a service. It adds the remote's name to every error and counts
//! requests and bytes.

pub(super) mod cap;
pub(super) mod fault;
pub(super) mod folder;
pub mod request_failure;
pub(super) mod service;
pub mod tls;
pub(super) mod transfer;
pub(super) mod transport;
pub(super) mod upload;

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::event::StopSignal;
use crate::path::home::expand;
use crate::remote::settings::address::{Address, Scheme};

use crate::remote::settings::options::Options;
use crate::remote::settings::secrets::HiddenTexts;
use crate::shell::word;
use crate::store::LARGEST_READ;
use crate::url::Url;
use fault::{Fault, FaultKind, StreamFault};
use folder::FolderBackend;
use service::Service;

/// A remote as a store of named objects.
pub struct Backend {
    /// The name of the remote.
    name: String,
    url: Url,
    scheme: Scheme,
    options: Options,
    hidden: HiddenTexts,
    kind: Kind,
    cost: CostCounters,
    /// The identity that is used, where the settings alone tell it.
    who: Option<String>,
    stop: StopSignal,
}

enum Kind {
    Folder(FolderBackend),
    Service(Box<Service>),
}

/// Counters of requests and bytes.
#[derive(Debug, Default)]
struct CostCounters {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A snapshot of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferCost {
    /// The number of requests, repeated ones included; at a folder, of calls of the file system.
    pub requests: u64,
    /// Bytes of bodies that were sent.
    pub sent: u64,
    /// Bytes of bodies that were received.
    pub received: u64,
}

/// The result of a probe of an object.
pub enum ProbeResult {
    /// The bytes of the requested range.
    Bytes(Vec<u8>),
    /// There is no such object.
    Gone,
    /// The object exists but the range cannot be read: most likely it is truncated.
    Unreadable(String),
}

/// Why a stream did not arrive.
pub enum StreamError {
    /// The source of the stream is damaged.
    Source(std::io::Error),
    /// The remote refused or did not answer, and another attempt would not help.
    Remote(Error),
    /// Another attempt, with the source from its beginning, may succeed.
    Again(Error),
}

impl Backend {
    /// Prepares the backend. Sends no request. Errors: the options are invalid.
    pub fn open(
        name: &str,
        url: &Url,
        address: &Address,
        options: Options,
        base: &Path,
        env: &BTreeMap<String, String>,
        stop: StopSignal,
    ) -> Result<Backend> {
        let scheme = address.scheme;
        let hidden = HiddenTexts::collect(address, &options, env);
        let kind = if scheme == Scheme::Folder {
            let dir = expand(&address.path, base, env.get("HOME").map(Path::new));
            Kind::Folder(FolderBackend::new(dir.map_err(|e| e.because(format!("it is the URL of the remote {name}")))?))
        } else {
            let service = Service::open(address, &options, env, stop);
            Kind::Service(Box::new(service.map_err(|fault| {
                let fault = Fault { text: url.scrub(&hidden.scrub(&fault.text)), ..fault };
                fault::error(&fault, name, url, scheme, "be used")
            })?))
        };
        let who = identity_of(url, address, &options, env);
        Ok(Backend {
            name: name.to_string(),
            url: url.clone(),
            scheme,
            options,
            hidden,
            kind,
            cost: CostCounters::default(),
            who,
            stop,
        })
    }

    /// The identity that is used, where the settings alone tell it.
    pub fn identity(&self) -> Option<&str> {
        self.who.as_deref()
    }

    /// The address, as in the settings; it may hold a secret.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns true for a folder of this machine, false for a service.
    fn is_folder(&self) -> bool {
        self.scheme == Scheme::Folder
    }

    /// Returns true if folders of the remote can be listed.
    pub fn can_list(&self) -> bool {
        self.scheme != Scheme::Http
    }

    /// The requests and bytes so far.
    pub fn spent(&self) -> TransferCost {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let more = match &self.kind {
            Kind::Service(service) => of(&service.requests),
            Kind::Folder(_) => 0,
        };
        let CostCounters { requests, sent, received } = &self.cost;
        TransferCost { requests: of(requests) + more, sent: of(sent), received: of(received) }
    }

    /// For a folder, a request is a call of the file system.
    fn count(&self) {
        if self.is_folder() {
            self.cost.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn error(&self, doing: &str, fault: Fault) -> Error {
        if let (FaultKind::Stopped(_), Err(stopped)) = (fault.kind, self.stop.check()) {
            return stopped;
        }
        let fault = Fault { text: self.url.scrub(&self.hidden.scrub(&fault.text)), ..fault };
        fault::error(&fault, &self.name, &self.url, self.scheme, doing)
    }

    /// Sets how many objects travel at once: they share the memory for parts.
    pub fn set_jobs(&self, objects: usize) {
        if let Kind::Service(service) = &self.kind {
            service.set_jobs(objects);
        }
    }

    /// Returns an error if the remote is a folder that does not exist. A service is not asked.
    pub fn must_exist(&self) -> Result<()> {
        match &self.kind {
            Kind::Folder(folder) if !folder.exists() => {
                Err(self.error("read from it", Fault::new(FaultKind::NotFound, "there is no such folder")))
            }
            _ => Ok(()),
        }
    }

    /// The folder of this machine, if the remote is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder.dir()),
            Kind::Service(_) => None,
        }
    }

    /// Returns true if the remote is a folder with a regular file of this name. A service is not asked.
    pub fn has(&self, file: &str) -> bool {
        match &self.kind {
            Kind::Folder(folder) => folder.has(file),
            Kind::Service(_) => false,
        }
    }

    /// Makes the folder of a new remote, but not its parents: a missing parent may mean that a disk is not mounted. A
    /// remote starts in a new or empty folder, so that files of other programs are never mistaken for its own; a folder
    /// with the file `marker` is a remote already.
    pub fn make_folder(&self, marker: &str) -> Result<()> {
        let Kind::Folder(folder) = &self.kind else { return Ok(()) };
        if let Some(above) = folder.dir().parent().filter(|above| !above.is_dir()) {
            let why = format!("there is no folder {} to make it in", above.display());
            return Err(self
                .error("be written", Fault::new(FaultKind::NotFound, why))
                .hint(format!("or make that folder: mkdir -p {}", word(&above.to_string_lossy()))));
        }
        folder.make().map_err(|fault| self.error("be written", fault))?;
        // Another push may be creating the remote: it writes the marker first.
        if folder.is_new() || folder.has(marker) {
            return Ok(());
        }
        let why = "it is not empty, and not a remote of lockstep: it has no file lockstep-remote";
        Err(self.error("be written", Fault::new(FaultKind::Other, why)).hint("name a new or empty folder"))
    }

    /// Returns a whole small object; `None` if it does not exist. More than `most` bytes are an error.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.stop.check()?;
        self.count();
        let found = match &self.kind {
            Kind::Folder(folder) => folder.get(path, most),
            Kind::Service(service) => service.get(path, most),
        };
        self.received(path, found)
    }

    /// Returns the requested bytes of an object, all of them; `None` if it does not exist. The inner error concerns
    /// this object alone.
    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Result<Option<Vec<u8>>>> {
        if range.is_empty() {
            return Ok(Ok(Some(Vec::new())));
        }
        self.stop.check()?;
        self.count();
        let found = self.range_of(path, range);
        let is_its_own = found.as_ref().is_err_and(|fault| fault.kind == FaultKind::Other);
        let found = self.received(path, found);
        if is_its_own { Ok(found) } else { found.map(Ok) }
    }

    /// A valid index never asks for more than this in one read.
    fn range_of(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        if range.end.saturating_sub(range.start) > LARGEST_READ {
            return Err(cap::too_large(path, LARGEST_READ));
        }
        match &self.kind {
            Kind::Folder(folder) => folder.get_range(path, range),
            Kind::Service(service) => service.get_range(path, range),
        }
    }

    fn received(&self, path: &str, found: Result<Option<Vec<u8>>, Fault>) -> Result<Option<Vec<u8>>> {
        if let Ok(Some(bytes)) = &found {
            self.cost.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        found.map_err(|fault| self.error(&format!("get {path}"), fault))
    }

    /// Writes an object in one step. An existing object is replaced if `may_replace` says so.
    pub fn put(&self, path: &str, bytes: Vec<u8>, may_replace: bool) -> Result<()> {
        self.stop.check()?;
        self.count();
        self.cost.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let put = match &self.kind {
            Kind::Folder(folder) => folder.put(path, &bytes),
            Kind::Service(service) => service.put(path, bytes, may_replace),
        };
        put.map_err(|fault| self.error(&format!("put {path}"), fault))
    }

    /// Writes an object of any size in one step from `source`. An existing object of that size may stay, unless it may
    /// be damaged.
    pub fn put_stream(
        &self,
        path: &str,
        source: &mut dyn Read,
        size: u64,
        may_replace: bool,
        done: &dyn Fn(u64),
    ) -> Result<(), StreamError> {
        self.count();
        let done = |n: u64| {
            self.cost.sent.fetch_add(n, Ordering::Relaxed);
            done(n);
        };
        let mut source = Stoppable { source, stop: self.stop };
        let put = match &self.kind {
            Kind::Folder(folder) => folder.put_stream(path, &mut source, size, &done),
            Kind::Service(service) => service.put_stream(path, &mut source, size, may_replace, &done),
        };
        if put.is_err() {
            self.stop.check().map_err(StreamError::Remote)?;
        }
        put.map_err(|broken| match broken {
            StreamFault::Source(e) => StreamError::Source(e),
            StreamFault::Remote(fault) => StreamError::Remote(self.error(&format!("put {path}"), fault)),
            StreamFault::Again(fault) => StreamError::Again(self.error(&format!("put {path}"), fault)),
        })
    }

    /// Repeats an attempt with growing pauses, as long as another one may succeed.
    pub fn with_retries(&self, mut attempt: impl FnMut() -> Result<(), StreamError>) -> Result<(), StreamError> {
        let most = self.options.number("retries").unwrap_or(5);
        let mut pause = Duration::from_millis(300);
        for _ in 0..most {
            match attempt() {
                Err(StreamError::Again(_)) => {}
                done => return done,
            }
            const GLANCE: Duration = Duration::from_millis(50);
            for _ in 0..pause.div_duration_f32(GLANCE) as u32 {
                self.stop.check().map_err(StreamError::Remote)?;
                std::thread::sleep(GLANCE);
            }
            pause = (pause * 2).min(Duration::from_secs(20));
        }
        attempt()
    }

    /// Returns the names of the objects in a folder; empty if the folder does not exist.
    pub fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.stop.check()?;
        self.count();
        let names = match &self.kind {
            Kind::Folder(f) => f.list(folder),
            Kind::Service(service) => service.list(folder),
        };
        names.map_err(|fault| self.error(&format!("list {folder}"), fault))
    }

    /// Removes temporary objects of broken or killed uploads that are older than `time`, in seconds since 1970. Costs
    /// one listing, on remotes that can have such objects.
    pub fn remove_stale_uploads(&self, time: u64) -> Result<()> {
        self.count();
        let old = match &self.kind {
            Kind::Folder(folder) => folder.leftovers("tmp", time),
            Kind::Service(service) if service.renames() => service.leftovers("tmp", time),
            Kind::Service(_) => Ok(Vec::new()),
        };
        let old = old.map_err(|fault| self.error("list tmp", fault))?;
        let is_ours = |name: &&String| {
            let name = name.strip_prefix("check-").unwrap_or(name);
            name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
        };
        old.iter().filter(is_ours).try_for_each(|name| self.remove(&format!("tmp/{name}")))
    }

    /// Removes an object; a missing one is not an error.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.count();
        let removed = match &self.kind {
            Kind::Folder(folder) => folder.remove(path),
            Kind::Service(service) => service.remove(path),
        };
        removed.map_err(|fault| self.error(&format!("remove {path}"), fault))
    }

    /// Returns every object below a folder with its size; empty if the folder does not exist.
    pub fn list_all(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        self.count();
        let all = match &self.kind {
            Kind::Folder(f) => f.list_all(folder),
            Kind::Service(service) => service.list_all(folder),
        };
        all.map_err(|fault| self.error(&format!("list {folder}"), fault))
    }

    /// Reads bytes of an object that may not exist.
    pub fn probe(&self, path: &str, range: Range<u64>) -> Result<ProbeResult> {
        self.count();
        match self.range_of(path, range) {
            Err(fault) if fault.kind == FaultKind::Other => {
                Ok(ProbeResult::Unreadable(self.url.scrub(&self.hidden.scrub(&fault.text))))
            }
            found => Ok(self.received(path, found)?.map_or(ProbeResult::Gone, ProbeResult::Bytes)),
        }
    }

    /// Like [`Backend::remove`], but also runs after an interruption. An object that cannot be removed within a moment
    /// stays.
    pub fn remove_leftover(&self, path: &str) {
        match &self.kind {
            Kind::Folder(folder) => drop(folder.remove(path)),
            Kind::Service(service) => service.remove_leftover(path),
        }
    }
}

/// A source that fails when the user interrupts the command.
struct Stoppable<'a> {
    source: &'a mut dyn Read,
    stop: StopSignal,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.signal().is_some() {
            return Err(std::io::Error::other("interrupted"));
        }
        self.source.read(buffer)
    }
}

fn identity_of(url: &Url, address: &Address, options: &Options, env: &BTreeMap<String, String>) -> Option<String> {
    let of = |option: &str, variable: &str| options.get(option).or_else(|| env.get(variable).map(String::as_str));
    let from = |words: &str, name: &str| format!("{words} {name}");
    match address.scheme {
        Scheme::S3 => options
            .get("access_key_id")
            .map(|key| from("access key", key))
            .or_else(|| options.get("profile").map(|name| from("profile", name)))
            .or_else(|| env.get("AWS_ACCESS_KEY_ID").map(|key| from("access key", key)))
            .or_else(|| env.get("AWS_PROFILE").map(|name| from("profile", name))),
        Scheme::Gcs => of("credential_path", "GOOGLE_APPLICATION_CREDENTIALS").map(|file| from("the account of", file)),
        Scheme::Azure => of("account_name", "AZURE_STORAGE_ACCOUNT").map(|name| from("account", name)),
        Scheme::Folder => None,
        _ => {
            // The user may be a token, which the shown URL leaves out.
            let shown = url.to_string();
            let user = address.user.as_deref().filter(|user| shown.contains(&format!("://{user}")));
            user.or(options.get("user")).map(|name| from("user", name))
        }
    }
}
