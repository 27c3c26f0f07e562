//! Types and shapes in messages of TensorFlow: `types.proto`, `tensor_shape.proto`.

use crate::error::Result;
use crate::model::formats::protobuf::{Value, fields};
use crate::model::source::Source;
use crate::model::tensor::Dtype;

/// More dimensions than TensorFlow allows.
const DIMENSIONS: usize = 254;

/// The type with this number; `None` if its values have no fixed size.
pub fn dtype(number: u64) -> Option<Dtype> {
    Some(match number {
        1 => Dtype::F32,
        2 => Dtype::F64,
        3 => Dtype::I32,
        4 => Dtype::U8,
        5 => Dtype::I16,
        6 => Dtype::I8,
        8 => Dtype::C64,
        9 => Dtype::I64,
        10 => Dtype::Bool,
        11 => other("qint8", 1),
        12 => other("quint8", 1),
        13 => other("qint32", 4),
        14 => Dtype::Bf16,
        15 => other("qint16", 2),
        16 => other("quint16", 2),
        17 => Dtype::U16,
        18 => Dtype::C128,
        19 => Dtype::F16,
        22 => Dtype::U32,
        23 => Dtype::U64,
        24 => Dtype::F8E5M2,
        25 => Dtype::F8E4M3,
        _ => return None,
    })
}

/// The name of a type for people.
pub fn type_name(number: u64) -> String {
    match number {
        7 => "text".into(),
        20 => "resource".into(),
        21 => "variant".into(),
        number => dtype(number).map_or_else(|| format!("type {number}"), |dtype| dtype.name().to_string()),
    }
}

/// A type without a known size of its values.
pub fn other(name: &str, bytes: u64) -> Dtype {
    Dtype::Other { name: name.into(), block: 1, bytes }
}

/// The dimensions of a shape, `None` for one of any length; `None` instead of all if their number is unknown.
pub fn shape(source: &Source) -> Result<Option<Vec<Option<u64>>>> {
    let (mut dims, mut is_unknown) = (Vec::new(), false);
    let mut all = fields(source);
    while let Some((field, value)) = all.field()? {
        match (field, value) {
            (2, Value::Bytes(dim)) => {
                let mut size = 0;
                let mut parts = fields(&dim);
                while let Some((field, value)) = parts.field()? {
                    if let (1, Value::Number(number)) = (field, value) {
                        size = number;
                    }
                }
                if dims.len() == DIMENSIONS {
                    return Err(source.refuse("a shape in it has too many dimensions"));
                }
                // A negative number: the length is not known.
                dims.push(Some(size).filter(|size| *size <= i64::MAX as u64));
            }
            (3, Value::Number(number)) => is_unknown = number != 0,
            _ => {}
        }
    }
    Ok((!is_unknown).then_some(dims))
}
