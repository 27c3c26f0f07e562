//! Ids of Git's own objects.

use std::fmt;

/// The id of a commit, tree, blob or tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitId(pub(super) gix::ObjectId);

impl GitId {
    /// As `git log --oneline` shows it in a small repository; long enough for people.
    pub fn short(&self) -> String {
        self.0.to_hex_with_len(7).to_string()
    }

    /// All digits, in lower case.
    pub fn hex(&self) -> String {
        self.0.to_hex().to_string()
    }

    /// Parses all digits (40, with SHA-256 64), as in a lock or a tag.
    pub fn from_hex(text: &str) -> Option<GitId> {
        gix::ObjectId::from_hex(text.as_bytes()).ok().map(GitId)
    }
}

impl fmt::Display for GitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for GitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
