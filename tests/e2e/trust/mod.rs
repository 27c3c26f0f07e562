//! What a hostile repository, remote or neighbour must not get.

mod listener;
mod secrets;
mod urls;
