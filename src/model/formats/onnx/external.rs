//! The files beside an ONNX model that it takes weights from, in all its graphs and functions.
//!
//! A runtime opens them by these names, so a loader compares each with the folder of the model first.

use std::collections::BTreeSet;

use super::super::protobuf::{Value, fields};
use super::pair;
use crate::error::Result;
use crate::model::source::Source;

/// More nested messages than any model has.
const MOST_MESSAGES: usize = 5_000_000;

/// The kinds of messages on the way to a tensor.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    /// The message in a field; `None` if no tensor can be in it. Field numbers as in `onnx.proto3`.
    fn inner(self, field: u64) -> Option<Message> {
        match (self, field) {
            (Message::Model, 7) | (Message::Training, 1 | 2) | (Message::Attribute, 6 | 11) => Some(Message::Graph),
            (Message::Model, 20) => Some(Message::Training),
            (Message::Model, 25) => Some(Message::Function),
            (Message::Function, 7) | (Message::Graph, 1) => Some(Message::Node),
            (Message::Function, 11) | (Message::Node, 5) => Some(Message::Attribute),
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) | (Message::Sparse, 1 | 2) => Some(Message::Tensor),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Some(Message::Sparse),
            _ => None,
        }
    }
}

/// The locations that tensors name, as they are in the file.
///
/// Errors: the file is not a valid message, or is made to exhaust memory.
pub fn locations(source: &Source) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![(Message::Model, source.clone())];
    let mut messages = 0;
    while let Some((kind, part)) = open.pop() {
        let mut parts = fields(&part);
        while let Some((number, value)) = parts.field()? {
            let Value::Bytes(bytes) = value else { continue };
            match (kind, number) {
                (Message::Tensor, 13) => {
                    let (key, value) = pair(&bytes)?;
                    if key == "location" {
                        found.insert(value);
                    }
                }
                _ => open.extend(kind.inner(number).map(|inner| (inner, bytes))),
            }
            messages += 1;
            if messages > MOST_MESSAGES {
                return Err(source.refuse(format!("it has more than {MOST_MESSAGES} parts")));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one field.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let key = u16::from(number) << 3 | 2;
        let key = if key < 128 { vec![key as u8] } else { vec![(key & 127 | 128) as u8, (key >> 7) as u8] };
        [key, vec![content.len() as u8], content.to_vec()].concat()
    }

    #[test]
    fn locations_are_found_wherever_a_tensor_can_be() {
        let tensor = field(13, &[field(1, b"location"), field(2, b"../w")].concat());
        let initializer = field(7, &field(5, &tensor));
        let constant = field(7, &field(1, &field(5, &field(5, &tensor))));
        let branch = field(7, &field(1, &field(5, &field(6, &field(5, &tensor)))));
        let sparse = field(7, &field(15, &field(1, &tensor)));
        let function = field(25, &field(7, &field(5, &field(10, &tensor))));
        for model in [initializer, constant, branch, sparse, function] {
            let found = locations(&Source::of_bytes(model, "m.onnx")).unwrap();
            assert_eq!(found, ["../w".to_string()].into());
        }
        assert!(locations(&Source::of_bytes(field(7, b""), "m.onnx")).unwrap().is_empty());
        assert!(locations(&Source::of_bytes(vec![0x3a, 9, 1], "m.onnx")).is_err());
    }
}
