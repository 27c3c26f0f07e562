//! Datasets: type, shape, and where the values are.

use std::collections::HashMap;
use std::sync::Arc;

use super::datatype::{self, Datatype, Form};
use super::file::Hdf5File;
use super::object::{DATASPACE, DATATYPE, FILTERS, LAYOUT, Message};
use crate::error::Result;
use crate::model::chunks::{Chunk, Chunks, Filter};
use crate::model::source::{Reader, Source};
use crate::model::tensor::{Data, Dtype, Tensor};

/// The maximum number of chunks of a dataset.
const CHUNKS: u64 = 1_000_000;

/// The layout of the values.
enum Layout {
    Inside(Source),
    Contiguous { address: u64, size: u64 },
    Chunked { index: ChunkIndex, chunk: Vec<u64> },
}

/// How the chunks of a dataset are found.
enum ChunkIndex {
    /// A B-tree of version 1.
    Tree(u64),
    /// One chunk; with filters, its size and those that were skipped.
    Single { address: u64, filtered: Option<(u64, u32)> },
    /// All chunks, one after the other.
    Implicit(u64),
    /// A form that is not read.
    Unknown,
}

/// Returns true if these are the messages of a dataset.
pub fn is_dataset(messages: &[Message]) -> bool {
    [DATASPACE, DATATYPE, LAYOUT].iter().all(|kind| messages.iter().any(|m| m.kind == *kind))
}

/// Reads a dataset. `as_bf16` says that opaque values of two bytes are bfloat16, as Keras says by an attribute.
/// The ranges of the file in which it has values are added to `ranges`.
pub fn dataset(
    file: &Hdf5File,
    name: &str,
    messages: &[Message],
    as_bf16: bool,
    ranges: &mut Vec<(u64, u64)>,
) -> Result<Result<Tensor, String>> {
    let find = |kind: u64| messages.iter().find(|m| m.kind == kind);
    let damaged = || file.source.refuse(format!("the dataset `{}` is damaged", crate::model::tensor::shown(name)));
    let (Some(space), Some(kind), Some(layout)) = (find(DATASPACE), find(DATATYPE), find(LAYOUT)) else {
        return Err(damaged());
    };
    let mut kind = datatype::of_message(file, kind)?;
    if as_bf16 && kind.dtype.name() == "raw[2]" {
        kind.dtype = Dtype::Bf16;
    }
    // A dataset without a dataspace has no elements.
    let mut shape = datatype::dataspace(file, &space.content)?.unwrap_or_else(|| vec![0]);
    let outer = shape.len();
    shape.extend(&kind.dims);
    let bytes = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).and_then(|n| kind.dtype.bytes(n));
    let filters = find(FILTERS).map(|m| filters(&m.content)).transpose()?;
    let layout = layout_of(file, &layout.content, filters.is_some())?;
    let data = match (kind.form, layout) {
        (Form::Texts, _) => Data::Elsewhere("they are texts of any length"),
        (Form::Heap, _) => Data::Elsewhere("they are references or lists of any length"),
        (_, Layout::Inside(source)) => Data::Plain { source, big_endian: kind.big_endian },
        (_, Layout::Contiguous { .. }) if bytes == Some(0) => {
            Data::Plain { source: file.source.part(0, 0)?, big_endian: kind.big_endian }
        }
        (_, Layout::Contiguous { address, .. }) if file.is_undefined(address) => {
            Data::Elsewhere("they were never written")
        }
        (_, Layout::Contiguous { address, size }) => {
            ranges.push((address, size));
            Data::Plain { source: file.source.part(address, size)?, big_endian: kind.big_endian }
        }
        (_, Layout::Chunked { index, chunk }) => {
            let shape = &shape[..outer];
            chunked(file, (shape, &kind, chunk), index, filters, ranges)?
        }
    };
    Ok(Tensor::new(name.into(), kind.dtype, shape, data))
}

