//! Deciding, running and recording.
//!
//! `select` says which stages are meant, `look` what is in the workspace, `fresh` (pure) what is stale, `schedule`
//! (pure) what may start, `execute` runs or restores one stage, `record` makes results durable, `journal` remembers
//! them until `fold` writes the locks. `values`, `browse` and `get` read any snapshot.

pub mod add;
pub mod aside;
pub mod bashisms;
pub mod browse;
pub mod cache;
pub mod checkout;
pub mod commit;
pub mod data;
pub mod data_version;
mod decide;
pub mod dry;
pub mod edit;
mod elsewhere;
pub mod environment;
pub mod execute;
pub mod fold;
pub mod fresh;
pub mod get;
mod hidden_edge;
pub mod ignore;
pub mod ignored;
pub mod import;
pub mod join_data;
pub mod journal;
mod leftover;
pub mod local;
pub mod locked_secrets;
pub mod logs;
pub mod look;
pub mod mask;
pub mod merge;
pub mod origin;
pub mod orphan;
pub mod outcome;
mod program_version;
pub mod programs;
pub mod pty;
pub mod pull;
pub mod record;
pub mod remove;
pub mod repro;
pub mod restore;
pub mod schedule;
pub mod select;
mod settle;
pub mod stale_metrics;
pub mod status;
pub mod trust;
mod upstream;
pub mod values;
pub mod watchdog;
mod workers;
pub mod workspace;
