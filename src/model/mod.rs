//! What becomes of a model after it was trained: versions, labels, gates, provenance.

pub mod checks;
pub mod note;
pub mod registry;
