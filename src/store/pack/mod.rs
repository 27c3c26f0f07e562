//! Packs: many small objects in one file, because a hundred thousand small files must not cost a hundred thousand
//! creates, renames, syncs or requests.
//!
//! ```text
//! packs/<id>.pack   immutable, 0444: see `format`
//! packs/<id>.dead   ids of its objects that were found damaged: see `dead`
//! ```
//! A pack appears by one rename after its bytes are durable, so it is there whole or not at all. The indexes of all
//! packs are read when something is first looked for, and the folder is listed again when something is not found and
//! the folder changed, since other processes write too. The seal of an object (see `objects`) holds for a pack as a
//! whole: while nobody wrote to it since all of its objects were verified, they count as good unread. What leaves a
//! pack is verified all the same.
//!
//! A pack whose index is broken is moved to quarantine as it is. One bad object of a good pack is copied there and put
//! under a tombstone: it counts as missing, the others stay usable, and it may be stored again.

pub(super) mod file;
pub mod format;
mod set;
pub mod table;
#[cfg(test)]
mod tests;
pub(super) mod tombstones;

pub use file::Pack;
pub use set::Shelf;
