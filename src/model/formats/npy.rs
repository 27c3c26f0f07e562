//! NumPy's `.npy`: a magic, a version, a Python dict literal of three keys, the values.
//! Format: NumPy Enhancement Proposal 1 and its versions 2.0 and 3.0.

use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor, strides_of};

pub const MAGIC: &[u8] = b"\x93NUMPY";
/// Structured types make long headers; NumPy itself warns beyond 10,000 bytes.
const HEADER: u64 = 1 << 16;

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
        contents.note("an array of Python objects: a pickle, which is not read");
    }
    let tensor = tensor("", &header, values);
    contents.push(source, tensor)?;
    Ok(contents)
}

/// The array behind a header.
pub fn tensor(name: &str, header: &Header, values: Source) -> Result<Tensor, String> {
    let data = if header.objects {
        Data::Elsewhere("Python objects are not read")
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
    let why = || source.refuse(format!("its header is not understood: {}", super::shown(text.trim())));
    let descr = value(&text, "descr").ok_or_else(why)?;
    let fortran = match value(&text, "fortran_order").ok_or_else(why)? {
        v if v.starts_with("True") => true,
        v if v.starts_with("False") => false,
        _ => return Err(why()),
    };
    let shape = value(&text, "shape").and_then(|v| v.strip_prefix('(')?.split_once(')')).ok_or_else(why)?.0;
    let shape: Option<Vec<u64>> = shape
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .map(|d| d.trim_end_matches('L').parse().ok())
        .collect();
    let name = descr.strip_prefix('\'').and_then(|d| d.split_once('\''));
    let (dtype, big_endian) = match name {
        Some((name, _)) => self::dtype(name).ok_or_else(why)?,
        None => structured(descr).ok_or_else(why)?,
    };
    let objects = text.contains("|O'") || text.contains("'O'");
    Ok(Header { dtype, big_endian, shape: shape.ok_or_else(why)?, fortran, values: reader.position(), objects })
}

/// What follows `'key':` in a dict literal.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(&format!("'{key}'"))? + key.len() + 2..];
    rest.trim_start().strip_prefix(':').map(str::trim_start)
}

/// `[('x', '<f4'), ('y', '<f4', (2,))]`: only plain fields are added up.
fn structured(descr: &str) -> Option<(Dtype, bool)> {
    let list = descr.strip_prefix('[')?;
    let end = list.find(']')?;
    let mut bytes = 0u64;
    for field in list[..end].split("),").filter(|f| f.contains('\'')) {
        let names: Vec<&str> = field.split('\'').collect();
        if names.len() != 5 || names[4].contains('(') {
            return None;
        }
        bytes = bytes.checked_add(dtype(names[3])?.0.width()?)?;
    }
    Some((Dtype::Other { name: "struct".into(), block: 1, bytes }, false))
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
        "O" | "O8" => other("object".into(), 8),
        _ => {
            let (kind, count) = (rest.chars().next()?, rest.get(1..)?);
            let digits = count.split_once('[').map_or(count, |(digits, _)| digits);
            let count: u64 = digits.parse().ok()?;
            match kind {
                'U' => other(format!("text[{count}]"), count.checked_mul(4)?),
                'S' | 'a' => other(format!("bytes[{count}]"), count),
                'V' => other(format!("raw[{count}]"), count),
                'f' | 'c' | 'M' | 'm' => other(rest.to_string(), count),
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
    fn headers() {
        for (header, want) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", Some("f32 [2, 3]")),
            ("{'descr': '|b1', 'fortran_order': False, 'shape': (24,), }\n", Some("bool [24]")),
            ("{'shape': (), 'fortran_order': False, 'descr': '|S24'}", Some("bytes[24] []")),
            ("{'descr': '>c8', 'fortran_order': True, 'shape': (3L, 1), }", Some("c64 [3, 1]")),
            ("{'descr': [('a', '<f4'), ('b', '<u8')], 'fortran_order': False, 'shape': (2,)}", Some("struct [2]")),
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
