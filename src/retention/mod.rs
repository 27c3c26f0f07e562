//! Which data of the store is needed, by what, and what may be removed.
//!
//! `pins` reads every lock of a project: on disk in all worktrees, in Git's index, in the stash, in commits, in
//! unfinished operations of Git, and in the journals of runs that are running or were killed; `fragment` reads texts
//! that are not complete locks. `scope` selects the states whose pins are in effect, which for other projects that
//! share the store is all of them. `gc` marks from there; the pure plan is made in [`crate::store::gc`]. `remote` does
//! the same for a remote; `du` reports disk usage, with the pure sums of `accounting`. `verify` checks all stored data,
//! names the outputs that damage affects, and repairs it.
//!
//! Locks are found by their file name in any folder, whether or not a pipeline file beside them still has their stages:
//! what a lock pins may be wanted back.

mod accounting;
pub mod du;
mod fragment;
pub mod gc;
mod pins;
pub mod remote;
mod scope;
pub mod verify;

pub use scope::{CommitScope, ScopeRequest, registered_projects};
