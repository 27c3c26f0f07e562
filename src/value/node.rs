//! A YAML document with marks: the values and their locations.

use super::{Mark, Value};

/// A value with its location.
#[derive(Clone, Debug)]
pub struct Node {
    pub start: Mark,
    /// After its last character.
    pub end: Mark,
    pub tree: Tree,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Never a list or a map.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key; a number or a boolean in the form for commands.
    pub key: String,
    /// Whether the key is a string (not `5` or `true`).
    pub is_string: bool,
    pub start: Mark,
    pub end: Mark,
    pub value: Node,
}

impl Node {
    pub fn into_value(self) -> Value {
        match self.tree {
            Tree::Scalar(value) => value,
            Tree::List(items) => Value::List(items.into_iter().map(Node::into_value).collect()),
            Tree::Map(entries) => Value::Map(entries.into_iter().map(|e| (e.key, e.value.into_value())).collect()),
        }
    }

    pub fn to_value(&self) -> Value {
        self.clone().into_value()
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar(Value::Str(s)) => Some(s),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.tree {
            Tree::List(items) => Some(items),
            _ => None,
        }
    }

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
