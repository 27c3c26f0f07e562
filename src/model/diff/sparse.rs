//! Compares two sparse matrices by their values, wherever they are stored: a value that is not stored is 0. Two layouts
//! of one matrix are equal.

use super::sums::Sums;
use super::values::{InOrder, is_big_endian};
use super::{TensorType, Values};
use crate::error::Result;
use crate::model::decode::{decode, swap};
use crate::model::formats::{Contents, SparseLayout, SparseMatrix};
use crate::model::tensor::{Data, Dtype, Tensor};

/// The maximum number of stored values of a matrix that is compared.
const MOST: u64 = 8 << 20;
/// Integers beyond are not represented exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The type of a matrix, for the row of the difference.
pub fn type_of(contents: &Contents, matrix: &SparseMatrix) -> TensorType {
    let data = find(contents, "data");
    let dtype = data.map_or(Dtype::F64, |data| data.dtype.clone());
    TensorType { dtype, shape: matrix.shape.clone(), elements: data.map_or(0, Tensor::elements) }
}

/// Compares two matrices of one shape. Errors: a file cannot be read.
pub fn compare(old: (&Contents, &SparseMatrix), new: (&Contents, &SparseMatrix)) -> Result<(Values, Option<Sums>)> {
    let (old_type, new_type) = (type_of(old.0, old.1), type_of(new.0, new.1));
    let read = |(contents, matrix)| Elements::read(contents, matrix);
    let (old, new) = match (read(old)?, read(new)?) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(why), _) | (_, Err(why)) => return Ok((Values::Unread(why), None)),
    };
    let (a, b) = aligned(&old.0, &new.0);
    let is_same = a.iter().zip(&b).all(|(a, b)| a == b || a.to_bits() == b.to_bits());
    if is_same && old_type.dtype == new_type.dtype {
        let is_exact = !matches!(old_type.dtype, Dtype::I64 | Dtype::U64) || a.iter().all(|a| a.abs() < EXACT);
        let why = "they have integers beyond 2^53";
        return Ok((if is_exact { Values::Same } else { Values::Unread(why.into()) }, None));
    }
    let mut sums = Sums::default();
    sums.add(&a, &b);
    Ok((Values::Moved(sums.movement()), Some(sums)))
}

fn find<'c>(contents: &'c Contents, name: &str) -> Option<&'c Tensor> {
    contents.tensors.iter().find(|tensor| tensor.name == name)
}

/// The values at all positions that one of the two stores.
fn aligned(old: &[(u64, f64)], new: &[(u64, f64)]) -> (Vec<f64>, Vec<f64>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let at = match (old.peek(), new.peek()) {
            (Some((x, _)), Some((y, _))) => *x.min(y),
            (Some((at, _)), None) | (None, Some((at, _))) => *at,
            (None, None) => return (a, b),
        };
        a.push(old.next_if(|(x, _)| *x == at).map_or(0.0, |(_, value)| *value));
        b.push(new.next_if(|(y, _)| *y == at).map_or(0.0, |(_, value)| *value));
    }
}

/// Stored values with their positions in row-major order; each position once.
struct Elements(Vec<(u64, f64)>);

impl Elements {
    /// Errors of the inner result: the matrix is too large, or its indexes are wrong.
    fn read(contents: &Contents, matrix: &SparseMatrix) -> Result<Result<Elements, String>> {
        let mut arrays = Vec::new();
        let names: &[&str] = match matrix.layout {
            SparseLayout::Csr | SparseLayout::Csc | SparseLayout::Bsr => &["data", "indices", "indptr"],
            SparseLayout::Coo if find(contents, "coords").is_some() => &["data", "coords"],
            SparseLayout::Coo => &["data", "row", "col"],
            SparseLayout::Dia => &["data", "offsets"],
        };
        for name in names {
            let Some(tensor) = find(contents, name) else { return Ok(Err(format!("`{name}` is missing"))) };
            match numbers(tensor)? {
                Ok(numbers) => arrays.push(numbers),
                Err(why) => return Ok(Err(why)),
            }
        }
        let block = find(contents, "data").map(|data| data.shape.clone()).unwrap_or_default();
        let wrong = || "the positions of its values are wrong".to_string();
        let Some(mut elements) = positions(matrix, &block, &arrays) else { return Ok(Err(wrong())) };
        elements.sort_by_key(|(at, _)| *at);
        // Values at one position are added, as SciPy does.
        elements.dedup_by(|next, first| {
            let is_same = next.0 == first.0;
            first.1 += if is_same { next.1 } else { 0.0 };
            is_same
        });
        Ok(Ok(Elements(elements)))
    }
}

/// All values of an array.
fn numbers(tensor: &Tensor) -> Result<Result<Vec<f64>, String>> {
    let width = tensor.dtype.width().unwrap_or(0);
    if tensor.elements() > MOST {
        return Ok(Err(format!("it stores more than {MOST} values")));
    }
    if !tensor.dtype.has_numbers() || tensor.dtype.parts() != 1 {
        return Ok(Err(format!("matrices of the type {} are not compared", tensor.dtype)));
    }
    if let Data::Elsewhere(why) = tensor.data {
        return Ok(Err(why.into()));
    }
    let mut bytes = vec![0; (tensor.elements() * width) as usize];
    InOrder::open(tensor)?.fill(&mut bytes)?;
    if is_big_endian(tensor) {
        swap(&tensor.dtype, &mut bytes);
    }
    let mut numbers = vec![0.0; tensor.elements() as usize];
    decode(&tensor.dtype, &bytes, &mut numbers);
    Ok(Ok(numbers))
}

