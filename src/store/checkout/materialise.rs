//! Materialises one object as one file of a workspace, verified.
//!
//! A copy is always hashed while it streams. A reflink or a link is made without reading only if the seal of the object
//! shows that it was not written to since it was verified; otherwise the object is read first. An object that another
//! user owns is never linked, and its clone is read after it was made. A packed object is always copied. A damaged
//! object moves to quarantine.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::store::copy;
use crate::store::fs::link::LinkType;
use crate::store::fs::seal::{is_sealed, is_untouched, seal};
use crate::store::fs::stat::{FileStat, Seen};
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::objects::freshen::touch_and_seal;
use crate::store::objects::lookup::{BIG, ObjectLocation};

/// The kind of the created file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialisedFile {
    /// With its stat, if the file was open when it was complete.
    File(Option<FileStat>),
    /// A symlink to the object in the store.
    Symlink,
}

/// Creates files from objects of a store, with the fastest link type that works.
pub struct Materialiser<'a> {
    store: &'a Store,
    sink: &'a dyn Sink,
    /// Turned off by the first object that cannot be reflinked or linked to this destination.
    reflink: AtomicBool,
    hardlink: AtomicBool,
}

impl<'a> Materialiser<'a> {
    pub fn new(store: &'a Store, sink: &'a dyn Sink) -> Materialiser<'a> {
        Materialiser { store, sink, reflink: AtomicBool::new(true), hardlink: AtomicBool::new(true) }
    }

    /// Creates the new file `to` with the content of the object; leaves no file there on failure.
    pub fn file(&self, id: &ObjectId, size: u64, executable: bool, to: &Path) -> Result<MaterialisedFile> {
        let made = self.try_file(id, size, executable, to);
        match &made {
            // One copy was damaged and is in quarantine now; there is another.
            Err(e) if e.kind == Kind::Missing && self.store.size(id) == Some(size) => {
                self.try_file(id, size, executable, to)
            }
            _ => made,
        }
    }

    fn try_file(&self, id: &ObjectId, size: u64, executable: bool, to: &Path) -> Result<MaterialisedFile> {
        let location = self.store.locate(id, size)?;
        let (object, seen) = match &location {
            ObjectLocation::Loose(object, seen) if seen.stat.size == size => (object, seen),
            ObjectLocation::Loose(..) => return Err(self.store.damage_error(id, &location)),
            ObjectLocation::Packed(_, row) if row.length == size => {
                return self.unpack(&location, id, size, executable, to);
            }
            ObjectLocation::Packed(..) => {
                return Err(Error::missing(format!("object {id} is not of the size that its folder says")));
            }
        };
        let from = self.store.path(id);
        for link in self.store.links().iter() {
            let made = match link {
                LinkType::Reflink if self.reflink.load(Ordering::Relaxed) && size > 0 => {
                    if seen.only_owner_can_write() {
                        self.verify(&location, object, id, size, seen)?;
                    }
                    let made = fresh(copy::reflink(object, &from, to, 0o666), to)?;
                    self.reflink.store(made, Ordering::Relaxed);
                    // The owner of the object can write to it after any check, but not to the clone.
                    if made && !seen.only_owner_can_write() {
                        self.verify_clone(&location, to, id, size)?;
                    }
                    made.then_some(MaterialisedFile::File(None))
                }
                // The owner of an object could write to each file that is linked to it.
                LinkType::Hardlink | LinkType::Symlink if !seen.only_owner_can_write() => None,
                // The mode belongs to the inode, so an executable file needs an inode of its own.
                LinkType::Hardlink if self.hardlink.load(Ordering::Relaxed) && !executable => {
                    if !is_untouched(seen, id) {
                        self.read(&location, object, id, size)?;
                    }
                    let made = fresh(fs::hard_link(&from, to), to)?;
                    if made && !is_same(seen, to) {
                        // Another writer of the store replaced the object of this name.
                        let _ = fs::remove_file(to);
                        return self.copy(&location, object, id, size, executable, to);
                    }
                    self.hardlink.store(made, Ordering::Relaxed);
                    if made {
                        // The link changed the ctime; later changes show against this moment.
                        let _ = touch_and_seal(object, id);
                        self.done(size);
                        return Ok(MaterialisedFile::File(None));
                    }
                    None
                }
                LinkType::Symlink if !executable => {
                    self.verify(&location, object, id, size, seen)?;
                    if fresh(std::os::unix::fs::symlink(&from, to), to)? {
                        self.done(size);
                        return Ok(MaterialisedFile::Symlink);
                    }
                    None
                }
                LinkType::Copy => break,
                _ => None,
            };
            if let Some(made) = made {
                self.done(size);
                own(to, executable).map_err(|e| Error::io("write", to, e))?;
                return Ok(made);
            }
            let _ = fs::remove_file(to);
        }
        self.copy(&location, object, id, size, executable, to)
    }

    fn verify(&self, location: &ObjectLocation, object: &File, id: &ObjectId, size: u64, seen: &Seen) -> Result<()> {
        if is_sealed(seen, id) {
            return Ok(());
        }
        self.read(location, object, id, size)?;
        seal(object, id);
        Ok(())
    }

    /// Reads the clone of an object of another user; removes it if it is damaged.
    fn verify_clone(&self, location: &ObjectLocation, clone: &Path, id: &ObjectId, size: u64) -> Result<()> {
        let read = document::open_unlinked(clone).and_then(|mut file| hash::content(&mut file, size, &|_| ()));
        let fault = match read {
            Ok((got, _)) if got == *id => return Ok(()),
            Ok(_) => self.store.damage_error(id, location),
            Err(e) => Error::io("read", clone, e),
        };
        let _ = fs::remove_file(clone);
        Err(fault)
    }

    /// Reads an object whose stat does not prove that it is good.
    fn read(&self, location: &ObjectLocation, object: &File, id: &ObjectId, size: u64) -> Result<()> {
        let read = || -> io::Result<ObjectId> { Ok(hash::content(&mut object.try_clone()?, size, &|_| ())?.0) };
        let got = read().map_err(|e| self.store.read_error(id, location, e))?;
        io::Seek::rewind(&mut &*object).map_err(|e| self.store.read_error(id, location, e))?;
        if got != *id {
            return Err(self.store.damage_error(id, location));
        }
        Ok(())
    }

    fn copy(
        &self,
        location: &ObjectLocation,
        mut object: &File,
        id: &ObjectId,
        size: u64,
        executable: bool,
        to: &Path,
    ) -> Result<MaterialisedFile> {
        let file = create(to, executable)?;
        let mut broken = None;
        let copied = copy::stream(&mut object, &file, size, false, &mut broken, &|bytes| self.done(bytes));
        if let Some(e) = broken {
            let _ = fs::remove_file(to);
            return Err(self.store.read_error(id, location, e));
        }
        let fault = match copied {
            Ok((got, _)) if got == *id => return Ok(whole(&file)),
            Ok(_) => self.store.damage_error(id, location),
            Err(e) => Error::io("write", to, e),
        };
        let _ = fs::remove_file(to);
        Err(fault)
    }

    /// Copies a packed object, whatever the link types: it has no file of its own to link to.
    fn unpack(
        &self,
        location: &ObjectLocation,
        id: &ObjectId,
        size: u64,
        executable: bool,
        to: &Path,
    ) -> Result<MaterialisedFile> {
        if size >= BIG {
            return self.unpack_big(id, executable, to);
        }
        let bytes = location.read().map_err(|e| self.store.read_error(id, location, e))?;
        if ObjectKind::Content.id_of(&bytes) != *id {
            return Err(self.store.damage_error(id, location));
        }
        let mut file = create(to, executable)?;
        file.write_all(&bytes).map_err(|e| {
            let _ = fs::remove_file(to);
            Error::io("write", to, e)
        })?;
        self.done(size);
        Ok(whole(&file))
    }

    fn unpack_big(&self, id: &ObjectId, executable: bool, to: &Path) -> Result<MaterialisedFile> {
        let mut content = self.store.open_content(id)?;
        let mut file = create(to, executable)?;
        let mut buffer = vec![0; hash::CHUNK];
        let fault = loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(whole(&file)),
                Ok(n) => match file.write_all(&buffer[..n]) {
                    Ok(()) => self.done(n as u64),
                    Err(e) => break Error::io("write", to, e),
                },
                Err(e) => break content.fault(self.store, e),
            }
        };
        let _ = fs::remove_file(to);
        Err(fault)
    }

    fn done(&self, bytes: u64) {
        self.sink.event(Event::WorkDone { doing: Activity::Restoring, bytes });
    }
}

