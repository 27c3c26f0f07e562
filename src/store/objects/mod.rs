//! The store: all local objects, addressed by their content.
//!
//! ```text
//! lockstep-store  marks the folder as a store; see `marker`
//! generation      the version of the format; a random id, renewed whenever objects may be deleted (gc, quarantine)
//! objects/ab/cd…  one object per file, 0444
//! packs/          many small objects per file; see `pack`
//! runs/           the run cache
//! quarantine/     damaged objects, never deleted by lockstep
//! tmp/            files that are being written
//! lock, projects/ users of the store; see `store_lock` and `projects`
//! ```
//! Nothing is created before the first write. An object is renamed to its id after its bytes are durable, so every
//! object under an id is complete; many processes may write at once, since equal names mean equal bytes.

pub(super) mod adopt_pack;
pub(super) mod closure;
pub(super) mod damage;
pub(super) mod freshen;
pub(super) mod large;
pub(super) mod lookup;
pub(super) mod marker;
pub(super) mod packs;
pub(super) mod projects;
pub(super) mod reachable;
pub(super) mod reader;
pub(super) mod ready;
pub(super) mod results;
pub(super) mod store_lock;
pub(super) mod walk;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::copy::NoReflink;
use super::hash;
use super::id::{ObjectId, ObjectKind};
use super::pack::PackSet;
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::StopSignal;
use crate::store::fs::link::LinkTypes;
use crate::store::fs::paths;
use crate::store::fs::rename::rename_new;
use crate::store::fs::root_folder::RootFolder;
use crate::store::fs::stat::Seen;
use crate::store::trees;
use damage::Damage;

/// Renewed whenever objects may be deleted, so that "this was complete" can be remembered with it.
pub type Generation = [u8; 16];

/// The version of the store's format.
const VERSION: u32 = 1;

impl ObjectKind {
    /// The id of an object with these bytes.
    pub fn id_of(self, bytes: &[u8]) -> ObjectId {
        match self {
            ObjectKind::Content => hash::hash_bytes(bytes),
            ObjectKind::Tree => trees::id_of(bytes),
        }
    }
}

/// A handle on the store of a project. The folder may be missing until the first write.
pub struct Store {
    root: RootFolder,
    links: LinkTypes,
    packs: PackSet,
    /// The project to register as a user of this store: a common Git folder, and the file with its id. `None` in a
    /// repository's own store.
    project: Option<(PathBuf, PathBuf)>,
    /// Opened read-only: nothing moves to quarantine.
    is_read_only: bool,
    /// When to stop waiting for other processes.
    stop: StopSignal,
    /// Trees that this process found complete.
    complete: Mutex<HashSet<ObjectId>>,
    /// Damage found by queries about presence.
    pub(super) damage: Damage,
    /// Did this process check that the store is writable?
    pub(super) tried: OnceLock<()>,
    /// Did this process check that the folder is a store?
    pub(super) claimed: OnceLock<()>,
    /// Is the store at lockstep's own path?
    pub(super) is_own_place: bool,
    /// Can its own files be reflinked, and from which file systems can files not be?
    pub(super) can_reflink: OnceLock<bool>,
    pub(super) no_reflink: NoReflink,
}

impl Store {
    /// Opens the store in `dir`, which may be missing.
    pub fn open(dir: &Path, links: LinkTypes) -> Store {
        Store {
            root: RootFolder::new(dir.to_path_buf()),
            links,
            packs: PackSet::new(dir),
            project: None,
            is_read_only: false,
            stop: StopSignal::never(),
            complete: Mutex::default(),
            damage: Damage::default(),
            tried: OnceLock::new(),
            claimed: OnceLock::new(),
            is_own_place: false,
            can_reflink: OnceLock::new(),
            no_reflink: NoReflink::default(),
        }
    }

    /// Marks the store as one at lockstep's own path: below Git's folder or `.lockstep`.
    pub fn at_own_place(self) -> Store {
        Store { is_own_place: true, ..self }
    }

