//! A repository, an address or a tag of a stranger: what may come of it, and what not.

mod addresses;
mod owner;
mod signatures;
