//! How two snapshots differ: outputs and data, metrics, params. Two snapshots in, a value out: [`sides`] gathers, the
//! comparing itself is pure, and the counter shows what comes back.

pub mod data;
pub mod sides;
pub mod values;
