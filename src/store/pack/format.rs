//! The format of a pack: many objects in one immutable file, in stores and at remotes.
//!
//! ```text
//! header   magic "lockpack", version u32 = 1, reserved u32 = 0
//! objects  their bytes back to back, unchanged, in order of addition
//! index    a row per object, sorted by id:  id[32] kind u8 offset u64 length u64
//! trailer  count u64, offset of the index u64, BLAKE3 of the rows [32], magic "lockpend"
//! ```
//!
//! Numbers are little-endian. Rows and trailer are the tail: it lists all objects of the pack, so a reader asks a
//! remote for two ranges, and a tail may be stored alone beside its pack. The id of a pack is BLAKE3 of its rows, in
//! derive-key mode with its own context: it identifies the objects and their offsets.
//!
//! Nothing is compressed: models and images hardly shrink, and a reader gets an object by its range without the others.
//!
//! A tail from a remote is untrusted. Each number is checked against the length of the file before anything is
//! allocated for it; the rows are sorted and unique, each range is within the objects, and all lengths together equal
//! the size of the objects, so that reading everything that a pack names never reads more than the pack. The tail does
//! not prove that the bytes match their ids: every read of an object verifies them.
//!
//! A file of a later version is not touched: this program can neither read it nor tell whether it is broken.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::store::digest::Digest;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;

/// Trees and the texts of symlinks are read whole; a malicious id must not make us read a model into memory.
pub const LARGEST_READ: u64 = 1 << 30;
/// The length of the header.
pub const HEADER: u64 = 16;
/// The length of the trailer, which gives the offset of the rows.
pub const TRAILER: usize = 56;
/// A pack of this size is finished. A single object may be larger.
pub const TARGET: u64 = 64 << 20;

/// The largest number of objects in a pack, however small they are: a tail is read whole.
pub const MOST_OBJECTS: usize = 1 << 21;

/// The length of a row.
pub const ROW: usize = 49;
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"lockpack";
const END: &[u8; 8] = b"lockpend";
const CONTEXT: &str = "lockstep 2026-11-24 pack";

/// The id of a pack: a hash of its rows, and so of all its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId(pub ObjectId);

impl PackId {
    /// `<64 hex>.pack`.
    pub fn file_name(&self) -> String {
        format!("{}.pack", self.0)
    }

    /// The id in a file name; `None` for other names.
    pub fn of_file_name(name: &str) -> Option<PackId> {
        name.strip_suffix(".pack")?.parse().ok()
    }
}

impl FromStr for PackId {
    type Err = String;

    fn from_str(text: &str) -> Result<PackId, String> {
        text.parse().map(PackId)
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The location of an object in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The id of the object.
    pub id: ObjectId,
    /// Whether it is content or a tree.
    pub kind: ObjectKind,
    /// From the start of the file.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

impl Row {
    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.id.0);
        to.push(self.kind as u8);
        to.extend_from_slice(&self.offset.to_le_bytes());
        to.extend_from_slice(&self.length.to_le_bytes());
    }
}

/// Why some bytes are not a valid pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Written by a later version: must not be touched.
    Newer,
    /// Damaged, or not a pack, for this reason.
    Broken(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Newer => "it was written by a newer version of lockstep",
            Malformed::Broken(why) => why,
        })
    }
}

/// The objects of a pack and their locations: a checked tail, kept as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct PackIndex {
    tail: Vec<u8>,
    count: usize,
    id: PackId,
}

impl fmt::Debug for PackIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack {} of {}", self.id, self.count)
    }
}

/// Checks the first bytes of a pack.
pub fn check_header(header: &[u8; HEADER as usize]) -> Result<(), Malformed> {
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    match (header.starts_with(MAGIC), version) {
        (false, _) | (true, 0) => Err(Malformed::Broken("it does not begin as a pack")),
        (true, VERSION) => Ok(()),
        _ => Err(Malformed::Newer),
    }
}

