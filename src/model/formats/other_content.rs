//! The content of a file besides tensors and metadata: operators of a graph, settings, Python values. It is hashed to
//! detect differences, and not listed.

use crate::error::Result;
use crate::model::source::Source;
use crate::store::{Digest, ObjectId};

const CONTEXT: &str = "lockstep 2026-11-30 what a model file holds beside its tensors";

/// The content of a file besides tensors and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherContent {
    /// The file has tensors and metadata only.
    Nothing,
    /// A hash of all of it: files with the same hash have the same content.
    Hash(ObjectId),
    /// Not read.
    Unread,
}

impl OtherContent {
    /// Combines two parts of a file.
    pub fn with(self, other: OtherContent) -> OtherContent {
        match (self, other) {
            (OtherContent::Unread, _) | (_, OtherContent::Unread) => OtherContent::Unread,
            (OtherContent::Nothing, rest) | (rest, OtherContent::Nothing) => rest,
            (OtherContent::Hash(a), OtherContent::Hash(b)) => {
                let mut hash = OtherContentHash::default();
                hash.update(&a.0).update(&b.0);
                hash.rest()
            }
        }
    }
}

/// Hashes the content incrementally. A part of variable length is preceded by its length.
pub struct OtherContentHash(Digest);

impl Default for OtherContentHash {
    fn default() -> OtherContentHash {
        OtherContentHash(Digest::new(CONTEXT))
    }
}

impl OtherContentHash {
    /// Adds bytes without a length: the caller delimits them.
    pub(super) fn update(&mut self, bytes: &[u8]) -> &mut OtherContentHash {
        self.0.update(bytes);
        self
    }

    /// Adds bytes with a mark of their kind, and their length.
    pub fn field(&mut self, mark: u8, bytes: &[u8]) {
        self.update(&[mark]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    /// Adds all bytes of a source, and their number.
    pub(super) fn source(&mut self, source: &Source) -> Result<()> {
        const PIECE: u64 = 1 << 20;
        self.update(&source.len().to_le_bytes());
        let mut at = 0;
        while at < source.len() {
            let bytes = source.read(at, PIECE.min(source.len() - at))?;
            at += bytes.len() as u64;
            self.update(&bytes);
        }
        Ok(())
    }

    /// The hash of all bytes so far.
    pub(super) fn rest(&self) -> OtherContent {
        OtherContent::Hash(self.0.id())
    }
}
