//! Remotes: on a folder always, and on real servers where they are there.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

#[path = "../sandbox/mod.rs"]
mod sandbox;

mod checks;
mod http;
mod proxy;
mod servers;
mod target;
mod weather;
mod workplace;
