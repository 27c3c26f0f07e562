//! What the user wrote: reading, templating, expanding and joining pipeline files.

pub mod stage;
