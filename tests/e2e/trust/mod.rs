//! Whose word counts: hostile repositories, remotes and neighbours.

mod grades;
mod grants;
