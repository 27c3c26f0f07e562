//! Deployment: a version's files in a folder or a registry, complete before they have a name, then one atomic switch.

mod event;
mod manifest;
pub mod record;
pub mod watch;

pub use event::{EVENT_VERSION, Event, EventKind, EventResult};
pub use manifest::{MANIFEST, Manifest, ReleasedFile};
