//! All local objects: hashing, the stat index, objects, trees, links, checkout.

mod digest;
mod id;
mod stub;

pub use digest::Digest;
pub use id::{ObjectId, Pin};
pub use stub::{Ask, Batch, Difference, Rules, StatIndex, Store, inside};
