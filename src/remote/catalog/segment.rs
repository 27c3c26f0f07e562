//! A segment of the remote's log: the rows that one push added, as a file. Pure.
//!
//! ```text
//! segment   = magic `lockseg\n`  version u32  count u32 × 5  row*  blake3 of all that [32]
//! pack      = id[32] length u64 index-offset u64 count u64
//! loose     = id[32] size u64
//! root      = id[32] kind u8 size u64 files u64 where u8, then
//!               0 loose      nothing: objects/ab/…
//!               1 packed     pack u32 offset u64 length u64
//!               2 a tree     n u32, pack u32 × n: the packs that hold its small objects
//! run       = stage key[32] entry id[32] pack u32 offset u64 length u64 seconds u64
//! withdrawn = entry id[32]
//! ```
//!
//! Numbers are little-endian. A pack is named by its position among the segment's own pack rows, so a segment is
//! self-contained. Rows are in the order of the list above; rows of one kind are sorted and unique. An output with a
//! root row is complete at the remote. The name of a segment is the second in which it was written and the beginning of
//! its hash, so names sort by time and equal names mean equal bytes. A segment from a remote is untrusted: every count
//! is checked against the available bytes before anything is allocated.

use std::collections::BTreeMap;
use std::fmt;

use crate::remote::LARGE;
use crate::store::pack::format::{HEADER, PackId, tail_size};
use crate::store::{ObjectId, ObjectKind};

const MAGIC: &[u8; 8] = b"lockseg\n";
const VERSION: u32 = 1;
/// The length of the header before the rows.
const START: usize = 8 + 4 + 5 * 4;
/// A pack holds up to 64 MiB, or one tree of any size.
const LARGEST_PACK: u64 = 1 << 36;
/// The record of one run, which is read whole.
const LARGEST_ENTRY: u64 = 64 << 20;
/// The length of the shortest row of each kind.
const SHORTEST: [usize; 5] = [56, 40, 50, 92, 32];

/// A pack at the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRow {
    pub length: u64,
    /// The offset of its index.
    pub index: u64,
    pub count: u64,
}

/// The location of some bytes in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub pack: PackId,
    pub offset: u64,
    pub length: u64,
}

/// The location of an output or of tracked data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Loose,
    Packed(Slice),
    /// The packs that hold its trees and small files; large files are separate objects.
    Tree(Vec<PackId>),
}

/// An output or tracked data that the remote has completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub size: u64,
    /// The number of files; 0 for a file.
    pub files: u64,
    pub location: Location,
}

/// An entry of the run cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The stage key.
    pub key: ObjectId,
    /// BLAKE3 of the entry's bytes.
    pub entry: ObjectId,
    /// The location of the entry's bytes, in a pack.
    pub slice: Slice,
    /// When it ran, in seconds since 1970.
    pub time: u64,
}

/// The rows that one push added, or several merged ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub packs: BTreeMap<PackId, PackRow>,
    /// Large objects, with their sizes.
    pub loose: BTreeMap<ObjectId, u64>,
    pub roots: BTreeMap<(ObjectId, bool), Root>,
    /// By entry id.
    pub runs: BTreeMap<ObjectId, RunRow>,
    pub withdrawn: std::collections::BTreeSet<ObjectId>,
}

/// The key of a root in [`Segment::roots`].
pub fn root_key(id: ObjectId, kind: ObjectKind) -> (ObjectId, bool) {
    (id, kind == ObjectKind::Tree)
}

impl Segment {
    /// Merges another segment into this one.
    pub fn absorb(&mut self, other: Segment) {
        self.packs.extend(other.packs);
        self.loose.extend(other.loose);
        self.roots.extend(other.roots);
        self.runs.extend(other.runs);
        self.withdrawn.extend(other.withdrawn);
    }

