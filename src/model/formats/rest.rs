//! What a file holds beside tensors and metadata: the operators of a graph, settings, Python values. It is hashed, so that
//! a difference is told, and not listed.

use crate::store::{Digest, ObjectId};

const CONTEXT: &str = "lockstep 2026-11-30 what a model file holds beside its tensors";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// A hash of all of it: two files with the same one hold the same.
    Hash(ObjectId),
    /// It is not read.
    Unread,
}

impl Rest {
    /// What two parts of a file hold.
    pub fn with(self, other: Rest) -> Rest {
        match (self, other) {
            (Rest::Unread, _) | (_, Rest::Unread) => Rest::Unread,
            (Rest::Nothing, rest) | (rest, Rest::Nothing) => rest,
            (Rest::Hash(a), Rest::Hash(b)) => {
                let mut hash = RestHash::default();
                hash.update(&a.0).update(&b.0);
                hash.rest()
            }
        }
    }
}

/// Hashes it piece by piece. Something of any length is added behind its length.
pub struct RestHash(Digest);

impl Default for RestHash {
    fn default() -> RestHash {
        RestHash(Digest::new(CONTEXT))
    }
}

impl RestHash {
    pub fn update(&mut self, bytes: &[u8]) -> &mut RestHash {
        self.0.update(bytes);
        self
    }

    /// Bytes with a mark of what they are, and their length.
    pub fn field(&mut self, mark: u8, bytes: &[u8]) {
        self.update(&[mark]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    pub fn rest(&self) -> Rest {
        Rest::Hash(self.0.id())
    }
}
