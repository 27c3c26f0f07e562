//! Types of the elements of tensors, by the names that frameworks give them.

pub mod numpy;
pub mod torch;
