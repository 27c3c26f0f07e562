//! safetensors: a length, a JSON header, the values. The crate of the format checks the header: every tensor's offsets
//! fit its shape and type, nothing overlaps, no bytes are unused. Checked here is what the crate cannot see, since it
//! gets the header alone: the sizes of header and file.

use safetensors::Dtype as Theirs;
use safetensors::tensor::Metadata;

use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor};

/// The format allows 100 MB. Half a million tensors fit into this, and parsing it stays well below a gigabyte.
const HEADER: u64 = 32 << 20;

/// Eight bytes of length, then a JSON object. If all eight are printable or white space, it is a text that happens to
/// have a brace there.
pub fn is_it(head: &[u8]) -> bool {
    head.len() >= 9 && head[8] == b'{' && !head[..8].iter().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t'))
}

pub fn read(source: &Source) -> Result<Contents> {
    let length = source.reader().number(8)?;
    if length > HEADER {
        return Err(source.refuse(format!("its header claims {length} bytes; more than {HEADER} are not read")));
    }
    let header = source.read(8, length)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|e| source.refuse(format!("its header is wrong: {e}")))?;
    let mut contents = Contents::new(Format::Safetensors);
    for (key, value) in header.metadata().iter().flatten() {
        contents.add_metadata(key, value);
    }
    contents.metadata.sort();
    let values = source.part(8 + length, source.len() - 8 - length)?;
    if header.data_len() as u64 != values.len() {
        let (want, have) = (header.data_len(), values.len());
        return Err(source.refuse(format!("its header declares {want} bytes of values, and the file has {have}")));
    }
    for (name, info) in header.tensors() {
        let (from, to) = info.data_offsets;
        let data = Data::Plain { source: values.part(from as u64, (to - from) as u64)?, big_endian: false };
        let shape = info.shape.iter().map(|d| *d as u64).collect();
        contents.push(source, Tensor::new(name, dtype(info.dtype), shape, data))?;
    }
    contents.tensors.sort_by_key(place);
    Ok(contents)
}

/// Tensors are listed in file order, which is the order in which the model was built.
fn place(tensor: &Tensor) -> u64 {
    match &tensor.data {
        Data::Plain { source, .. } => source.start(),
        _ => 0,
    }
}

fn dtype(theirs: Theirs) -> Dtype {
    match theirs {
        Theirs::BOOL => Dtype::Bool,
        Theirs::U8 => Dtype::U8,
        Theirs::U16 => Dtype::U16,
        Theirs::U32 => Dtype::U32,
        Theirs::U64 => Dtype::U64,
        Theirs::I8 => Dtype::I8,
        Theirs::I16 => Dtype::I16,
        Theirs::I32 => Dtype::I32,
        Theirs::I64 => Dtype::I64,
        Theirs::F16 => Dtype::F16,
        Theirs::BF16 => Dtype::Bf16,
        Theirs::F32 => Dtype::F32,
        Theirs::F64 => Dtype::F64,
        Theirs::F8_E4M3 => Dtype::F8E4M3,
        Theirs::F8_E5M2 => Dtype::F8E5M2,
        Theirs::F8_E4M3FNUZ => Dtype::F8E4M3Fnuz,
        Theirs::F8_E5M2FNUZ => Dtype::F8E5M2Fnuz,
        Theirs::F8_E8M0 => Dtype::F8E8M0,
        Theirs::C64 => Dtype::C64,
        other => Dtype::Other { name: format!("{other:?}").to_lowercase(), block: 8, bytes: other.bitsize() as u64 },
    }
}
