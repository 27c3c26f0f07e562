//! The run cache: results of earlier runs by stage key, and whose results are trusted.

pub mod entries;
pub mod signatures;
