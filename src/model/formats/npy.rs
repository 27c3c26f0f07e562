//! NumPy's `.npy`: a magic, a version, a Python dict literal of three keys, the values.
//! Format: NumPy Enhancement Proposal 1 and its versions 2.0 and 3.0.

use std::sync::Arc;

use super::literal::{self, Literal};
use super::{Contents, Format, pickled};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Layout, Shape, Tensor, shown, strides_of};

pub const MAGIC: &[u8] = b"\x93NUMPY";
/// Structured types make long headers; NumPy itself warns beyond 10,000 bytes.
const HEADER: u64 = 1 << 16;
/// Pieces of an element between which there is padding.
const RANGES: u64 = 10_000;
/// Bytes of the name of a structured type. A pickle may use one type in many others, whose names repeat its own.
const NAME: usize = 1 << 20;

/// What a header says.
pub struct Header {
    pub dtype: Dtype,
    pub big_endian: bool,
    pub shape: Vec<u64>,
    pub fortran: bool,
    /// Where the values begin.
    pub values: u64,
    /// The values are pickles.
    pub objects: bool,
}

pub fn read(source: &Source) -> Result<Contents> {
    let mut contents = Contents::new(Format::Npy);
    let header = header(source)?;
    let values = source.part(header.values, source.len() - header.values)?;
    if header.objects {
        pickled::read_objects(&values, "", &mut contents);
    }
    let tensor = tensor("", &header, values);
    contents.push(source, tensor)?;
    Ok(contents)
}

/// The array behind a header.
pub fn tensor(name: &str, header: &Header, values: Source) -> Result<Tensor, String> {
    let data = if header.objects {
        Data::Encoded { source: values, exact: false }
    } else {
        in_place(values, &header.shape, header.fortran, header.big_endian)
    };
    let held = match &data {
        Data::Strided { storage, .. } => Some(storage.len()),
        _ => None,
    };
    let tensor = Tensor::new(name.into(), header.dtype.clone(), header.shape.clone(), data)?;
    if held.is_some_and(|held| held != tensor.bytes()) {
        return Err("its values have another size than its shape says".into());
    }
    Ok(tensor)
}

/// Values of an array as NumPy orders them.
pub fn in_place(source: Source, shape: &[u64], fortran: bool, big_endian: bool) -> Data {
    if fortran && shape.iter().filter(|d| **d > 1).count() > 1 {
        return Data::Strided { storage: source, offset: 0, strides: strides_of(shape, true), big_endian };
    }
    Data::Plain { source, big_endian }
}

/// Reads a header from the beginning of a source.
pub fn header(source: &Source) -> Result<Header> {
    let mut reader = source.reader();
    let magic = reader.take(8)?;
    if !magic.starts_with(MAGIC) {
        return Err(source.refuse("an array in it has no magic"));
    }
    let width = match magic[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(source.refuse(format!("version {version} of the format is not known"))),
    };
    let length = reader.number(width)?;
    if length > HEADER {
        return Err(source.refuse(format!("its header claims {length} bytes")));
    }
    let text = String::from_utf8_lossy(&reader.take(length)?).into_owned();
    let why = || source.refuse(format!("its header is not understood: {}", shown(text.trim())));
    let header = literal::parse(&text).ok_or_else(why)?;
    let Some(Literal::Bool(fortran)) = header.get("fortran_order") else { return Err(why()) };
    let mut shape = header.get("shape").and_then(dims).ok_or_else(why)?;
    let descr = header.get("descr").and_then(described).ok_or_else(why)?;
    shape.extend(descr.dims);
    let (dtype, big_endian, objects) = (descr.dtype, descr.big_endian, descr.objects);
    Ok(Header { dtype, big_endian, shape, fortran: *fortran, values: reader.position(), objects })
}

/// A type as a header describes it.
#[derive(Clone)]
pub struct Descr {
    pub dtype: Dtype,
    pub big_endian: bool,
    /// Of a field that is an array itself.
    pub dims: Vec<u64>,
    /// Some of it are Python objects.
    pub objects: bool,
}

fn dims(literal: &Literal) -> Option<Vec<u64>> {
    let int = |item: &Literal| if let Literal::Int(n) = item { Some(*n) } else { None };
    match literal {
        Literal::Tuple(items) | Literal::List(items) => items.iter().map(int).collect(),
        one => Some(vec![int(one)?]),
    }
}