/// Did it work? If `to` exists already, this is an error, not a reason to try another way: on a file system that takes
/// `Model` and `model` for one name, the other way would begin by removing the first.
fn fresh(made: io::Result<()>, to: &Path) -> Result<bool> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::io("write", to, e)),
        made => Ok(made.is_ok()),
    }
}

/// Is the file at `path` the one that was checked?
fn is_same(seen: &Seen, path: &Path) -> bool {
    let there = Seen::lstat(path);
    there.is_ok_and(|there| (there.device, there.stat.inode) == (seen.device, seen.stat.inode))
}

fn whole(file: &File) -> MaterialisedFile {
    MaterialisedFile::File(rustix::fs::fstat(file).ok().map(|stat| FileStat::from(&stat)))
}

fn create(to: &Path, executable: bool) -> Result<File> {
    let mode = if executable { 0o777 } else { 0o666 };
    File::options().write(true).create_new(true).mode(mode).open(to).map_err(|e| Error::io("write", to, e))
}

/// A clone may have inherited the mode of the object: the user must be able to write to workspace files.
fn own(path: &Path, executable: bool) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode() & 0o777;
    let writable = if mode & 0o200 == 0 { 0o644 } else { mode };
    let wanted = if executable { writable | (writable & 0o444) >> 2 } else { writable };
    if wanted == mode {
        return Ok(());
    }
    // Another user may have put a link at the path, which must not lead to a file of this user.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::store::LinkTypes;

    #[test]
    fn an_edit_through_a_link_shows_though_its_mtime_was_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), LinkTypes::new([LinkType::Hardlink]));
        let mut batch = store.batch();
        let id = batch.add_bytes(ObjectKind::Content, b"good".to_vec());
        batch.commit(&Silent).unwrap();
        let to = dir.path().join("to");
        let file = || Materialiser::new(&store, &Silent).file(&id, 4, false, &to);
        file().unwrap();
        let before = fs::metadata(&to).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::ino(&before),
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(store.path(&id)).unwrap())
        );
        // The time of a seal differs by up to a second from the time at which it was made.
        std::thread::sleep(std::time::Duration::from_millis(3100));
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&to, "evil").unwrap();
        File::options().write(true).open(&to).unwrap().set_modified(before.modified().unwrap()).unwrap();
        fs::remove_file(&to).unwrap();
        assert!(file().unwrap_err().message.contains("damaged"));
        assert!(!to.exists());
    }

    #[test]
    fn what_is_there_already_is_not_replaced() {
        for link in [LinkType::Reflink, LinkType::Hardlink, LinkType::Symlink, LinkType::Copy] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("store"), LinkTypes::new([link]));
            let mut batch = store.batch();
            let id = batch.add_bytes(ObjectKind::Content, b"new".to_vec());
            batch.commit(&Silent).unwrap();
            let to = dir.path().join("to");
            fs::write(&to, "old").unwrap();
            Materialiser::new(&store, &Silent).file(&id, 3, false, &to).unwrap_err();
            assert_eq!(fs::read_to_string(&to).unwrap(), "old", "{link:?}");
        }
    }
}
