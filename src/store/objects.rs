//! The store: all local objects, addressed by what they hold.
//!
//! ```text
//! generation      the version of the format; a random id, renewed whenever objects may have gone (gc, quarantine)
//! objects/ab/cd…  an object a file, 0444
//! packs/          many small objects a file; see `pack`
//! runs/           the run cache
//! quarantine/     objects found damaged, never deleted by us
//! tmp/            what is being written
//! ```
//! Nothing is created before the first write. An object appears under its id by a rename after its bytes are durable,
//! so what is there is whole; many processes may write at once, since equal names mean equal bytes.
//!
//! The seal. To link an object into a workspace without reading it, we must know that nobody wrote to it since it was
//! verified (a hard link gives the workspace the very inode). When an object's bytes have been verified, the
//! nanoseconds of its mtime are set to a number derived from its id and its seconds; a later write gives it another
//! mtime, and the seal is broken. A file system that keeps no nanoseconds never shows a seal, and all is read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Timespec, Timestamps};

use super::hash;
use super::id::{ObjectId, Pin};
use super::link::LinkTypes;
use super::pack::format::Row;
use super::pack::{Pack, Shelf};
use super::place;
use super::stat::{FileStat, Seen};
use super::tree::{self, Tree};
use crate::error::{Error, Kind, Result};

/// Renewed whenever objects may have gone, so that "this was complete" can be remembered with it.
pub type Generation = [u8; 16];

/// The version of the store's format.
const VERSION: u32 = 1;

/// Trees and the texts of symlinks are read whole; a hostile id must not make us read a model into memory.
pub const LARGEST_READ: u64 = 1 << 30;

/// So many copies of an object are tried: where the store may only be read, a damaged one cannot be set aside.
const COPIES: usize = 3;

/// From this size on an object is nearly always a file of its own.
pub(super) const BIG: u64 = 1 << 20;

/// What the bytes of an object are: the two are hashed differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    Content = 0,
    Tree = 1,
}

impl ObjectKind {
    pub fn from_byte(byte: u8) -> Option<ObjectKind> {
        [ObjectKind::Content, ObjectKind::Tree].get(byte as usize).copied()
    }

    pub fn id_of(self, bytes: &[u8]) -> ObjectId {
        match self {
            ObjectKind::Content => hash::of_bytes(bytes),
            ObjectKind::Tree => tree::id_of(bytes),
        }
    }
}

pub struct Store {
    dir: PathBuf,
    links: LinkTypes,
    packs: Shelf,
    /// Trees that were found complete by this process.
    complete: Mutex<HashSet<ObjectId>>,
}

/// Where an object was found.
pub(super) enum Lies {
    Loose(File, FileStat),
    Packed(Arc<Pack>, Row),
}

impl Lies {
    pub fn size(&self) -> u64 {
        match self {
            Lies::Loose(_, stat) => stat.size,
            Lies::Packed(_, row) => row.length,
        }
    }

    /// The file that holds it, for messages.
    pub fn path(&self, store: &Store, id: &ObjectId) -> PathBuf {
        match self {
            Lies::Loose(..) => store.path(id),
            Lies::Packed(pack, _) => pack.path.clone(),
        }
    }

    /// All its bytes, as they are.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Lies::Loose(file, stat) => {
                let mut bytes = Vec::with_capacity(stat.size as usize);
                file.take(LARGEST_READ).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Lies::Packed(pack, row) => pack.read(row),
        }
    }
}

