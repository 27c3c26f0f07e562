//! A directory as an object: sorted entries, a canonical encoding, an id.
//!
//! ```text
//! tree    = version(1) count(u32) entry*
//! entry   = kind(u8: 0 file, 1 executable, 2 symlink, 3 tree) name length(u16) name id(32) size(u64) [files(u64)]
//! ```
//!
//! Numbers are little-endian. Only trees have `files`. Entries are sorted by the bytes of their names. The id and size
//! of a symlink are those of the text of its target, which is stored as an object, as in Git. The id of a tree is
//! BLAKE3 of the encoding in derive-key mode, so a file with the encoding of a tree as its content has another id. One
//! set of entries has one encoding, and the parser accepts no other: a tree from a remote is untrusted until verified.

pub mod join;
pub(super) mod rules;

use std::fmt;

use super::hash::TREE_CONTEXT;
use super::id::{ObjectId, Pin};

const VERSION: u8 = 1;
/// Kind, name length, the shortest name, id and size.
const SHORTEST: usize = 1 + 2 + 1 + 32 + 8;

/// The kind of an entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// A file without the executable bit of its owner.
    File = 0,
    /// A file with the executable bit of its owner.
    Executable = 1,
    /// A symlink; its content is the text of the link.
    Symlink = 2,
    /// A folder.
    Tree = 3,
}

impl EntryKind {
    /// The kind with this encoding; `None` for an unknown byte.
    pub fn from_byte(byte: u8) -> Option<EntryKind> {
        [EntryKind::File, EntryKind::Executable, EntryKind::Symlink, EntryKind::Tree].get(byte as usize).copied()
    }
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// One component, in any encoding; `rules.rs` has the names that are refused.
    pub name: Vec<u8>,
    /// The type of the entry.
    pub kind: EntryKind,
    /// The id of the content, of the link's text, or of the tree.
    pub id: ObjectId,
    /// Bytes of the file, of the link's text, or of all files of the tree.
    pub size: u64,
    /// The files in the tree, links included; 1 for other kinds.
    pub files: u64,
}

impl Entry {
    /// The pin of the entry alone. A symlink gets the pin of a file with its text.
    pub fn pin(&self) -> Pin {
        let tree = self.kind == EntryKind::Tree;
        let executable = self.kind == EntryKind::Executable;
        Pin { id: self.id, size: self.size, files: tree.then_some(self.files), executable }
    }
}

/// Entries in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree {
    /// Sorted by the bytes of their names; each name once.
    pub entries: Vec<Entry>,
}

impl Tree {
    /// The canonical encoding, which the id is computed from.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        for e in &self.entries {
            writer.entry(&e.name, e.kind, &e.id, e.size, e.files);
        }
        writer.finish()
    }

    /// Parses an encoded tree; accepts only the canonical encoding.
    ///
    /// Errors: another encoding, an unsorted or invalid name, or a version that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Tree, Malformed> {
        let mut rest = bytes;
        match take(&mut rest, 1)? {
            [VERSION] => {}
            [newer] if *newer > VERSION => return Err(Malformed("it was written by a newer version of lockstep")),
            _ => return Err(Malformed("its version is unknown")),
        }
        let count = number(take(&mut rest, 4)?) as usize;
        if count > rest.len() / SHORTEST {
            return Err(Malformed("it is cut short"));
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        let (mut bytes, mut files) = (0u64, 0u64);
        for _ in 0..count {
            let kind = EntryKind::from_byte(take(&mut rest, 1)?[0]).ok_or(Malformed("an entry has an unknown kind"))?;
            let length = number(take(&mut rest, 2)?) as usize;
            let name = take(&mut rest, length)?;
            check_name(name)?;
            if entries.last().is_some_and(|last| last.name.as_slice() >= name) {
                return Err(Malformed("its names are not sorted, or one is repeated"));
            }
            let mut id = ObjectId::default();
            id.0.copy_from_slice(take(&mut rest, 32)?);
            let size = number(take(&mut rest, 8)?);
            let inside = if kind == EntryKind::Tree { number(take(&mut rest, 8)?) } else { 1 };
            if inside == 0 {
                return Err(Malformed("it contains an empty folder"));
            }
            bytes = bytes.checked_add(size).ok_or(Malformed("its sizes are absurd"))?;
            files = files.checked_add(inside).ok_or(Malformed("its sizes are absurd"))?;
            entries.push(Entry { name: name.to_vec(), kind, id, size, files: inside });
        }
        if !rest.is_empty() {
            return Err(Malformed("something follows its end"));
        }
        Ok(Tree { entries })
    }

    /// The pin with the totals that this tree claims.
    pub fn pin(&self) -> Pin {
        let (size, files) = self.entries.iter().fold((0u64, 0u64), |(s, f), e| (s + e.size, f + e.files));
        Pin { id: id_of(&self.encode()), size, files: Some(files), executable: false }
    }
}

