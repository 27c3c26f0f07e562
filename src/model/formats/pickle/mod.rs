//! A reader of pickles that runs nothing.
//!
//! A pickle is a program for a small stack machine. Python's machine imports functions by name and calls them, which is
//! how a model file takes over a computer. This machine only writes down what would be called: the result is a graph of
//! [`Node`]s, in which a call is a node like any other. What a call means is for the caller to know, who knows very few
//! (`torch._utils._rebuild_tensor_v2`, `numpy.dtype`, …).
//!
//! Bounds: operations, nodes, the length and sum of texts. Nodes are named by number and never followed here, so that a
//! pickle that contains itself, or doubles itself a hundred times, costs no more than its own bytes. Long byte strings
//! stay where they are. Opcodes as in CPython's `Lib/pickletools.py`, protocols 0 to 5.

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
    /// Bytes, and texts too long to be kept: where they lie in the source, and how they are written there.
    Bytes {
        at: u64,
        length: u64,
        form: Form,
    },
    /// Bytes that the file does not hold: who reads the pickle gets them from elsewhere (protocol 5).
    OutOfBand,
    /// Something of a Python module, by name.
    Global(Box<Global>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What a call would make.
    Made(Box<Made>),
    /// What the file format itself knows by this name.
    Persistent(Id),
}

/// How bytes or a text are written in a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are: bytes, and what Python 2 calls a string.
    Raw,
    /// A text.
    Utf8,
    /// A string of Python 2 with the escapes of its literals.
    Escaped,
    /// A text in Latin-1, with escapes for what that lacks.
    RawUnicode,
}

#[derive(Debug)]
pub struct Global {
    pub module: String,
    pub name: String,
}

/// A call that was not made, and what would be done to its result.
#[derive(Debug, Default)]
pub struct Made {
    /// The function or class.
    pub by: Id,
    /// A tuple, as a rule.
    pub args: Id,
    /// The last state that it would be given.
    pub state: Option<Id>,
    pub items: Vec<Id>,
    pub pairs: Vec<(Id, Id)>,
    /// Raw values that follow in the stream (joblib): where, and how many bytes.
    pub raw: Option<(u64, u64)>,
}

/// A pickle that was read.
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
        let Node::Made(made) = self.node(id) else { return None };
        Some((self.global(made.by)?, self.items(made.args).unwrap_or_default()))
    }

    /// The value under a key of a dict.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(pairs) = self.node(dict) else { return None };
        pairs.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v)
    }
}

/// What joblib puts into the stream behind the object that describes an array.
pub enum Behind {
    /// So many bytes of values, after padding that tells its own length if there is to be some.
    Values { length: u64, padded: bool },
    /// A pickle with a memory of its own.
    Pickle,
}

/// Tells what follows an object that was just built.
pub type Follows = fn(&Pickle, Id) -> Option<Behind>;

/// Reads one pickle up to its end; the reader then stands behind it.
pub fn read(reader: &mut Reader, follows: Option<Follows>) -> Result<Pickle> {
    machine::run(reader, follows)
}
