//! All local objects: hashing, the stat index, objects, packs, trees, links, checkout.
//!
//! An object is a file of its own (`objects`) or, if it is small and was stored with many others, part of a pack
//! (`pack`); the interface of the store hides which. For code that moves objects between stores:
//! [`Store::list_objects`] and [`Store::missing_objects`] list the objects of a pin and those that the store lacks,
//! [`Store::read`] and [`Store::open_content`] return bytes, [`Store::adopt_pack`] and [`Store::adopt_object`] verify
//! and add them.

mod batch;
mod checkout;
mod copy;
mod diff;
mod digest;
mod fs;
pub mod gc;
pub mod hash;
mod id;
mod index;
mod objects;
mod overlay;
pub mod pack;
#[cfg(test)]
mod tests;
pub mod trees;
pub mod verify;

pub use batch::Batch;
pub use checkout::export::export;
pub use checkout::free_space::check_free_space;
pub use checkout::hashed_copy::{
    FileHashes, hash_open_file, is_unchanged, mode_of, seal_in_place, sync_folders, write_out,
};
pub use checkout::preserve::{PreserveResult, carry_over, strip};
pub use checkout::restore;
pub use diff::{Change, difference};
pub use digest::Digest;
pub use fs::link::{LinkType, LinkTypes};
pub use fs::open_folder::OpenFolder;
pub use fs::paths::{
    SiblingKind, TrackedPath, abandoned_siblings, is_sibling_name, random_name, temp_sibling, to_path,
};
pub use fs::rename::move_away;
pub use fs::rename::remove;
pub use fs::root_folder::{FolderEntry, RootFolder};
pub use fs::unprotect::unprotect;
pub use fs::writable::{ProtectedKind, WritableArea, WritablePath, real_path};
pub use fs::write_into::write_into;
pub use id::ObjectKind;
pub use id::{ObjectId, Pin};
pub use index::{ListedEntry, NoRules, Rules, StatIndex};
pub use objects::closure::{MissingObjects, ObjectRef};
pub use objects::projects::{StoreUser, id_in};
pub use objects::reachable::ReachableObjects;
pub use objects::reader::ContentReader;
pub use objects::results::StoredRuns;
pub use objects::store_lock::StoreLock;
pub use objects::walk::{TreeWalk, WalkStep};
pub use objects::{Generation, Store};
pub use overlay::overlay;
pub use pack::format::LARGEST_READ;
pub use trees::rules::{DEEPEST, check_link, check_names};
