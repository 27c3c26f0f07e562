//! The bytes of a model: a part of a file, or a small buffer in memory. Only headers are read.
//!
//! Files are read with `pread`, never mapped: a file that shrinks under a map kills the process. Nothing is allocated
//! by a length from a file before that length is known to be inside the file.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::document;
use crate::error::{Error, Kind, Result};

/// What a [`Reader`] reads at once.
const BUFFER: u64 = 16 << 10;

/// A readable range of bytes. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    /// The name given by the user, for messages.
    name: Arc<str>,
    bytes: Bytes,
    start: u64,
    length: u64,
}

#[derive(Clone)]
enum Bytes {
    File(Arc<File>),
    Memory(Arc<Vec<u8>>),
}

impl Source {
    /// Opens a file; `name` is how the user wrote it.
    pub fn open(path: &Path, name: &str) -> Result<Source> {
        let refused = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::missing(format!("{name} does not exist")),
            _ => Error::io("open", name, e),
        };
        check(&std::fs::metadata(path).map_err(refused)?, name)?;
        Source::of_file(document::open(path).map_err(refused)?, name)
    }

    /// The whole of an open file; `name` is for messages.
    ///
    /// Errors: it is not a regular file.
    pub(super) fn of_file(file: File, name: &str) -> Result<Source> {
        let about = file.metadata().map_err(|e| Error::io("look at", name, e))?;
        check(&about, name)?;
        Ok(Source { name: name.into(), bytes: Bytes::File(Arc::new(file)), start: 0, length: about.len() })
    }

    /// The whole of a buffer; `name` is for messages.
    pub(super) fn of_bytes(bytes: Vec<u8>, name: &str) -> Source {
        let length = bytes.len() as u64;
        Source { name: name.into(), bytes: Bytes::Memory(Arc::new(bytes)), start: 0, length }
    }

    /// The name for messages, of the whole file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// In bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns true if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The offset of this part in the whole.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// `length` bytes from `at`; an error if they are not all inside.
    pub fn part(&self, at: u64, length: u64) -> Result<Source> {
        match at.checked_add(length) {
            Some(end) if end <= self.length => Ok(Source { start: self.start + at, length, ..self.clone() }),
            _ => Err(self.refuse(format!(
                "it is cut short, or declares a wrong size: {length} bytes at {at} of {} bytes",
                self.length
            ))),
        }
    }

    /// Fills `into` with the bytes from `at`.
    pub fn read_into(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let part = self.part(at, into.len() as u64)?;
        match &part.bytes {
            Bytes::File(file) => file.read_exact_at(into, part.start).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => self.refuse("it became shorter while it was read"),
                _ => Error::io("read", &*self.name, e),
            }),
            Bytes::Memory(bytes) => {
                into.copy_from_slice(&bytes[part.start as usize..][..into.len()]);
                Ok(())
            }
        }
    }

    /// Reads `length` bytes from `at`; an error if they are not all inside.
    pub fn read(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        self.part(at, length)?;
        let mut bytes = vec![0; length as usize];
        self.read_into(at, &mut bytes)?;
        Ok(bytes)
    }

    /// At most `most` bytes from the beginning.
    pub fn head(&self, most: u64) -> Result<Vec<u8>> {
        self.read(0, self.length.min(most))
    }

    /// All bytes; more than `most` are an error.
    pub fn all(&self, most: u64, what: &str) -> Result<Vec<u8>> {
        if self.length > most {
            return Err(self.refuse(format!("{what} has {} bytes, more than the {most} that are read", self.length)));
        }
        self.head(most)
    }

    /// Starts reading at the beginning of this part.
    pub(super) fn reader(&self) -> Reader {
        Reader { source: self.clone(), at: 0, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The error for invalid bytes.
    pub fn refuse(&self, why: impl Into<String>) -> Error {
        Error::new(Kind::Usage, format!("{} cannot be read", self.name)).because(why.into())
    }
}

fn check(about: &Metadata, name: &str) -> Result<()> {
    if about.is_dir() {
        return Err(Error::usage(format!("{name} is a folder")).hint("name a file in it"));
    }
    if !about.is_file() {
        return Err(Error::usage(format!("{name} is not a regular file")));
    }
    Ok(())
}

/// Reads a source sequentially, and skips what is not needed.
pub struct Reader {
    source: Source,
    at: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Reader {
    /// The next byte to read, counted from the start of the source.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// The number of bytes that are left.
    pub fn left(&self) -> u64 {
        self.source.len() - self.at
    }

    /// The source that it reads, from its beginning.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Skips bytes without reading them.
    ///
    /// Errors: fewer are left.
    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        self.source.part(self.at, length)?;
        self.at += length;
        Ok(())
    }

    /// The next bytes as a source of their own; they are skipped.
    pub fn part(&mut self, length: u64) -> Result<Source> {
        let part = self.source.part(self.at, length)?;
        self.at += length;
        Ok(part)
    }

    /// Reads one byte.
    ///
    /// Errors: none is left, or the file cannot be read.
    pub(super) fn byte(&mut self) -> Result<u8> {
        let known = self.at.checked_sub(self.buffer_at).and_then(|i| self.buffer.get(i as usize)).copied();
        let byte = match known {
            Some(byte) => byte,
            None => {
                self.fill()?;
                *self.buffer.first().ok_or_else(|| self.source.refuse("it is cut short"))?
            }
        };
        self.at += 1;
        Ok(byte)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer_at = self.at;
        self.buffer = self.source.read(self.at, self.left().min(BUFFER))?;
        Ok(())
    }

    /// A few bytes: as many as are asked for, or an error.
    pub fn take(&mut self, length: u64) -> Result<Vec<u8>> {
        self.source.part(self.at, length)?;
        if length > BUFFER {
            let bytes = self.source.read(self.at, length)?;
            self.at += length;
            return Ok(bytes);
        }
        (0..length).map(|_| self.byte()).collect()
    }

    /// A little-endian number of up to eight bytes.
    pub fn number(&mut self, width: u64) -> Result<u64> {
        let mut number = 0;
        for i in 0..width.min(8) {
            number |= u64::from(self.byte()?) << (8 * i);
        }
        Ok(number)
    }

    /// Up to a line feed, which is left out.
    pub fn line(&mut self, most: usize) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                _ if bytes.len() == most => {
                    return Err(self.source.refuse(format!("a line is longer than {most} bytes")));
                }
                byte => bytes.push(byte),
            }
        }
    }
}

