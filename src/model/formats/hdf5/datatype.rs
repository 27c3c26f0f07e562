//! Types of elements, and the dimensions of dataspaces.

use std::sync::Arc;

use super::file::Hdf5File;
use super::object::{DATATYPE, Message, messages};
use crate::error::Result;
use crate::model::source::{Reader, Source};
use crate::model::tensor::{Dtype, Layout, Shape, shown};

/// The maximum nesting of types.
const DEPTH: usize = 8;
/// The maximum number of fields of a type.
const FIELDS: u64 = 10_000;
/// The maximum length of the name of a structured type.
const NAME: usize = 1 << 16;
/// More dimensions than HDF5 allows.
const DIMENSIONS: u8 = 33;

/// The type of an element.
pub struct Datatype {
    pub dtype: Dtype,
    pub big_endian: bool,
    /// Of an element that is an array itself.
    pub dims: Vec<u64>,
    /// Where the values are.
    pub form: Form,
}

/// Where the values of a type are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the elements.
    Inline,
    /// Texts of any length, in the global heap.
    Texts,
    /// Lists of any length, or references, in the global heap.
    Heap,
}

/// The dimensions in a dataspace message; `None` if it has no values at all.
pub fn dataspace(file: &Hdf5File, content: &Source) -> Result<Option<Vec<u64>>> {
    let mut reader = content.reader();
    let (version, rank, _) = (reader.byte()?, reader.byte()?, reader.byte()?);
    if rank >= DIMENSIONS || !(1..=2).contains(&version) {
        return Err(file.source.refuse("the shape of a dataset or attribute in it is damaged"));
    }
    if version == 1 {
        reader.skip(5)?;
    } else if reader.byte()? == 2 {
        return Ok(None);
    }
    (0..rank).map(|_| file.length(&mut reader)).collect::<Result<_>>().map(Some)
}

/// The type in a message, which may refer to a type that is stored once for many datasets.
pub fn of_message(file: &Hdf5File, message: &Message) -> Result<Datatype> {
    if !message.is_shared {
        return datatype(file, &mut message.content.reader(), DEPTH);
    }
    let mut reader = message.content.reader();
    let version = reader.byte()?;
    reader.skip(if version == 1 { 7 } else { 1 })?;
    let address = file.address(&mut reader)?;
    let committed = messages(file, address)?;
    match committed.iter().find(|m| m.kind == DATATYPE && !m.is_shared) {
        Some(message) => datatype(file, &mut message.content.reader(), DEPTH),
        None => Err(file.source.refuse("a dataset in it has a type that is not there")),
    }
}

/// The next type of a message.
pub fn datatype(file: &Hdf5File, reader: &mut Reader, depth: usize) -> Result<Datatype> {
    if depth == 0 {
        return Err(file.source.refuse(format!("a type in it is nested more than {DEPTH} deep")));
    }
    let head = reader.byte()?;
    let (class, version) = (head & 15, head >> 4);
    let bits = reader.number(3)?;
    let size = reader.number(4)?;
    let mut made = Datatype { dtype: other("raw", size), big_endian: false, dims: Vec::new(), form: Form::Inline };
    match class {
        0 => {
            let (offset, precision) = (reader.number(2)?, reader.number(2)?);
            let whole = offset == 0 && precision == 8 * size;
            made.dtype = integer(size, bits & 8 != 0).filter(|_| whole).unwrap_or_else(|| other("integer", size));
            made.big_endian = bits & 1 != 0;
        }
        1 => {
            let properties = reader.take(12)?;
            made.dtype = float(size, bits, &properties).unwrap_or_else(|| other("float", size));
            made.big_endian = bits & 1 != 0;
        }
        2 => reader.skip(2)?,
        3 => made.dtype = other("bytes", size),
        4 => {
            reader.skip(4)?;
            made.dtype = other("bits", size);
        }
        5 => reader.skip((bits & 0xff).min(reader.left()))?,
        6 => made = compound(file, reader, (version, bits & 0xffff, size), depth)?,
        7 => (made.dtype, made.form) = (other("reference", size), Form::Heap),
        8 => made = enumeration(file, reader, (version, bits & 0xffff), depth)?,
        9 => {
            datatype(file, reader, depth - 1)?;
            let is_text = bits & 15 == 1;
            made.dtype = other(if is_text { "text" } else { "list" }, size);
            made.form = if is_text { Form::Texts } else { Form::Heap };
        }
        10 => {
            let rank = reader.byte()?;
            if rank >= DIMENSIONS {
                return Err(file.source.refuse("an array type in it is damaged"));
            }
            reader.skip(if version < 3 { 3 } else { 0 })?;
            let mut dims = (0..rank).map(|_| reader.number(4)).collect::<Result<Vec<u64>>>()?;
            reader.skip(if version < 3 { 4 * u64::from(rank) } else { 0 })?;
            made = datatype(file, reader, depth - 1)?;
            dims.append(&mut made.dims);
            made.dims = dims;
        }
        class => return Err(file.source.refuse(format!("a type in it has the unknown class {class}"))),
    }
    let elements = made.dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    if elements.and_then(|n| made.dtype.bytes(n)) != Some(size) || size == 0 {
        return Err(file.source.refuse(format!("a type in it ({}) claims {size} bytes", shown(made.dtype.name()))));
    }
    Ok(made)
}

fn other(kind: &str, size: u64) -> Dtype {
    let name = if kind == "text" || kind == "reference" { kind.to_string() } else { format!("{kind}[{size}]") };
    Dtype::Other { name, block: 1, bytes: size }
}

