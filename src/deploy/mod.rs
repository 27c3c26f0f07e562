//! Deployment: a version's files in a folder or a registry, complete before they have a name, then one atomic switch.

pub mod engine;
mod event;
pub mod journal;
mod manifest;
pub mod oci;
pub mod record;
mod request;
pub mod watch;

pub use event::{EVENT_VERSION, Event, EventKind, EventResult};
pub use manifest::{MANIFEST, Manifest, ReleasedFile};
pub use request::{DeployAction, Outcome, Request};
