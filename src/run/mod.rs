//! Runs stages: decides, executes and records them.
//!
//! `repro` drives one run, `decide` looks at each stage and carries out its `next_action`, `execute` runs or restores it on a worker, `record` makes
//! results durable, `finish` updates the run's state.

mod announce;
pub mod commit;
pub mod data;
mod decide;
pub mod dry;
pub mod environment;
pub mod environments;
pub mod execute;
mod finish;
pub mod local;
pub mod mask;
pub mod options;
pub mod outcome;
pub mod pty;
pub mod pull;
pub mod record;
pub mod repro;
mod stale_count;
mod start;
mod state;
pub mod watchdog;
mod workers;