impl Store {
    /// The store in `dir`, which need not exist.
    pub fn open(dir: &Path, links: LinkTypes) -> Store {
        Store { dir: dir.to_path_buf(), links, packs: Shelf::new(dir.join("packs")), complete: Mutex::default() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn links(&self) -> &LinkTypes {
        &self.links
    }

    /// Where the object lies, or would lie.
    pub(super) fn path(&self, id: &ObjectId) -> PathBuf {
        let hex = id.hex();
        self.dir.join("objects").join(&hex[..2]).join(&hex[2..])
    }

    /// The folder of the loose object.
    pub(super) fn shard(&self, id: &ObjectId) -> PathBuf {
        self.dir.join("objects").join(&id.hex()[..2])
    }

    pub(super) fn packs(&self) -> &Shelf {
        &self.packs
    }

    /// The size of an object that is here.
    pub fn size(&self, id: &ObjectId) -> Option<u64> {
        self.packed(id).map(|(_, row)| row.length).or_else(|| self.loose_size(id))
    }

    fn loose_size(&self, id: &ObjectId) -> Option<u64> {
        Seen::of_link(&self.path(id)).ok().filter(Seen::is_file).map(|seen| seen.stat.size)
    }

    /// Is all of it here? Looks at every object of a tree, once a process.
    pub fn contains(&self, pin: &Pin) -> bool {
        self.refresh_packs_unless_big(pin);
        self.has(pin)
    }

    /// By what is known of the packs.
    pub(super) fn has(&self, pin: &Pin) -> bool {
        if pin.is_dir() {
            return self.holds_tree(&pin.id);
        }
        (pin.size >= BIG && self.loose_size(&pin.id) == Some(pin.size)) || self.size(&pin.id) == Some(pin.size)
    }

    fn holds_tree(&self, id: &ObjectId) -> bool {
        if self.memo().contains(id) {
            return true;
        }
        let Ok(tree) = self.read_tree(id) else { return false };
        let complete = tree.entries.iter().all(|e| self.has(&e.pin()));
        if complete {
            self.memo().insert(*id);
        }
        complete
    }

    /// For a big file the indexes of packs need not be read.
    pub(super) fn refresh_packs_unless_big(&self, pin: &Pin) {
        if pin.is_dir() || pin.size < BIG {
            self.refresh_packs();
        }
    }

    pub(super) fn memo(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectId>> {
        self.complete.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The bytes of a small object, verified. A damaged one is put into quarantine and counts as missing, unless there
    /// is another copy.
    pub fn read(&self, id: &ObjectId, kind: ObjectKind) -> Result<Vec<u8>> {
        let mut copies = COPIES;
        loop {
            let lies = self.locate(id, 0)?;
            if lies.size() > LARGEST_READ {
                return Err(Error::new(Kind::Bug, format!("object {id} is too large to be read at once")));
            }
            let bytes = lies.read().map_err(|e| Error::io("read", lies.path(self, id), e))?;
            if kind.id_of(&bytes) == *id {
                return Ok(bytes);
            }
            let damaged = self.damaged(id, &lies);
            copies -= 1;
            if copies == 0 || self.size(id).is_none() {
                return Err(damaged);
            }
        }
    }

    pub fn read_tree(&self, id: &ObjectId) -> Result<Tree> {
        let bytes = self.read(id, ObjectKind::Tree)?;
        Tree::parse(&bytes)
            .map_err(|why| Error::new(Kind::Missing, format!("the folder {id} in the store cannot be used: {why}")))
    }

    /// Where the object lies. One of which the caller knows that it is big is looked for among the loose ones first.
    pub(super) fn locate(&self, id: &ObjectId, size: u64) -> Result<Lies> {
        if size >= BIG
            && let Some(lies) = self.locate_loose(id)?
        {
            return Ok(lies);
        }
        for again in [false, true] {
            if again {
                self.refresh_packs();
            }
            if let Some((pack, row)) = self.packed(id) {
                match pack.file() {
                    Ok(_) => return Ok(Lies::Packed(pack, row)),
                    // Another process took the pack away, having put what is needed of it elsewhere.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => self.packs.forget(&pack.id),
                    Err(e) => return Err(Error::io("open", &pack.path, e)),
                }
            }
            if let Some(lies) = self.locate_loose(id)? {
                return Ok(lies);
            }
        }
        Err(Error::missing(format!("object {id} is not in the store {}", self.dir.display()))
            .hint("make it again: lockstep repro"))
    }

    fn locate_loose(&self, id: &ObjectId) -> Result<Option<Lies>> {
        let path = self.path(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let seen = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", &path, e))?;
        Ok(Some(Lies::Loose(file, FileStat::from(&seen))))
    }

    /// Sets a damaged object aside and says so.
    pub(super) fn damaged(&self, id: &ObjectId, lies: &Lies) -> Error {
        let e = Error::missing(format!("object {id} in the store {} is damaged", self.dir.display()))
            .hint("make it again: lockstep repro");
        let kept = match lies {
            Lies::Loose(..) => self.quarantine(id),
            Lies::Packed(pack, row) => self.bury(pack, row),
        };
        match kept {
            Ok(to) => e.because(format!("its bytes do not fit its id; they are kept in {}", to.display())),
            Err(why) => e.because(why.message),
        }
    }

    /// Moves a loose object out of the way, so that it can be stored or fetched anew. Never deletes it.
    pub fn quarantine(&self, id: &ObjectId) -> Result<PathBuf> {
        let folder = self.folder("quarantine")?;
        let to = folder.join(format!("{id}.{:08x}", place::random() as u32));
        fs::rename(self.path(id), &to).map_err(|e| self.refused("move into quarantine", &self.path(id), e))?;
        self.memo().clear();
        self.renew_generation()?;
        Ok(to)
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
        let text = fs::read_to_string(self.dir.join("generation")).ok()?;
        let (version, number) = text.strip_prefix("lockstep-store ")?.split_once('\n')?;
        let number = u128::from_str_radix(number.trim(), 16).ok().filter(|_| number.trim().len() == 32);
        Some((version.parse().ok()?, number.map(u128::to_be_bytes)))
    }

    /// To be called before objects are taken away, so that nobody remembers them as complete.
    pub fn renew_generation(&self) -> Result<Generation> {
        let number = u128::from(place::random()) << 64 | u128::from(place::random());
        fs::create_dir_all(&self.dir).map_err(|e| self.refused("create", &self.dir, e))?;
        self.put_small(&self.dir.join("generation"), format!("lockstep-store {VERSION}\n{number:032x}\n").as_bytes())?;
        self.memo().clear();
        Ok(number.to_be_bytes())
    }

    /// Makes the store ready for a write. One of a newer format is read, since every object proves itself, and never
    /// written.
    pub(super) fn begin(&self) -> Result<Generation> {
        match self.marker() {
            Some((version, _)) if version > VERSION => {
                let dir = self.dir.display();
                Err(Error::usage(format!("the store {dir} has format {version}; this lockstep knows format {VERSION}"))
                    .hint("install a newer lockstep, or set cache.dir to another folder"))
            }
            Some((_, Some(generation))) => Ok(generation),
            _ => self.renew_generation(),
        }
    }

    /// A folder of the store, created if need be.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(e) => Err(self.refused("create", &path, e)),
        }
    }

    /// A name for a file that is being written, in the store's `tmp/`: from there [`Store::adopt_pack`] and
    /// [`Store::adopt_object`] take it in. Whoever made the file removes it if that fails.
    pub fn temp(&self) -> Result<PathBuf> {
        Ok(self.folder("tmp")?.join(format!("{:016x}{:016x}", place::random(), place::random())))
    }

    /// A small file, durable and whole or not there: temp, fsync, rename, fsync of its folder.
    pub(super) fn put_small(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.put_atomically(path, bytes, true)
    }

    pub(super) fn put_atomically(&self, path: &Path, bytes: &[u8], durably: bool) -> Result<()> {
        let temp = self.temp()?;
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).create_new(true).open(&temp)?;
            io::Write::write_all(&mut file, bytes)?;
            if !durably {
                return fs::rename(&temp, path);
            }
            file.sync_all()?;
            fs::rename(&temp, path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&temp);
            self.refused("write", path, e)
        })
    }

