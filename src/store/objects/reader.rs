//! Reads an object of any size, verified while it streams.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::hash::Hasher;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::objects::lookup::ObjectLocation;

/// The content of an object. The read that would return the last bytes fails with `InvalidData` if they do not match
/// the id, so a caller that got all bytes has good ones; [`ContentReader::fault`] explains an error.
pub struct ContentReader {
    id: ObjectId,
    location: ObjectLocation,
    file: Arc<File>,
    /// The offset of the next byte in the file, and the end of the object.
    at: u64,
    end: u64,
    size: u64,
    hasher: Hasher,
}

impl Store {
    /// Opens the content of an object for reading.
    ///
    /// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if the store does not have it. Wrong bytes show while
    /// reading, as [`io::ErrorKind::InvalidData`]; see [`ContentReader::fault`].
    pub fn open_content(&self, id: &ObjectId) -> Result<ContentReader> {
        self.open_sized(id, 0)
    }

    /// Opens an object of known size, which is located faster.
    pub(in crate::store) fn open_sized(&self, id: &ObjectId, size: u64) -> Result<ContentReader> {
        let location = self.locate(id, size)?;
        let cannot = |e| Error::io("open", location.path(self, id), e);
        let (file, at, size) = match &location {
            ObjectLocation::Loose(file, seen) => (Arc::new(file.try_clone().map_err(cannot)?), 0, seen.stat.size),
            ObjectLocation::Packed(pack, row) => (pack.file().map_err(cannot)?, row.offset, row.length),
        };
        Ok(ContentReader {
            id: *id,
            location,
            file,
            at,
            end: at + size,
            size,
            hasher: Hasher::new(ObjectKind::Content),
        })
    }
}

impl ContentReader {
    /// The size of the object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Explains a read error. A damaged object moves to quarantine.
    pub fn fault(&self, store: &Store, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::InvalidData => store.damage_error(&self.id, &self.location),
            _ => store.read_error(&self.id, &self.location, e),
        }
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the bytes of an object do not match its id");
        if buffer.is_empty() {
            return Ok(0);
        }
        let most = (self.end - self.at).min(buffer.len() as u64) as usize;
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 && most > 0 {
            // The file is shorter than before.
            return Err(wrong());
        }
        self.hasher.update(&buffer[..n]);
        self.at += n as u64;
        if self.at == self.end && self.hasher.id() != self.id { Err(wrong()) } else { Ok(n) }
    }
}
