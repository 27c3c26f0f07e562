//! Walks the object that a pickle describes, to find its parts and their names.

use super::pickle::{Id, Node, Pickle};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The maximum depth of the search for arrays. Real models stay below 20.
const DEPTH: usize = 60;
/// The maximum sum of the lengths of all paths, with a fixed cost per part.
const PATHS: usize = 64 << 20;
const PART: usize = 32;
/// The note on parts that are nested deeper.
pub const TOO_DEEP: &str = "objects that are nested more than 60 deep are not looked at";

/// What to do with a part of an object.
pub enum Visit {
    Enter,
    /// Only this part of it, under the same path.
    EnterOnly(Id),
    Skip,
}

/// Walks an object and its attributes, and calls `visit` with each part and its path. A shared part is entered once, so
/// that neither cycles nor doublings matter; the length of all paths together is bounded.
pub struct Walk<'a> {
    pickle: &'a Pickle,
    seen: Vec<bool>,
    left: usize,
    /// False if a part was skipped because of its depth.
    complete: bool,
    visit: &'a mut dyn FnMut(&str, Id) -> Visit,
}

impl Walk<'_> {
    /// Returns whether all parts were visited; those that are nested deeper than [`DEPTH`] are not.
    pub fn over(pickle: &Pickle, visit: &mut dyn FnMut(&str, Id) -> Visit, source: &Source) -> Result<bool> {
        let seen = vec![false; pickle.nodes.len()];
        let mut walk = Walk { pickle, seen, left: PATHS, complete: true, visit };
        if walk.go(pickle.root, "", 0).is_none() {
            return Err(source.refuse("its objects are too many, or nested too deep, to be named"));
        }
        Ok(walk.complete)
    }

    fn go(&mut self, id: Id, path: &str, depth: usize) -> Option<()> {
        let pickle = self.pickle;
        let inner = matches!(pickle.node(id), Node::Tuple(_) | Node::List(_) | Node::Dict(_) | Node::CallResult(_));
        if !inner || depth > DEPTH {
            self.complete &= !inner;
            return Some(());
        }
        self.left = self.left.checked_sub(path.len() + PART)?;
        let visit = (self.visit)(path, id);
        if matches!(visit, Visit::Skip) || std::mem::replace(&mut self.seen[id as usize], true) {
            return Some(());
        }
        if let Visit::EnterOnly(part) = visit {
            return self.go(part, path, depth + 1);
        }
        match pickle.node(id) {
            Node::Tuple(items) | Node::List(items) => self.items(items, path, depth),
            Node::Dict(pairs) => self.pairs(pairs, path, depth),
            Node::CallResult(made) => {
                if let Some(pairs) = old_pairs(pickle, id) {
                    self.pairs(&pairs, path, depth)?;
                    return made.state.map_or(Some(()), |state| self.go(state, path, depth + 1));
                }
                self.items(pickle.items(made.args).unwrap_or_default(), path, depth)?;
                self.items(&made.items, path, depth)?;
                self.pairs(&made.pairs, path, depth)?;
                made.state.map_or(Some(()), |state| self.go(state, path, depth + 1))
            }
            _ => Some(()),
        }
    }

    fn items(&mut self, items: &[Id], path: &str, depth: usize) -> Option<()> {
        items.iter().enumerate().try_for_each(|(i, id)| self.go(*id, &join(path, &i.to_string()), depth + 1))
    }

    fn pairs(&mut self, pairs: &[(Id, Id)], path: &str, depth: usize) -> Option<()> {
        pairs.iter().try_for_each(|(key, id)| match self.pickle.node(*key) {
            Node::Text(key) => self.go(*id, &join(path, &shown(key)), depth + 1),
            Node::Int(key) => self.go(*id, &join(path, &key.to_string()), depth + 1),
            _ => self.go(*id, path, depth + 1),
        })
    }
}

/// The pairs of an ordered dict of Python 2, which is called with a list of lists of two.
fn old_pairs(pickle: &Pickle, id: Id) -> Option<Vec<(Id, Id)>> {
    let (("collections", "OrderedDict"), [list]) = pickle.call(id)? else { return None };
    let pair = |id: &Id| match pickle.items(*id)? {
        [key, value] => Some((*key, *value)),
        _ => None,
    };
    pickle.items(*list)?.iter().map(pair).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}
