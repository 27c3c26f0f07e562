//! Opens an object as a seekable file, for readers that need a small part of a large object.

use std::fs::File;
use std::io;

use crate::document;
use crate::error::{Error, Result};
use crate::store::fs::seal::{is_sealed, seal};
use crate::store::fs::stat::Seen;
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::objects::Store;

impl Store {
    /// Opens a loose object, as all large ones are. Verifies its bytes first, unless its seal proves them.
    pub fn open_large(&self, id: &ObjectId) -> Result<File> {
        let path = self.path(id);
        let mut file = document::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Error::missing(format!("object {id} is not in the store {}", self.dir().display()))
            }
            _ => Error::io("open", &path, e),
        })?;
        let seen = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", &path, e))?;
        let seen = Seen::from(seen);
        if is_sealed(&seen, id) {
            return Ok(file);
        }
        let (got, _) = hash::content(&mut file, seen.stat.size, &|_| ()).map_err(|e| Error::io("read", &path, e))?;
        if got == *id {
            seal(&file, id);
            return Ok(file);
        }
        let kept = self.quarantine(id)?;
        Err(Error::missing(format!("object {id} in the store {} is damaged", self.dir().display()))
            .because(format!("its bytes do not match its id; they are kept in {}", kept.display())))
    }
}