/// The id of an encoded tree.
pub fn id_of(encoded: &[u8]) -> ObjectId {
    ObjectId(blake3::derive_key(TREE_CONTEXT, encoded))
}

/// Encodes entries as they arrive, sorted by name, without a [`Tree`] in between.
pub struct Writer {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { bytes: vec![VERSION, 0, 0, 0, 0], count: 0 }
    }
}

impl Writer {
    /// Appends an entry. Entries must arrive sorted by name.
    pub fn entry(&mut self, name: &[u8], kind: EntryKind, id: &ObjectId, size: u64, files: u64) {
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(&id.0);
        self.bytes.extend_from_slice(&size.to_le_bytes());
        if kind == EntryKind::Tree {
            self.bytes.extend_from_slice(&files.to_le_bytes());
        }
        self.count += 1;
    }

    /// The encoding of all entries.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[1..5].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

/// Why some bytes are not a valid tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Checks that a name can only mean a child of its folder.
fn check_name(name: &[u8]) -> Result<(), Malformed> {
    match name {
        b"" => Err(Malformed("a name is empty")),
        b"." | b".." => Err(Malformed("a name is `.` or `..`")),
        _ if name.len() > 255 => Err(Malformed("a name is longer than 255 bytes")),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Malformed("a name holds `/` or NUL")),
        _ => Ok(()),
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = rest.split_at_checked(n).ok_or(Malformed("it is cut short"))?;
    *rest = tail;
    Ok(head)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], kind: EntryKind) -> Entry {
        let id = ObjectId([name.first().copied().unwrap_or(9); 32]);
        Entry { name: name.to_vec(), kind, id, size: 5, files: if kind == EntryKind::Tree { 3 } else { 1 } }
    }

    fn sample() -> Tree {
        use EntryKind::*;
        let names: [(&[u8], EntryKind); 4] = [(b"a", File), (b"b\xff", Symlink), (b"c.sh", Executable), (b"d", Tree)];
        super::Tree { entries: names.iter().map(|(n, k)| entry(n, *k)).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        for tree in [Tree::default(), sample()] {
            assert_eq!(Tree::parse(&tree.encode()).unwrap(), tree);
        }
        assert_eq!((sample().pin().size, sample().pin().files), (20, Some(6)));
    }

    #[test]
    fn ids_never_drift() {
        assert_eq!(id_of(&Tree::default().encode()).hex(), id_of(&[1, 0, 0, 0, 0]).hex());
        assert_ne!(id_of(b"x").0, *blake3::hash(b"x").as_bytes());
        assert_eq!(sample().pin().id.hex(), SAMPLE_ID);
    }

    const SAMPLE_ID: &str = "7012725b02a037e8efb1e15a23709da6b4c73b538b173b9494a21f81a9d1d9ce";

    #[test]
    fn hostile_trees_are_refused() {
        let with =
            |names: &[&[u8]]| Tree { entries: names.iter().map(|n| entry(n, EntryKind::File)).collect() }.encode();
        for names in [
            &[b"".as_slice()][..],
            &[b"."],
            &[b".."],
            &[b"a/b"],
            &[b"a\0b"],
            &[b"/etc"],
            &[b"a", b"a"],
            &[b"b", b"a"],
            &[&[b'n'; 256]],
        ] {
            assert!(Tree::parse(&with(names)).is_err(), "{names:?}");
        }
        let good = sample().encode();
        for cut in 0..good.len() {
            assert!(Tree::parse(&good[..cut]).is_err());
        }
        assert!(Tree::parse(&[&good[..], b"x"].concat()).is_err());
        assert_eq!(Tree::parse(&[1, 255, 255, 255, 255]), Err(Malformed("it is cut short")));
        assert!(Tree::parse(&[2, 0, 0, 0, 0]).unwrap_err().0.contains("newer"));
        let mut bad = good.clone();
        bad[5] = 7;
        assert!(Tree::parse(&bad).is_err());
        let hollow = Tree { entries: vec![Entry { files: 0, ..entry(b"d", EntryKind::Tree) }] };
        assert!(Tree::parse(&hollow.encode()).is_err());
        let huge = Entry { size: u64::MAX, ..entry(b"a", EntryKind::File) };
        assert!(Tree::parse(&Tree { entries: vec![huge, entry(b"b", EntryKind::File)] }.encode()).is_err());
    }

    #[test]
    fn any_accepted_bytes_are_canonical() {
        let good = sample().encode();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                if let Ok(tree) = Tree::parse(&bytes) {
                    assert_eq!(tree.encode(), bytes);
                }
            }
        }
    }
}
