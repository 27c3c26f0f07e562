//! What becomes of a model after it was trained: what is inside, and how two of them differ.

pub mod decode;
pub mod diff;
pub mod find;
pub mod formats;
pub mod script;
pub mod source;
pub mod tensor;
#[cfg(test)]
mod tests;
