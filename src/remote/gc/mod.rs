//! Removes from a remote what nothing needs.

pub mod apply;
mod plan;
pub(super) mod repack;