fn layout_of(file: &Hdf5File, content: &Source, is_filtered: bool) -> Result<Layout> {
    let mut reader = content.reader();
    let version = reader.byte()?;
    match version {
        1 | 2 => {
            let (rank, class) = (reader.byte()?, reader.byte()?);
            reader.skip(5)?;
            let address = if class == 0 { 0 } else { file.address(&mut reader)? };
            let dims = (0..rank).map(|_| reader.number(4)).collect::<Result<Vec<u64>>>()?;
            match class {
                0 => {
                    let size = reader.number(4)?;
                    Ok(Layout::Inside(reader.part(size)?))
                }
                // The last dimension is the size of an element.
                1 => {
                    let size = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
                    let size = size.ok_or_else(|| file.source.refuse("the size of a dataset is absurd"))?;
                    Ok(Layout::Contiguous { address, size })
                }
                _ => Ok(Layout::Chunked { index: ChunkIndex::Tree(address), chunk: dims }),
            }
        }
        3 | 4 => match reader.byte()? {
            0 => {
                let size = reader.number(2)?;
                Ok(Layout::Inside(reader.part(size)?))
            }
            1 => {
                let (address, size) = (file.address(&mut reader)?, file.length(&mut reader)?);
                Ok(Layout::Contiguous { address, size })
            }
            2 if version == 3 => {
                let rank = reader.byte()?;
                let address = file.address(&mut reader)?;
                let chunk = (0..rank).map(|_| reader.number(4)).collect::<Result<_>>()?;
                Ok(Layout::Chunked { index: ChunkIndex::Tree(address), chunk })
            }
            2 => chunked_layout(file, &mut reader, is_filtered),
            class => Err(file.source.refuse(format!("a dataset in it has the unknown layout {class}"))),
        },
        version => Err(file.source.refuse(format!("a dataset in it has a layout of the unknown version {version}"))),
    }
}

/// The newest form, with several kinds of indexes.
fn chunked_layout(file: &Hdf5File, reader: &mut Reader, is_filtered: bool) -> Result<Layout> {
    let (flags, rank, width) = (reader.byte()?, reader.byte()?, reader.byte()?);
    let chunk = (0..rank).map(|_| reader.number(u64::from(width))).collect::<Result<_>>()?;
    let index = match reader.byte()? {
        1 => {
            let filtered = match flags & 2 != 0 {
                true => Some((file.length(reader)?, reader.number(4)? as u32)),
                false => None,
            };
            ChunkIndex::Single { address: file.address(reader)?, filtered }
        }
        2 if !is_filtered => ChunkIndex::Implicit(file.address(reader)?),
        _ => ChunkIndex::Unknown,
    };
    Ok(Layout::Chunked { index, chunk })
}

/// The filters in the order in which they were applied; `None` if one of them is unknown.
fn filters(content: &Source) -> Result<Option<Vec<Filter>>> {
    let mut reader = content.reader();
    let (version, count) = (reader.byte()?, reader.byte()?);
    reader.skip(if version == 1 { 6 } else { 0 })?;
    let mut filters = Vec::new();
    for _ in 0..count {
        let id = reader.number(2)?;
        let name = if version == 1 || id >= 256 { reader.number(2)? } else { 0 };
        reader.skip(2)?;
        let values = reader.number(2)?;
        reader.skip(if version == 1 { name.next_multiple_of(8) } else { name })?;
        let first = if values > 0 { reader.number(4)? } else { 0 };
        let padding = if version == 1 && values % 2 == 1 { 4 } else { 0 };
        reader.skip(4 * values.saturating_sub(1) + padding)?;
        match id {
            1 => filters.push(Filter::Deflate),
            2 => filters.push(Filter::Shuffle(first)),
            3 => filters.push(Filter::Checksum),
            _ => return Ok(None),
        }
    }
    Ok(Some(filters))
}

