//! Element types of NumPy, as headers and pickles describe them.

use std::sync::Arc;

use crate::model::formats::literal::Literal;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Layout, Shape, shown, strides_of};

/// The maximum number of ranges of an element between padding.
const RANGES: u64 = 10_000;
/// The maximum length of the name of a structured type. A pickle may use one type in many others, whose names contain
/// its own.
const NAME: usize = 1 << 20;

/// A type as a header describes it.
#[derive(Clone)]
pub struct Descr {
    pub dtype: Dtype,
    pub big_endian: bool,
    /// Of a field that is an array itself.
    pub dims: Vec<u64>,
    /// Whether some of it are Python objects.
    pub objects: bool,
}

/// The dimensions in a header.
pub fn dims(literal: &Literal) -> Option<Vec<u64>> {
    let int = |item: &Literal| if let Literal::Int(n) = item { Some(*n) } else { None };
    match literal {
        Literal::Tuple(items) | Literal::List(items) => items.iter().map(int).collect(),
        one => Some(vec![int(one)?]),
    }
}

/// The depth is bounded by the parser of literals. `'<f4'`, `('<f4', (2,))`, `[('x', '<f4'), ('y', '<f4', (2,))]`.
pub fn described(literal: &Literal) -> Option<Descr> {
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
                // The ranges are counted before any is made: the count of elements and the ranges of one element may each
                // be as large as `RANGES`.
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

/// The number of ranges of `count` adjacent elements: the last of one and the first of the next may touch.
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

/// Values of an array as NumPy orders them.
pub fn in_place(source: Source, shape: &[u64], fortran: bool, big_endian: bool) -> Data {
    if fortran && shape.iter().filter(|d| **d > 1).count() > 1 {
        return Data::Strided { storage: source, offset: 0, strides: strides_of(shape, true), big_endian };
    }
    Data::Plain { source, big_endian }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Adjacent elements are joined.
        let joined = structured(&[
            (String::new(), byte.clone()),
            (String::new(), described(&Literal::Text("V1".into())).unwrap()),
            ("b".into(), byte),
        ]);
        let Some(Descr { dtype: Dtype::Struct(layout), .. }) = field(&joined.unwrap(), 9_999) else { panic!() };
        assert_eq!(layout.values.len(), 10_000);
    }
}
