//! Decodes bytes of elements to numbers. Every type is widened to `f64`, which represents all of them exactly except
//! integers beyond 2^53. The loops are plain, on slices of known lengths, so that the compiler vectorises them.

use super::tensor::Dtype;

/// Decodes little-endian elements; `out` has room for each number (two for a complex element). `false` if this type has
/// no numbers.
pub fn decode(dtype: &Dtype, bytes: &[u8], out: &mut [f64]) -> bool {
    match dtype {
        Dtype::Bool | Dtype::U8 => each(bytes, out, |[b]| f64::from(b)),
        Dtype::I8 => each(bytes, out, |[b]| f64::from(b as i8)),
        Dtype::U16 => each(bytes, out, |b| f64::from(u16::from_le_bytes(b))),
        Dtype::I16 => each(bytes, out, |b| f64::from(i16::from_le_bytes(b))),
        Dtype::U32 => each(bytes, out, |b| f64::from(u32::from_le_bytes(b))),
        Dtype::I32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
        Dtype::F16 => each(bytes, out, |b| half(u16::from_le_bytes(b))),
        Dtype::Bf16 => each(bytes, out, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        Dtype::F32 | Dtype::C64 => each(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 | Dtype::C128 => each(bytes, out, f64::from_le_bytes),
        Dtype::F8E4M3 => by_table(bytes, out, |b| small(b, 4, 7, b & 0x7f == 0x7f)),
        Dtype::F8E4M3Fnuz => by_table(bytes, out, |b| small(b, 4, 8, b == 0x80)),
        Dtype::F8E5M2Fnuz => by_table(bytes, out, |b| small(b, 5, 16, b == 0x80)),
        // The upper byte of a half.
        Dtype::F8E5M2 => by_table(bytes, out, |b| half(u16::from(b) << 8)),
        Dtype::F8E8M0 => by_table(bytes, out, |b| if b == 0xff { f64::NAN } else { 2f64.powi(i32::from(b) - 127) }),
        Dtype::Packed { .. } | Dtype::Struct(_) | Dtype::Other { .. } => return false,
    }
    true
}

/// Converts big-endian elements to little-endian ones.
pub fn swap(dtype: &Dtype, bytes: &mut [u8]) {
    let unit = dtype.unit();
    if unit > 1 {
        bytes.chunks_exact_mut(unit as usize).for_each(<[u8]>::reverse);
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f64], number: impl Fn([u8; N]) -> f64) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (out, element) in out.iter_mut().zip(elements) {
        *out = number(*element);
    }
}

fn by_table(bytes: &[u8], out: &mut [f64], number: impl Fn(u8) -> f64) {
    let mut table = [0.0; 256];
    for (at, entry) in table.iter_mut().enumerate() {
        *entry = number(at as u8);
    }
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = table[usize::from(*byte)];
    }
}

/// IEEE half precision, without a branch: the exponent is rebased by a multiplication, which also makes subnormals
/// right; infinity and NaN are put in afterwards.
#[inline]
fn half(bits: u16) -> f64 {
    let bits = u32::from(bits);
    let magnitude = (bits & 0x7fff) << 13;
    let rebased = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
    let special = f32::from_bits(magnitude | 0x7f80_0000);
    let positive = if bits & 0x7c00 == 0x7c00 { special } else { rebased };
    f64::from(f32::from_bits(positive.to_bits() | (bits & 0x8000) << 16))
}

/// A float of eight bits without infinity.
fn small(bits: u8, exponent_bits: u32, bias: i32, is_nan: bool) -> f64 {
    if is_nan {
        return f64::NAN;
    }
    let fraction_bits = 7 - exponent_bits;
    let exponent = i32::from(bits & 0x7f) >> fraction_bits;
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1u32 << fraction_bits);
    let magnitude =
        if exponent == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(exponent - bias) };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
        let mut out = vec![0.0; bytes.len() / dtype.width().unwrap() as usize * dtype.parts() as usize];
        assert!(decode(&dtype, bytes, &mut out));
        out
    }

    #[test]
    fn integers_and_floats() {
        assert_eq!(of(Dtype::I8, &[0, 255, 128]), [0.0, -1.0, -128.0]);
        assert_eq!(of(Dtype::U16, &[1, 2]), [513.0]);
        assert_eq!(of(Dtype::I64, &(-5i64).to_le_bytes()), [-5.0]);
        assert_eq!(of(Dtype::F32, &1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(of(Dtype::C64, &[1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat()), [1.5, 2.0]);
        assert_eq!(of(Dtype::Bf16, &[0xc0, 0x3f]), [1.5]);
        let mut big = 1.5f64.to_be_bytes();
        swap(&Dtype::F64, &mut big);
        assert_eq!(of(Dtype::F64, &big), [1.5]);
    }

    /// Values from the IEEE and OCP tables.
    #[test]
    fn small_floats() {
        for (bits, want) in [
            (0x3c00u16, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x03ff, 1023.0 * 2f64.powi(-24)),
            (0x0400, 2f64.powi(-14)),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(of(Dtype::F16, &bits.to_le_bytes()), [want], "{bits:#x}");
        }
        assert!(of(Dtype::F16, &[0x01, 0x7c])[0].is_nan());
        assert_eq!(of(Dtype::F8E4M3, &[0x38, 0x7e, 0x01, 0xb8]), [1.0, 448.0, 2f64.powi(-9), -1.0]);
        assert_eq!(of(Dtype::F8E5M2, &[0x3c, 0x7b, 0x01, 0x7c]), [1.0, 57344.0, 2f64.powi(-16), f64::INFINITY]);
        assert_eq!(of(Dtype::F8E4M3Fnuz, &[0x40, 0x7f, 0x01]), [1.0, 240.0, 2f64.powi(-10)]);
        assert_eq!(of(Dtype::F8E5M2Fnuz, &[0x40, 0x7f, 0x01]), [1.0, 57344.0, 2f64.powi(-17)]);
        assert_eq!(of(Dtype::F8E8M0, &[127, 0, 254]), [1.0, 2f64.powi(-127), 2f64.powi(127)]);
        for (dtype, bits) in [
            (Dtype::F8E4M3, 0xff),
            (Dtype::F8E5M2, 0x7d),
            (Dtype::F8E4M3Fnuz, 0x80),
            (Dtype::F8E5M2Fnuz, 0x80),
            (Dtype::F8E8M0, 0xff),
        ] {
            assert!(of(dtype.clone(), &[bits])[0].is_nan(), "{dtype}");
        }
    }
}
