//! Every command end to end, through the real binary in a sandbox: one program, since linking is what takes time.
//!
//! `cargo test --test e2e` runs all of it, `cargo test --test e2e gc::` one subject.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

mod ci;
mod dag;
mod data_merges;
mod data_versions;
mod deploy;
mod du;
mod edits;
mod environments;
mod gc;
mod golden;
mod hermetic;
mod history;
mod hub;
mod layouts;
mod merges;
mod model;
mod newcomer;
mod plots;
mod promises;
mod readme;
mod restore;
mod runcache;
#[path = "../sandbox/mod.rs"]
mod sandbox;
mod serve;
mod sharing;
mod story;
mod talk;
mod terminal;
mod trust;
mod verbs;
mod verify;