    /// What went wrong on a write to the store; one that may only be read is named as such.
    pub(super) fn refused(&self, doing: &str, path: &Path, e: io::Error) -> Error {
        let read_only = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem].contains(&e.kind());
        let error = Error::io(doing, path, e);
        if !read_only {
            return error;
        }
        Error::new(Kind::Io, format!("the store {} cannot be written", self.dir.display()))
            .because(error.message)
            .hint("check its owner and permissions, or set cache.dir to another folder")
    }
}

/// The nanoseconds that say "verified": from the id and the seconds.
fn seal_of(id: &ObjectId, seconds: i64) -> i64 {
    let number = u64::from_le_bytes(id.0[..8].try_into().unwrap_or_default());
    (number.wrapping_add(seconds as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as i64 % 1_000_000_000
}

/// Marks an object whose bytes were just verified. Not being allowed to costs a verification, nothing more.
pub(super) fn seal(file: impl AsFd, id: &ObjectId) {
    let Ok(stat) = rustix::fs::fstat(&file) else { return };
    let seconds = FileStat::from(&stat).mtime.div_euclid(1_000_000_000);
    let time = Timespec { tv_sec: seconds, tv_nsec: seal_of(id, seconds) as _ };
    let _ = rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time });
}

pub(super) fn is_sealed(stat: &FileStat, id: &ObjectId) -> bool {
    let seconds = stat.mtime.div_euclid(1_000_000_000);
    stat.mtime.rem_euclid(1_000_000_000) == seal_of(id, seconds)
}
