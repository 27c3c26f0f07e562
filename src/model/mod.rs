//! What becomes of a model after it was trained: what is inside, how two of them differ, versions, labels, gates,
//! provenance.
//!
//! Git is the only database of versions. `registry` folds tags (their grammar is [`crate::tag`]) into models, versions
//! and labels; `origin` traces a version's bytes through the locks of its commit; `checks` and `gate` judge conditions on
//! metrics; `sound` says why a commit could not be reproduced. `register` plans a version on top of these, `act` makes
//! the tag, `publish` pushes it, and `note` is what a tag's message carries.

pub mod artifact;
pub mod availability;
pub mod checks;
pub mod decode;
pub mod diff;
pub mod formats;
pub mod origin;
pub mod provenance;
pub mod registry;
pub mod reproducible;
pub mod script;
pub mod source;
pub mod tensor;
#[cfg(test)]
mod tests;
pub mod trace;
