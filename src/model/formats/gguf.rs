//! GGUF, the format of llama.cpp: metadata, descriptions of tensors, then the tensors, most of them quantised in blocks.
//! Format: `docs/gguf.md` of the ggml project, versions 2 and 3.

use super::{Contents, Format, OtherContentHash};
use crate::error::Result;
use crate::model::source::{Reader, Source};
use crate::model::tensor::{Data, Dtype, Tensor, shown};

pub const MAGIC: &[u8] = b"GGUF";
/// The maximum number of metadata entries, and of tensors: far above real models.
const MANY: u64 = 200_000;
const TEXT: u64 = 1 << 20;
/// The maximum nesting of lists.
const DEPTH: usize = 4;
const DIMENSIONS: u64 = 8;
/// The type of a list in the metadata.
const LIST: u64 = 9;
const CHUNK: u64 = 256 << 10;

pub fn read(source: &Source) -> Result<Contents> {
    let mut contents = Contents::new(Format::Gguf);
    let mut reader = source.reader();
    reader.skip(4)?;
    let version = reader.number(4)?;
    if !matches!(version, 2 | 3) {
        return Err(source.refuse(format!("version {} of the format is not known", version as u32)));
    }
    contents.add_metadata("version", version);
    let (tensors, entries) = (reader.number(8)?, reader.number(8)?);
    if tensors > MANY || entries > MANY {
        return Err(source.refuse(format!("it claims {tensors} tensors and {entries} metadata entries")));
    }
    let (mut alignment, mut lists) = (32u64, OtherContentHash::default());
    for _ in 0..entries {
        let key = text(&mut reader)?;
        let kind = reader.number(4)?;
        let from = reader.position();
        let value = value(&mut reader, kind, DEPTH)?;
        if kind == LIST {
            hash_list(&source.part(from, reader.position() - from)?, &mut lists)?;
        }
        if key == "general.alignment" {
            alignment = value.parse().unwrap_or(0);
        }
        contents.add_metadata(&key, shown(&value));
    }
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(source.refuse("its alignment is absurd"));
    }
    let mut described = Vec::new();
    for _ in 0..tensors {
        let name = shown(&text(&mut reader)?);
        let dimensions = reader.number(4)?;
        if dimensions > DIMENSIONS {
            return Err(source.refuse(format!("the tensor `{name}` has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(reader.number(8)?);
        }
        shape.reverse(); // the fastest comes first in the file, last everywhere else
        described.push((name, shape, dtype_of(reader.number(4)?), reader.number(8)?));
    }
    // The metadata has only the lengths of lists.
    contents.rest = lists.rest();
    let start = reader.position().next_multiple_of(alignment);
    for (name, shape, dtype, offset) in described {
        let at = start.saturating_add(offset);
        let sized = Tensor::new(name.clone(), dtype.clone(), shape.clone(), Data::Elsewhere(""));
        let sized = sized.map_err(|why| source.refuse(why))?;
        let data = match &dtype {
            Dtype::Other { block: 1, bytes: 0, .. } => Data::Elsewhere("their type is not known"),
            _ => Data::Plain { source: source.part(at, sized.bytes())?, big_endian: false },
        };
        contents.push(source, Tensor::new(name, dtype, shape, data))?;
    }
    Ok(contents)
}

fn hash_list(list: &Source, hash: &mut OtherContentHash) -> Result<()> {
    hash.update(&list.len().to_le_bytes());
    let mut at = 0;
    while at < list.len() {
        let length = CHUNK.min(list.len() - at);
        hash.update(&list.read(at, length)?);
        at += length;
    }
    Ok(())
}

fn text(reader: &mut Reader) -> Result<String> {
    let length = reader.number(8)?;
    if length > TEXT {
        return Err(reader.source().refuse(format!("a text in it claims {length} bytes")));
    }
    Ok(String::from_utf8_lossy(&reader.take(length)?).into_owned())
}

/// A value of the metadata as text; for a list only its length.
fn value(reader: &mut Reader, kind: u64, depth: usize) -> Result<String> {
    Ok(match kind {
        0 => reader.number(1)?.to_string(),
        1 => (reader.number(1)? as i8).to_string(),
        2 => reader.number(2)?.to_string(),
        3 => (reader.number(2)? as i16).to_string(),
        4 => reader.number(4)?.to_string(),
        5 => (reader.number(4)? as i32).to_string(),
        6 => f32::from_bits(reader.number(4)? as u32).to_string(),
        7 => (reader.number(1)? != 0).to_string(),
        8 => text(reader)?,
        LIST => {
            let (kind, count) = (reader.number(4)?, reader.number(8)?);
            skip(reader, kind, count, depth)?;
            format!("({count} values)")
        }
        10 => reader.number(8)?.to_string(),
        11 => (reader.number(8)? as i64).to_string(),
        12 => f64::from_bits(reader.number(8)?).to_string(),
        kind => return Err(reader.source().refuse(format!("a metadata value has the unknown type {kind}"))),
    })
}

fn skip(reader: &mut Reader, kind: u64, count: u64, depth: usize) -> Result<()> {
    let width = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        // Each takes bytes of the file, so a false count fails soon.
        8 => {
            for _ in 0..count {
                let length = reader.number(8)?;
                reader.skip(length)?;
            }
            return Ok(());
        }
        9 if depth > 0 => {
            for _ in 0..count {
                let (kind, count) = (reader.number(4)?, reader.number(8)?);
                skip(reader, kind, count, depth - 1)?;
            }
            return Ok(());
        }
        _ => return Err(reader.source().refuse("a list in its metadata has an unknown type, or is nested too deep")),
    };
    reader.skip(count.saturating_mul(width))
}

/// `ggml_type`: elements of a block, and its bytes.
fn dtype_of(number: u64) -> Dtype {
    let (name, block, bytes) = match number {
        0 => return Dtype::F32,
        1 => return Dtype::F16,
        24 => return Dtype::I8,
        25 => return Dtype::I16,
        26 => return Dtype::I32,
        27 => return Dtype::I64,
        28 => return Dtype::F64,
        30 => return Dtype::Bf16,
        2 => ("q4_0", 32, 18),
        3 => ("q4_1", 32, 20),
        6 => ("q5_0", 32, 22),
        7 => ("q5_1", 32, 24),
        8 => ("q8_0", 32, 34),
        9 => ("q8_1", 32, 36),
        10 => ("q2_K", 256, 84),
        11 => ("q3_K", 256, 110),
        12 => ("q4_K", 256, 144),
        13 => ("q5_K", 256, 176),
        14 => ("q6_K", 256, 210),
        15 => ("q8_K", 256, 292),
        16 => ("iq2_xxs", 256, 66),
        17 => ("iq2_xs", 256, 74),
        18 => ("iq3_xxs", 256, 98),
        19 => ("iq1_s", 256, 50),
        20 => ("iq4_nl", 32, 18),
        21 => ("iq3_s", 256, 110),
        22 => ("iq2_s", 256, 82),
        23 => ("iq4_xs", 256, 136),
        29 => ("iq1_m", 256, 56),
        34 => ("tq1_0", 256, 54),
        35 => ("tq2_0", 256, 66),
        39 => ("mxfp4", 32, 17),
        40 => ("nvfp4", 64, 36),
        41 => ("q1_0", 128, 18),
        n => return Dtype::Other { name: format!("type {n}"), block: 1, bytes: 0 },
    };
    Dtype::Other { name: name.into(), block, bytes }
}
