//! Tombstones: the ids of the damaged objects of a pack.
//!
//! ```text
//! packs/<id>.dead   magic "lockdead", version u32 = 1, reserved u32 = 0, id[32]*, BLAKE3 of all before it [32]
//! ```
//!
//! Written by temp, fsync and rename. Two processes that find damage in one pack at once may lose one of two ids: the
//! next read finds it again. A damaged tombstone file is ignored, and the pack is verified again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::document;
use crate::store::id::ObjectId;

const HEADER: &[u8; 16] = b"lockdead\x01\0\0\0\0\0\0\0";

/// The content of a tombstone file.
pub fn encode(ids: &HashSet<ObjectId>) -> Vec<u8> {
    let mut sorted: Vec<&ObjectId> = ids.iter().collect();
    sorted.sort_unstable();
    let mut bytes = HEADER.to_vec();
    sorted.iter().for_each(|id| bytes.extend_from_slice(&id.0));
    let sum = ObjectId::of(&bytes);
    bytes.extend_from_slice(&sum.0);
    bytes
}

/// `None` if the bytes are not a valid tombstone file.
pub fn parse(bytes: &[u8]) -> Option<HashSet<ObjectId>> {
    let (rest, sum) = bytes.split_last_chunk::<32>()?;
    let ids = rest.strip_prefix(HEADER)?;
    if ids.len() % 32 != 0 || ObjectId::of(rest).0 != *sum {
        return None;
    }
    Some(ids.as_chunks::<32>().0.iter().map(|id| ObjectId(*id)).collect())
}

/// The tombstone file of a pack.
pub fn path_of(pack: &Path) -> PathBuf {
    pack.with_extension("dead")
}

/// The tombstones of a pack; the second value is false if the file cannot be read.
pub fn read(pack: &Path) -> (HashSet<ObjectId>, bool) {
    match document::read(&path_of(pack), document::MOST) {
        Ok(Some(bytes)) => parse(&bytes).map_or((HashSet::new(), false), |ids| (ids, true)),
        Ok(None) => (HashSet::new(), true),
        Err(_) => (HashSet::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_prove_themselves() {
        for n in [0u8, 1, 3] {
            let ids: HashSet<ObjectId> = (0..n).map(|i| ObjectId([i; 32])).collect();
            let bytes = encode(&ids);
            assert_eq!(parse(&bytes), Some(ids));
            for at in 0..bytes.len() {
                assert_eq!(parse(&bytes[..at]), None);
                let mut bad = bytes.clone();
                bad[at] ^= 4;
                assert_eq!(parse(&bad), None);
            }
        }
    }
}
