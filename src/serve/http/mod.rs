//! The server: sockets, connections, limits, and which request means what.

pub mod auth;
pub mod body;
pub mod infer;
pub mod listen;
pub mod page;
pub mod respond;
pub mod router;
pub mod server;
pub mod state;
