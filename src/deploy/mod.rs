//! Deployment: a version's files in a folder or a registry, complete before they have a name, then one atomic switch.

mod manifest;

pub use manifest::{MANIFEST, Manifest, ReleasedFile};
