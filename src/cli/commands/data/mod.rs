//! Commands that track data, and that move outputs and data between workspace, store and remotes.

pub mod add;
pub mod checkout;
pub mod commit;
pub mod fetch;
pub mod get;
pub mod import;
pub mod list;
pub mod pull;
pub mod push;
pub mod remote;
pub mod transfer;
