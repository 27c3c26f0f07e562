//! Writes a release into an OCI registry, as an artifact of the CNCF ModelPack format: one layer a file, no tar, no time.
//!
//! The same version gives the same digest. All blobs are there before the manifest, and the manifest before a tag names
//! it, so a reader never sees half a release. A registry has no compare-and-swap on tags: the record in Git decides who
//! was first.

mod artifact;
mod auth;
mod client;
mod push;
mod reference;
mod upload;

pub use auth::Credentials;
pub use client::Registry;
pub use push::push;
pub use reference::{OciReference, SCHEME, tag as tag_name};
pub use upload::Source;

#[cfg(test)]
mod tests;
