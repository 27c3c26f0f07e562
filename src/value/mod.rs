//! Values of YAML, JSON, TOML and Python files.
//!
//! [`Value`] is what a params file holds and what the lock pins; [`node::Node`] is a value with marks (line, column),
//! for files whose mistakes people must be told where: `pipeline.yaml`.

use serde::{Deserialize, Serialize};

/// One value. Maps keep the order of the file; equality of maps does not look at it (see [`Value::same`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// Where something stands in a file: line and column count from 1, in characters; `offset` in bytes from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub line: u32,
    pub column: u32,
    pub offset: u32,
}
