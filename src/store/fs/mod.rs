//! The file system below the store: paths, renames, stat, folders opened without following links.

pub(super) mod link;
pub(super) mod open_folder;
pub(super) mod paths;
pub(super) mod rename;
pub(super) mod root_folder;
pub(super) mod seal;
pub(super) mod stat;
pub(super) mod unprotect;
pub(super) mod writable;
pub(super) mod write_into;
