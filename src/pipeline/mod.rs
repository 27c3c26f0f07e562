//! What the user wrote: reading, templating, expanding and joining pipeline files.
//!
//! The way of a file: [`load`] reads it, [`format`] judges its shape, [`vars`] gathers its variables, [`expand`] makes
//! the stages of `foreach` and `matrix` and resolves templates ([`template`], [`context`]), [`build`] makes typed stages
//! of them ([`stage`]), [`graph`] joins all stages by their paths. Mistakes are [`problem`]s, all told in one go.

mod budget;
mod build;
pub mod check;
mod context;
pub mod draw;
pub mod edit;
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
pub use graph::{Graph, build as build_graph};
pub use load::{Loaded, load};