/// The depth is bounded by the parser of literals. `'<f4'`, `('<f4', (2,))`, `[('x', '<f4'), ('y', '<f4', (2,))]`.
fn described(literal: &Literal) -> Option<Descr> {
    match literal {
        Literal::Text(name) => {
            let (dtype, big_endian) = dtype(name)?;
            let objects = dtype.name() == "object";
            Some(Descr { dtype, big_endian, dims: Vec::new(), objects })
        }
        Literal::Tuple(pair) => {
            let [base, shape] = pair.as_slice() else { return None };
            let mut descr = described(base)?;
            descr.dims.splice(0..0, dims(shape)?);
            Some(descr)
        }
        Literal::List(items) => {
            let mut fields = Vec::new();
            for item in items {
                let Literal::Tuple(parts) = item else { return None };
                let name = match parts.first()? {
                    Literal::Text(name) => name,
                    // A title, and the name.
                    Literal::Tuple(names) => match names.get(1)? {
                        Literal::Text(name) => name,
                        _ => return None,
                    },
                    _ => return None,
                };
                let mut descr = described(parts.get(1)?)?;
                if let Some(shape) = parts.get(2) {
                    descr.dims.splice(0..0, dims(shape)?);
                }
                fields.push((name.clone(), descr));
            }
            structured(&fields)
        }
        _ => None,
    }
}

/// A type of several fields; one without a name is padding.
pub fn structured(fields: &[(String, Descr)]) -> Option<Descr> {
    let (mut bytes, mut names, mut objects, mut name_bytes) = (0u64, Vec::new(), false, 0);
    let mut values: Vec<(usize, usize)> = Vec::new();
    for (name, field) in fields {
        let count = field.dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
        let from = bytes;
        bytes = bytes.checked_add(field.dtype.bytes(count)?)?;
        objects |= field.objects;
        match &field.dtype {
            Dtype::Other { name: kind, .. } if name.is_empty() && kind.starts_with("raw[") => {}
            Dtype::Struct(inner) if count <= RANGES && inner.values[..] != [(0, inner.bytes as usize)] => {
                // They are counted before they are made: each factor alone may be as large as the limit.
                if ranges(inner, count) + values.len() as u64 > RANGES + 1 {
                    return None;
                }
                for i in 0..count {
                    let at = (from + i * inner.bytes) as usize;
                    inner.values.iter().for_each(|(a, b)| add_range(&mut values, at + a, at + b));
                }
            }
            _ => add_range(&mut values, from as usize, bytes as usize),
        }
        if values.len() as u64 > RANGES {
            return None;
        }
        name_bytes += name.len() + field.dtype.name().len();
        if name_bytes > NAME {
            return None;
        }
        let order = if field.big_endian { ">" } else { "" };
        let dims = if field.dims.is_empty() { String::new() } else { format!(" {}", Shape(&field.dims)) };
        names.push(format!("{}: {order}{}{dims}", shown(name), field.dtype).trim_start_matches(": ").to_string());
    }
    let layout = Layout { name: format!("struct{{{}}}", names.join(", ")), bytes, values };
    Some(Descr { dtype: Dtype::Struct(Arc::new(layout)), big_endian: false, dims: Vec::new(), objects })
}

/// How many ranges so many elements in a row have: the last of one and the first of the next may touch.
fn ranges(inner: &Layout, count: u64) -> u64 {
    let is_joined = inner.values.first().is_some_and(|range| range.0 == 0)
        && inner.values.last().is_some_and(|range| range.1 as u64 == inner.bytes);
    let joints = if is_joined { count.saturating_sub(1) } else { 0 };
    count.saturating_mul(inner.values.len() as u64).saturating_sub(joints)
}

fn add_range(values: &mut Vec<(usize, usize)>, from: usize, to: usize) {
    match values.last_mut() {
        Some((_, end)) if *end == from => *end = to,
        _ => values.push((from, to)),
    }
}