/// The length of the tail, from the trailer of a file of this length.
pub fn tail_length(trailer: &[u8; TRAILER], file_length: u64) -> Result<u64, Malformed> {
    let (count, index_at) = (number(&trailer[..8]), number(&trailer[8..16]));
    if !trailer.ends_with(END) {
        return Err(Malformed::Broken("it does not end as a pack"));
    }
    let tail = count.checked_mul(ROW as u64).and_then(|rows| rows.checked_add(TRAILER as u64));
    match tail {
        Some(tail) if index_at >= HEADER && index_at.checked_add(tail) == Some(file_length) => Ok(tail),
        _ => Err(Malformed::Broken("its index does not fit its length")),
    }
}

/// The length of the tail of a pack with this number of objects; `None` if it exceeds the maximum.
pub fn tail_size(count: u64) -> Option<u64> {
    (count <= MOST_OBJECTS as u64).then(|| count * ROW as u64 + TRAILER as u64)
}

impl PackIndex {
    /// Parses a tail: all rows and the trailer.
    pub fn parse(tail: Vec<u8>) -> Result<PackIndex, Malformed> {
        let Some((rows, trailer)) = tail.split_last_chunk::<TRAILER>() else {
            return Err(Malformed::Broken("it is cut short"));
        };
        let index_at = number(&trailer[8..16]);
        let length = index_at.checked_add(tail.len() as u64).ok_or(Malformed::Broken("its sizes are absurd"))?;
        if tail_length(trailer, length)? != tail.len() as u64 {
            return Err(Malformed::Broken("its index does not fit its length"));
        }
        if ObjectId::of(rows).0 != trailer[16..48] {
            return Err(Malformed::Broken("its index is damaged"));
        }
        let mut sum = 0u64;
        let mut last: Option<&[u8]> = None;
        for bytes in rows.chunks_exact(ROW) {
            if last.is_some_and(|last| last >= &bytes[..32]) {
                return Err(Malformed::Broken("its index is not sorted, or an object is repeated"));
            }
            last = Some(&bytes[..32]);
            let row = decode(bytes).ok_or(Malformed::Broken("an object has an unknown kind"))?;
            let end = row.offset.checked_add(row.length);
            if row.offset < HEADER || end.is_none_or(|end| end > index_at) {
                return Err(Malformed::Broken("an object lies outside of it"));
            }
            sum = sum.checked_add(row.length).ok_or(Malformed::Broken("its sizes are absurd"))?;
        }
        if sum != index_at - HEADER {
            return Err(Malformed::Broken("its objects overlap, or something lies between them"));
        }
        let (count, id) = (rows.len() / ROW, id_of(rows));
        Ok(PackIndex { tail, count, id })
    }

    /// The rows and the trailer, as they end the pack.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The id of the pack, computed from the rows.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true if the pack has no objects.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The length of the whole pack.
    pub fn file_length(&self) -> u64 {
        let trailer = &self.tail[self.count * ROW..];
        number(&trailer[8..16]) + self.tail.len() as u64
    }

    /// The row at an index, in the order of ids.
    pub fn row(&self, at: usize) -> Option<Row> {
        decode(self.tail[..self.count * ROW].chunks_exact(ROW).nth(at)?)
    }

    /// The row of an object.
    pub fn find(&self, id: &ObjectId) -> Option<Row> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.tail[middle * ROW..][..32].cmp(&id.0) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.row(middle),
            }
        }
        None
    }

    /// Sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.tail[..self.count * ROW].chunks_exact(ROW).filter_map(decode)
    }
}

/// All well-formed rows in some bytes, for the salvage of a broken pack.
pub fn rows_in(bytes: &[u8]) -> impl Iterator<Item = Row> + '_ {
    bytes.chunks_exact(ROW).filter_map(decode)
}

/// The possible offsets of the rows that end at `end`: from the offset and from the count in the trailer.
pub fn trailer_numbers(trailer: &[u8; TRAILER], end: u64) -> [Option<u64>; 2] {
    let (count, index_at) = (number(&trailer[..8]), number(&trailer[8..16]));
    [Some(index_at), count.checked_mul(ROW as u64).and_then(|rows| end.checked_sub(rows))]
}

/// Writes a pack from its first byte to its last. The caller buffers, and makes the file durable.
pub struct PackWriter<W> {
    to: W,
    rows: Vec<Row>,
    /// The offset of the next object.
    at: u64,
}

