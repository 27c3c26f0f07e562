//! All local objects: hashing, the stat index, objects, trees, links, checkout.

mod digest;
pub mod hash;
mod id;
pub mod index;
mod place;
mod stat;
mod stub;
pub mod tree;

pub use digest::Digest;
pub use id::{ObjectId, Pin};
pub use index::{Listed, NoRules, Rules, StatIndex};
pub use place::{Place, inside};
pub use stub::{Batch, Difference, Store};