    /// The same store, for copies that no link ties to it.
    pub fn with_copies(&self) -> Store {
        Store { is_own_place: self.is_own_place, ..Store::open(self.dir(), LinkTypes::default()) }
    }

    /// Sets the project that uses the store: the common Git folder of its repository, and the file with its id.
    pub fn for_project(self, home: PathBuf, id_file: PathBuf) -> Store {
        Store { project: Some((home, id_file)), ..self }
    }

    /// Sets the stop signal: no wait goes on once the user interrupts.
    pub fn with_stop_signal(self, stop: StopSignal) -> Store {
        Store { stop, ..self }
    }

    pub(super) fn stop(&self) -> StopSignal {
        self.stop
    }

    /// The same store, read-only: damage is reported, and the damaged files stay.
    pub fn read_only(&self) -> Store {
        Store { is_read_only: true, is_own_place: self.is_own_place, ..Store::open(self.dir(), self.links.clone()) }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    pub(super) fn project(&self) -> Option<(&Path, &Path)> {
        self.project.as_ref().map(|(home, id_file)| (home.as_path(), id_file.as_path()))
    }

    /// The folder of the store.
    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn root(&self) -> &RootFolder {
        &self.root
    }

    /// Opens a file of the store, without following symlinks.
    pub(super) fn open_inside(&self, path: &Path) -> io::Result<File> {
        self.root.open_file(self.root.below(path)?)
    }

    /// Removes a file of the store.
    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.root.remove_file(self.root.below(path)?)
    }