    pub fn encode(&self) -> Vec<u8> {
        let place: BTreeMap<PackId, u32> = self.packs.keys().zip(0..).map(|(id, n)| (*id, n)).collect();
        let at = |pack: &PackId| place.get(pack).copied().unwrap_or(u32::MAX).to_le_bytes();
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        let counts = [self.packs.len(), self.loose.len(), self.roots.len(), self.runs.len(), self.withdrawn.len()];
        counts.iter().for_each(|n| out.extend((*n as u32).to_le_bytes()));
        for (id, pack) in &self.packs {
            out.extend(id.0.0);
            [pack.length, pack.index, pack.count].iter().for_each(|n| out.extend(n.to_le_bytes()));
        }
        for (id, size) in &self.loose {
            out.extend(id.0);
            out.extend(size.to_le_bytes());
        }
        let slice = |out: &mut Vec<u8>, slice: &Slice| {
            out.extend(at(&slice.pack));
            out.extend(slice.offset.to_le_bytes());
            out.extend(slice.length.to_le_bytes());
        };
        for ((id, tree), root) in &self.roots {
            out.extend(id.0);
            out.push(u8::from(*tree));
            out.extend(root.size.to_le_bytes());
            out.extend(root.files.to_le_bytes());
            match &root.location {
                Location::Loose => out.push(0),
                Location::Packed(place) => {
                    out.push(1);
                    slice(&mut out, place);
                }
                Location::Tree(packs) => {
                    out.push(2);
                    out.extend((packs.len() as u32).to_le_bytes());
                    packs.iter().for_each(|pack| out.extend(at(pack)));
                }
            }
        }
        for run in self.runs.values() {
            out.extend(run.key.0);
            out.extend(run.entry.0);
            slice(&mut out, &run.slice);
            out.extend(run.time.to_le_bytes());
        }
        self.withdrawn.iter().for_each(|id| out.extend(id.0));
        let sum = ObjectId::of(&out);
        out.extend(sum.0);
        out
    }

    /// Errors: the bytes are not a segment, or of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Segment, MalformedSegment> {
        let cut = MalformedSegment("it is cut short");
        let (body, sum) = bytes.split_at_checked(bytes.len().wrapping_sub(32)).ok_or(cut)?;
        if body.len() < START || body[..8] != *MAGIC {
            return Err(MalformedSegment("it is not a segment"));
        }
        let mut rest = RowReader(&body[8..]);
        match rest.u32()? {
            VERSION => {}
            version if version > VERSION => return Err(MalformedSegment(NEWER)),
            _ => return Err(MalformedSegment("its version is unknown")),
        }
        if ObjectId::of(body).0 != *sum {
            return Err(MalformedSegment("its checksum is wrong"));
        }
        let mut counts = [0usize; 5];
        let mut least = 0usize;
        for (count, shortest) in counts.iter_mut().zip(SHORTEST) {
            *count = rest.u32()? as usize;
            least = count.checked_mul(shortest).and_then(|n| least.checked_add(n)).ok_or(cut)?;
        }
        if least > rest.0.len() {
            return Err(cut);
        }
        let mut segment = Segment::default();
        let mut places = Vec::with_capacity(counts[0]);
        for _ in 0..counts[0] {
            let id = PackId(rest.id()?);
            let row = PackRow { length: rest.u64()?, index: rest.u64()?, count: rest.u64()? };
            // The claimed size is allocated: it is bounded by what is possible for its kind.
            let tail = tail_size(row.count).ok_or(MalformedSegment("a pack of it claims too many objects"))?;
            if row.index < HEADER || row.length.checked_sub(row.index) != Some(tail) {
                return Err(MalformedSegment("a pack of it has no room for its index"));
            }
            if row.length > LARGEST_PACK {
                return Err(MalformedSegment("a pack of it is absurdly large"));
            }
            places.push(id);
            segment.packs.insert(id, row);
        }
        for _ in 0..counts[1] {
            segment.loose.insert(rest.id()?, rest.u64()?);
        }
        let pack =
            |n: u32| places.get(n as usize).copied().ok_or(MalformedSegment("it names a pack that it does not have"));
        for _ in 0..counts[2] {
            let key = (rest.id()?, rest.flag()?);
            let (size, files) = (rest.u64()?, rest.u64()?);
            let location = match rest.byte()? {
                0 => Location::Loose,
                1 => Location::Packed(Slice { pack: pack(rest.u32()?)?, offset: rest.u64()?, length: rest.u64()? }),
                2 => {
                    let n = rest.u32()? as usize;
                    if n > rest.0.len() / 4 {
                        return Err(cut);
                    }
                    let packs = (0..n).map(|_| pack(rest.u32()?)).collect::<Result<_, _>>()?;
                    Location::Tree(packs)
                }
                _ => return Err(MalformedSegment("a row of it is of an unknown sort")),
            };
            segment.roots.insert(key, Root { size, files, location });
        }
        for _ in 0..counts[3] {
            let (key, entry) = (rest.id()?, rest.id()?);
            let slice = Slice { pack: pack(rest.u32()?)?, offset: rest.u64()?, length: rest.u64()? };
            segment.runs.insert(entry, RunRow { key, entry, slice, time: rest.u64()? });
        }
        for _ in 0..counts[4] {
            segment.withdrawn.insert(rest.id()?);
        }
        let (packs, runs) = (&segment.packs, segment.runs.values().map(|run| &run.slice));
        let roots = segment.roots.values().filter_map(|root| match &root.location {
            Location::Packed(slice) => Some(slice),
            _ => None,
        });
        let is_inside = |slice: &Slice| {
            let end = slice.offset.checked_add(slice.length);
            end.zip(packs.get(&slice.pack)).is_some_and(|(end, pack)| end <= pack.index)
        };
        if !runs.chain(roots).all(is_inside) {
            return Err(MalformedSegment("a row of it reaches beyond its pack"));
        }
        let is_small = |slice: &Slice, most: u64| slice.length <= most;
        let is_itself = |root: &Root| match &root.location {
            Location::Packed(slice) => slice.length == root.size && is_small(slice, LARGE),
            _ => true,
        };
        if !segment.runs.values().all(|run| is_small(&run.slice, LARGEST_ENTRY)) {
            return Err(MalformedSegment("an entry of the run cache is absurdly large"));
        }
        if !segment.roots.values().all(is_itself) {
            return Err(MalformedSegment("a file of it is not of the size of its bytes"));
        }
        if !rest.0.is_empty() || segment.encode() != bytes {
            return Err(MalformedSegment("its rows are not in order"));
        }
        Ok(segment)
    }
}

