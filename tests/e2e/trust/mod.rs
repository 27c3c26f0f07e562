//! What a stranger gains: nothing.

mod escapes;
mod secrets;
