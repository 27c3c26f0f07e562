//! Reads the directory of a zip archive strictly: PyTorch, NumPy and Keras store their arrays in one.
//!
//! Written here instead of taken from a crate because of what it does *not* do: it allocates nothing by a count from
//! the file, no two entries share bytes (the trick of most zip bombs), and it inflates an entry only as far as
//! requested. It also returns the location of stored entries, so that their values can be read in place. Format:
//! PKWARE's APPNOTE 6.3, with zip64; encrypted, split and prefixed archives are refused.

pub mod array;

use std::collections::HashMap;
use std::io::Read;

use flate2::read::DeflateDecoder;

use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The maximum size of the directory of a model.
const DIRECTORY: u64 = 32 << 20;
/// The longest comment, and the record before it.
const TAIL: u64 = 65_535 + END;
const END: u64 = 22;
const END64: u64 = 56;
const LOCATOR64: u64 = 20;
const LOCAL: u64 = 30;
const CENTRAL: usize = 46;

/// The directory of an archive.
pub struct Archive {
    source: Source,
    /// In the order of their offsets.
    pub entries: Vec<ZipEntry>,
    by_name: HashMap<String, usize>,
    /// The offset of the directory: the end of all content.
    end: u64,
}

/// A file in an archive.
pub struct ZipEntry {
    pub name: String,
    /// Uncompressed, as the directory claims.
    pub size: u64,
    compressed: u64,
    method: Method,
    offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
    Other,
}

impl Archive {
    /// Reads and checks the directory. Errors: it is damaged, or of an unsupported form.
    pub fn read(source: &Source) -> Result<Archive> {
        let end = directory(source)?;
        let bytes = source.part(end.offset, end.length)?.all(DIRECTORY, "the directory of the archive")?;
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while entries.len() as u64 != end.entries {
            let (entry, after) = entry(rest).ok_or_else(|| source.refuse("the directory of the archive is damaged"))?;
            entries.push(entry);
            rest = after;
        }
        entries.sort_by_key(|e| e.offset);
        // The minimum length of each entry: its local header may be longer.
        let least = |e: &ZipEntry| e.offset.checked_add(LOCAL + e.name.len() as u64)?.checked_add(e.compressed);
        let ends = entries.iter().skip(1).map(|e| e.offset).chain([end.offset]);
        if entries.iter().zip(ends).any(|(entry, next)| least(entry).is_none_or(|end| end > next)) {
            return Err(source.refuse("entries of the archive overlap, as in a zip bomb"));
        }
        let mut by_name = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.name.clone(), at).is_some() {
                return Err(source.refuse(format!("`{}` occurs twice in the archive", shown(&entry.name))));
            }
        }
        Ok(Archive { source: source.clone(), entries, by_name, end: end.offset })
    }

    pub fn find(&self, name: &str) -> Option<&ZipEntry> {
        self.by_name.get(name).map(|at| &self.entries[*at])
    }

    /// The bytes of an entry in the archive.
    fn raw(&self, entry: &ZipEntry) -> Result<Source> {
        let local = self.source.read(entry.offset, LOCAL)?;
        let start = entry.offset + LOCAL + short(&local[26..]) + short(&local[28..]);
        if local[..4] != *b"PK\x03\x04" || start.checked_add(entry.compressed).is_none_or(|end| end > self.end) {
            return Err(self.source.refuse(format!("the entry `{}` of the archive is damaged", shown(&entry.name))));
        }
        self.source.part(start, entry.compressed)
    }

    /// The content of an entry in place, if it is stored uncompressed.
    pub fn stored(&self, entry: &ZipEntry) -> Result<Option<Source>> {
        match entry.method {
            Method::Stored if entry.compressed == entry.size => Ok(Some(self.raw(entry)?)),
            _ => Ok(None),
        }
    }

    /// The deflated bytes of an entry.
    pub fn deflated(&self, entry: &ZipEntry) -> Result<Option<Source>> {
        if entry.method == Method::Deflated { Ok(Some(self.raw(entry)?)) } else { Ok(None) }
    }

    /// The first bytes of an entry, inflated if necessary.
    pub fn head(&self, entry: &ZipEntry, most: u64) -> Result<Vec<u8>> {
        if let Some(stored) = self.stored(entry)? {
            return stored.head(most);
        }
        let Some(deflated) = self.deflated(entry)? else {
            return Err(self
                .source
                .refuse(format!("the entry `{}` is compressed in an unusual way", shown(&entry.name))));
        };
        let mut bytes = Vec::new();
        match DeflateDecoder::new(deflated.reader()).take(most).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(_) => Err(self.source.refuse(format!("the compressed entry `{}` is damaged", shown(&entry.name)))),
        }
    }

    /// A whole entry: in place if it is stored, otherwise inflated into memory if it has at most `most` bytes.
    pub fn content(&self, entry: &ZipEntry, most: u64) -> Result<Source> {
        if let Some(stored) = self.stored(entry)? {
            return Ok(stored);
        }
        let bytes = self.head(entry, most.saturating_add(1))?;
        if bytes.len() as u64 > most {
            return Err(self
                .source
                .refuse(format!("the entry `{}` inflates to more than {most} bytes", shown(&entry.name))));
        }
        Ok(Source::of_bytes(bytes, self.source.name()))
    }
}