const NEWER: &str = "it was written by a newer version of lockstep";

/// Why some bytes are not a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedSegment(pub &'static str);

impl MalformedSegment {
    pub fn is_newer(&self) -> bool {
        self.0 == NEWER
    }
}

impl fmt::Display for MalformedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

struct RowReader<'a>(&'a [u8]);

impl RowReader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedSegment> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(MalformedSegment("it is cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, MalformedSegment> {
        Ok(self.take::<1>()?[0])
    }

    fn flag(&mut self) -> Result<bool, MalformedSegment> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MalformedSegment("a row of it is of an unknown sort")),
        }
    }

    fn u32(&mut self) -> Result<u32, MalformedSegment> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, MalformedSegment> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn id(&mut self) -> Result<ObjectId, MalformedSegment> {
        Ok(ObjectId(self.take()?))
    }
}

/// The name of a segment: `<seconds, 10 hex digits>-<hash, 16 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName(String);

impl SegmentName {
    /// The name of these bytes, written `seconds` after 1970.
    pub fn for_bytes(bytes: &[u8], seconds: u64) -> SegmentName {
        SegmentName(format!("{:010x}-{}", seconds & 0xff_ffff_ffff, &ObjectId::of(bytes).hex()[..16]))
    }

    /// `None` if no segment has such a name.
    pub fn parse(text: &str) -> Option<SegmentName> {
        let (seconds, hash) = text.split_once('-')?;
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (seconds.len() == 10 && hash.len() == 16 && is_hex(seconds) && is_hex(hash))
            .then(|| SegmentName(text.to_string()))
    }

