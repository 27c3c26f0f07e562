//! Packs: many small objects in one file, because a hundred thousand small files must not cost a hundred thousand
//! creates, renames, syncs or requests.
//!
//! ```text
//! packs/<id>.pack   immutable, 0444: see `format`
//! packs/<id>.dead   ids of its objects that were found damaged: see `tombstones`
//! ```
//!
//! A pack appears by one rename after its bytes are durable, so it is either complete or absent. The indexes of all
//! packs are read at the first lookup, and the folder is listed again when an object is not found and the folder
//! changed, since other processes write, too. The seal of an object (see `fs::seal`) applies to a pack as a whole:
//! while it is intact, all objects of the pack count as good without a read. Objects that leave a pack are verified all
//! the same.
//!
//! A pack with a broken index moves to quarantine as it is. A damaged object of a good pack is copied to quarantine and
//! gets a tombstone: it counts as missing, the others stay usable, and it may be stored again.

pub(super) mod file;
pub mod format;
mod set;
pub mod table;
#[cfg(test)]
mod tests;
pub(super) mod tombstones;

pub use file::Pack;
pub use set::PackSet;
