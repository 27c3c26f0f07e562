//! Finds an object, in a pack or as a loose file, and reads it.
//!
//! Packs come first: they are looked up in memory. A damaged copy moves to quarantine, and another copy is tried if
//! there is one. Before an object counts as missing, the list of packs is refreshed, since other processes write packs,
//! too.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::store::fs::paths;
use crate::store::fs::stat::Seen;
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::objects::Store;
use crate::store::objects::walk::{TreeWalk, WalkStep};
use crate::store::pack::Pack;
use crate::store::pack::format::LARGEST_READ;
use crate::store::pack::format::Row;
use crate::store::trees::Tree;
use crate::store::trees::rules::DEEPEST;

/// From this size on an object is nearly always a loose file.
pub(in crate::store) const BIG: u64 = 1 << 20;

/// The number of copies of an object that are tried: in a read-only store a damaged one cannot be moved.
const COPIES: usize = 3;

/// The location of an object.
pub(in crate::store) enum ObjectLocation {
    Loose(File, Seen),
    Packed(Arc<Pack>, Row),
}

impl ObjectLocation {
    /// The size of the object in bytes.
    pub fn size(&self) -> u64 {
        match self {
            ObjectLocation::Loose(_, seen) => seen.stat.size,
            ObjectLocation::Packed(_, row) => row.length,
        }
    }

    /// The file that holds it, for messages.
    pub fn path(&self, store: &Store, id: &ObjectId) -> PathBuf {
        match self {
            ObjectLocation::Loose(..) => store.path(id),
            ObjectLocation::Packed(pack, _) => pack.path.clone(),
        }
    }

    /// All its bytes, not verified.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            ObjectLocation::Loose(file, seen) => {
                let mut bytes = Vec::with_capacity(seen.stat.size as usize);
                file.take(LARGEST_READ).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            ObjectLocation::Packed(pack, row) => pack.read(row),
        }
    }
}

impl Store {
    /// The size of an object, if it is present.
    pub fn size(&self, id: &ObjectId) -> Option<u64> {
        self.packed(id).map(|(_, row)| row.length).or_else(|| self.loose_size(id))
    }

    fn loose_size(&self, id: &ObjectId) -> Option<u64> {
        Seen::lstat(&self.path(id)).ok().filter(Seen::is_file).map(|seen| seen.stat.size)
    }

    /// Is the pin complete in the store? Checks every object of a tree, once per process.
    pub fn contains(&self, pin: &Pin) -> bool {
        self.refresh_packs_unless_big(pin);
        self.has(pin)
    }

    /// The same by the known packs, for one of many queries.
    pub fn has(&self, pin: &Pin) -> bool {
        let mut walk = TreeWalk::new(self, pin);
        while let Some(step) = walk.next() {
            match step {
                WalkStep::File(file, _) if !self.has_content(&file) => return false,
                WalkStep::File(..) => {}
                WalkStep::Tree(tree) if self.memo().contains(&tree.id) => {}
                WalkStep::Tree(tree) => {
                    if let Err(e) = walk.open(&tree) {
                        // An object that is only absent has no cause.
                        if e.kind != Kind::Missing || !e.causes.is_empty() {
                            self.damage.note(e);
                        }
                        return false;
                    }
                }
                WalkStep::End(tree, _) => drop(self.memo().insert(tree.id)),
            }
        }
        true
    }

    fn has_content(&self, pin: &Pin) -> bool {
        if pin.size >= BIG && self.loose_size(&pin.id) == Some(pin.size) {
            return true;
        }
        let size = self.size(&pin.id);
        if size.is_some_and(|size| size != pin.size) {
            self.check_size(&pin.id, pin.size);
        }
        size == Some(pin.size)
    }

    /// For a big file the indexes of packs need not be read.
    pub(in crate::store) fn refresh_packs_unless_big(&self, pin: &Pin) {
        if pin.is_dir() || pin.size < BIG {
            self.refresh_packs();
        }
    }

    /// The bytes of a small object, verified. A damaged copy moves to quarantine and counts as missing, unless there is
    /// another copy.
    ///
    /// Errors: [`Kind::Missing`] if there is no good copy.
    pub fn read(&self, id: &ObjectId, kind: ObjectKind) -> Result<Vec<u8>> {
        let mut copies = COPIES;
        loop {
            let location = self.locate(id, 0)?;
            if location.size() > LARGEST_READ {
                return Err(Error::new(Kind::Bug, format!("object {id} is too large to be read at once")));
            }
            match location.read() {
                Ok(bytes) if kind.id_of(&bytes) == *id => return Ok(bytes),
                read => {
                    let fault =
                        read.map_or_else(|e| self.read_error(id, &location, e), |_| self.damage_error(id, &location));
                    copies -= 1;
                    if fault.kind != Kind::Missing || copies == 0 || self.size(id).is_none() {
                        return Err(fault);
                    }
                }
            }
        }
    }

