//! The options of a run.

use crate::config::modes::Modes;

/// How a run is asked for; what selects its stages stands in [`Selected`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub force: bool,
    /// What needs a stage that ran or was restored, runs, changed or not.
    pub force_downstream: bool,
    pub dry: bool,
    pub keep_going: bool,
    pub ignore_errors: bool,
    /// Who may read and write results.
    pub modes: Modes,
    pub no_commit: bool,
    pub allow_missing: bool,
    pub locked: bool,
    /// How many stages at once; at least 1.
    pub jobs: usize,
    /// The command as typed, for others who wait.
    pub command: String,
    /// Stages own the user's terminal while they run; takes one job.
    pub terminal: bool,
    /// Credentials that the user grants to stages that ask for them.
    pub pass_env: Vec<String>,
    /// Count what is stale outside of the selection.
    pub elsewhere: bool,
}
