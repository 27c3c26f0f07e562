//! All local objects: hashing, the stat index, objects, trees, links, checkout.

mod batch;
mod checkout;
mod copy;
mod difference;
mod digest;
mod export;
pub mod hash;
mod id;
pub mod index;
mod large;
mod link;
mod materialise;
mod objects;
mod place;
mod runs;
mod stat;
#[cfg(test)]
mod tests;
pub mod tree;
mod unprotect;

pub use batch::Batch;
pub use checkout::{remove, restore};
pub use difference::{Change, difference};
pub use digest::Digest;
pub use export::export;
pub use id::{ObjectId, Pin};
pub use index::{Listed, NoRules, Rules, StatIndex};
pub use link::{LinkType, LinkTypes};
pub use objects::{Generation, ObjectKind, Store};
pub use place::{Place, inside, leftovers, sibling, to_path};
pub use runs::Runs;
pub use unprotect::unprotect;
