//! Environments that stages run in: what a declared one resolves to, and the folders of those that are made.
//!
//! An environment is an input of a stage. What counts is not the bytes of its files but what they resolve to on a
//! platform: the packages that would be installed, and the version of Python. One hash over a canonical text of it
//! ([`resolve`]) is in the stage key, and names the folder.
//!
//! Everything here only reads files and starts no program, because `status` uses it: [`uv_lock`] and [`requirements`]
//! read the documents (pure), [`markers`] evaluates their conditions for a [`platform`], [`interpreter`] finds Python and
//! its version by the names of files. `run/environments/` makes the folders, when a stage runs.
//!
//! # Folders
//!
//! `environments/HASH/` in the folder that all worktrees share holds one environment, in its final place, because a
//! virtual environment cannot be moved. `environments/HASH.json`, its [`record`], is written last: without it the folder
//! is incomplete. `environments/HASH.lock` is locked exclusively by who makes or removes it, and shared by stages that
//! run in it ([`lock`]).

pub mod interpreter;
pub mod lock;
mod markers;
mod package;
pub mod platform;
mod python_version;
pub mod record;
mod requirements;
pub mod resolve;
mod state;
mod uv_lock;
mod uv_project;

pub use python_version::PythonVersion;
pub use state::{State, check};
pub use uv_project::normalise;
