//! A stranger's repository, remote or tree, and what lockstep does with it.

mod paths;
mod stores;
mod trees;
