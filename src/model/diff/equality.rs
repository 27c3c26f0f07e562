//! Are two pieces of a type without numbers equal? Bytes between the fields of a structured type, and behind the 80 bits
//! of a `long double` on x86, are padding: they hold whatever was in memory, and do not count.

use crate::model::tensor::{Dtype, Layout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    Same,
    Different,
    /// They differ in bytes that are padding on one kind of machine and values on another.
    Unknown,
}

/// So many numbers that look like those of x86 make it sure that they are: half of all others do.
const EVIDENCE: usize = 32;
/// Bytes of a number of 80 bits.
const EXTENDED: usize = 10;

/// Compares whole elements, little-endian.
pub fn compare(dtype: &Dtype, a: &[u8], b: &[u8]) -> Equality {
    if a == b {
        return Equality::Same;
    }
    if a.len() != b.len() {
        return Equality::Different;
    }
    match dtype {
        Dtype::Struct(layout) => fields(layout, a, b),
        // The type of 12 bytes is one of x86 alone.
        Dtype::Other { name, .. } if matches!(&**name, "f96" | "c192") => extended(a, b, 12, true),
        Dtype::Other { name, .. } if matches!(&**name, "f128" | "c256") => extended(a, b, 16, false),
        _ => Equality::Different,
    }
}

fn fields(layout: &Layout, a: &[u8], b: &[u8]) -> Equality {
    let width = layout.bytes as usize;
    let same = |a: &[u8], b: &[u8]| layout.values.iter().all(|(from, to)| a.get(*from..*to) == b.get(*from..*to));
    if width > 0 && a.chunks(width).zip(b.chunks(width)).all(|(a, b)| same(a, b)) {
        Equality::Same
    } else {
        Equality::Different
    }
}

fn extended(a: &[u8], b: &[u8], width: usize, is_x86: bool) -> Equality {
    let numbers = || a.chunks_exact(width).zip(b.chunks_exact(width));
    if numbers().any(|(a, b)| a[..EXTENDED] != b[..EXTENDED]) {
        return Equality::Different;
    }
    // The first bit of the fraction is written there, and is 1 but for zero.
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
        assert_eq!(compare(&dtype, &base, &long_doubles(40, 17, 9)), Equality::Different);
        assert_eq!(compare(&dtype, &base, &long_doubles(40, 25, 9)), Equality::Different);
        assert_eq!(compare(&dtype, &base, &long_doubles(40, 26, 9)), Equality::Same);
        assert_eq!(compare(&dtype, &long_doubles(4, 0, 0), &long_doubles(4, 31, 9)), Equality::Unknown);
        // Those of 128 bits have their exponent last.
        let quads = |last: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, last].repeat(100);
        assert_eq!(compare(&dtype, &quads(0x3f), &quads(0x40)), Equality::Unknown);
    }

    #[test]
    fn padding_of_structures() {
        let layout = Layout { name: "struct{…}".into(), bytes: 4, values: vec![(0, 1), (2, 4)] };
        let dtype = Dtype::Struct(Arc::new(layout));
        assert_eq!(compare(&dtype, &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 0, 3, 4, 5, 0, 7, 8]), Equality::Same);
        assert_eq!(compare(&dtype, &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 0]), Equality::Different);
    }
}
