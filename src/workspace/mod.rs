//! The worktree while lockstep writes to it: its lock, backups, the journal, `.gitignore`, restores.

pub mod backup;
pub mod checkout;
pub mod gitignore;
pub mod guard;
pub mod join_data;
pub mod journal;
pub(super) mod leftovers;
pub mod lock_update;
pub mod logs;
pub mod orphans;
pub mod preserve;
pub mod recover;
pub mod restore;
pub mod stale_metrics;
pub mod status;
pub mod store_pins;
pub mod worktree_lock;

pub use guard::Workspace;
