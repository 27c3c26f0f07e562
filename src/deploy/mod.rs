//! Deployment: a version's files in a folder or a registry, complete before they have a name, then one atomic switch.
//!
//! `target` says what belongs where, `release` finds its bytes, `folder` is the place, `build` fills a release, `hooks`
//! and `health` run the commands around the switch, `steps` and `confirm` put them in order, `publish` adds a `registry`,
//! `engine` starts them, and `journal` remembers them. `event` is the line of a journal and of the record in Git; `manifest` describes a release without either.

mod build;
mod confirm;
pub mod engine;
mod event;
pub mod folder;
mod health;
mod hooks;
pub mod journal;
mod manifest;
mod oci;
mod prune;
mod publish;
pub mod record;
mod registry;
mod release;
mod request;
mod rollback;
pub mod status;
mod steps;
pub mod target;
pub mod watch;

pub use build::{LINK_MODE, link_hashes};
pub use event::{EVENT_VERSION, Event, EventKind, EventResult};
pub use manifest::{MANIFEST, Manifest, ReleasedFile};
pub use request::{DeployAction, Outcome, Request};
pub use steps::host;
