//! Reads files of any commit, of this or another repository.

pub mod get;
mod lfs;
pub mod origin;
