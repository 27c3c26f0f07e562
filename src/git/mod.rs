//! Git as this program needs it: the location of the repository, tracked and ignored files, pipeline files, and the
//! files of any commit.
//!
//! Only this module uses gix. gix reads the user's Git configuration (and the environment variables for its location)
//! itself, as Git does; all other inputs are arguments.

mod chain;
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

pub use chain::{Link, NewLink, RemoteChain};
pub use discover::{DiscoveredFiles, discover, is_foreign};
pub use glob::matches;
pub use history::History;
pub use history::commit::{Commit, CommitInfo, EntryKind};
pub use history::find_by_name::FilesByName;
#[cfg(test)]
pub use history::refs::tags::Annotation;
pub use history::refs::tags::Tag;
pub use history::select::{CommitSelection, SelectedCommit};
pub use history::signature::{Signature, SignatureState};
pub use id::GitId;
pub use ignore::Rules;
pub use operations::OperationObjects;
pub use operations::unmerged::{OperationKind, UnmergedFile};
pub use program::install::{ActionLog, HOOKS, Hook};
pub use program::worktree_state::WorktreeState;
pub use program::{clear_repository_variables, merge_as_text};
pub use repo::Repo;
pub use repo::server_header::ServerHeader;
pub use repo::variables::Variables;
pub use tagging::{Committer, NewTag};
