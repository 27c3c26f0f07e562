//! Reads the values of a tensor in row-major order, little-endian, chunk by chunk.

use std::io::Read;

use flate2::read::DeflateDecoder;

use crate::error::{Error, Kind, Result};
use crate::model::chunks::ChunkReader;
use crate::model::decode::swap;
use crate::model::source::{Reader, Source};
use crate::model::tensor::{Data, Tensor};

/// Elements in another order than rows are collected in memory, up to this many bytes.
const GATHERED: u64 = 96 << 20;
/// What is inflated of one tensor.
const INFLATED: u64 = 4 << 30;

/// The bytes of a tensor that are stored in row-major order.
#[derive(Clone)]
pub struct Plain {
    pub source: Source,
    pub big_endian: bool,
}

/// How the values of two tensors of one shape can be read in parallel.
pub enum PairAccess {
    /// In chunks, in any order.
    Pieces(Plain, Plain),
    /// Sequentially, both in row-major order.
    InOrder,
    /// Byte by byte, for the whole tensor at once.
    Encoded { old: Source, new: Source, exact: bool },
    /// Not readable, for this reason.
    Not(String),
}

/// Chooses how to read two tensors.
pub fn way(old: &Tensor, new: &Tensor) -> PairAccess {
    if old.dtype.parts() != new.dtype.parts() {
        return PairAccess::Not("complex and real numbers are not compared".into());
    }
    if let (Data::Encoded { source: a, exact }, Data::Encoded { source: b, .. }) = (&old.data, &new.data) {
        return PairAccess::Encoded { old: a.clone(), new: b.clone(), exact: *exact && old.dtype == new.dtype };
    }
    if let (Some(old), Some(new)) = (plain(old), plain(new)) {
        return PairAccess::Pieces(old, new);
    }
    if let Some((old, new)) = permuted_alike(old, new) {
        return PairAccess::Pieces(old, new);
    }
    for tensor in [old, new] {
        let why = match &tensor.data {
            Data::Elsewhere(why) => why.to_string(),
            Data::Strided { .. } if span(tensor) > GATHERED => {
                "they are not in row-major order, and too many to be sorted in memory".into()
            }
            Data::Deflated { .. } | Data::Chunked { .. } if tensor.bytes() > INFLATED => {
                "they are compressed, and too many".into()
            }
            Data::Encoded { .. } => "they are encoded in one of the two files".into(),
            _ if tensor.dtype.width().is_none() => "their type has no numbers".into(),
            _ => continue,
        };
        return PairAccess::Not(why);
    }
    PairAccess::InOrder
}

fn plain(tensor: &Tensor) -> Option<Plain> {
    match &tensor.data {
        Data::Plain { source, big_endian } => Some(Plain { source: source.clone(), big_endian: *big_endian }),
        _ => None,
    }
}

/// Two tensors that are transposed in the same way, without gaps, are compared in storage order: no distance depends on
/// the order of the pairs.
fn permuted_alike(old: &Tensor, new: &Tensor) -> Option<(Plain, Plain)> {
    let dense = |tensor: &Tensor| -> Option<(Plain, Vec<u64>)> {
        let Data::Strided { storage, offset, strides, big_endian } = &tensor.data else { return None };
        let mut steps: Vec<(u64, u64)> =
            strides.iter().zip(&tensor.shape).filter(|(_, d)| **d > 1).map(|(s, d)| (*s, *d)).collect();
        steps.sort_unstable();
        let end = steps.iter().try_fold(1u64, |step, (s, d)| if *s == step { step.checked_mul(*d) } else { None })?;
        let width = tensor.dtype.width()?;
        let source = storage.part(offset.checked_mul(width)?, end.checked_mul(width)?).ok()?;
        Some((Plain { source, big_endian: *big_endian }, strides.clone()))
    };
    let ((old, old_strides), (new, new_strides)) = (dense(old)?, dense(new)?);
    (old_strides == new_strides).then_some((old, new))
}

