//! Compares two models: added and removed tensors, changed shapes or types, and the distance of values.
//!
//! Tensors are matched by name. If two have the same shape, their values are compared, whatever their types: the effect
//! of quantisation shows as a distance. Values are read in chunks on all cores, with only a few chunks in memory. Equal
//! chunks cost a comparison of bytes; lengths are computed only for tensors that changed. Sums are added in the order
//! of the chunks, so the result does not depend on the threads.

mod equality;
mod measure;
mod sparse;
mod sums;
mod values;

use std::collections::{HashMap, VecDeque};

pub use sums::Movement;
use sums::Sums;

use super::formats::{Contents, Format, OtherContent, SparseMatrix};
use super::tensor::{Dtype, Tensor};
use crate::error::{Error, Result};
use crate::event::Sink;

/// Type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// The type of an element.
    pub dtype: Dtype,
    /// The length of each dimension; empty for a scalar.
    pub shape: Vec<u64>,
    /// The product of the dimensions.
    pub elements: u64,
}

/// A tensor of one model or both.
#[derive(Debug)]
pub struct TensorRow {
    /// The name, by which the tensors were matched.
    pub name: String,
    /// `None` if only the new model has it.
    pub old: Option<TensorType>,
    /// `None` if only the old model has it.
    pub new: Option<TensorType>,
    /// The comparison of the values.
    pub values: Values,
}

/// The comparison of the values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Bit by bit.
    Same,
    /// The numbers differ, by these distances.
    Moved(Movement),
    /// The bytes differ, and there are no numbers to compare.
    Differ,
    /// Nothing to compare with: another shape, or only in one of the models.
    Incomparable,
    /// The values could not be read, for this reason.
    Unread(String),
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Only in the new model.
    Added,
    /// Only in the old model.
    Removed,
    /// The shapes differ.
    Reshaped,
    /// The shapes are equal and the element types differ.
    Retyped,
    /// Shape and type are equal and the values differ.
    Changed,
    /// The values of one of the two could not be read.
    Unread,
    /// Shape, type and values are equal.
    Same,
}

impl TensorRow {
    /// The most significant difference: presence, then shape, then type, then values.
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

/// The comparison of two models.
pub struct Difference {
    /// In the order of the old model; what was added follows.
    pub rows: Vec<TensorRow>,
    /// Over all tensors whose values were compared; `None` if all are equal.
    pub total: Option<Movement>,
    /// Set if the two formats differ.
    pub formats: Option<(Format, Format)>,
    /// Metadata that differs: key, old and new value. Models of two formats are not compared.
    pub metadata: Vec<(String, Option<String>, Option<String>)>,
    /// The change in the other content of the files; `None` if the formats differ.
    pub rest: Option<OtherContentChange>,
    /// What was not read of the old and of the new model, in sentences.
    pub notes: (Vec<String>, Vec<String>),
}

/// The change in content besides tensors and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherContentChange {
    /// The contents are equal.
    Same,
    /// The hashes of the contents differ.
    Changed,
    /// At least one of the two was not read.
    Unread,
}

/// Compares two models.
pub fn compare(old: &Contents, new: &Contents, events: &dyn Sink) -> Result<Difference> {
    let (rows, total) = match (&old.sparse, &new.sparse) {
        (Some(a), Some(b)) => matrices((old, a), (new, b))?,
        _ => tensors(old, new, events)?,
    };
    let formats = (old.format != new.format).then_some((old.format, new.format));
    let metadata = if formats.is_none() { metadata(&old.metadata, &new.metadata) } else { Vec::new() };
    let rest = formats.is_none().then(|| match (old.rest, new.rest) {
        (OtherContent::Unread, _) | (_, OtherContent::Unread) => OtherContentChange::Unread,
        (old, new) if old == new => OtherContentChange::Same,
        _ => OtherContentChange::Changed,
    });
    Ok(Difference { rows, total, formats, metadata, rest, notes: (old.notes.clone(), new.notes.clone()) })
}

type Rows = (Vec<TensorRow>, Option<Movement>);

/// Compares two sparse matrices: one row.
fn matrices(old: (&Contents, &SparseMatrix), new: (&Contents, &SparseMatrix)) -> Result<Rows> {
    let (values, sums) =
        if old.1.shape == new.1.shape { sparse::compare(old, new)? } else { (Values::Incomparable, None) };
    let (old, new) = (Some(sparse::type_of(old.0, old.1)), Some(sparse::type_of(new.0, new.1)));
    let row = TensorRow { name: "matrix".into(), old, new, values };
    Ok((vec![row], sums.map(|sums| sums.movement())))
}

/// Compares tensors by their names.
fn tensors(old: &Contents, new: &Contents, events: &dyn Sink) -> Result<Rows> {
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
    let facts = |t: &Tensor| TensorType { dtype: t.dtype.clone(), shape: t.shape.clone(), elements: t.elements() };
    let rows = pairs
        .iter()
        .zip(values)
        .map(|((old, new), values)| TensorRow {
            name: old.or(*new).map(|t| t.name.clone()).unwrap_or_default(),
            old: old.map(facts),
            new: new.map(facts),
            values,
        })
        .collect();
    Ok((rows, total))
}

/// Tensors of one name, in the order of the old model; new ones follow. If a name occurs several times, the first ones
/// are a pair, then the second ones, and so on.
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

/// Checks that there are tensors to compare.
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