fn chunked(
    file: &Hdf5File,
    (shape, kind, mut chunk): (&[u64], &Datatype, Vec<u64>),
    index: ChunkIndex,
    filters: Option<Option<Vec<Filter>>>,
    ranges: &mut Vec<(u64, u64)>,
) -> Result<Data> {
    let damaged = || file.source.refuse("the chunks of a dataset in it do not fit its shape");
    let inner = kind.dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).and_then(|n| kind.dtype.bytes(n));
    // The last one is the size of an element.
    let width = chunk.pop().filter(|width| inner == Some(*width)).ok_or_else(damaged)?;
    if chunk.len() != shape.len() || chunk.is_empty() || chunk.contains(&0) || width == 0 {
        return Err(damaged());
    }
    if shape.contains(&0) {
        return Ok(Data::Plain { source: file.source.part(0, 0)?, big_endian: kind.big_endian });
    }
    let Some(filters) = filters.unwrap_or_else(|| Some(Vec::new())) else {
        return Ok(Data::Elsewhere("they are compressed in a way that is not known"));
    };
    let count = Chunks::counts(shape, &chunk).into_iter().try_fold(1u64, u64::checked_mul);
    let Some(count) = count.filter(|count| *count <= CHUNKS) else {
        return Ok(Data::Elsewhere("they are in too many chunks"));
    };
    let bytes = chunk.iter().try_fold(width, |n, d| n.checked_mul(*d)).ok_or_else(damaged)?;
    let mut places: HashMap<u64, (u64, u64, u32)> = HashMap::new();
    match index {
        ChunkIndex::Unknown => return Ok(Data::Elsewhere("the index of their chunks is of a kind that is not read")),
        ChunkIndex::Tree(root) if !file.is_undefined(root) => tree(file, root, (shape, &chunk), &mut places)?,
        ChunkIndex::Single { address, filtered } if !file.is_undefined(address) => {
            let (size, skipped) = filtered.unwrap_or((bytes, 0));
            places.insert(0, (address, size, skipped));
        }
        ChunkIndex::Implicit(address) if !file.is_undefined(address) => {
            for n in 0..count {
                let at = n.checked_mul(bytes).and_then(|at| at.checked_add(address)).ok_or_else(damaged)?;
                places.insert(n, (at, bytes, 0));
            }
        }
        _ => {}
    }
    if places.len() as u64 != count {
        return Ok(Data::Elsewhere("some of them were never written"));
    }
    let mut all = Vec::with_capacity(places.len());
    for n in 0..count {
        let (address, size, skipped_filters) = *places.get(&n).ok_or_else(damaged)?;
        ranges.push((address, size));
        all.push(Chunk { source: file.source.part(address, size)?, skipped_filters });
    }
    let source = file.source.clone();
    let chunks = Chunks { source, shape: shape.to_vec(), chunk, width, filters, places: all };
    if !chunks.is_readable() {
        return Ok(Data::Elsewhere("their chunks are too large"));
    }
    Ok(Data::Chunked { chunks: Arc::new(chunks), big_endian: kind.big_endian })
}

/// Chunks in a B-tree of version 1. A key is the size of a chunk, its skipped filters, and its offset in each
/// dimension; a key follows the last child.
fn tree(
    file: &Hdf5File,
    root: u64,
    (shape, chunk): (&[u64], &[u64]),
    places: &mut HashMap<u64, (u64, u64, u32)>,
) -> Result<()> {
    let damaged = || file.source.refuse("the index of the chunks of a dataset in it is damaged");
    let counts = Chunks::counts(shape, chunk);
    let (mut pending, mut seen) = (vec![(root, None)], std::collections::HashSet::new());
    while let Some((address, wanted)) = pending.pop() {
        let mut reader = file.structure(address, 8 + 2 * file.address_bytes())?;
        file.expect(&mut reader, "TREE")?;
        let (kind, level, count) = (reader.byte()?, reader.byte()?, reader.number(2)?);
        if kind != 1 || wanted.is_some_and(|wanted| wanted != level) || !seen.insert(address) {
            return Err(damaged());
        }
        let key = 8 + 8 * (shape.len() as u64 + 1);
        let entries = count * (key + file.address_bytes());
        let mut reader = file.structure(address + reader.position() + 2 * file.address_bytes(), entries)?;
        for _ in 0..count {
            let (size, skipped) = (reader.number(4)?, reader.number(4)? as u32);
            let mut at = Some(0u64);
            for d in 0..shape.len() {
                let offset = reader.number(8)?;
                let position = offset / chunk[d];
                // Chunks beyond the shape are left over from before the dataset became smaller.
                at = at.filter(|_| position < counts[d]).map(|at| at * counts[d] + position);
                if offset % chunk[d] != 0 {
                    return Err(damaged());
                }
            }
            reader.skip(8)?;
            let child = file.address(&mut reader)?;
            match (level, at) {
                (0, Some(at)) => {
                    if places.insert(at, (child, size, skipped)).is_some() {
                        return Err(damaged());
                    }
                }
                (0, None) => {}
                _ => pending.push((child, Some(level - 1))),
            }
        }
    }
    Ok(())
}
