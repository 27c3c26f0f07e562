//! A pickle reader that executes nothing.
//!
//! A pickle is a program for a small stack machine. Python's machine imports functions by name and calls them, so a
//! model file can take over a computer. This machine only records the calls: the result is a graph of [`Node`]s, in
//! which a call is a node like any other. The caller interprets the few calls that it knows
//! (`torch._utils._rebuild_tensor_v2`, `numpy.dtype`, …).
//!
//! Limits: operations, nodes, the length and sum of texts. Nodes refer to each other by number and are not followed
//! here, so that a pickle that contains itself, or doubles itself a hundred times, costs no more than its own bytes.
//! Long byte strings are left in the file. Opcodes as in CPython's `Lib/pickletools.py`, protocols 0 to 5.

pub mod content;
mod hash;
mod machine;
#[cfg(test)]
mod tests;

pub use hash::hash;

use crate::error::Result;
use crate::model::source::Reader;

/// A node, by its number.
pub type Id = u32;

#[derive(Debug)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Bytes, and texts too long to be stored: their location in the source, and their encoding.
    Bytes {
        at: u64,
        length: u64,
        form: Form,
    },
    /// Bytes that are not in the file: the reader of the pickle gets them separately (protocol 5).
    OutOfBand,
    /// Something of a Python module, by name.
    Global(Box<Global>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The result of a call.
    CallResult(Box<CallResult>),
    /// An object that the file format identifies by this name.
    Persistent(Id),
}

/// The encoding of bytes or a text in a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Unchanged: bytes, and strings of Python 2.
    Raw,
    /// A text.
    Utf8,
    /// A string of Python 2 with the escapes of its literals.
    Escaped,
    /// A text in Latin-1, with escapes for other characters.
    RawUnicode,
}

#[derive(Debug)]
pub struct Global {
    pub module: String,
    pub name: String,
}

/// A recorded call, and the operations on its result.
#[derive(Debug, Default)]
pub struct CallResult {
    /// The function or class.
    pub by: Id,
    /// A tuple, as a rule.
    pub args: Id,
    /// The last state that would be set on it.
    pub state: Option<Id>,
    pub items: Vec<Id>,
    pub pairs: Vec<(Id, Id)>,
    /// Raw values that follow in the stream (joblib): their offset and length.
    pub raw: Option<(u64, u64)>,
}

/// A parsed pickle.
pub struct Pickle {
    pub protocol: u8,
    pub nodes: Vec<Node>,
    /// The object.
    pub root: Id,
}

impl Pickle {
    pub fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) = self.node(id) { Some(text) } else { None }
    }

    pub fn int(&self, id: Id) -> Option<u64> {
        if let Node::Int(n) = self.node(id) { u64::try_from(*n).ok() } else { None }
    }

    /// The elements of a tuple or a list.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn ints(&self, id: Id) -> Option<Vec<u64>> {
        self.items(id)?.iter().map(|id| self.int(*id)).collect()
    }

    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        if let Node::Global(global) = self.node(id) { Some((&global.module, &global.name)) } else { None }
    }

    /// The function and the arguments of a call.
    pub fn call(&self, id: Id) -> Option<((&str, &str), &[Id])> {
        let Node::CallResult(made) = self.node(id) else { return None };
        Some((self.global(made.by)?, self.items(made.args).unwrap_or_default()))
    }

    /// The value under a key of a dict.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(pairs) = self.node(dict) else { return None };
        pairs.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v)
    }
}

/// What joblib stores in the stream after the object that describes an array.
pub enum StreamContent {
    /// `length` bytes of values, preceded by padding that includes its own length if `padded` is set.
    Values { length: u64, padded: bool },
    /// A pickle with a memo of its own.
    Pickle,
}

/// Returns what follows an object that was just built.
pub type Follows = fn(&Pickle, Id) -> Option<StreamContent>;

/// Reads one pickle; the reader is positioned after its end.
pub fn read(reader: &mut Reader, follows: Option<Follows>) -> Result<Pickle> {
    machine::run(reader, follows)
}
