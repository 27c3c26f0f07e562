//! What becomes of a model after it was trained, end to end.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

#[path = "../sandbox/mod.rs"]
mod sandbox;

mod bare;
mod bombs;
mod diff;
mod files;
mod hostile;
mod inspect;
mod registry;
mod revision;
mod sound;
