//! A tensor as described by a header: name, element type, shape, and the location of its values.

use std::fmt;
use std::sync::Arc;

use super::chunks::Chunks;
use super::source::Source;

/// The maximum number of dimensions; NumPy stops at 64.
const DIMENSIONS: usize = 64;

/// The type of an element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dtype {
    /// A byte: 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Eight bits; the names are those of the ONNX and OCP specifications.
    F8E4M3,
    /// Five bits of exponent, two of mantissa, with infinities.
    F8E5M2,
    /// Four bits of exponent, no infinities, no negative zero.
    F8E4M3Fnuz,
    /// Five bits of exponent, no infinities, no negative zero.
    F8E5M2Fnuz,
    /// Eight bits of exponent: a power of two.
    F8E8M0,
    /// Complex: two binary32, the real part first.
    C64,
    /// Complex: two binary64, the real part first.
    C128,
    /// Less than a byte per element, several of them in each byte; the last byte may be partly used.
    Packed {
        /// The name for people: `i4`.
        name: &'static str,
        /// Bits per element.
        bits: u64,
    },
    /// Several fields in an element.
    Struct(Arc<Layout>),
    /// A type whose values are not read: packed in blocks, quantised, text.
    Other {
        /// The name for people, with the parameters of the type.
        name: String,
        /// The number of elements in a block of `bytes` bytes.
        block: u64,
        /// The size of a block in bytes.
        bytes: u64,
    },
}

/// The fields of a structured type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layout {
    /// With all fields, their types and byte orders: equal names mean equal layouts.
    pub name: String,
    /// Of an element.
    pub bytes: u64,
    /// The ranges of the fields in an element, as (from, to); the bytes between are padding.
    pub values: Vec<(usize, usize)>,
}

impl Dtype {
    /// The short name for people: `f32`.
    pub fn name(&self) -> &str {
        match self {
            Dtype::Bool => "bool",
            Dtype::U8 => "u8",
            Dtype::U16 => "u16",
            Dtype::U32 => "u32",
            Dtype::U64 => "u64",
            Dtype::I8 => "i8",
            Dtype::I16 => "i16",
            Dtype::I32 => "i32",
            Dtype::I64 => "i64",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::F8E4M3 => "f8_e4m3",
            Dtype::F8E5M2 => "f8_e5m2",
            Dtype::F8E4M3Fnuz => "f8_e4m3fnuz",
            Dtype::F8E5M2Fnuz => "f8_e5m2fnuz",
            Dtype::F8E8M0 => "f8_e8m0",
            Dtype::C64 => "c64",
            Dtype::C128 => "c128",
            Dtype::Packed { name, .. } => name,
            Dtype::Struct(layout) => &layout.name,
            Dtype::Other { name, .. } => name,
        }
    }

