//! Git, seen as this program needs it: where the repository is, what Git tracks and ignores, where pipeline files are.
//!
//! gix is named only here. It reads the user's Git configuration (and the environment that says where it lies) itself,
//! as Git does; everything else comes in as arguments.

mod discover;
pub mod excludes;
mod facts;
mod glob;
mod ignore;
mod install;
mod patterns;
mod program;
mod repo;
#[cfg(test)]
mod testing;
mod unmerged;

pub use discover::{Found, discover};
pub use glob::matches;
pub use ignore::Rules;
pub use install::{Done, HOOKS, Hook};
pub use program::merge_as_text;
pub use repo::Repo;
pub use unmerged::{Underway, Unmerged};
