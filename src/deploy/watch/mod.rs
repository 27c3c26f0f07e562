//! Follows the label of a target: fetches its tags, and deploys what was promoted.

pub mod follow;
