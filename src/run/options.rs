//! The options of a run.

use crate::config::modes::Modes;

/// The options of a run. Which stages it covers is in [`crate::plan::select::Selection`].
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    pub force: bool,
    /// Also run the stages that need a stage that ran or was restored, changed or not.
    pub force_downstream: bool,
    pub dry: bool,
    pub keep_going: bool,
    pub ignore_errors: bool,
    /// Whether results are read from and written to the caches.
    pub modes: Modes,
    pub no_commit: bool,
    pub allow_missing: bool,
    pub locked: bool,
    /// How many stages at once; at least 1.
    pub jobs: usize,
    /// The command line as typed, shown to other processes that wait for the lock.
    pub command: String,
    /// Stages own the user's terminal while they run; takes one job.
    pub terminal: bool,
    /// Credentials that the user grants to stages that ask for them.
    pub pass_env: Vec<String>,
    /// Tools that make environments must not use the network.
    pub offline: bool,
    /// Whether to count stale stages outside of the selection.
    pub count_unselected: bool,
}
