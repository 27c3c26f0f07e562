//! Compares elements of a type without numbers. Bytes between the fields of a structured type, and after the 80 bits of
//! a `long double` on x86, are padding with arbitrary content, and are ignored.

use crate::model::tensor::{Dtype, Layout};

/// The result of a byte-wise comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    Same,
    Different,
    /// They differ in bytes that are padding on one kind of machine and values on another.
    Unknown,
}

/// The number of values that must look like those of x86 to be certain: a random value does so half of the time.
const EVIDENCE: usize = 32;
/// Bytes of a number of 80 bits.
const EXTENDED: usize = 10;

/// Compares elements, little-endian. They are whole but for those of huge types: of these, the part that begins at the
/// byte `from` of all values.
pub fn compare(dtype: &Dtype, from: u64, a: &[u8], b: &[u8]) -> Equality {
    if a == b {
        return Equality::Same;
    }
    if a.len() != b.len() {
        return Equality::Different;
    }
    match dtype {
        Dtype::Struct(layout) => fields(layout, from, a, b),
        // The type of 12 bytes is one of x86 alone.
        Dtype::Other { name, .. } if matches!(&**name, "f96" | "c192") => extended(a, b, 12, true),
        Dtype::Other { name, .. } if matches!(&**name, "f128" | "c256") => extended(a, b, 16, false),
        _ => Equality::Different,
    }
}

fn fields(layout: &Layout, from: u64, a: &[u8], b: &[u8]) -> Equality {
    if layout.bytes == 0 {
        return Equality::Different;
    }
    let width = layout.bytes as usize;
    // The position of the next byte in its element.
    let mut start = (from % layout.bytes) as usize;
    let (mut a, mut b) = (a, b);
    while !a.is_empty() {
        let length = (width - start).min(a.len());
        let ((x, rest_a), (y, rest_b)) = (a.split_at(length), b.split_at(length));
        let is_same = |(from, to): &(usize, usize)| {
            let (from, to) = ((*from).max(start), (*to).min(start + length));
            from >= to || x[from - start..to - start] == y[from - start..to - start]
        };
        if !layout.values.iter().all(is_same) {
            return Equality::Different;
        }
        (a, b, start) = (rest_a, rest_b, 0);
    }
    Equality::Same
}

fn extended(a: &[u8], b: &[u8], width: usize, is_x86: bool) -> Equality {
    let numbers = || a.chunks_exact(width).zip(b.chunks_exact(width));
    if numbers().any(|(a, b)| a[..EXTENDED] != b[..EXTENDED]) {
        return Equality::Different;
    }
    // The first bit of the fraction is stored explicitly, and is 1 except for zero.
    let is_normal = |n: &[u8]| n[7] & 0x80 != 0 && (n[8] != 0 || n[9] & 0x7f != 0);
    let is_zero = |n: &[u8]| n[..8].iter().all(|b| *b == 0) && n[8] == 0 && n[9] & 0x7f == 0;
    let normal = numbers().filter(|(a, _)| is_normal(a)).count();
    let is_sound = numbers().all(|(a, _)| is_normal(a) || is_zero(a));
    if is_x86 || (is_sound && normal >= EVIDENCE) { Equality::Same } else { Equality::Unknown }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn long_doubles(count: u8, byte: usize, value: u8) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..count).flat_map(|i| [i, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f, 0, 0, 0, 0, 0, 0]).collect();
        bytes[byte] = value;
        bytes
    }

    #[test]
    fn padding_of_long_doubles() {
        let dtype = Dtype::Other { name: "f128".into(), block: 1, bytes: 16 };
        let base = long_doubles(40, 0, 0);
        assert_eq!(compare(&dtype, 0, &base, &long_doubles(40, 17, 9)), Equality::Different);
        assert_eq!(compare(&dtype, 0, &base, &long_doubles(40, 25, 9)), Equality::Different);
        assert_eq!(compare(&dtype, 0, &base, &long_doubles(40, 26, 9)), Equality::Same);
        assert_eq!(compare(&dtype, 0, &long_doubles(4, 0, 0), &long_doubles(4, 31, 9)), Equality::Unknown);
        // Those of 128 bits have their exponent last.
        let quads = |last: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, last].repeat(100);
        assert_eq!(compare(&dtype, 0, &quads(0x3f), &quads(0x40)), Equality::Unknown);
    }

    #[test]
    fn padding_of_structures() {
        let layout = Layout { name: "struct{…}".into(), bytes: 4, values: vec![(0, 1), (2, 4)] };
        let dtype = Dtype::Struct(Arc::new(layout));
        assert_eq!(compare(&dtype, 0, &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 0, 3, 4, 5, 0, 7, 8]), Equality::Same);
        assert_eq!(compare(&dtype, 0, &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 0]), Equality::Different);
        // Pieces of elements: byte 1 of each is padding.
        for (from, other, want) in [
            (4, [9, 2, 3], Equality::Different),
            (4, [1, 9, 3], Equality::Same),
            (5, [9, 2, 3], Equality::Same),
            (5, [1, 9, 3], Equality::Different),
            (6, [1, 2, 9], Equality::Different),
            (7, [1, 2, 9], Equality::Same),
        ] {
            assert_eq!(compare(&dtype, from, &[1, 2, 3], &other), want, "{from} {other:?}");
        }
    }
}
