//! All local objects: hashing, the stat index, objects, packs, trees, links, checkout.
//!
//! An object lies in a file of its own (`objects`) or, if it is small and came with many others, in a pack (`pack`);
//! the store's interface does not show which. For those who move objects between stores: [`Store::all_of`] and
//! [`Store::lacking`] say what a pin consists of and what of it is not here, [`Store::read`] and
//! [`Store::open_content`] give bytes, [`Store::adopt_pack`] and [`Store::adopt_object`] take them in, verified.

mod away;
mod batch;
mod checkout;
mod copy;
mod damage;
mod difference;
mod digest;
mod export;
mod find;
pub mod gc;
pub mod hash;
mod hold;
mod id;
mod ignored;
pub mod index;
mod inventory;
pub mod join;
mod large;
mod link;
mod marker;
mod materialise;
mod objects;
mod open_folder;
mod overlay;
pub mod pack;
mod place;
mod reach;
mod ready;
mod room;
mod root_folder;
mod runs;
mod stat;
mod stream;
#[cfg(test)]
mod tests;
pub mod tree;
mod tree_rules;
mod unchanged;
mod unprotect;
mod users;
pub mod verify;
mod writable;
mod write_into;
mod young;

pub use away::move_away;
pub use batch::Batch;
pub use checkout::{remove, restore};
pub use difference::{Change, difference};
pub use digest::{Digest, authenticate};
pub use export::export;
pub use find::LARGEST_READ;
pub use hold::Hold;
pub use id::{ObjectId, Pin};
pub use ignored::{Carried, carry_over, strip};
pub use index::{Listed, NoRules, Rules, StatIndex};
pub use inventory::{Lacking, ObjectRef};
pub use link::{LinkType, LinkTypes};
pub use objects::{Generation, ObjectKind, Store};
pub use open_folder::OpenFolder;
pub use overlay::overlay;
pub use place::{Beside, Place, is_beside, leftovers, random_name, sibling, to_path};
pub use reach::Reach;
pub use root_folder::{FolderEntry, RootFolder};
pub use runs::Runs;
pub use stream::ContentReader;
pub use tree_rules::{DEEPEST, check_link, check_names};
pub use unprotect::unprotect;
pub use users::{User, id_in};
pub use writable::{ProtectedKind, WritableArea, WritablePath, real_path};
pub use write_into::write_into;
