//! A way through the object that a pickle describes, to find what is in it and under which name.

use super::pickle::{Id, Node, Pickle};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// How deep in an object arrays are looked for. Real models stay below 20.
const DEPTH: usize = 60;
/// The sum of the lengths of all paths in an object, and what a part of it counts besides its path.
const PATHS: usize = 64 << 20;
const PART: usize = 32;
/// Goes through an object and its attributes, and calls `visit` with each part and its path. A part that several places
/// hold is entered once, so that neither cycles nor doublings matter; the length of all paths together is bounded.
pub struct Walk<'a> {
    pickle: &'a Pickle,
    seen: Vec<bool>,
    left: usize,
    /// Tells whether this part is what was looked for, so that it is not entered.
    visit: &'a mut dyn FnMut(&str, Id) -> bool,
}

impl Walk<'_> {
    pub fn over(pickle: &Pickle, visit: &mut dyn FnMut(&str, Id) -> bool, source: &Source) -> Result<()> {
        let mut walk = Walk { pickle, seen: vec![false; pickle.nodes.len()], left: PATHS, visit };
        if walk.go(pickle.root, "", 0).is_none() {
            return Err(source.refuse("its objects are too many, or nested too deep, to be named"));
        }
        Ok(())
    }

    fn go(&mut self, id: Id, path: &str, depth: usize) -> Option<()> {
        let pickle = self.pickle;
        let inner = matches!(pickle.node(id), Node::Tuple(_) | Node::List(_) | Node::Dict(_) | Node::Made(_));
        if !inner || depth > DEPTH {
            return Some(());
        }
        self.left = self.left.checked_sub(path.len() + PART)?;
        if (self.visit)(path, id) || std::mem::replace(&mut self.seen[id as usize], true) {
            return Some(());
        }
        match pickle.node(id) {
            Node::Tuple(items) | Node::List(items) => self.items(items, path, depth),
            Node::Dict(pairs) => self.pairs(pairs, path, depth),
            Node::Made(made) => {
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

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}