/// Positions and values; `None` if an index is outside of the matrix.
fn positions(matrix: &SparseMatrix, block: &[u64], arrays: &[Vec<f64>]) -> Option<Vec<(u64, f64)>> {
    let shape = &matrix.shape;
    shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
    let at = |index: &[u64]| -> Option<u64> {
        let is_inside = index.iter().zip(shape).all(|(i, d)| i < d);
        is_inside.then(|| index.iter().zip(shape).fold(0, |n, (i, d)| n * d + i))
    };
    let index = |number: f64| (0.0..EXACT).contains(&number).then_some(number as u64);
    let data = &arrays[0];
    let mut found = Vec::with_capacity(data.len());
    match matrix.layout {
        SparseLayout::Csr | SparseLayout::Csc | SparseLayout::Bsr => {
            let (rows, columns) = if let [_, rows, columns] = block { (*rows, *columns) } else { (1, 1) };
            let size = (rows * columns) as usize;
            for (line, ends) in arrays[2].windows(2).enumerate() {
                let (from, to) = (index(ends[0])? as usize, index(ends[1])? as usize);
                // They are the whole array, one line after the other.
                if from > to || to > arrays[1].len() || (line == 0 && from != 0) {
                    return None;
                }
                for entry in from..to {
                    let (line, across) = (line as u64, index(arrays[1][entry])?);
                    for inner in 0..size {
                        let (row, column) = (inner as u64 / columns, inner as u64 % columns);
                        let place = match matrix.layout {
                            SparseLayout::Csc => [across, line],
                            _ => [line * rows + row, across.checked_mul(columns)? + column],
                        };
                        found.push((at(&place)?, data[entry * size + inner]));
                    }
                }
            }
        }
        SparseLayout::Coo => {
            let count = data.len();
            let axis = |axis: usize, entry: usize| match arrays {
                [_, coords] => coords[axis * count + entry],
                _ => arrays[axis + 1][entry],
            };
            for (entry, value) in data.iter().enumerate() {
                let place = (0..shape.len()).map(|d| index(axis(d, entry))).collect::<Option<Vec<u64>>>()?;
                found.push((at(&place)?, *value));
            }
        }
        SparseLayout::Dia => {
            let length = block.get(1).copied()? as usize;
            for (diagonal, offset) in arrays[1].iter().enumerate() {
                for column in 0..length {
                    // The diagonal `offset` has the elements (column - offset, column).
                    let row = column as f64 - offset;
                    if let Some(place) = index(row).and_then(|row| at(&[row, column as u64])) {
                        found.push((place, data[diagonal * length + column]));
                    }
                }
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_one_matrix() {
        // [[0, 1, 0], [2, 0, 3]]
        let want = [(1, 1.0), (3, 2.0), (5, 3.0)];
        let of = |layout, block: &[u64], arrays: &[Vec<f64>]| {
            let mut all = positions(&SparseMatrix { layout, shape: vec![2, 3] }, block, arrays)?;
            all.retain(|(_, value)| *value != 0.0);
            all.sort_by_key(|(at, _)| *at);
            Some(all)
        };
        let want = Some(want.to_vec());
        let csr = [vec![1.0, 2.0, 3.0], vec![1.0, 0.0, 2.0], vec![0.0, 1.0, 3.0]];
        assert_eq!(of(SparseLayout::Csr, &[3], &csr), want);
        let csc = [vec![2.0, 1.0, 3.0], vec![1.0, 0.0, 1.0], vec![0.0, 1.0, 2.0, 3.0]];
        assert_eq!(of(SparseLayout::Csc, &[3], &csc), want);
        let bsr = [vec![0.0, 1.0, 0.0, 2.0, 0.0, 3.0], vec![0.0], vec![0.0, 1.0]];
        assert_eq!(of(SparseLayout::Bsr, &[1, 2, 3], &bsr), want);
        let coo = [vec![1.0, 3.0, 2.0], vec![0.0, 1.0, 1.0], vec![1.0, 2.0, 0.0]];
        assert_eq!(of(SparseLayout::Coo, &[3], &coo), want);
        let coords = [vec![1.0, 3.0, 2.0], vec![0.0, 1.0, 1.0, 1.0, 2.0, 0.0]];
        assert_eq!(of(SparseLayout::Coo, &[3], &coords), want);
        let dia = [vec![2.0, 9.0, 9.0, 9.0, 1.0, 3.0], vec![-1.0, 1.0]];
        assert_eq!(of(SparseLayout::Dia, &[2, 3], &dia), want);
        // Indexes that are outside, negative, or not in order.
        for arrays in [
            [vec![1.0], vec![3.0], vec![0.0, 1.0, 1.0]],
            [vec![1.0], vec![-1.0], vec![0.0, 1.0, 1.0]],
            [vec![1.0], vec![0.0], vec![0.0, 2.0, 2.0]],
            [vec![1.0], vec![0.0], vec![0.0, 1.0, 0.0]],
        ] {
            assert_eq!(of(SparseLayout::Csr, &[1], &arrays), None, "{arrays:?}");
        }
    }
}