    /// Renames within the store; replaces a file at `to`.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.root.rename(self.root.below(from)?, self.root.below(to)?)
    }

    /// The ways to put objects into the workspace, in order.
    pub fn links(&self) -> &LinkTypes {
        &self.links
    }

    /// The path of a loose object, present or not.
    pub(super) fn path(&self, id: &ObjectId) -> PathBuf {
        let hex = id.hex();
        self.dir().join("objects").join(&hex[..2]).join(&hex[2..])
    }

    /// The folder of the loose object.
    pub(super) fn shard(&self, id: &ObjectId) -> PathBuf {
        self.dir().join("objects").join(&id.hex()[..2])
    }

    pub(super) fn packs(&self) -> &PackSet {
        &self.packs
    }

    pub(super) fn memo(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectId>> {
        self.complete.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// `None` if nothing was ever stored here.
    pub fn generation(&self) -> Option<Generation> {
        match self.marker()? {
            (VERSION, generation) => generation,
            _ => None,
        }
    }

    /// The version of the store's format, and its generation if that can be read.
    fn marker(&self) -> Option<(u32, Option<Generation>)> {
        let text = document::read_text(&self.dir().join("generation"), 1 << 10).ok()??;
        let (version, number) = text.strip_prefix("lockstep-store ")?.split_once('\n')?;
        let number = u128::from_str_radix(number.trim(), 16).ok().filter(|_| number.trim().len() == 32);
        Some((version.parse().ok()?, number.map(u128::to_be_bytes)))
    }

    /// Does the store have a valid `generation` file?
    pub(super) fn is_marked(&self) -> bool {
        self.marker().is_some_and(|(version, generation)| version > VERSION || generation.is_some())
    }

    /// Renews the generation. Called before objects are deleted, so that no process remembers them as complete.
    pub fn renew_generation(&self) -> Result<Generation> {
        let number = random_generation();
        self.claim()?;
        self.put_small(&self.dir().join("generation"), &generation_text(number))?;
        self.memo().clear();
        Ok(number.to_be_bytes())
    }

    /// Prepares the store for a write. A store of a newer format can be read, since every object is verified, but never
    /// written.
    pub(super) fn begin(&self) -> Result<Generation> {
        match self.marker() {
            Some((version, _)) if version > VERSION => {
                let dir = self.dir().display();
                Err(Error::usage(format!("the store {dir} has format {version}; this lockstep knows format {VERSION}"))
                    .hint("install a newer lockstep, or set cache.dir to another folder"))
            }
            Some((_, Some(generation))) => {
                self.claim()?;
                self.register().map(|()| generation)
            }
            _ => {
                let generation = self.first_generation()?;
                self.register().map(|()| generation)
            }
        }
    }

    /// Several processes may create a store at once: all use the first one's generation, since another one means that
    /// objects were deleted. An unreadable file is replaced.
    fn first_generation(&self) -> Result<Generation> {
        let path = self.dir().join("generation");
        if fs::symlink_metadata(&path).is_ok() {
            return self.renew_generation();
        }
        let number = random_generation();
        self.claim()?;
        let temp = self.temp()?;
        let made = self.put_small(&temp, &generation_text(number)).and_then(|()| {
            rename_new(&temp, &path).map_err(|e| {
                let _ = fs::remove_file(&temp);
                self.refused("write", &path, e)
            })
        });
        match (made, self.generation()) {
            (Ok(()), _) => {
                sync_folder(self.dir()).map_err(|e| self.refused("write", &path, e))?;
                Ok(number.to_be_bytes())
            }
            (Err(_), Some(theirs)) => Ok(theirs),
            (Err(e), None) => Err(e),
        }
    }

    /// A folder of the store, created if missing.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        self.claim()?;
        let path = self.dir().join(name);
        match self.make_dir(&path) {
            Ok(()) => Ok(path),
            Err(e) => Err(self.refused("create", &path, e)),
        }
    }

    /// A new name in the store's `tmp/` for a file that [`Store::adopt_pack`] or [`Store::adopt_object`] will add. If
    /// that fails, the caller removes the file.
    pub fn temp(&self) -> Result<PathBuf> {
        Ok(self.folder("tmp")?.join(format!("{:016x}{:016x}", paths::random(), paths::random())))
    }

    /// Opens a file in `tmp/` for reading and appending, so that a later process can continue it; creates it if
    /// missing. A file that another user owns or may write to, or that has further links, is refused.
    pub fn open_temp(&self, path: &Path) -> Result<File> {
        let open = || -> io::Result<File> {
            let file = self.root.open_or_create(self.root.below(path)?, 0o600)?;
            let seen = Seen::from(rustix::fs::fstat(&file)?);
            if seen.only_owner_can_write() && seen.links == 1 {
                rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)?;
                Ok(file)
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        };
        open().map_err(|e| self.refused("write", path, e))
    }

    /// Writes a small file atomically and durably: temp, fsync, rename, fsync of its folder.
    pub(super) fn put_small(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.put_atomically(path, bytes, true)
    }

    pub(super) fn put_atomically(&self, path: &Path, bytes: &[u8], durably: bool) -> Result<()> {
        let temp = self.temp()?;
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temp)?;
            io::Write::write_all(&mut file, bytes)?;
            file.set_permissions(self.file_mode()?)?;
            if !durably {
                return self.rename(&temp, path);
            }
            file.sync_all()?;
            self.rename(&temp, path)?;
            path.parent().map_or(Ok(()), |folder| self.root.sync(self.root.below(folder)?))
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&temp);
            self.refused("write", path, e)
        })
    }

    /// The error of a failed write to the store; names a read-only store as such.
    pub(super) fn refused(&self, doing: &str, path: &Path, e: io::Error) -> Error {
        let read_only = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem].contains(&e.kind());
        let error = Error::io(doing, path, e);
        if !read_only {
            return error;
        }
        Error::new(Kind::Io, format!("the store {} cannot be written", self.dir().display()))
            .because(error.message)
            .hint("check its owner and permissions, or set cache.dir to another folder")
    }
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn random_generation() -> u128 {
    u128::from(paths::random()) << 64 | u128::from(paths::random())
}

/// The content of the file `generation`.
fn generation_text(number: u128) -> Vec<u8> {
    format!("lockstep-store {VERSION}\n{number:032x}\n").into_bytes()
}
