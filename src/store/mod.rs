//! All local objects: hashing, the stat index, objects, packs, trees, links, checkout.
//!
//! An object lies in a file of its own (`objects`) or, if it is small and came with many others, in a pack (`pack`);
//! the store's interface does not show which. For those who move objects between stores: [`Store::all_of`] and
//! [`Store::lacking`] say what a pin consists of and what of it is not here, [`Store::read`] and
//! [`Store::open_content`] give bytes, [`Store::adopt_pack`] and [`Store::adopt_object`] take them in, verified.

mod batch;
mod checkout;
mod copy;
mod diff;
mod digest;
mod fs;
pub mod gc;
pub mod hash;
mod id;
pub mod index;
mod objects;
mod overlay;
pub mod pack;
#[cfg(test)]
mod tests;
pub mod trees;
pub mod verify;

pub use batch::Batch;
pub use checkout::export::export;
pub use checkout::preserve::{Carried, carry_over, strip};
pub use checkout::restore;
pub use diff::{Change, difference};
pub use digest::{Digest, authenticate};
pub use fs::link::{LinkType, LinkTypes};
pub use fs::open_folder::OpenFolder;
pub use fs::paths::{Beside, Place, is_beside, leftovers, random_name, sibling, to_path};
pub use fs::rename::move_away;
pub use fs::rename::remove;
pub use fs::root_folder::{FolderEntry, RootFolder};
pub use fs::unprotect::unprotect;
pub use fs::writable::{ProtectedKind, WritableArea, WritablePath, real_path};
pub use fs::write_into::write_into;
pub use id::ObjectKind;
pub use id::{ObjectId, Pin};
pub use index::{Listed, NoRules, Rules, StatIndex};
pub use objects::closure::{Lacking, ObjectRef};
pub use objects::projects::{User, id_in};
pub use objects::reachable::Reach;
pub use objects::reader::ContentReader;
pub use objects::results::Runs;
pub use objects::store_lock::Hold;
pub use objects::{Generation, Store};
pub use overlay::overlay;
pub use pack::format::LARGEST_READ;
pub use trees::rules::{DEEPEST, check_link, check_names};
