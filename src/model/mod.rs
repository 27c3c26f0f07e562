//! The life of a model after training: its content, comparison of two models, versions, labels, gates, provenance.
//!
//! Git is the only database of versions. `registry` folds tags (their grammar is [`crate::tag`]) into models, versions
//! and labels; `origin` traces a version's bytes through the locks of its commit; `checks` and `gate` evaluate
//! conditions on metrics; `reproducible` says why a commit could not be reproduced. `register` plans a version on top
//! of these, `tag_write` makes the tag, `publish` pushes it, and `note` is the content of a tag's message.

pub mod artifact;
pub mod availability;
pub mod checks;
mod chunks;
mod decode;
pub mod diff;
pub mod folder;
pub mod formats;
pub mod origin;
pub mod provenance;
pub mod registry;
mod reproducible;
pub mod script;
pub mod source;
pub mod tensor;
#[cfg(test)]
mod tests;
pub mod trace;
