//! One hash of everything in a pickle except its tensors: Python values, classes, names, order.

use super::{Form, Id, Node, Pickle};
use crate::error::Result;
use crate::model::formats::{OtherContent, OtherContentHash};
use crate::model::source::Source;

/// The maximum number of bytes read from byte strings.
const BYTES: u64 = 64 << 20;

/// Hashes the object without the nodes for which `is_tensor` is true; unread if it is too large. Parts are numbered on
/// first visit, so that sharing and repetition are part of the hash, and cost no more than the nodes themselves.
pub fn hash(pickle: &Pickle, source: &Source, is_tensor: &dyn Fn(Id) -> bool) -> Result<OtherContent> {
    let mut hash = OtherContentHash::default();
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
            Node::CallResult(made) => {
                let pairs = made.pairs.iter().flat_map(|(k, v)| [*k, *v]);
                let parts = [made.by, made.args].into_iter().chain(made.state).chain(made.items.iter().copied());
                enter(b"!", &mut parts.chain(pairs).collect::<Vec<_>>().into_iter());
            }
            Node::Persistent(name) => enter(b"@", &mut std::iter::once(*name)),
            Node::Bytes { at, length, form } => {
                let Some(rest) = left.checked_sub(*length) else { return Ok(OtherContent::Unread) };
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
