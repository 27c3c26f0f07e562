//! Hostile repositories, remotes and pull requests.

mod escapes;
mod secrets;
