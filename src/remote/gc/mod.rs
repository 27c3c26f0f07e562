//! Removes from a remote what nothing needs.

pub mod apply;
pub mod plan;
pub(super) mod repack;