/// For decoders of other crates.
impl io::Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.left().min(into.len() as u64) as usize;
        self.source.read_into(self.at, &mut into[..length]).map_err(|e| io::Error::other(e.message))?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_inside() {
        let whole = Source::of_bytes((0..10).collect(), "x");
        let part = whole.part(2, 5).unwrap();
        assert_eq!(part.read(1, 4).unwrap(), [3, 4, 5, 6]);
        assert_eq!(part.part(1, 2).unwrap().head(9).unwrap(), [3, 4]);
        for (at, length) in [(0, 6), (6, 0), (5, 1), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(part.part(at, length).is_err(), "{at} {length}");
        }
        assert!(part.read(0, u64::MAX).is_err(), "nothing is allocated by a claim");
    }

    #[test]
    fn a_reader_reads_skips_and_ends() {
        let mut reader = Source::of_bytes(b"\x01\x02\x03\x04ab\ncd".to_vec(), "x").reader();
        assert_eq!(reader.number(2).unwrap(), 0x201);
        reader.skip(1).unwrap();
        assert_eq!((reader.byte().unwrap(), reader.line(9).unwrap()), (4, "ab".to_string()));
        assert!(reader.skip(3).is_err());
        assert_eq!((reader.take(2).unwrap(), reader.left()), (b"cd".to_vec(), 0));
        assert!(reader.byte().is_err());
    }
}