impl<W: Write> PackWriter<W> {
    /// Writes the header.
    pub fn new(mut to: W) -> io::Result<PackWriter<W>> {
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&[0; 4])?;
        Ok(PackWriter { to, rows: Vec::new(), at: HEADER })
    }

    /// Appends an object, whose bytes the caller has verified. An id may be added once.
    pub fn add(&mut self, id: ObjectId, kind: ObjectKind, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        let length = bytes.len() as u64;
        self.rows.push(Row { id, kind, offset: self.at, length });
        self.at += length;
        Ok(())
    }

    /// The number of objects added.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if no object was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes written so far, without the tail.
    pub fn written(&self) -> u64 {
        self.at
    }

    /// Writes the index and the trailer.
    pub fn finish(mut self) -> io::Result<(PackIndex, PackId)> {
        self.rows.sort_unstable_by_key(|row| row.id);
        if self.rows.windows(2).any(|two| two[0].id == two[1].id) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an object was packed twice"));
        }
        let mut tail = Vec::with_capacity(self.rows.len() * ROW + TRAILER);
        self.rows.iter().for_each(|row| row.encode(&mut tail));
        let (sum, id) = (ObjectId::of(&tail), id_of(&tail));
        tail.extend_from_slice(&(self.rows.len() as u64).to_le_bytes());
        tail.extend_from_slice(&self.at.to_le_bytes());
        tail.extend_from_slice(&sum.0);
        tail.extend_from_slice(END);
        self.to.write_all(&tail)?;
        self.to.flush()?;
        Ok((PackIndex { tail, count: self.rows.len(), id }, id))
    }
}

fn id_of(rows: &[u8]) -> PackId {
    let mut digest = Digest::new(CONTEXT);
    digest.update(rows);
    PackId(digest.id())
}

