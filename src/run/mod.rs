//! Deciding, running and recording.
//!
//! `select` says which stages are meant, `look` what is in the workspace, `fresh` (pure) what is stale, `schedule`
//! (pure) what may start, `execute` runs or restores one stage, `record` makes results durable, `journal` remembers
//! them until `fold` writes the locks. `values`, `browse` and `get` read any snapshot.

pub mod commit;
pub mod data;
mod decide;
pub mod dry;
pub mod environment;
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
mod state;
pub mod watchdog;
mod workers;
