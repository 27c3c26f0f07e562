//! What is made for people to look at: plots as pages ([`plots`]), and what a run came to, told to those who were not
//! there: job summaries, annotations, comments on pull requests.
//!
//! `repro` leaves its outcome ([`last::LastRun`]); [`collect`] adds what changed against the target branch and makes a
//! [`Report`], which is also a file: the JSON of one job is made a comment by another, which trusts nothing in it.
//! Everything that is not a sentence of ours stands in code spans ([`markdown`]), so that no name and no value of a
//! stranger's branch becomes a link, an image or a mention.
//!
//! Params and metrics are compared as the locks have them, not as files: a lock is in Git, so that a CI job compares
//! with the target branch without fetching a single output of it.

pub mod collect;
pub mod comment;
pub mod key;
pub mod last;
pub mod markdown;
pub mod plots;
pub mod provider;

pub use collect::{Change, Report};