    /// Bytes of an element, if it does not share bytes.
    pub fn width(&self) -> Option<u64> {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => Some(1),
            Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz | Dtype::F8E8M0 => Some(1),
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::Bf16 => Some(2),
            Dtype::U32 | Dtype::I32 | Dtype::F32 => Some(4),
            Dtype::U64 | Dtype::I64 | Dtype::F64 | Dtype::C64 => Some(8),
            Dtype::C128 => Some(16),
            Dtype::Struct(layout) => Some(layout.bytes),
            Dtype::Other { block: 1, bytes, .. } => Some(*bytes),
            Dtype::Packed { .. } | Dtype::Other { .. } => None,
        }
    }

    /// Bytes of `elements` elements; `None` if that is not an integer or overflows.
    pub fn bytes(&self, elements: u64) -> Option<u64> {
        match self {
            Dtype::Packed { bits, .. } => Some(elements.checked_mul(*bits)?.div_ceil(8)),
            Dtype::Other { block, bytes, .. } => {
                let whole = elements.checked_mul(*bytes)?;
                (*block > 0 && whole % block == 0).then(|| whole / block)
            }
            _ => elements.checked_mul(self.width()?),
        }
    }

    /// Numbers in an element: two for a complex one.
    pub fn parts(&self) -> u64 {
        if matches!(self, Dtype::C64 | Dtype::C128) { 2 } else { 1 }
    }

    /// Returns true if its values can be compared as numbers, and not only byte by byte.
    pub fn has_numbers(&self) -> bool {
        !matches!(self, Dtype::Packed { .. } | Dtype::Struct(_) | Dtype::Other { .. })
    }

    /// How many bytes are reversed together when the byte order changes.
    pub fn unit(&self) -> u64 {
        match self {
            Dtype::Other { name, .. } if name.starts_with("text[") => 4,
            Dtype::Struct(_) => 1, // its fields tell their own order
            Dtype::Other { name, bytes, .. } if matches!(&**name, "c192" | "c256") => bytes / 2,
            _ => self.width().unwrap_or(1) / self.parts(),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The location of a tensor's values.
#[derive(Clone)]
pub enum Data {
    /// Row by row, without gaps: exactly the bytes of the tensor.
    Plain {
        /// Exactly the bytes of the tensor.
        source: Source,
        /// The byte order of the elements.
        big_endian: bool,
    },
    /// Elements of a storage, at an offset and with a stride for each dimension, counted in elements: views,
    /// transposed tensors, Fortran order.
    Strided {
        /// The shared bytes, of which the tensor may use a part.
        storage: Source,
        /// The first element in the storage.
        offset: u64,
        /// One for each dimension; 0 repeats elements.
        strides: Vec<u64>,
        /// The byte order of the elements.
        big_endian: bool,
    },
    /// Plain values after `skip` bytes of header, deflated.
    Deflated {
        /// A raw deflate stream (RFC 1951).
        source: Source,
        /// Inflated bytes before the values.
        skip: u64,
        /// The byte order of the elements.
        big_endian: bool,
    },
    /// In chunks that are compressed one by one.
    Chunked {
        /// Their locations.
        chunks: Arc<Chunks>,
        /// The byte order of the elements.
        big_endian: bool,
    },
    /// Values in an encoding of their own (texts, pickles). Equal bytes are equal values; with `exact`, different bytes
    /// are different values, otherwise they may be equal.
    Encoded {
        /// The encoded bytes.
        source: Source,
        /// Whether different bytes are different values.
        exact: bool,
    },
    /// Not readable, for this reason.
    Elsewhere(&'static str),
}

/// A tensor and the location of its values.
#[derive(Clone)]
pub struct Tensor {
    /// As in the file; [`shown`] makes it safe for a terminal.
    pub name: String,
    /// The type of an element.
    pub dtype: Dtype,
    /// The length of each dimension; empty for a scalar.
    pub shape: Vec<u64>,
    /// The location of the values.
    pub data: Data,
    elements: u64,
    bytes: u64,
}

impl Tensor {
    /// Refused, with the reason, if the shape is invalid or plain data has another size.
    pub fn new(name: String, dtype: Dtype, shape: Vec<u64>, data: Data) -> Result<Tensor, String> {
        if shape.len() > DIMENSIONS {
            return Err(format!("the tensor `{}` has {} dimensions", shown(&name), shape.len()));
        }
        let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        // A dimension of 0 does not make the others harmless: strides are computed from them.
        let nonzero = shape.iter().filter(|d| **d > 0).try_fold(1u64, |n, d| n.checked_mul(*d));
        let (Some(elements), Some(bytes)) =
            (elements, nonzero.and_then(|n| dtype.bytes(n)).and(elements).and_then(|n| dtype.bytes(n)))
        else {
            return Err(format!("the shape {} of the tensor `{}` is absurd", Shape(&shape), shown(&name)));
        };
        let held = match &data {
            Data::Plain { source, .. } => Some(source.len()),
            _ => None,
        };
        if let Some(held) = held.filter(|held| *held != bytes) {
            let name = shown(&name);
            return Err(format!("the tensor `{name}` needs {bytes} bytes by its shape and has {held}"));
        }
        Ok(Tensor { name, dtype, shape, data, elements, bytes })
    }

    /// The same tensor under another name.
    pub(super) fn named(mut self, name: &str) -> Tensor {
        self.name = name.to_string();
        self
    }

    /// The product of the dimensions.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The uncompressed size of its elements.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The strides of a tensor without gaps whose last dimension moves fastest, or with `fortran` the first one.
pub fn strides_of(shape: &[u64], fortran: bool) -> Vec<u64> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1u64;
    let order: Box<dyn Iterator<Item = usize>> =
        if fortran { Box::new(0..shape.len()) } else { Box::new((0..shape.len()).rev()) };
    for i in order {
        strides[i] = step;
        step = step.saturating_mul(shape[i].max(1));
    }
    strides
}

/// Returns true if elements at these strides are in row-major order without gaps. The stride of a dimension of 1 does
/// not matter.
pub fn is_plain(shape: &[u64], strides: &[u64]) -> bool {
    let plain = strides_of(shape, false);
    shape.iter().zip(strides.iter().zip(&plain)).all(|(d, (s, p))| *d == 1 || s == p)
}

/// `[128, 64]`
pub struct Shape<'a>(pub &'a [u64]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.0.iter().map(u64::to_string).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}

/// A name from a file, safe for a terminal: no control characters, bounded length.
pub fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match name.char_indices().nth(200) {
        Some((end, _)) => name[..end].chars().map(plain).chain(['…']).collect(),
        None => name.chars().map(plain).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64]) -> Result<Tensor, String> {
        Tensor::new("w".into(), Dtype::F32, shape.to_vec(), Data::Elsewhere("a test"))
    }

    #[test]
    fn absurd_shapes_are_refused() {
        assert_eq!(tensor(&[2, 3]).map(|t| (t.elements(), t.bytes())), Ok((6, 24)));
        assert_eq!(tensor(&[]).map(|t| t.elements()), Ok(1));
        assert_eq!(tensor(&[0, 5]).map(|t| t.bytes()), Ok(0));
        for shape in [&[1 << 63][..], &[1 << 62], &[1 << 32, 1 << 32], &[0, 1 << 63], &[1; 65]] {
            assert!(tensor(shape).is_err(), "{shape:?}");
        }
        let source = Source::of_bytes(vec![0; 8], "x");
        let short = Tensor::new("w".into(), Dtype::F32, vec![3], Data::Plain { source, big_endian: false });
        assert_eq!(short.err().as_deref(), Some("the tensor `w` needs 12 bytes by its shape and has 8"));
    }

    #[test]
    fn strides() {
        assert_eq!(strides_of(&[2, 3, 4], false), [12, 4, 1]);
        assert_eq!(strides_of(&[2, 3, 4], true), [1, 2, 6]);
        assert!(is_plain(&[2, 1, 4], &[4, 99, 1]) && !is_plain(&[2, 4], &[1, 2]));
    }
}
