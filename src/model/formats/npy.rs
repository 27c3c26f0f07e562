//! NumPy's `.npy`: a magic, a version, a Python dict literal of three keys, the values.
//! Format: NumPy Enhancement Proposal 1 and its versions 2.0 and 3.0.

use super::dtype::numpy::{described, dims, in_place};
use super::literal::{self, Literal};
use super::{Contents, Format, pickled};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor, shown};

pub const MAGIC: &[u8] = b"\x93NUMPY";
/// Structured types have long headers; NumPy itself warns beyond 10,000 bytes.
const HEADER: u64 = 1 << 16;

/// The content of a header.
pub struct Header {
    pub dtype: Dtype,
    pub big_endian: bool,
    pub shape: Vec<u64>,
    pub fortran: bool,
    /// The offset of the values.
    pub values: u64,
    /// Whether the values are pickles.
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