/// Bytes from the first to the last element of a strided tensor.
fn span(tensor: &Tensor) -> u64 {
    let Data::Strided { strides, .. } = &tensor.data else { return 0 };
    let steps = tensor.shape.iter().zip(strides).map(|(d, s)| d.saturating_sub(1).saturating_mul(*s));
    let elements = steps.fold(1u64, u64::saturating_add).max(tensor.elements());
    elements.saturating_mul(tensor.dtype.width().unwrap_or(1))
}

/// Reads a tensor sequentially.
pub enum InOrder {
    Plain(Reader),
    Deflated(Box<DeflateDecoder<Reader>>, Source),
    Chunked(ChunkReader),
}

impl InOrder {
    pub fn open(tensor: &Tensor) -> Result<InOrder> {
        match &tensor.data {
            Data::Plain { source, .. } => Ok(InOrder::Plain(source.reader())),
            Data::Deflated { source, skip, .. } => {
                let mut inflated = InOrder::Deflated(Box::new(DeflateDecoder::new(source.reader())), source.clone());
                let mut header = vec![0; *skip as usize];
                inflated.fill(&mut header)?;
                Ok(inflated)
            }
            Data::Strided { storage, .. } => {
                Ok(InOrder::Plain(Source::of_bytes(gather(tensor)?, storage.name()).reader()))
            }
            Data::Chunked { chunks, .. } => Ok(InOrder::Chunked(ChunkReader::new(chunks.clone()))),
            Data::Encoded { source, .. } => Ok(InOrder::Plain(source.reader())),
            Data::Elsewhere(why) => {
                Err(Error::new(Kind::Bug, format!("values are asked for that are not there: {why}")))
            }
        }
    }

    /// Fills `into` with the next bytes.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        match self {
            InOrder::Plain(reader) => {
                let at = reader.position();
                reader.skip(into.len() as u64)?;
                reader.source().read_into(at, into)
            }
            InOrder::Chunked(reader) => reader.fill(into),
            InOrder::Deflated(decoder, source) => {
                decoder.read_exact(into).map_err(|_| source.refuse("its compressed values are damaged or cut short"))
            }
        }
    }
}

/// The bytes of a strided tensor, row by row.
fn gather(tensor: &Tensor) -> Result<Vec<u8>> {
    let Data::Strided { storage, offset, strides, .. } = &tensor.data else { return Ok(Vec::new()) };
    let width = tensor.dtype.width().unwrap_or(1);
    let from = storage.part(offset.saturating_mul(width), span_of_storage(tensor, width))?.head(u64::MAX)?;
    let mut bytes = Vec::with_capacity(tensor.bytes() as usize);
    let mut index = vec![0u64; tensor.shape.len()];
    for _ in 0..tensor.elements() {
        let at: u64 = index.iter().zip(strides).map(|(i, s)| i * s).sum();
        let at = (at * width) as usize;
        bytes.extend_from_slice(&from[at..at + width as usize]);
        for (i, d) in index.iter_mut().zip(&tensor.shape).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
    Ok(bytes)
}

fn span_of_storage(tensor: &Tensor, width: u64) -> u64 {
    let Data::Strided { strides, .. } = &tensor.data else { return 0 };
    let last: u64 = tensor.shape.iter().zip(strides).map(|(d, s)| d.saturating_sub(1).saturating_mul(*s)).sum();
    last.saturating_add(1).saturating_mul(width)
}

/// Returns true if the bytes of this tensor are in the wrong order.
pub fn is_big_endian(tensor: &Tensor) -> bool {
    match &tensor.data {
        Data::Plain { big_endian, .. } | Data::Strided { big_endian, .. } => *big_endian,
        Data::Deflated { big_endian, .. } | Data::Chunked { big_endian, .. } => *big_endian,
        Data::Encoded { .. } | Data::Elsewhere(_) => false,
    }
}

/// Reads a piece of a plain tensor, little-endian.
pub fn read_piece(plain: &Plain, tensor: &Tensor, at: u64, into: &mut [u8]) -> Result<()> {
    plain.source.read_into(at, into)?;
    if plain.big_endian {
        swap(&tensor.dtype, into);
    }
    Ok(())
}
