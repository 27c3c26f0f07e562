//! Garbage collection of a store.
//!
//! `census` lists the content of the store, `plan` decides (pure), `apply` executes. The caller knows which objects are
//! needed. The order keeps all needed objects complete, wherever a crash happens: first the generation is renewed, so
//! no process remembers an object as complete; then results of the run cache are deleted, since they refer to objects;
//! then the needed objects of packs to be deleted are written to a new pack, made durable and renamed; then files are
//! deleted.

mod apply;
mod census;
mod plan;

pub use apply::{GcResult, apply};
pub(super) use census::entries;
pub use census::{Census, FoundLoose, FoundPack, FoundRun, census};
pub use plan::{GcRules, Plan, plan};
