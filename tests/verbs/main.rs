//! The small verbs, end to end: what each prints when all is well, and in its likeliest failure.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

#[path = "../sandbox/mod.rs"]
mod sandbox;

mod broken;
mod cache;
mod config;
mod hints;
mod init;
mod logs;
mod odd;
mod program;
mod show;
mod targets;
mod user;
mod words;
