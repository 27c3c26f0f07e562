//! The pipeline files: reading, templating, expanding and joining them.
//!
//! The steps for a file: [`load`] reads it, [`format`] checks its keys and their types, [`vars`] collects its variables, [`expand`]
//! makes the stages of `foreach` and `matrix` and resolves templates ([`template`], [`context`]), [`build`] makes typed
//! stages of them ([`stage`]), [`graph`] joins all stages by their paths. Errors are [`problem`]s, which are all
//! reported at once.

mod budget;
mod build;
pub mod check;
mod context;
pub mod deploy;
pub mod draw;
pub mod edit;
pub mod environments;
mod expand;
mod files;
mod format;
pub mod graph;
pub mod listing;
pub mod load;
pub mod network;
pub mod params;
pub mod problem;
pub mod stage;
mod template;
mod vars;

pub use files::Files;
pub use format::schema;
pub use graph::{Graph, build as build_graph};
pub use load::{Loaded, load};
