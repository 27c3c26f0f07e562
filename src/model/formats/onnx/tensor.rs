//! One ONNX tensor. Its values are in `raw_data`, or in a list of the field for its type, or in another file.

use super::MANY;
use super::numbers::{Budget, NumberList};
use crate::error::Result;
use crate::model::formats::protobuf::{Value, fields};
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Shape, Tensor, shown};

/// A tensor, with the file that has its values.
pub struct LoadedTensor {
    pub tensor: Result<Tensor, String>,
    /// The name of that file.
    pub external: Option<String>,
}

/// The lists of numbers that a tensor may have.
#[derive(Default)]
struct Lists {
    floats: NumberList,
    doubles: NumberList,
    /// `int32_data`, for all integers of up to 32 bits and for floats of 16 and fewer.
    small: NumberList,
    signed: NumberList,
    unsigned: NumberList,
    /// Each text is preceded by its length.
    texts: Vec<u8>,
    texts_are_cut: bool,
}

pub fn read(part: &Source, budget: &mut Budget) -> Result<LoadedTensor> {
    let (mut name, mut kind, mut shape) = (String::new(), 0, Vec::new());
    let (mut raw, mut is_external, mut location, mut is_segment) = (None, false, None, false);
    let mut lists = Lists::default();
    let mut parts = fields(part);
    while let Some((number, value)) = parts.field()? {
        match (number, &value) {
            (1, _) => shape.extend(value.numbers(MANY)?),
            (2, Value::Number(n)) => kind = *n,
            (3, _) => is_segment = true,
            (4, _) => lists.floats.add_floats(&value, 4, budget)?,
            (5, _) => lists.small.add_integers(&value, budget)?,
            (6, Value::Bytes(text)) => lists.add_text(text, budget)?,
            (7, _) => lists.signed.add_integers(&value, budget)?,
            (8, _) => name = shown(&value.text()?),
            (9, Value::Bytes(bytes)) => raw = Some(bytes.clone()),
            (10, _) => lists.doubles.add_floats(&value, 8, budget)?,
            (11, _) => lists.unsigned.add_integers(&value, budget)?,
            (13, Value::Bytes(entry)) => {
                let (key, value) = super::pair(entry)?;
                location = if key == "location" { Some(shown(&value)) } else { location };
            }
            (14, Value::Number(n)) => is_external = *n == 1,
            _ => {}
        }
        if shape.len() > MANY {
            return Err(part.refuse("a tensor has too many dimensions"));
        }
    }
    let external = location.filter(|_| is_external);
    if shape.iter().any(|d| *d > i64::MAX as u64) {
        return Ok(LoadedTensor {
            tensor: Err(format!("the shape {} of the tensor `{name}` is absurd", Shape(&shape))),
            external,
        });
    }
    let dtype = dtype_of(kind);
    let is_empty = shape.contains(&0);
    let data = match raw {
        _ if is_external => Data::Elsewhere("they are in another file"),
        _ if is_segment => Data::Elsewhere("the tensor is cut into segments"),
        Some(source) if dtype.bytes(1).is_some_and(|bytes| bytes > 0) => Data::Plain { source, big_endian: false },
        Some(_) => Data::Elsewhere("their type is not known"),
        None => lists.values(&dtype, kind, is_empty, part.name()),
    };
    Ok(LoadedTensor { tensor: Tensor::new(name, dtype, shape, data), external })
}

impl Lists {
    fn add_text(&mut self, text: &Source, budget: &mut Budget) -> Result<()> {
        if self.texts_are_cut || !budget.take(8 + text.len()) {
            self.texts_are_cut = true;
            return Ok(());
        }
        self.texts.extend(text.len().to_le_bytes());
        self.texts.extend(text.head(u64::MAX)?);
        Ok(())
    }

    /// The values in the field for this type.
    fn values(self, dtype: &Dtype, kind: u64, is_empty: bool, name: &str) -> Data {
        let plain = |source: Source| match source.is_empty() && !is_empty {
            true => Data::Elsewhere("the file has none for them"),
            false => Data::Plain { source, big_endian: false },
        };
        let list = match dtype {
            _ if kind == TEXT && self.texts_are_cut => return Data::Elsewhere("their texts are too long"),
            _ if kind == TEXT => return Data::Encoded { source: Source::of_bytes(self.texts, name), exact: true },
            Dtype::Other { .. } => return Data::Elsewhere("their type is not known"),
            Dtype::F32 | Dtype::C64 => self.floats,
            Dtype::F64 | Dtype::C128 => self.doubles,
            Dtype::I64 => self.signed,
            Dtype::U32 | Dtype::U64 => self.unsigned,
            _ => self.small,
        };
        match dtype {
            _ if list.is_cut => Data::Elsewhere("they are a list of numbers that is too long"),
            Dtype::F32 | Dtype::F64 | Dtype::C64 | Dtype::C128 => plain(list.floats(name)),
            Dtype::Packed { bits: 6, .. } => plain(list.packed(6, name)),
            _ => plain(list.integers(dtype.width().unwrap_or(1), name)),
        }
    }
}

const TEXT: u64 = 8;

/// `TensorProto.DataType`
pub fn dtype_of(number: u64) -> Dtype {
    let other = |name: &str, block, bytes| Dtype::Other { name: name.into(), block, bytes };
    match number {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        TEXT => other("text", 1, 0),
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        14 => Dtype::C64,
        15 => Dtype::C128,
        16 => Dtype::Bf16,
        17 => Dtype::F8E4M3,
        18 => Dtype::F8E4M3Fnuz,
        19 => Dtype::F8E5M2,
        20 => Dtype::F8E5M2Fnuz,
        21 => Dtype::Packed { name: "u4", bits: 4 },
        22 => Dtype::Packed { name: "i4", bits: 4 },
        23 => Dtype::Packed { name: "f4_e2m1", bits: 4 },
        24 => Dtype::F8E8M0,
        25 => Dtype::Packed { name: "u2", bits: 2 },
        26 => Dtype::Packed { name: "i2", bits: 2 },
        27 => Dtype::Packed { name: "f6_e2m3", bits: 6 },
        28 => Dtype::Packed { name: "f6_e3m2", bits: 6 },
        n => other(&format!("type {n}"), 1, 0),
    }
}
