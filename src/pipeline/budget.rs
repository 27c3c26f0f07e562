//! Limits the size of a repository's pipelines.
//!
//! A file of a megabyte can multiply: `foreach` and `matrix` make stages, `${}` copies a value into each of them, and a
//! params file is copied for every stage that names it. A [`Budget`] is charged before anything is copied, so that a
//! mistake, or a hostile file, gives an error instead of exhausting the memory.

use crate::value::Value;
use crate::value::node::{Node, Tree};

/// The maximum number of stages of a repository.
pub const MOST_STAGES: usize = 100_000;
/// The maximum size in bytes of all stages together, with templates resolved.
pub const MOST_BYTES: usize = 256 << 20;
/// The size of one value besides its text.
pub const VALUE: usize = 64;

/// The maximum length of a stage name in bytes.
pub const LONGEST_NAME: usize = 1024;

/// The hint for an exceeded limit.
pub const SMALLER: &str = "move long values into a file that the stages read";

/// The end of a sentence about values that are copied too often.
pub fn too_large() -> String {
    format!("the stages of the repository would take more than {} MiB", MOST_BYTES >> 20)
}

/// What is left of the limits.
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
    /// Takes this many stages; false if there is no room.
    pub fn take_stages(&mut self, count: usize) -> bool {
        take(&mut self.stages, count)
    }

    /// Takes this many bytes; false if there is no room.
    pub fn take_bytes(&mut self, bytes: usize) -> bool {
        take(&mut self.bytes, bytes)
    }

    /// Takes a value with a text of this length; false if there is no room.
    pub fn take_text(&mut self, length: usize) -> bool {
        self.take_bytes(length.saturating_add(VALUE))
    }

    /// Takes a copy of `value`; false if there is no room. Stops at the limit.
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

    /// Takes a copy of `node`; false if there is no room.
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
