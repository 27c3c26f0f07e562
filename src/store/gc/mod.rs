//! Taking away what nobody needs.
//!
//! `census` says what is in the store, `plan` decides (pure), `apply` does it. Who needs what is the caller's knowledge.
//! The order, so that a crash at any point leaves a store in which everything that is needed is whole: the generation is
//! renewed, so nobody remembers anything as complete; then results of the run cache go, since they refer to objects; then
//! what is needed of packs that are to go is written, made durable and named; then files are removed.

mod apply;
mod census;
mod plan;

pub use apply::{Freed, apply};
pub(super) use census::entries;
pub use census::{Census, FoundLoose, FoundPack, FoundRun, census};
pub use plan::{Plan, Rules, plan};
