//! Comparison of two snapshots: outputs and data, metrics, params. [`sides`] gathers the input, the comparison is pure,
//! and the command line prints the result.

pub mod data;
pub mod side_by_side;
pub mod sides;
pub mod values;
