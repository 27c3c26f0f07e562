//! Commands that show and compare versions of outputs, metrics, params and plots.

pub mod diff;
mod diff_values;
mod grouped_warnings;
pub mod metrics;
pub mod params;
pub mod plots;
mod show_values;
