//! Tensors as bytes: elements little-endian; each text of `BYTES` after its length, four bytes.

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};

use super::datatype::Datatype;
use super::tensor::TensorData;

/// The values of `count` elements. Errors: a sentence without the name of the tensor.
pub fn read(datatype: Datatype, count: usize, bytes: &[u8]) -> Result<TensorData, String> {
    if let Some(width) = datatype.width() {
        let wanted = count.checked_mul(width);
        if wanted != Some(bytes.len()) {
            return Err(format!("{} bytes of binary data, wanted {}", bytes.len(), count as u128 * width as u128));
        }
    }
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(booleans(bytes)?),
        Datatype::Uint8 => TensorData::Uint8(bytes.to_vec()),
        Datatype::Int8 => TensorData::Int8(numbers(bytes)),
        Datatype::Uint16 => TensorData::Uint16(numbers::<u16>(bytes)),
        Datatype::Uint32 => TensorData::Uint32(numbers::<u32>(bytes)),
        Datatype::Uint64 => TensorData::Uint64(numbers::<u64>(bytes)),
        Datatype::Int16 => TensorData::Int16(numbers::<i16>(bytes)),
        Datatype::Int32 => TensorData::Int32(numbers::<i32>(bytes)),
        Datatype::Int64 => TensorData::Int64(numbers::<i64>(bytes)),
        Datatype::Fp16 => TensorData::Fp16(numbers::<u16>(bytes).into_iter().map(f16::from_bits).collect()),
        Datatype::Bf16 => TensorData::Bf16(numbers::<u16>(bytes).into_iter().map(bf16::from_bits).collect()),
        Datatype::Fp32 => TensorData::Fp32(numbers::<f32>(bytes)),
        Datatype::Fp64 => TensorData::Fp64(numbers::<f64>(bytes)),
        Datatype::Bytes => TensorData::Bytes(texts(count, bytes)?),
    })
}

/// Appends the values of a tensor.
pub fn write(data: &TensorData, out: &mut Vec<u8>) {
    match data {
        TensorData::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        TensorData::Uint8(values) => out.extend_from_slice(values),
        TensorData::Uint16(values) => extend(values, out),
        TensorData::Uint32(values) => extend(values, out),
        TensorData::Uint64(values) => extend(values, out),
        TensorData::Int8(values) => extend(values, out),
        TensorData::Int16(values) => extend(values, out),
        TensorData::Int32(values) => extend(values, out),
        TensorData::Int64(values) => extend(values, out),
        TensorData::Fp16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        TensorData::Bf16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        TensorData::Fp32(values) => extend(values, out),
        TensorData::Fp64(values) => extend(values, out),
        TensorData::Bytes(values) => values.iter().for_each(|text| {
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }),
    }
}

#[cfg(not(target_endian = "little"))]
compile_error!("binary tensors are copied as they are in memory, which needs a little-endian machine");

fn numbers<T: AnyBitPattern + NoUninit>(bytes: &[u8]) -> Vec<T> {
    bytemuck::allocation::pod_collect_to_vec(bytes)
}

fn extend<T: NoUninit>(values: &[T], out: &mut Vec<u8>) {
    out.extend_from_slice(bytemuck::cast_slice(values));
}

fn booleans(bytes: &[u8]) -> Result<Vec<bool>, String> {
    match bytes.iter().find(|byte| **byte > 1) {
        Some(byte) => Err(format!("a byte of a BOOL is {byte}, wanted 0 or 1")),
        None => Ok(bytes.iter().map(|byte| *byte == 1).collect()),
    }
}

fn texts(count: usize, mut bytes: &[u8]) -> Result<Vec<String>, String> {
    // Each text takes four bytes at least, so a claimed count allocates nothing that was not sent.
    let mut texts = Vec::with_capacity(count.min(bytes.len() / 4));
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or("the length of a text is cut short")?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() {
            return Err(format!("a text of {length} bytes, and {} bytes are left", rest.len()));
        }
        let (text, rest) = rest.split_at(length);
        texts.push(String::from_utf8(text.to_vec()).map_err(|_| "a text is not UTF-8")?);
        if texts.len() > count {
            return Err(format!("more than {count} texts, wanted {count}"));
        }
        bytes = rest;
    }
    match texts.len() == count {
        true => Ok(texts),
        false => Err(format!("{} texts, wanted {count}", texts.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for data in [
            TensorData::Bool(vec![true, false]),
            TensorData::Uint64(vec![u64::MAX, 1]),
            TensorData::Int8(vec![-1, 3]),
            TensorData::Fp16(vec![f16::from_f32(0.5), f16::NAN]),
            TensorData::Bf16(vec![bf16::from_f32(1.5)]),
            TensorData::Fp32(vec![f32::MIN_POSITIVE]),
            TensorData::Bytes(vec!["é".into(), String::new()]),
            TensorData::Fp64(vec![]),
        ] {
            let mut bytes = Vec::new();
            write(&data, &mut bytes);
            let read = read(data.datatype(), data.len(), &bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{data:?}"));
        }
    }

    #[test]
    fn wrong_lengths_are_named() {
        for (datatype, count, bytes, want) in [
            (Datatype::Fp32, 2, &[0u8; 7][..], "7 bytes of binary data, wanted 8"),
            (Datatype::Fp64, usize::MAX, &[0; 8], "8 bytes of binary data, wanted 147573952589676412920"),
            (Datatype::Bool, 1, &[2], "a byte of a BOOL is 2, wanted 0 or 1"),
            (Datatype::Bytes, 1, &[9, 0, 0, 0, 1], "a text of 9 bytes, and 1 bytes are left"),
            (Datatype::Bytes, 1, &[1, 0], "the length of a text is cut short"),
            (Datatype::Bytes, 2, &[0, 0, 0, 0], "1 texts, wanted 2"),
            (Datatype::Bytes, 0, &[0, 0, 0, 0], "more than 0 texts, wanted 0"),
            (Datatype::Bytes, 1, &[1, 0, 0, 0, 0xff], "a text is not UTF-8"),
        ] {
            assert_eq!(read(datatype, count, bytes).unwrap_err(), want);
        }
    }
}
