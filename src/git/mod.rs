//! Git, seen as this program needs it: where the repository is, what Git tracks and ignores, where pipeline files are, and
//! what any commit holds.
//!
//! gix is named only here. It reads the user's Git configuration (and the environment that says where it lies) itself,
//! as Git does; everything else comes in as arguments.

mod discover;
mod glob;
mod history;
mod id;
pub mod ignore;
mod index;
mod operations;
pub mod program;
mod repo;
mod tagging;
#[cfg(test)]
pub mod testing;

pub use discover::{Found, discover, is_foreign};
pub use glob::matches;
pub use history::commit::{About, Commit, EntryKind, TreeEntry};
pub use history::find_by_name::Named;
pub use history::refs::tags::{Annotation, Tag};
pub use history::signature::{Signature, State as SignatureState};
pub use history::{Chosen, History, Which};
pub use id::GitId;
pub use ignore::Rules;
pub use operations::Unfinished;
pub use operations::unmerged::{Underway, Unmerged};
pub use program::install::{Done, HOOKS, Hook};
pub use program::{forget_repository, merge_as_text};
pub use repo::Repo;
pub use repo::variables::Variables;
pub use tagging::{Committer, NewTag};
