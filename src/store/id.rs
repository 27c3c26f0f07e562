//! Object ids and pins.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// BLAKE3 of a file's content (what `b3sum` prints), or of a tree in derive-key mode: a tree and a file never share
/// an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable, Default)]
#[repr(transparent)]
pub struct ObjectId(pub [u8; 32]);

/// The pinned content of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pin {
    /// The id of the content of a file, or of the tree of a folder.
    pub id: ObjectId,
    /// The bytes of the file, or of all files of the folder.
    pub size: u64,
    /// The number of files in the folder, links included; `None` for a file.
    pub files: Option<u64>,
    /// The executable bit of the owner for a single file; always false for a folder (its tree has the bits).
    pub executable: bool,
}

impl Pin {
    /// Is it the pin of a folder?
    pub fn is_dir(&self) -> bool {
        self.files.is_some()
    }

    /// Do both have the same bytes and the same executable bit? Equal ids imply equal sizes.
    pub fn same_content(&self, other: &Pin) -> bool {
        self.id == other.id && self.executable == other.executable
    }
}

impl ObjectId {
    /// The id of a file with this content.
    pub fn of(bytes: &[u8]) -> ObjectId {
        ObjectId(*blake3::hash(bytes).as_bytes())
    }

    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl FromStr for ObjectId {
    type Err = String;

    fn from_str(text: &str) -> Result<ObjectId, String> {
        blake3::Hash::from_hex(text)
            .map(|h| ObjectId(*h.as_bytes()))
            .map_err(|_| format!("`{text}` is not a BLAKE3 hash of 64 hexadecimal digits"))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex()[..12])
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&self.hex()) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ObjectId, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            <[u8; 32]>::deserialize(d).map(ObjectId)
        }
    }
}

/// The kind of an object: the two are hashed differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// The bytes of a file, or the text of a link.
    Content = 0,
    /// An encoded [`Tree`](super::trees::Tree).
    Tree = 1,
}

impl ObjectKind {
    /// The kind with this encoding; `None` for an unknown byte.
    pub fn from_byte(byte: u8) -> Option<ObjectKind> {
        [ObjectKind::Content, ObjectKind::Tree].get(byte as usize).copied()
    }
}