    /// Returns true if the name was made from these bytes.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        ObjectId::of(bytes).hex()[..16] == self.0[11..]
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was written, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        u64::from_str_radix(&self.0[..10], 16).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId([n; 32])
    }

    fn sample() -> Segment {
        let (a, b) = (PackId(id(1)), PackId(id(2)));
        let slice = Slice { pack: b, offset: 8, length: 90 };
        Segment {
            packs: [
                (a, PackRow { length: 503, index: 300, count: 3 }),
                (b, PackRow { length: 203, index: 98, count: 1 }),
            ]
            .into(),
            loose: [(id(9), 1 << 30)].into(),
            roots: [
                (root_key(id(3), ObjectKind::Content), Root { size: 90, files: 0, location: Location::Packed(slice) }),
                (root_key(id(3), ObjectKind::Tree), Root { size: 7, files: 2, location: Location::Tree(vec![b, a]) }),
                (root_key(id(9), ObjectKind::Content), Root { size: 1 << 30, files: 0, location: Location::Loose }),
            ]
            .into(),
            runs: [(id(5), RunRow { key: id(4), entry: id(5), slice, time: 77 })].into(),
            withdrawn: [id(6)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for segment in [Segment::default(), sample()] {
            assert_eq!(Segment::parse(&segment.encode()).unwrap(), segment);
        }
        let mut two = sample();
        two.absorb(Segment { withdrawn: [id(7)].into(), ..Segment::default() });
        assert_eq!((two.withdrawn.len(), two.packs.len()), (2, 2));
    }

    #[test]
    fn hostile_segments_are_refused() {
        let good = sample().encode();
        for cut in 0..good.len() {
            assert!(Segment::parse(&good[..cut]).is_err(), "{cut}");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            assert!(Segment::parse(&bytes).is_err(), "{at}");
        }
        // The same bytes with a valid checksum.
        let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut body = good[..good.len() - 32].to_vec();
            change(&mut body);
            let sum = ObjectId::of(&body);
            Segment::parse(&[&body[..], &sum.0[..]].concat())
        };
        assert!(resealed(&|_| ()).is_ok());
        for at in 12..32 {
            assert!(resealed(&|body| body[at] ^= 0xff).is_err(), "a count");
        }
        assert!(resealed(&|body| body[8] = 2).unwrap_err().is_newer());
        assert!(resealed(&|body| body.push(0)).is_err());
        let outside = Slice { pack: PackId(id(2)), offset: 8, length: 91 };
        let mut bad = sample();
        bad.runs.insert(id(5), RunRow { key: id(4), entry: id(5), slice: outside, time: 0 });
        assert_eq!(Segment::parse(&bad.encode()), Err(MalformedSegment("a row of it reaches beyond its pack")));
        let root = |size, slice| Root { size, files: 0, location: Location::Packed(slice) };
        let (a, b) = (PackId(id(1)), PackId(id(2)));
        let tail = |count| tail_size(count).unwrap_or(56);
        let wide = PackRow { length: (1 << 30) + tail(1), index: 1 << 30, count: 1 };
        type Claim = (&'static str, Box<dyn Fn(&mut Segment)>);
        let with = |length, index, count| -> Box<dyn Fn(&mut Segment)> {
            Box::new(move |s| s.packs.extend([(a, PackRow { length, index, count })]))
        };
        let lies: Vec<Claim> = vec![
            ("too many objects", with(1 << 40, 300, 1 << 35)),
            ("no room", with(tail(3), 0, 3)),
            ("no room", with(300, 503, 3)),
            ("no room", with(u64::MAX, 300, 3)),
            ("absurdly large", with(1 << 50, (1 << 50) - tail(3), 3)),
            (
                "beyond its pack",
                Box::new(move |s| {
                    let slice = Slice { pack: b, offset: u64::MAX, length: 2 };
                    s.roots.insert(root_key(id(7), ObjectKind::Content), root(2, slice));
                }),
            ),
            (
                "not of the size",
                Box::new(move |s| {
                    let slice = Slice { pack: b, offset: 16, length: 9 };
                    s.roots.insert(root_key(id(7), ObjectKind::Content), root(10, slice));
                }),
            ),
            (
                "not of the size",
                Box::new(move |s| {
                    s.packs.insert(b, wide);
                    let slice = Slice { pack: b, offset: 16, length: LARGE + 1 };
                    s.roots.insert(root_key(id(7), ObjectKind::Content), root(LARGE + 1, slice));
                }),
            ),
            (
                "run cache is absurdly",
                Box::new(move |s| {
                    s.packs.insert(b, wide);
                    let slice = Slice { pack: b, offset: 16, length: 1 << 29 };
                    s.runs.insert(id(5), RunRow { key: id(4), entry: id(5), slice, time: 0 });
                }),
            ),
        ];
        for (why, lie) in lies {
            let mut bad = sample();
            lie(&mut bad);
            let refused = Segment::parse(&bad.encode()).unwrap_err();
            assert!(refused.0.contains(why), "{why}: {refused}");
        }
        let mut bad = sample();
        bad.packs.remove(&PackId(id(1)));
        assert_eq!(Segment::parse(&bad.encode()), Err(MalformedSegment("it names a pack that it does not have")));
    }

    #[test]
    fn names_sort_by_time_and_prove_their_bytes() {
        let (early, late) = (SegmentName::for_bytes(b"x", 1), SegmentName::for_bytes(b"x", 1 << 36));
        assert!(early < late && early.fits(b"x") && !early.fits(b"y"));
        assert_eq!(SegmentName::parse(early.as_str()), Some(early));
        for wrong in ["all", "", "0000000001-", "0000000001-0123456789abcdeF", "../0000001-0123456789abcdef"] {
            assert_eq!(SegmentName::parse(wrong), None, "{wrong}");
        }
    }
}