fn integer(size: u64, signed: bool) -> Option<Dtype> {
    Some(match (size, signed) {
        (1, false) => Dtype::U8,
        (1, true) => Dtype::I8,
        (2, false) => Dtype::U16,
        (2, true) => Dtype::I16,
        (4, false) => Dtype::U32,
        (4, true) => Dtype::I32,
        (8, false) => Dtype::U64,
        (8, true) => Dtype::I64,
        _ => return None,
    })
}

/// The properties: bit offset and precision (two bytes each), location and size of exponent and mantissa (one byte
/// each), bias.
fn float(size: u64, bits: u64, properties: &[u8]) -> Option<Dtype> {
    let [0, 0, low, high, _, exponent, 0, mantissa, bias @ ..] = properties else { return None };
    let precision = u64::from(*low) | u64::from(*high) << 8;
    let bias = u32::from_le_bytes(bias.try_into().ok()?);
    // The bit 6 is set for the byte order of the VAX alone; the sign is the highest bit.
    if precision != 8 * size || bits & 0x40 != 0 || bits >> 8 & 0xff != 8 * size - 1 {
        return None;
    }
    match (size, exponent, mantissa, bias) {
        (1, 4, 3, 7) => Some(Dtype::F8E4M3),
        (1, 5, 2, 15) => Some(Dtype::F8E5M2),
        (2, 5, 10, 15) => Some(Dtype::F16),
        (2, 8, 7, 127) => Some(Dtype::Bf16),
        (4, 8, 23, 127) => Some(Dtype::F32),
        (8, 11, 52, 1023) => Some(Dtype::F64),
        _ => None,
    }
}

/// A name that ends with a zero; before version 3 it is padded to a multiple of eight.
fn name(file: &Hdf5File, reader: &mut Reader, version: u8) -> Result<String> {
    let mut bytes = Vec::new();
    loop {
        match reader.byte()? {
            0 => break,
            byte if bytes.len() < 4096 => bytes.push(byte),
            _ => return Err(file.source.refuse("the name of a field in it does not end")),
        }
    }
    let length = bytes.len() as u64 + 1;
    reader.skip(if version < 3 { length.next_multiple_of(8) - length } else { 0 })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Several fields; h5py stores complex numbers as the fields `r` and `i`.
fn compound(
    file: &Hdf5File,
    reader: &mut Reader,
    (version, count, size): (u8, u64, u64),
    depth: usize,
) -> Result<Datatype> {
    let refuse = |why: &str| file.source.refuse(format!("a type of several fields in it {why}"));
    if count > FIELDS {
        return Err(refuse("has too many of them"));
    }
    // Bytes that are needed for an offset in the type.
    let offset_bytes = (1..8).find(|n| size >> (8 * n) == 0).unwrap_or(8);
    let (mut names, mut length, mut values, mut form) = (Vec::new(), 0, Vec::new(), Form::Inline);
    let mut parts = Vec::new();
    for _ in 0..count {
        let name = name(file, reader, version)?;
        let at = reader.number(if version < 3 { 4 } else { offset_bytes })?;
        let mut dims = Vec::new();
        if version == 1 {
            let rank = reader.byte()?;
            reader.skip(11)?;
            let all = (0..4).map(|_| reader.number(4)).collect::<Result<Vec<u64>>>()?;
            dims.extend(all.into_iter().take(usize::from(rank)));
        }
        let mut field = datatype(file, reader, depth - 1)?;
        dims.append(&mut field.dims);
        let elements = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        let end = elements.and_then(|n| field.dtype.bytes(n)).and_then(|n| n.checked_add(at));
        let end = end.filter(|end| *end <= size).ok_or_else(|| refuse("has a field outside of it"))?;
        if field.form != Form::Inline {
            form = Form::Heap;
        }
        let order = if field.big_endian { ">" } else { "" };
        let shape = if dims.is_empty() { String::new() } else { format!(" {}", Shape(&dims)) };
        let text = format!("{}: {order}{}{shape}", shown(&name), field.dtype);
        length += text.len();
        if length > NAME {
            return Err(refuse("has too long a description"));
        }
        names.push(text);
        values.push((at as usize, end as usize));
        parts.push((name, at, field.dtype, field.big_endian));
    }
    let dims = Vec::new();
    if let [(r, 0, re, big_endian), (i, half, im, other)] = &parts[..]
        && (r.as_str(), i.as_str()) == ("r", "i")
        && 2 * half == size
        && (re, big_endian) == (im, other)
        && let Some(dtype) = complex(re, size)
    {
        return Ok(Datatype { dtype, big_endian: *big_endian, dims, form });
    }
    values.sort_unstable();
    let layout = Layout { name: format!("struct{{{}}}", names.join(", ")), bytes: size, values };
    Ok(Datatype { dtype: Dtype::Struct(Arc::new(layout)), big_endian: false, dims, form })
}

fn complex(part: &Dtype, size: u64) -> Option<Dtype> {
    match (part, size) {
        (Dtype::F32, 8) => Some(Dtype::C64),
        (Dtype::F64, 16) => Some(Dtype::C128),
        _ => None,
    }
}

/// Numbers with names; h5py stores booleans as `FALSE` and `TRUE`.
fn enumeration(file: &Hdf5File, reader: &mut Reader, (version, count): (u8, u64), depth: usize) -> Result<Datatype> {
    let mut base = datatype(file, reader, depth - 1)?;
    if count > FIELDS {
        return Err(file.source.refuse("a type of named numbers in it has too many of them"));
    }
    let names = (0..count).map(|_| name(file, reader, version)).collect::<Result<Vec<_>>>()?;
    reader.skip(count.saturating_mul(base.dtype.width().unwrap_or(1)))?;
    if names == ["FALSE", "TRUE"] && base.dtype.width() == Some(1) {
        base.dtype = Dtype::Bool;
    }
    Ok(base)
}
