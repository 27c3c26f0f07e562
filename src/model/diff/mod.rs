//! How two models differ: which tensors came and went, which have another shape or type, and how far values moved.
//!
//! Tensors are matched by name. Of two with the same shape the values are compared, whatever their types: what
//! quantising did to a model shows as a distance. Values are read in chunks on all cores, and never more than a few
//! chunks are in memory. Chunks whose bytes are equal cost a comparison of bytes; only of tensors that moved are the
//! lengths summed up. Sums are added in the order of the chunks, so that a result does not depend on the threads.

mod equality;
mod measure;
mod sums;
mod values;

use std::collections::{HashMap, VecDeque};

pub use sums::Movement;
use sums::Sums;

use super::formats::{Contents, Format, Rest};
use super::tensor::{Dtype, Tensor};
use crate::error::{Error, Result};
use crate::event::Sink;

/// Type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    pub elements: u64,
}

/// A tensor of one model or of both.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub old: Option<Facts>,
    pub new: Option<Facts>,
    pub values: Values,
}

/// What became of the values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Bit by bit.
    Same,
    Moved(Movement),
    /// The bytes differ, and there are no numbers to compare.
    Differ,
    /// There is nothing to compare with: another shape, or only in one of the models.
    Incomparable,
    /// They could not be read; why.
    Unread(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Added,
    Removed,
    Reshaped,
    Retyped,
    Changed,
    Unread,
    Same,
}

impl Row {
    pub fn change(&self) -> Change {
        match (&self.old, &self.new, &self.values) {
            (None, _, _) => Change::Added,
            (_, None, _) => Change::Removed,
            (Some(old), Some(new), _) if old.shape != new.shape => Change::Reshaped,
            (Some(old), Some(new), _) if old.dtype != new.dtype => Change::Retyped,
            (_, _, Values::Same) => Change::Same,
            (_, _, Values::Unread(_)) => Change::Unread,
            _ => Change::Changed,
        }
    }
}

pub struct Difference {
    /// In the order of the old model; what was added follows.
    pub rows: Vec<Row>,
    /// Over all tensors whose values were compared; `None` if none moved.
    pub total: Option<Movement>,
    /// Where the two differ.
    pub formats: Option<(Format, Format)>,
    /// What each model says under a key, where they differ; models of two formats say different things anyway.
    pub metadata: Vec<(String, Option<String>, Option<String>)>,
    /// What else the files hold; `None` where the formats differ.
    pub rest: Option<RestChange>,
    /// What was not read of the old and of the new model, in sentences.
    pub notes: (Vec<String>, Vec<String>),
}

/// What became of what stands beside tensors and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestChange {
    Same,
    Changed,
    /// It is not read in one of the two.
    Unread,
}

/// Compares two models.
pub fn compare(old: &Contents, new: &Contents, events: &dyn Sink) -> Result<Difference> {
    let pairs = pairs(old, new);
    let comparable: Vec<(usize, &Tensor, &Tensor)> = pairs
        .iter()
        .enumerate()
        .filter_map(|(at, (old, new))| Some((at, (*old)?, (*new)?)))
        .filter(|(_, old, new)| old.shape == new.shape)
        .collect();
    let measured = measure::measure(&comparable, events)?;
    let any = measured.iter().any(|m| matches!(m.values, Values::Moved(_)));
    let total = Sums::total(measured.iter().filter_map(|m| m.sums.as_ref())).filter(|_| any);
    let mut values: Vec<Values> = vec![Values::Incomparable; pairs.len()];
    for ((at, _, _), measured) in comparable.iter().zip(measured) {
        values[*at] = measured.values;
    }
    let facts = |t: &Tensor| Facts { dtype: t.dtype.clone(), shape: t.shape.clone(), elements: t.elements() };
    let rows = pairs
        .iter()
        .zip(values)
        .map(|((old, new), values)| Row {
            name: old.or(*new).map(|t| t.name.clone()).unwrap_or_default(),
            old: old.map(facts),
            new: new.map(facts),
            values,
        })
        .collect();
    let formats = (old.format != new.format).then_some((old.format, new.format));
    let metadata = if formats.is_none() { metadata(&old.metadata, &new.metadata) } else { Vec::new() };
    let rest = formats.is_none().then(|| match (old.rest, new.rest) {
        (Rest::Unread, _) | (_, Rest::Unread) => RestChange::Unread,
        (old, new) if old == new => RestChange::Same,
        _ => RestChange::Changed,
    });
    Ok(Difference { rows, total, formats, metadata, rest, notes: (old.notes.clone(), new.notes.clone()) })
}

/// Tensors of one name, in the order of the old model; what only the new one has follows. Of a name that stands several
/// times the first ones are a pair, then the second ones, and so on.
fn pairs<'a>(old: &'a Contents, new: &'a Contents) -> Vec<(Option<&'a Tensor>, Option<&'a Tensor>)> {
    let mut by_name: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (at, tensor) in new.tensors.iter().enumerate() {
        by_name.entry(&tensor.name).or_default().push_back(at);
    }
    let mut matched = vec![false; new.tensors.len()];
    let mut pairs = Vec::new();
    for tensor in &old.tensors {
        let at = by_name.get_mut(tensor.name.as_str()).and_then(VecDeque::pop_front);
        pairs.push((Some(tensor), at.map(|at| &new.tensors[at])));
        at.into_iter().for_each(|at| matched[at] = true);
    }
    pairs.extend(new.tensors.iter().zip(matched).filter(|(_, matched)| !matched).map(|(t, _)| (None, Some(t))));
    pairs
}

/// What has tensors to compare.
pub fn check(contents: &Contents, name: &str) -> Result<()> {
    if !contents.tensors.is_empty() {
        return Ok(());
    }
    let format = contents.format.title();
    let mut error = Error::usage(format!("{name} ({format}) has no tensors that can be compared"));
    error.causes.extend(contents.notes.first().cloned());
    Err(error)
}

type Pairs = [(String, String)];

fn metadata(old: &Pairs, new: &Pairs) -> Vec<(String, Option<String>, Option<String>)> {
    let find = |pairs: &Pairs, key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let mut keys: Vec<&String> = old.iter().chain(new).map(|(k, _)| k).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| (key.clone(), find(old, key), find(new, key)))
        .filter(|(_, old, new)| old != new)
        .collect()
}