    /// Reads a folder that is `level` folders below the one that a pin names. A malicious chain of folders ends here.
    /// To read all folders below a pin, use [`TreeWalk`].
    ///
    /// Errors (usage): it is too deep; no stored folder has so many levels.
    pub fn read_tree(&self, id: &ObjectId, level: usize) -> Result<Tree> {
        if level > DEEPEST {
            return Err(Error::usage(format!("the folder {id} in the store lies more than {DEEPEST} levels deep"))
                .hint("find out who made it: no folder that lockstep stores is so deep"));
        }
        let bytes = self.read(id, ObjectKind::Tree)?;
        Tree::parse(&bytes)
            .map_err(|why| Error::new(Kind::Missing, format!("the folder {id} in the store cannot be used: {why}")))
    }

    /// Locates an object. If the caller knows that it is big, loose objects are searched first.
    pub(in crate::store) fn locate(&self, id: &ObjectId, size: u64) -> Result<ObjectLocation> {
        if size >= BIG
            && let Some(location) = self.locate_loose(id)?
        {
            return Ok(location);
        }
        for again in [false, true] {
            if again {
                self.refresh_packs();
            }
            if let Some((pack, row)) = self.packed(id) {
                match pack.file() {
                    Ok(_) => return Ok(ObjectLocation::Packed(pack, row)),
                    // Another process deleted the pack, after it moved the needed objects.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => self.packs().forget(&pack.id),
                    Err(e) => return Err(Error::io("open", &pack.path, e)),
                }
            }
            if let Some(location) = self.locate_loose(id)? {
                return Ok(location);
            }
        }
        Err(Error::missing(format!("object {id} is not in the store {}", self.dir().display()))
            .hint("get it again from a remote: lockstep fetch; or, if a stage makes it: lockstep repro"))
    }

    fn locate_loose(&self, id: &ObjectId) -> Result<Option<ObjectLocation>> {
        let path = self.path(id);
        let file = match document::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let seen = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", &path, e))?;
        Ok(Some(ObjectLocation::Loose(file, Seen::from(seen))))
    }

    /// Moves a damaged object to quarantine and returns an error about it. An object whose bytes fit its id stays: then
    /// the lock or the folder that refers to it gives it another size or kind.
    pub(in crate::store) fn damage_error(&self, id: &ObjectId, location: &ObjectLocation) -> Error {
        if let Some(kind) = self.intact_kind(id, location) {
            let kind = if kind == ObjectKind::Tree { "folder" } else { "file" };
            let (size, store) = (location.size(), self.dir().display());
            let message = format!("object {id} in the store {store} is a {kind} of {size} bytes, and is not damaged");
            return Error::missing(message)
                .because("a lock or a folder refers to it with another size or as another kind")
                .hint("bring back a good pipeline.lock: git log -p pipeline.lock");
        }
        self.set_aside(id, location, "its bytes do not match its id")
    }

    /// Turns a read error of an object into an error with advice. An object that the disk cannot read is damaged as
    /// well: in quarantine, it can be stored again. If the object is only unavailable at the moment, its state is
    /// unknown, and it stays.
    pub(in crate::store) fn read_error(&self, id: &ObjectId, location: &ObjectLocation, e: io::Error) -> Error {
        let path = location.path(self, id);
        let is_lost = is_lost(&e);
        let fault = Error::io("read", path, e);
        if is_lost {
            self.set_aside(id, location, &fault.message)
        } else {
            fault.because(format!("it holds the object {id}"))
        }
    }

    fn set_aside(&self, id: &ObjectId, location: &ObjectLocation, why: &str) -> Error {
        let e = Error::missing(format!("object {id} in the store {} is damaged", self.dir().display()))
            .hint("get it again from a remote: lockstep fetch; or, if a stage makes it: lockstep repro");
        let kept = match location {
            ObjectLocation::Loose(..) => self.quarantine(id),
            ObjectLocation::Packed(pack, row) => self.tombstone(pack, std::slice::from_ref(row)),
        };
        match kept {
            Ok(to) => e.because(format!("{why}; what there is of it is kept in {}", to.display())),
            Err(left) => e.because(why).because(left.message),
        }
    }

    /// Fails if the store is opened read-only.
    pub(in crate::store) fn check_not_read_only(&self) -> Result<()> {
        let left = || Error::new(Kind::Io, "it stays where it is");
        if self.is_read_only() { Err(left()) } else { Ok(()) }
    }

    /// Moves a loose object to quarantine, so that it can be stored or fetched again. Never deletes it.
    pub fn quarantine(&self, id: &ObjectId) -> Result<PathBuf> {
        self.check_not_read_only()?;
        let folder = self.folder("quarantine")?;
        let to = folder.join(format!("{id}.{:08x}", paths::random() as u32));
        self.renew_generation()?;
        self.rename(&self.path(id), &to).map_err(|e| self.refused("move into quarantine", &self.path(id), e))?;
        self.memo().clear();
        Ok(to)
    }
}

/// Does a read error mean that the bytes are lost, not only unavailable at the moment?
pub(in crate::store) fn is_lost(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::UnexpectedEof || e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
