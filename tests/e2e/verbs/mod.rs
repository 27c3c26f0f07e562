//! The small verbs, end to end: what each prints when all is well, and in its likeliest failure.

mod broken;
mod cache;
mod complete;
mod config;
mod hints;
mod init;
mod logs;
mod numbers;
mod odd;
mod program;
mod schema;
mod show;
mod targets;
mod user;
mod words;
