//! Output for people: plots as pages ([`plots`]), and the result of a run as job summaries, annotations and comments on
//! pull requests.
//!
//! `repro` writes its outcome ([`last::LastRun`]); [`collect`] adds the changes against the target branch and makes a
//! [`Report`], which is also a file: one job writes the JSON, and another one, which does not trust it, makes a comment
//! of it. All text from outside is in code spans ([`markdown`]), so that no name and no value of a stranger's branch
//! becomes a link, an image or a mention.
//!
//! Params and metrics are compared by the locks, not by the files: a lock is in Git, so a CI job can compare with the
//! target branch without fetching any output.

pub mod collect;
pub mod comment;
pub mod key;
pub mod last;
pub mod markdown;
pub mod plots;
pub mod provider;
