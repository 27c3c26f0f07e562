//! Git, seen as this program needs it: where the repository is, what Git tracks and ignores, where pipeline files are, and
//! what any commit holds.
//!
//! gix is named only here. It reads the user's Git configuration (and the environment that says where it lies) itself,
//! as Git does; everything else comes in as arguments.

mod ahead;
mod apart;
mod commit;
mod discover;
mod discover_at;
pub mod excludes;
mod facts;
mod foreign;
mod format;
mod glob;
mod history;
mod id;
mod ignore;
mod index;
mod install;
mod mail;
mod model_revision;
mod named;
pub mod other;
mod owner;
mod packed;
mod partial;
mod patterns;
mod pending;
mod places;
mod program;
mod protected;
mod publish;
mod ref_store;
mod reflog;
mod refs;
mod reftable;
mod repo;
mod shown;
mod signature;
mod tagging;
mod tags;
#[cfg(test)]
pub mod testing;
mod todo;
mod unmerged;
mod variables;
mod versions;
mod worktrees;

pub use commit::{About, Commit, EntryKind, TreeEntry};
pub use discover::{Found, discover, is_foreign};
pub use glob::matches;
pub use history::{Chosen, History, Which};
pub use id::GitId;
pub use ignore::Rules;
pub use install::{Done, HOOKS, Hook};
pub use named::Named;
pub use pending::Unfinished;
pub use program::{forget_repository, merge_as_text};
pub use repo::Repo;
pub use signature::{Signature, State as SignatureState};
pub use tagging::{Committer, NewTag};
pub use tags::{Annotation, Tag};
pub use unmerged::{Underway, Unmerged};
pub use variables::Variables;
