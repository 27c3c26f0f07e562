//! All local objects: hashing, the stat index, objects, trees, links, checkout.

mod id;

pub use id::{ObjectId, Pin};
