//! What has to hold of any remote.

pub mod damage;
pub mod garbage;
pub mod killed;
pub mod refused;
pub mod together;
pub mod travel;
pub mod verify;
pub mod weather;
