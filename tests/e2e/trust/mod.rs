//! Whose word counts: hostile repositories, remotes and neighbours.

mod escapes;
mod grades;
mod grants;
mod secrets;
