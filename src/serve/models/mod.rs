//! The models that a server has: where each comes from, what is loaded, and the switch to another version.

pub mod folder;
pub mod load;
pub mod private_folder;
pub mod registry;
pub mod release;
pub mod source;
pub mod switch;
