//! Hashing of data other than files: keys, manifests, names.

use super::ObjectId;

/// An incremental hash with its own context, so that ids of different kinds never collide.
pub struct Digest(blake3::Hasher);

impl Digest {
    /// Starts a hash in this context.
    pub fn new(context: &'static str) -> Digest {
        Digest(blake3::Hasher::new_derive_key(context))
    }

    /// Adds bytes. Their length is not hashed: the caller delimits them.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    pub fn id(&self) -> ObjectId {
        ObjectId(*self.0.finalize().as_bytes())
    }
}