/// `<f4`, `|b1`, `>i8`, `<U12`; also without the byte order.
pub fn dtype(descr: &str) -> Option<(Dtype, bool)> {
    let (big_endian, rest) = match descr.as_bytes().first()? {
        b'>' => (true, &descr[1..]),
        b'<' | b'|' | b'=' => (false, &descr[1..]),
        _ => (false, descr),
    };
    let other = |name: String, bytes: u64| Dtype::Other { name, block: 1, bytes };
    let dtype = match rest {
        "b1" | "?" => Dtype::Bool,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "c8" => Dtype::C64,
        "c16" => Dtype::C128,
        // `long double`: 80 bits with padding on x86, 128 bits elsewhere.
        "f12" => other("f96".into(), 12),
        "f16" => other("f128".into(), 16),
        "c24" => other("c192".into(), 24),
        "c32" => other("c256".into(), 32),
        "O" | "O4" | "O8" => other("object".into(), 8),
        _ => {
            let (kind, count) = (rest.chars().next()?, rest.get(1..)?);
            let (digits, unit) = count.split_once('[').unwrap_or((count, ""));
            let count: u64 = digits.parse().ok()?;
            let time = |name: &str| match unit {
                "" => other(name.into(), 8),
                unit => other(format!("{name}[{}", shown(unit)), 8),
            };
            match kind {
                'U' => other(format!("text[{count}]"), count.checked_mul(4)?),
                'S' | 'a' => other(format!("bytes[{count}]"), count),
                'V' => other(format!("raw[{count}]"), count),
                'M' if count == 8 => time("datetime64"),
                'm' if count == 8 => time("timedelta64"),
                _ => return None,
            }
        }
    };
    Some((dtype, big_endian))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[u8]) -> Source {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        Source::of_bytes(bytes, "x.npy")
    }

    #[test]
    fn ranges_are_counted_before_they_are_made() {
        let field = |descr: &Descr, count: u64| {
            let descr = Descr { dims: vec![count], ..descr.clone() };
            structured(&[("x".into(), descr), (String::new(), described(&Literal::Text("V1".into())).unwrap())])
        };
        let byte = described(&Literal::Text("u1".into())).unwrap();
        let padded = field(&byte, 1).unwrap();
        let wide = field(&padded, 10_000).unwrap();
        let Dtype::Struct(layout) = &wide.dtype else { panic!() };
        assert_eq!((layout.values.len(), layout.bytes), (10_000, 20_001));
        assert!(field(&wide, 10_000).is_none() && field(&wide, 2).is_none());
        // Elements that touch are joined.
        let joined = structured(&[
            (String::new(), byte.clone()),
            (String::new(), described(&Literal::Text("V1".into())).unwrap()),
            ("b".into(), byte),
        ]);
        let Some(Descr { dtype: Dtype::Struct(layout), .. }) = field(&joined.unwrap(), 9_999) else { panic!() };
        assert_eq!(layout.values.len(), 10_000);
    }

    #[test]
    fn headers() {
        for (header, want) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", Some("f32 [2, 3]")),
            ("{'descr': '|b1', 'fortran_order': False, 'shape': (24,), }\n", Some("bool [24]")),
            ("{'shape': (), 'fortran_order': False, 'descr': '|S24'}", Some("bytes[24] []")),
            ("{'descr': '>c8', 'fortran_order': True, 'shape': (3L, 1), }", Some("c64 [3, 1]")),
            (
                "{'descr': [('a', '<f4'), ('b', '<u8')], 'fortran_order': False, 'shape': (2,)}",
                Some("struct{a: f32, b: u64} [2]"),
            ),
            (
                "{'descr': [(('t', 'a'), '>f2', (2, 2)), ('', '|V4')], 'fortran_order': False, 'shape': (2,)}",
                Some("struct{a: >f16 [2, 2], raw[4]} [2]"),
            ),
            (
                "{'descr': [('in', [('a', '<f4'), (\"b'c\", '<U1')])], 'fortran_order': False, 'shape': (3,)}",
                Some("struct{in: struct{a: f32, b'c: text[1]}} [3]"),
            ),
            ("{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (3,)}", Some("f32 [3, 2]")),
            ("{'descr': '<f12', 'fortran_order': False, 'shape': (2,)}", Some("f96 [2]")),
            ("{'descr': '>c24', 'fortran_order': False, 'shape': ()}", Some("c192 []")),
            ("{'descr': '<M8[25s]', 'fortran_order': False, 'shape': (3,)}", Some("datetime64[25s] [3]")),
            ("{'descr': '<m8', 'fortran_order': False, 'shape': (1, 3)}", Some("timedelta64 [1, 3]")),
            ("{'descr': '|V0', 'fortran_order': False, 'shape': (7,), }", None),
            ("{'descr': [('a', '<f4', (4294967296, 4294967296, 2))], 'fortran_order': False, 'shape': (1,)}", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", None),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (7, 2), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 2), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775808, 4), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", None),
            ("{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }", None),
            ("{'descr': '<f4', 'shape': (6,), }", None),
            ("", None),
        ] {
            let read = read(&file(header, &[0; 24]));
            let shown = read
                .ok()
                .map(|c| format!("{} {}", c.tensors[0].dtype, crate::model::tensor::Shape(&c.tensors[0].shape)));
            assert_eq!(shown.as_deref(), want, "{header}");
        }
    }
}
