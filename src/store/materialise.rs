//! One object becomes one file of a workspace, verified.
//!
//! A copy is hashed while it streams, always. A reflink or a link is made unread only of an object whose seal says that
//! nobody wrote to it since it was verified; otherwise it is read first. A damaged object goes into quarantine.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::copy;
use super::hash;
use super::id::ObjectId;
use super::link::LinkType;
use super::objects::{Store, is_sealed, seal};
use crate::error::{Error, Result};
use crate::event::{Doing, Event, Sink};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    File,
    /// To the object in the store.
    Symlink,
}

pub struct Maker<'a> {
    store: &'a Store,
    sink: &'a dyn Sink,
    /// Turned off by the first object that cannot be reflinked or linked there.
    reflink: AtomicBool,
    hardlink: AtomicBool,
}

impl<'a> Maker<'a> {
    pub fn new(store: &'a Store, sink: &'a dyn Sink) -> Maker<'a> {
        Maker { store, sink, reflink: AtomicBool::new(true), hardlink: AtomicBool::new(true) }
    }

    /// Makes the new file `to` of the object; nothing is left there on failure.
    pub fn file(&self, id: &ObjectId, size: u64, executable: bool, to: &Path) -> Result<Made> {
        let (object, seen) = self.store.open_object(id)?;
        if seen.stat.size != size {
            return Err(self.store.damaged(id));
        }
        let from = self.store.path(id);
        for link in self.store.links().iter() {
            let made = match link {
                LinkType::Reflink if self.reflink.load(Ordering::Relaxed) && size > 0 => {
                    self.verify(&object, id, size, &seen.stat)?;
                    let made = reflink_copy::reflink(&from, to).is_ok();
                    self.reflink.store(made, Ordering::Relaxed);
                    made.then_some(Made::File)
                }
                // The mode belongs to the inode, so an executable file needs one of its own.
                LinkType::Hardlink if self.hardlink.load(Ordering::Relaxed) && !executable => {
                    self.verify(&object, id, size, &seen.stat)?;
                    let made = fs::hard_link(&from, to).is_ok();
                    self.hardlink.store(made, Ordering::Relaxed);
                    if made {
                        self.done(size);
                        return Ok(Made::File);
                    }
                    None
                }
                LinkType::Symlink if !executable => {
                    self.verify(&object, id, size, &seen.stat)?;
                    if std::os::unix::fs::symlink(&from, to).is_ok() {
                        self.done(size);
                        return Ok(Made::Symlink);
                    }
                    None
                }
                LinkType::Copy => return self.copy(object, id, size, executable, to),
                _ => None,
            };
            if let Some(made) = made {
                self.done(size);
                own(to, executable).map_err(|e| Error::io("write", to, e))?;
                return Ok(made);
            }
            let _ = fs::remove_file(to);
        }
        self.copy(object, id, size, executable, to)
    }

    fn verify(&self, object: &File, id: &ObjectId, size: u64, stat: &super::stat::FileStat) -> Result<()> {
        if is_sealed(stat, id) {
            return Ok(());
        }
        let read = || -> io::Result<ObjectId> { Ok(hash::content(&mut object.try_clone()?, size, &|_| ())?.0) };
        let got = read().map_err(|e| Error::io("read", self.store.path(id), e))?;
        io::Seek::rewind(&mut &*object).map_err(|e| Error::io("read", self.store.path(id), e))?;
        if got != *id {
            return Err(self.store.damaged(id));
        }
        seal(object, id);
        Ok(())
    }

    fn copy(&self, mut object: File, id: &ObjectId, size: u64, executable: bool, to: &Path) -> Result<Made> {
        let mode = if executable { 0o777 } else { 0o666 };
        let file = File::options().write(true).create_new(true).mode(mode).open(to);
        let file = file.map_err(|e| Error::io("write", to, e))?;
        let mut broken = None;
        let copied = copy::stream(&mut object, &file, size, false, &mut broken, &|bytes| self.done(bytes));
        if let Some(e) = broken {
            let _ = fs::remove_file(to);
            return Err(Error::io("read", self.store.path(id), e));
        }
        let fault = match copied {
            Ok((got, _)) if got == *id => return Ok(Made::File),
            Ok(_) => self.store.damaged(id),
            Err(e) => Error::io("write", to, e),
        };
        let _ = fs::remove_file(to);
        Err(fault)
    }

    fn done(&self, bytes: u64) {
        self.sink.event(Event::WorkDone { doing: Doing::Restoring, bytes });
    }
}

/// A clone may have taken the object's mode over: the user's files are the user's to write.
fn own(path: &Path, executable: bool) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode() & 0o777;
    let writable = if mode & 0o200 == 0 { 0o644 } else { mode };
    let wanted = if executable { writable | (writable & 0o444) >> 2 } else { writable };
    if wanted == mode { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) }
}