/// `None` for an unknown kind.
fn decode(row: &[u8]) -> Option<Row> {
    let kind = ObjectKind::from_byte(row[32])?;
    let mut id = ObjectId::default();
    id.0.copy_from_slice(&row[..32]);
    Some(Row { id, kind, offset: number(&row[33..41]), length: number(&row[41..49]) })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(objects: &[&[u8]]) -> (Vec<u8>, PackIndex) {
        let mut bytes = Vec::new();
        let mut writer = PackWriter::new(&mut bytes).unwrap();
        for (at, object) in objects.iter().enumerate() {
            let kind = if at % 3 == 2 { ObjectKind::Tree } else { ObjectKind::Content };
            writer.add(kind.id_of(object), kind, object).unwrap();
        }
        let (index, id) = writer.finish().unwrap();
        assert_eq!(index.id(), id);
        (bytes, index)
    }

    fn tail_of(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        let cut = Malformed::Broken("cut");
        check_header(bytes.first_chunk().ok_or(cut)?)?;
        let tail = tail_length(bytes.last_chunk().ok_or(cut)?, bytes.len() as u64)?;
        Ok(bytes[bytes.len() - tail as usize..].to_vec())
    }

    fn parse(bytes: &[u8]) -> Result<PackIndex, Malformed> {
        PackIndex::parse(tail_of(bytes)?)
    }

    /// The pack with the bytes of one row replaced and a correct checksum.
    fn forged(bytes: &[u8], row: usize, at: usize, new: &[u8]) -> Vec<u8> {
        let mut forged = bytes.to_vec();
        let start = forged.len() - tail_of(bytes).unwrap().len();
        let rows = start..forged.len() - TRAILER;
        forged[start + row * ROW + at..][..new.len()].copy_from_slice(new);
        let sum = ObjectId::of(&forged[rows]);
        let end = forged.len() - TRAILER;
        forged[end + 16..end + 48].copy_from_slice(&sum.0);
        forged
    }

    const OBJECTS: [&[u8]; 5] = [b"alpha", b"", b"a tree, perhaps", b"beta", &[7; 300]];

    #[test]
    fn what_is_written_is_found() {
        for objects in [&OBJECTS[..], &OBJECTS[..1], &[]] {
            let (bytes, index) = pack(objects);
            assert_eq!(parse(&bytes).unwrap(), index);
            assert_eq!((index.len(), index.file_length()), (objects.len(), bytes.len() as u64));
            assert!(index.iter().map(|row| row.id).is_sorted());
            for (at, object) in objects.iter().enumerate() {
                let kind = if at % 3 == 2 { ObjectKind::Tree } else { ObjectKind::Content };
                let row = index.find(&kind.id_of(object)).unwrap();
                assert_eq!(&&bytes[row.offset as usize..][..row.length as usize], object);
                assert_eq!(row.kind, kind);
            }
            assert_eq!(index.find(&ObjectId([9; 32])), None);
        }
    }

    #[test]
    fn ids_never_drift() {
        let (bytes, index) = pack(&OBJECTS);
        assert_eq!(&bytes[..16], b"lockpack\x01\0\0\0\0\0\0\0");
        assert_eq!(index.id().to_string(), "c09b882e115541c6af07cddbd3b6622e715be1d77c1ff675c7c1daeee4f5f46a");
        assert_eq!(PackId::of_file_name(&index.id().file_name()), Some(index.id()));
        assert_eq!(PackId::of_file_name("x.pack"), None);
        assert_ne!(pack(&OBJECTS[..4]).1.id(), index.id());
    }

    #[test]
    fn a_pack_cut_anywhere_or_grown_is_refused() {
        let (bytes, _) = pack(&OBJECTS);
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(parse(&[&bytes[..], b"x"].concat()).is_err());
        assert!(parse(&[&bytes[..20], b"x", &bytes[20..]].concat()).is_err());
    }

    #[test]
    fn a_flipped_bit_outside_the_objects_is_found() {
        let (bytes, _) = pack(&OBJECTS);
        let tail = bytes.len() - tail_of(&bytes).unwrap().len();
        for at in (0..12).chain(tail..bytes.len()) {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(parse(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_that_lie_are_refused_before_anything_is_allocated() {
        let (bytes, index) = pack(&OBJECTS);
        let end = bytes.len() - TRAILER;
        for count in [0, 4, 6, u64::MAX, u64::MAX / 49, 1 << 40] {
            let mut bad = bytes.clone();
            bad[end..end + 8].copy_from_slice(&count.to_le_bytes());
            assert!(parse(&bad).is_err(), "count {count}");
        }
        for at in [0, 15, 16, u64::MAX, end as u64] {
            let mut bad = bytes.clone();
            bad[end + 8..end + 16].copy_from_slice(&at.to_le_bytes());
            assert!(parse(&bad).is_err(), "index at {at}");
        }
        let index_at = bytes.len() as u64 - index.tail().len() as u64;
        for (field, value, why) in [
            (33, 0, "lies outside"),
            (33, 15, "lies outside"),
            (33, index_at + 1, "lies outside"),
            (33, u64::MAX, "lies outside"),
            (41, index_at, "lies outside"),
            (41, u64::MAX, "lies outside"),
            (41, 1, "overlap"),
        ] {
            let bad = forged(&bytes, 0, field, &value.to_le_bytes());
            assert!(parse(&bad).unwrap_err().to_string().contains(why), "{field} {value}: {:?}", parse(&bad));
        }
        let with_kind = forged(&bytes, 1, 32, &[7]);
        assert_eq!(parse(&with_kind), Err(Malformed::Broken("an object has an unknown kind")));
        let first = index.row(0).unwrap().id.0;
        assert!(parse(&forged(&bytes, 1, 0, &first)).unwrap_err().to_string().contains("repeated"));
        assert!(parse(&forged(&bytes, 0, 0, &[255; 32])).unwrap_err().to_string().contains("not sorted"));
        assert!(parse(&forged(&bytes, 0, 0, &first)).is_ok());
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let (mut bytes, _) = pack(&OBJECTS);
        bytes[8] = 2;
        assert_eq!(parse(&bytes), Err(Malformed::Newer));
        bytes[8] = 0;
        assert!(matches!(parse(&bytes), Err(Malformed::Broken(_))));
    }

    #[test]
    fn an_object_is_packed_once() {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for _ in 0..2 {
            writer.add(ObjectId::of(b"x"), ObjectKind::Content, b"x").unwrap();
        }
        assert!(writer.finish().is_err());
    }
}
