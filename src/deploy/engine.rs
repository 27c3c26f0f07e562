//! The steps of a deployment, in their order.

use super::request::{Outcome, Request};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::project::Project;

/// Deploys what is asked for. A failed `check`, `after` or `healthy` is in [`Outcome::failure`], since there are events
/// to record; all other failures are errors, and nothing is current that was not before.
pub fn deploy(_project: &Project, _request: &Request, _sink: &dyn Sink) -> Result<Outcome> {
    Err(Error::new(Kind::Bug, "not yet"))
}
