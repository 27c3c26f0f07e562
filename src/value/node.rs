//! A YAML document with marks: the values and their locations.

use super::{Mark, Value};

/// A value with its location.
#[derive(Clone, Debug)]
pub struct Node {
    /// At its first character.
    pub start: Mark,
    /// After its last character.
    pub end: Mark,
    /// The content.
    pub tree: Tree,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Never a list or a map.
    Scalar(Value),
    /// The items, in order.
    List(Vec<Node>),
    /// The entries, in the order of the file; each key once.
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key; a number or a boolean in the form for commands.
    pub key: String,
    /// Whether the key is a string (not `5` or `true`).
    pub is_string: bool,
    /// The start of the key.
    pub start: Mark,
    /// The end of the key.
    pub end: Mark,
    /// The value under the key.
    pub value: Node,
}

impl Node {
    /// The value without the locations.
    pub fn into_value(self) -> Value {
        match self.tree {
            Tree::Scalar(value) => value,
            Tree::List(items) => Value::List(items.into_iter().map(Node::into_value).collect()),
            Tree::Map(entries) => Value::Map(entries.into_iter().map(|e| (e.key, e.value.into_value())).collect()),
        }
    }

    /// A copy of the value without the locations.
    pub fn to_value(&self) -> Value {
        self.clone().into_value()
    }

    /// The text of a string; `None` for other kinds.
    pub fn as_str(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar(Value::Str(s)) => Some(s),
            _ => None,
        }
    }

    /// The entries of a map; `None` for other kinds.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list; `None` for other kinds.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.tree {
            Tree::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entry with this key; `None` if there is none, or this is not a map.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|e| e.key == key)
    }

    /// The kind of value, for messages: `a list`.
    pub fn kind(&self) -> &'static str {
        match &self.tree {
            Tree::Scalar(value) => value.kind(),
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }
}
