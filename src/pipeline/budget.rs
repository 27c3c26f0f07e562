//! How large the pipelines of a repository may become.
//!
//! A file of a megabyte can multiply: `foreach` and `matrix` make stages, `${}` copies a value into each of them, and a
//! params file counts for every stage that names it. A [`Budget`] is taken from before anything is copied, so that a
//! slip, or a stranger's file, is a message and not a machine out of memory.

use crate::value::Value;
use crate::value::node::{Node, Tree};

/// How many stages a repository may have.
pub const MOST_STAGES: usize = 100_000;
/// How many bytes all stages together may take, with templates resolved.
pub const MOST_BYTES: usize = 256 << 20;
/// What one value takes besides its text.
pub const VALUE: usize = 64;

/// The name of a stage has at most this many bytes.
pub const LONGEST_NAME: usize = 1024;

/// What to type when a limit is exceeded.
pub const SMALLER: &str = "put what is long into a file, and let the stages read that";

/// The end of a sentence about values that are copied too often.
pub fn too_large() -> String {
    format!("the stages of the repository would take more than {} MiB", MOST_BYTES >> 20)
}

pub struct Budget {
    stages: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { stages: MOST_STAGES, bytes: MOST_BYTES }
    }
}

impl Budget {
    /// Is there room for so many stages more?
    pub fn take_stages(&mut self, count: usize) -> bool {
        take(&mut self.stages, count)
    }

    /// Is there room for so many bytes more?
    pub fn take_bytes(&mut self, bytes: usize) -> bool {
        take(&mut self.bytes, bytes)
    }

    /// Is there room for a value with this text?
    pub fn take_text(&mut self, length: usize) -> bool {
        self.take_bytes(length.saturating_add(VALUE))
    }

    /// Is there room for a copy of `value`? Does not look further than the room goes.
    pub fn take_value(&mut self, value: &Value) -> bool {
        match value {
            Value::Str(text) => self.take_text(text.len()),
            Value::List(items) => self.take_text(0) && items.iter().all(|item| self.take_value(item)),
            Value::Map(entries) => {
                self.take_text(0)
                    && entries.iter().all(|(key, value)| self.take_text(key.len()) && self.take_value(value))
            }
            _ => self.take_text(0),
        }
    }

    /// Is there room for a copy of `node`?
    pub fn take_node(&mut self, node: &Node) -> bool {
        match &node.tree {
            Tree::Scalar(value) => self.take_value(value),
            Tree::List(items) => self.take_text(0) && items.iter().all(|item| self.take_node(item)),
            Tree::Map(entries) => {
                self.take_text(0) && entries.iter().all(|e| self.take_text(e.key.len()) && self.take_node(&e.value))
            }
        }
    }

    /// The bytes that are left.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn take(left: &mut usize, count: usize) -> bool {
    let now = left.checked_sub(count);
    *left = now.unwrap_or(0);
    now.is_some()
}
