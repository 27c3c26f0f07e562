//! Commands about the project as a whole: settings, Git, CI systems, the store.

pub mod ci;
pub mod completion;
pub mod config;

pub mod hooks;

pub mod merge;
pub mod merge_driver;
pub mod root;
pub mod run_hook;
pub mod schema;
pub mod store;
pub mod version;
