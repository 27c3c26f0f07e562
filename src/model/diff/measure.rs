//! Measures all pairs of tensors: split into chunks, measured on all cores, and combined in order.

use rayon::prelude::*;

use super::Values;
use super::equality::{self, Equality};
use super::sums::{BLOCK, Sums};
use super::values::{InOrder, PairAccess, Plain, is_big_endian, read_piece, way};
use crate::error::Result;
use crate::event::{Activity, Event, Sink};
use crate::model::decode::{decode, swap};
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor};

/// The size of a chunk in bytes: small enough for a core's own cache.
const PIECE: u64 = 256 << 10;

/// The comparison of one pair of tensors.
pub struct Measured {
    pub values: Values,
    /// For the total, if there are numbers.
    pub sums: Option<Sums>,
}

/// Part of a pair of tensors.
struct Chunk {
    pair: usize,
    /// In elements, or in bytes of a type without numbers.
    from: u64,
    count: u64,
}

/// The result of a chunk.
#[derive(Clone, Default)]
struct ChunkResult {
    /// All values are equal; no sums were computed.
    equal: bool,
    /// Whether it is equal is unknown.
    unknown: bool,
    sums: Sums,
}

/// Buffers of a thread.
#[derive(Default)]
struct Buffers {
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Two tensors of one shape, with the way to read them.
struct Pair<'a> {
    old: &'a Tensor,
    new: &'a Tensor,
    way: PairAccess,
}

impl Pair<'_> {
    fn has_numbers(&self) -> bool {
        self.old.dtype.has_numbers() && self.new.dtype.has_numbers()
    }

    fn is_strided(&self) -> bool {
        [self.old, self.new].iter().any(|t| matches!(t.data, Data::Strided { .. }))
    }
}

/// Compares all pairs; the first element is the row of the pair. Errors: a file cannot be read.
pub fn measure(pairs: &[(usize, &Tensor, &Tensor)], events: &dyn Sink) -> Result<Vec<Measured>> {
    let pairs: Vec<Pair> = pairs.iter().map(|(_, old, new)| Pair { old, new, way: way(old, new) }).collect();
    let pieces: Vec<Chunk> = pairs.iter().enumerate().flat_map(|(at, pair)| cut(at, pair)).collect();
    let found = all_pieces(&pairs, &pieces, events)?;
    let in_order = all_in_order(&pairs)?;
    let (mut moved, mut unknown) = (vec![false; pairs.len()], vec![false; pairs.len()]);
    let mut sums = vec![Sums::default(); pairs.len()];
    for (piece, found) in pieces.iter().zip(&found) {
        moved[piece.pair] |= !found.equal;
        unknown[piece.pair] |= found.unknown;
    }
    for (at, found) in in_order {
        unknown[at] = found.unknown;
        (moved[at], sums[at]) = (!found.equal, found.sums);
    }
    if moved.contains(&true) {
        for (piece, more) in pieces.iter().zip(lengths(&pairs, &pieces, &found)?) {
            sums[piece.pair].join(&more);
        }
    }
    let told = pairs.iter().zip(moved.into_iter().zip(unknown)).zip(sums).map(|((pair, (moved, unknown)), sums)| {
        let values = match &pair.way {
            PairAccess::Not(why) => Values::Unread(why.clone()),
            _ if unknown && !moved => Values::Unread("they differ in bytes that are padding on x86 only".into()),
            PairAccess::Encoded { exact: false, .. } if moved => Values::Unread("their encoded bytes differ".into()),
            _ if !moved && pair.old.dtype == pair.new.dtype => Values::Same,
            _ if !pair.has_numbers() => Values::Differ,
            _ => Values::Moved(sums.movement()),
        };
        let counts = pair.has_numbers() && !matches!(pair.way, PairAccess::Not(_));
        Measured { values, sums: counts.then_some(sums) }
    });
    Ok(told.collect())
}

fn all_pieces(pairs: &[Pair], pieces: &[Chunk], events: &dyn Sink) -> Result<Vec<ChunkResult>> {
    let bytes_of = |piece: &Chunk| piece.count * pairs[piece.pair].old.dtype.width().unwrap_or(1);
    events.event(Event::WorkPlanned { doing: Activity::Comparing, bytes: pieces.iter().map(bytes_of).sum() });
    let compare = |buffers: &mut Buffers, piece: &Chunk| {
        let found = compare_piece(&pairs[piece.pair], piece, buffers)?;
        events.event(Event::WorkDone { doing: Activity::Comparing, bytes: bytes_of(piece) });
        Ok(found)
    };
    pieces.par_iter().map_init(Buffers::default, compare).collect()
}

/// The sums of all chunks. Sums of equal chunks are skipped at first, since most are equal; they are computed here
/// because the total needs the lengths.
fn lengths(pairs: &[Pair], pieces: &[Chunk], found: &[ChunkResult]) -> Result<Vec<Sums>> {
    let sum = |buffers: &mut Buffers, (piece, found): (&Chunk, &ChunkResult)| match &pairs[piece.pair].way {
        PairAccess::Pieces(old, _) if found.equal => unmoved(pairs[piece.pair].old, old, piece, buffers),
        _ => Ok(found.sums),
    };
    pieces.par_iter().zip(found).map_init(Buffers::default, sum).collect()
}

