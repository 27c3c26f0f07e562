//! One hash of everything in a pickle but its tensors: Python values, classes, names, the order of things.

use super::{Form, Id, Node, Pickle};
use crate::error::Result;
use crate::model::formats::{Rest, RestHash};
use crate::model::source::Source;

/// What is read of byte strings.
const BYTES: u64 = 64 << 20;

/// A hash of the object, in which `is_tensor` tells what is left out; or that there is too much to be read. Parts are
/// numbered as they are met, so that what a pickle shares or repeats counts, and costs no more than its own nodes.
pub fn hash(pickle: &Pickle, source: &Source, is_tensor: &dyn Fn(Id) -> bool) -> Result<Rest> {
    let mut hash = RestHash::default();
    let mut numbers: Vec<u32> = vec![0; pickle.nodes.len()];
    let (mut met, mut left) = (0u32, BYTES);
    let mut stack = vec![pickle.root];
    while let Some(id) = stack.pop() {
        let Some(number) = numbers.get_mut(id as usize) else { continue };
        if *number > 0 {
            hash.update(b"=").update(&number.to_le_bytes());
            continue;
        }
        met += 1;
        *number = met;
        if is_tensor(id) {
            hash.update(b"*");
            continue;
        }
        let mut enter = |mark: &[u8], ids: &mut dyn DoubleEndedIterator<Item = Id>| {
            let from = stack.len();
            stack.extend(ids.rev());
            hash.update(mark).update(&(stack.len() as u64 - from as u64).to_le_bytes());
        };
        match pickle.node(id) {
            Node::Tuple(items) => enter(b"(", &mut items.iter().copied()),
            Node::List(items) => enter(b"[", &mut items.iter().copied()),
            Node::Dict(pairs) => enter(b"{", &mut pairs.iter().flat_map(|(k, v)| [*k, *v])),
            Node::Made(made) => {
                let pairs = made.pairs.iter().flat_map(|(k, v)| [*k, *v]);
                let parts = [made.by, made.args].into_iter().chain(made.state).chain(made.items.iter().copied());
                enter(b"!", &mut parts.chain(pairs).collect::<Vec<_>>().into_iter());
            }
            Node::Persistent(name) => enter(b"@", &mut std::iter::once(*name)),
            Node::Bytes { at, length, form } => {
                let Some(rest) = left.checked_sub(*length) else { return Ok(Rest::Unread) };
                left = rest;
                let mark: &[u8] = if *form == Form::Raw { b"b" } else { b"t" };
                hash.update(mark).update(&length.to_le_bytes()).update(&source.read(*at, *length)?);
            }
            Node::Text(text) => hash.field(b's', text.as_bytes()),
            Node::Global(global) => {
                let name = format!("{}\n{}\n", global.module, global.name);
                hash.update(b"c").update(name.as_bytes());
            }
            Node::None => _ = hash.update(b"N"),
            Node::OutOfBand => _ = hash.update(b"O"),
            Node::Bool(value) => _ = hash.update(&[b'B', u8::from(*value)]),
            Node::Int(value) => _ = hash.update(b"I").update(&value.to_le_bytes()),
            Node::Float(value) => _ = hash.update(b"F").update(&value.to_bits().to_le_bytes()),
        }
    }
    Ok(hash.rest())
}
