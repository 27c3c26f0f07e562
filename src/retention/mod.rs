//! What of the store is needed, by whom, and what may go.
//!
//! `claims` reads every lock of a project: on disk in all worktrees, in Git's index, in the stash, in commits, in what Git
//! is in the middle of, in the journals of runs that go on or were killed; `fragment` reads texts that are no whole locks. `scope` says whose claims count, which for other projects that share the
//! store is all of them. `gc` marks from there; the pure plan is made in [`crate::store::gc`]. `cloud` does the same for
//! a remote; `du` says whose the bytes are, with the pure sums of `ledger`. `verify` looks at everything that is kept,
//! names who is hurt by what is damaged, and repairs it.
//!
//! Locks are looked for by their name in whatever folder, whether or not a pipeline file beside them still has their
//! stages: what a lock pins, somebody may want back.

mod accounting;
pub mod du;
mod fragment;
pub mod gc;
mod pins;
pub mod remote;
mod scope;
pub mod verify;

pub use pins::{Claim, Claims};
pub use scope::{Found, Request, State, Which, gather, noted};