/// Pairs that are read sequentially. Inflating runs on many cores; sorting takes much memory, and is done one pair
/// after the other.
fn all_in_order(pairs: &[Pair]) -> Result<Vec<(usize, ChunkResult)>> {
    let all = pairs.iter().enumerate().filter(|(_, pair)| matches!(pair.way, PairAccess::InOrder));
    let (sorted, inflated): (Vec<_>, Vec<_>) = all.partition(|(_, pair)| pair.is_strided());
    let compare = |(at, pair): &(usize, &Pair)| Ok((*at, front_to_back(pair.old, pair.new)?));
    let encoded = pairs.iter().enumerate().filter_map(|(at, pair)| match &pair.way {
        PairAccess::Encoded { old, new, .. } => {
            Some(is_equal(old, new).map(|equal| (at, ChunkResult { equal, ..ChunkResult::default() })))
        }
        _ => None,
    });
    let mut found: Vec<(usize, ChunkResult)> = inflated.par_iter().map(compare).collect::<Result<_>>()?;
    for pair in &sorted {
        found.push(compare(pair)?);
    }
    for pair in encoded {
        found.push(pair?);
    }
    Ok(found)
}

/// Returns true if the bytes of two sources are equal.
fn is_equal(old: &Source, new: &Source) -> Result<bool> {
    let mut at = 0;
    while old.len() == new.len() && at < old.len() {
        let length = PIECE.min(old.len() - at);
        if old.read(at, length)? != new.read(at, length)? {
            return Ok(false);
        }
        at += length;
    }
    Ok(old.len() == new.len())
}

/// The chunks of a pair. Types without numbers are split by bytes if they are the same, and not at all otherwise.
fn cut(at: usize, pair: &Pair) -> Vec<Chunk> {
    let (PairAccess::Pieces(..), Pair { old, new, .. }) = (&pair.way, pair) else { return Vec::new() };
    let (total, step) = match (pair.has_numbers(), old.dtype == new.dtype) {
        (true, _) => {
            let width = old.dtype.width().max(new.dtype.width()).unwrap_or(1);
            (old.elements(), PIECE / width)
        }
        // Whole elements, unless they are huge.
        (false, true) => {
            let width = old.dtype.width().filter(|w| (1..=PIECE).contains(w)).unwrap_or(1);
            (old.bytes(), PIECE / width * width)
        }
        // One chunk, which reports a difference.
        (false, false) => (1, 1),
    };
    (0..total.div_ceil(step)).map(|i| Chunk { pair: at, from: i * step, count: step.min(total - i * step) }).collect()
}

fn compare_piece(pair: &Pair, piece: &Chunk, buffers: &mut Buffers) -> Result<ChunkResult> {
    let Pair { old, new, way: PairAccess::Pieces(a, b) } = pair else { return Ok(ChunkResult::default()) };
    let numbers = pair.has_numbers();
    if !numbers && old.dtype != new.dtype {
        return Ok(ChunkResult::default());
    }
    let width = |t: &Tensor| if numbers { t.dtype.width().unwrap_or(1) } else { 1 };
    fit(&mut buffers.old, piece.count * width(old));
    fit(&mut buffers.new, piece.count * width(new));
    read_piece(a, old, piece.from * width(old), &mut buffers.old)?;
    read_piece(b, new, piece.from * width(new), &mut buffers.new)?;
    if old.dtype == new.dtype {
        let equality = equality::compare(&old.dtype, piece.from, &buffers.old, &buffers.new);
        if equality != Equality::Different {
            return Ok(ChunkResult { equal: true, unknown: equality == Equality::Unknown, sums: Sums::default() });
        }
    }
    let mut sums = Sums::default();
    if numbers {
        add(&mut sums, old, new, &buffers.old, &buffers.new);
    }
    Ok(ChunkResult { equal: false, unknown: false, sums })
}

fn unmoved(tensor: &Tensor, plain: &Plain, piece: &Chunk, buffers: &mut Buffers) -> Result<Sums> {
    let mut sums = Sums::default();
    let Some(width) = tensor.dtype.width().filter(|_| tensor.dtype.has_numbers()) else { return Ok(sums) };
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

/// Reads both sequentially.
fn front_to_back(old: &Tensor, new: &Tensor) -> Result<ChunkResult> {
    let (Some(old_width), Some(new_width)) = (old.dtype.width(), new.dtype.width()) else {
        return Ok(ChunkResult::default());
    };
    let mut result = ChunkResult { equal: old.dtype == new.dtype, ..ChunkResult::default() };
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
        let equality = equality::compare(&old.dtype, 0, &buffers.old, &buffers.new);
        result.equal &= equality != Equality::Different;
        result.unknown |= equality == Equality::Unknown;
        if old.dtype.has_numbers() && new.dtype.has_numbers() {
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

/// Resizes a buffer without clearing bytes that are overwritten anyway.
fn fit(buffer: &mut Vec<u8>, length: u64) {
    buffer.resize(length as usize, 0);
}