/// The location of the directory.
struct Directory {
    entries: u64,
    offset: u64,
    length: u64,
}

fn directory(source: &Source) -> Result<Directory> {
    let tail_at = source.len().saturating_sub(TAIL);
    let tail = source.read(tail_at, source.len() - tail_at)?;
    let starts = (tail.len() + 1).saturating_sub(END as usize);
    let found = (0..starts).rev().find(|at| {
        let record = &tail[*at..];
        record.starts_with(b"PK\x05\x06") && short(&record[20..]) == (record.len() as u64 - END)
    });
    let Some(at) = found else {
        return Err(source.refuse("the archive has no end: it is cut short, or something follows it"));
    };
    let record = &tail[at..];
    let mut end =
        Directory { entries: short(&record[10..]), length: number(&record[12..16]), offset: number(&record[16..20]) };
    let mut end_at = tail_at + at as u64;
    let locator_at = end_at.checked_sub(LOCATOR64);
    let locator = locator_at.map(|at| source.read(at, LOCATOR64)).transpose()?;
    if let (Some(locator), Some(locator_at)) = (locator.filter(|l| l.starts_with(b"PK\x06\x07")), locator_at) {
        let record_at = number(&locator[8..16]);
        let record = source.read(record_at, END64)?;
        if !record.starts_with(b"PK\x06\x06") || record_at.checked_add(END64).is_none_or(|e| e > locator_at) {
            return Err(source.refuse("the end of the archive is damaged"));
        }
        end = Directory {
            entries: number(&record[32..40]),
            length: number(&record[40..48]),
            offset: number(&record[48..56]),
        };
        end_at = record_at;
    }
    match end.offset.checked_add(end.length) {
        Some(after) if after <= end_at => Ok(end),
        _ => Err(source.refuse("the directory is outside of the archive")),
    }
}

/// One entry of the directory, and what follows it.
fn entry(bytes: &[u8]) -> Option<(ZipEntry, &[u8])> {
    let head = bytes.get(..CENTRAL).filter(|head| head.starts_with(b"PK\x01\x02"))?;
    let (name, extra, comment) =
        (short(&head[28..]) as usize, short(&head[30..]) as usize, short(&head[32..]) as usize);
    let rest = &bytes[CENTRAL..];
    let name_bytes = rest.get(..name)?;
    let mut extras = rest.get(name..name + extra)?;
    let after = rest.get(name + extra + comment..)?;
    let (mut size, mut compressed, mut offset) = (number(&head[24..28]), number(&head[20..24]), number(&head[42..46]));
    while extras.len() >= 4 {
        let (kind, length) = (short(extras), short(&extras[2..]) as usize);
        let mut field = extras.get(4..4 + length)?;
        // Zip64: those of the three that did not fit, in this order.
        for value in [&mut size, &mut compressed, &mut offset] {
            if kind == 1 && *value == u64::from(u32::MAX) {
                *value = number(field.get(..8)?);
                field = &field[8..];
            }
        }
        extras = &extras[4 + length..];
    }
    let encrypted = head[8] & 1 != 0;
    let method = match short(&head[10..]) {
        0 if !encrypted => Method::Stored,
        8 if !encrypted => Method::Deflated,
        _ => Method::Other,
    };
    let name = String::from_utf8_lossy(name_bytes).into_owned();
    Some((ZipEntry { name, size, compressed, method, offset }, after))
}

fn short(bytes: &[u8]) -> u64 {
    number(&bytes[..2])
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}
