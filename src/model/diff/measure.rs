//! The measuring of all pairs of tensors: cut into pieces, measured on all cores, put together in order.

use rayon::prelude::*;

use super::Values;
use super::sums::{BLOCK, Sums};
use super::values::{InOrder, Plain, Way, is_big_endian, read_piece, way};
use crate::error::Result;
use crate::event::{Doing, Event, Sink};
use crate::model::decode::{decode, swap};
use crate::model::tensor::{Data, Dtype, Tensor};

/// Elements of a piece, such that it has about so many bytes: small enough for a core's own cache.
const PIECE: u64 = 256 << 10;

pub struct Measured {
    pub values: Values,
    /// For the total, where there are numbers.
    pub sums: Option<Sums>,
}

/// Part of a pair of tensors.
struct Piece {
    pair: usize,
    /// In elements, or in bytes of a type without numbers.
    from: u64,
    count: u64,
}

/// What came of a piece.
#[derive(Clone, Default)]
struct Found {
    /// Bit by bit; nothing was summed up then.
    equal: bool,
    sums: Sums,
}

/// Buffers of a thread.
#[derive(Default)]
struct Buffers {
    old: Vec<u8>,
    new: Vec<u8>,
}

pub fn measure(pairs: &[(usize, &Tensor, &Tensor)], events: &dyn Sink) -> Result<Vec<Measured>> {
    let ways: Vec<Way> = pairs.iter().map(|(_, old, new)| way(old, new)).collect();
    let pieces: Vec<Piece> =
        ways.iter().enumerate().flat_map(|(at, way)| cut(at, way, pairs[at].1, pairs[at].2)).collect();
    let bytes = pieces.iter().map(|p| p.count * pairs[p.pair].1.dtype.width().unwrap_or(1)).sum();
    events.event(Event::WorkPlanned { doing: Doing::Comparing, bytes });
    let first: Vec<Found> = pieces
        .par_iter()
        .map_init(Buffers::default, |buffers, piece| {
            let (_, old, new) = pairs[piece.pair];
            let result = match &ways[piece.pair] {
                Way::Pieces(a, b) => in_pieces(old, new, (a, b), piece, buffers),
                _ => Ok(Found::default()),
            };
            let bytes = piece.count * old.dtype.width().unwrap_or(1);
            events.event(Event::WorkDone { doing: Doing::Comparing, bytes });
            result
        })
        .collect::<Result<_>>()?;
    let mut moved = vec![false; pairs.len()];
    for (piece, result) in pieces.iter().zip(&first) {
        moved[piece.pair] |= !result.equal;
    }
    // Of tensors that moved, the lengths of the pieces that did not are wanted, too.
    let sums: Vec<Sums> = pieces
        .par_iter()
        .zip(&first)
        .map_init(Buffers::default, |buffers, (piece, result)| match &ways[piece.pair] {
            Way::Pieces(a, _) if result.equal => unmoved(pairs[piece.pair].1, a, piece, buffers),
            _ => Ok(result.sums),
        })
        .collect::<Result<_>>()?;
    let mut totals = vec![Sums::default(); pairs.len()];
    for (piece, sums) in pieces.iter().zip(&sums) {
        totals[piece.pair].join(sums);
    }
    // Inflating is work for many cores; sorting takes much memory, and is done one after the other.
    let is_strided = |t: &Tensor| matches!(t.data, Data::Strided { .. });
    let in_order = |strided: bool| {
        let ways = &ways;
        (0..pairs.len()).filter(move |at| {
            let (_, old, new) = pairs[*at];
            matches!(ways[*at], Way::InOrder) && (is_strided(old) || is_strided(new)) == strided
        })
    };
    let inflated: Vec<usize> = in_order(false).collect();
    let mut results: Vec<(usize, Found)> =
        inflated.par_iter().map(|at| Ok((*at, front_to_back(pairs[*at].1, pairs[*at].2)?))).collect::<Result<_>>()?;
    for at in in_order(true) {
        results.push((at, front_to_back(pairs[at].1, pairs[at].2)?));
    }
    for (at, result) in results {
        (totals[at], moved[at]) = (result.sums, !result.equal);
    }
    let told = ways.into_iter().enumerate().map(|(at, way)| {
        let numbers = has_numbers(&pairs[at].1.dtype) && has_numbers(&pairs[at].2.dtype);
        let values = match way {
            Way::Not(why) => Values::Unread(why),
            _ if !moved[at] && pairs[at].1.dtype == pairs[at].2.dtype => Values::Same,
            _ if !numbers => Values::Differ,
            _ => Values::Moved(totals[at].movement()),
        };
        let sums = (numbers && !matches!(values, Values::Unread(_))).then_some(totals[at]);
        Measured { values, sums }
    });
    Ok(told.collect())
}

fn has_numbers(dtype: &Dtype) -> bool {
    !matches!(dtype, Dtype::Other { .. })
}

/// The pieces of a pair. Types without numbers are cut into bytes if they are the same, and not at all otherwise.
fn cut(pair: usize, way: &Way, old: &Tensor, new: &Tensor) -> Vec<Piece> {
    let Way::Pieces(..) = way else { return Vec::new() };
    let (total, step) = match (has_numbers(&old.dtype) && has_numbers(&new.dtype), old.dtype == new.dtype) {
        (true, _) => {
            let width = old.dtype.width().max(new.dtype.width()).unwrap_or(1);
            (old.elements(), PIECE / width)
        }
        (false, true) => (old.bytes(), PIECE),
        // One piece, which says that they differ.
        (false, false) => (1, 1),
    };
    (0..total.div_ceil(step)).map(|i| Piece { pair, from: i * step, count: step.min(total - i * step) }).collect()
}

fn in_pieces(
    old: &Tensor,
    new: &Tensor,
    (a, b): (&Plain, &Plain),
    piece: &Piece,
    buffers: &mut Buffers,
) -> Result<Found> {
    let numbers = has_numbers(&old.dtype) && has_numbers(&new.dtype);
    if !numbers && old.dtype != new.dtype {
        return Ok(Found::default());
    }
    let width = |t: &Tensor| if numbers { t.dtype.width().unwrap_or(1) } else { 1 };
    fit(&mut buffers.old, piece.count * width(old));
    fit(&mut buffers.new, piece.count * width(new));
    read_piece(a, old, piece.from * width(old), &mut buffers.old)?;
    read_piece(b, new, piece.from * width(new), &mut buffers.new)?;
    if old.dtype == new.dtype && buffers.old == buffers.new {
        return Ok(Found { equal: true, sums: Sums::default() });
    }
    let mut sums = Sums::default();
    if numbers {
        add(&mut sums, old, new, &buffers.old, &buffers.new);
    }
    Ok(Found { equal: false, sums })
}

fn unmoved(tensor: &Tensor, plain: &Plain, piece: &Piece, buffers: &mut Buffers) -> Result<Sums> {
    let mut sums = Sums::default();
    let Some(width) = tensor.dtype.width().filter(|_| has_numbers(&tensor.dtype)) else { return Ok(sums) };
    fit(&mut buffers.old, piece.count * width);
    read_piece(plain, tensor, piece.from * width, &mut buffers.old)?;
    let mut numbers = [0.0; BLOCK];
    for bytes in buffers.old.chunks(bytes_of_block(&tensor.dtype)) {
        let numbers = &mut numbers[..bytes.len() / (width / tensor.dtype.parts()) as usize];
        decode(&tensor.dtype, bytes, numbers);
        sums.add_equal(numbers);
    }
    Ok(sums)
}

/// Both from front to back.
fn front_to_back(old: &Tensor, new: &Tensor) -> Result<Found> {
    let (Some(old_width), Some(new_width)) = (old.dtype.width(), new.dtype.width()) else {
        return Ok(Found::default());
    };
    let mut result = Found { equal: old.dtype == new.dtype, sums: Sums::default() };
    let (mut a, mut b) = (InOrder::open(old)?, InOrder::open(new)?);
    let mut buffers = Buffers::default();
    let mut left = old.elements();
    while left > 0 {
        let count = left.min((PIECE / old_width.max(new_width).max(1)).max(1));
        fit(&mut buffers.old, count * old_width);
        fit(&mut buffers.new, count * new_width);
        a.fill(&mut buffers.old)?;
        b.fill(&mut buffers.new)?;
        for (tensor, bytes) in [(old, &mut buffers.old), (new, &mut buffers.new)] {
            if is_big_endian(tensor) {
                swap(&tensor.dtype, bytes);
            }
        }
        result.equal &= buffers.old == buffers.new;
        if has_numbers(&old.dtype) && has_numbers(&new.dtype) {
            add(&mut result.sums, old, new, &buffers.old, &buffers.new);
        }
        left -= count;
    }
    Ok(result)
}

fn add(sums: &mut Sums, old: &Tensor, new: &Tensor, a: &[u8], b: &[u8]) {
    let (mut x, mut y) = ([0.0; BLOCK], [0.0; BLOCK]);
    let pieces = a.chunks(bytes_of_block(&old.dtype)).zip(b.chunks(bytes_of_block(&new.dtype)));
    for (a, b) in pieces {
        let count = |t: &Tensor, bytes: &[u8]| bytes.len() / (t.dtype.width().unwrap_or(1) / t.dtype.parts()) as usize;
        let count = count(old, a).min(count(new, b));
        decode(&old.dtype, a, &mut x[..count]);
        decode(&new.dtype, b, &mut y[..count]);
        sums.add(&x[..count], &y[..count]);
    }
}

fn bytes_of_block(dtype: &Dtype) -> usize {
    BLOCK / dtype.parts() as usize * dtype.width().unwrap_or(1) as usize
}

/// Gives a buffer a length, without clearing what will be written over anyway.
fn fit(buffer: &mut Vec<u8>, length: u64) {
    buffer.resize(length as usize, 0);
}
