//! The `data` of a tensor in JSON: flat, or nested as the shape says.

use std::fmt;

use half::f16;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::datatype::Datatype;
use super::tensor::TensorData;

/// Reads the values of a tensor of this shape. Errors: a sentence without the name of the tensor.
pub fn read(datatype: Datatype, shape: &[usize], count: usize, json: &str) -> Result<TensorData, String> {
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(values(shape, count, json, datatype)?),
        Datatype::Uint8 => TensorData::Uint8(values(shape, count, json, datatype)?),
        Datatype::Uint16 => TensorData::Uint16(values(shape, count, json, datatype)?),
        Datatype::Uint32 => TensorData::Uint32(values(shape, count, json, datatype)?),
        Datatype::Uint64 => TensorData::Uint64(values(shape, count, json, datatype)?),
        Datatype::Int8 => TensorData::Int8(values(shape, count, json, datatype)?),
        Datatype::Int16 => TensorData::Int16(values(shape, count, json, datatype)?),
        Datatype::Int32 => TensorData::Int32(values(shape, count, json, datatype)?),
        Datatype::Int64 => TensorData::Int64(values(shape, count, json, datatype)?),
        Datatype::Fp16 => TensorData::Fp16(values(shape, count, json, datatype)?),
        Datatype::Bf16 => return Err("BF16 has no form in JSON: send binary data".into()),
        Datatype::Fp32 => TensorData::Fp32(values(shape, count, json, datatype)?),
        Datatype::Fp64 => TensorData::Fp64(values(shape, count, json, datatype)?),
        Datatype::Bytes => TensorData::Bytes(values(shape, count, json, datatype)?),
    })
}

/// An element that can be made of a value in JSON; `None` if the value is not of its type or range.
trait JsonElement: Sized {
    fn of_bool(_: bool) -> Option<Self> {
        None
    }
    fn of_unsigned(_: u64) -> Option<Self> {
        None
    }
    fn of_signed(_: i64) -> Option<Self> {
        None
    }
    fn of_float(_: f64) -> Option<Self> {
        None
    }
    fn of_text(_: &str) -> Option<Self> {
        None
    }
}

macro_rules! integers {
    ($($number:ty),*) => {$(
        impl JsonElement for $number {
            fn of_unsigned(value: u64) -> Option<Self> {
                value.try_into().ok()
            }
            fn of_signed(value: i64) -> Option<Self> {
                value.try_into().ok()
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i8, i16, i32, i64);

impl JsonElement for bool {
    fn of_bool(value: bool) -> Option<Self> {
        Some(value)
    }
    fn of_unsigned(value: u64) -> Option<Self> {
        (value < 2).then_some(value == 1)
    }
}

macro_rules! floats {
    ($($number:ty: $narrow:expr),*) => {$(
        impl JsonElement for $number {
            fn of_unsigned(value: u64) -> Option<Self> {
                Self::of_float(value as f64)
            }
            fn of_signed(value: i64) -> Option<Self> {
                Self::of_float(value as f64)
            }
            fn of_float(value: f64) -> Option<Self> {
                let narrow: fn(f64) -> $number = $narrow;
                Some(narrow(value)).filter(|narrowed| narrowed.is_finite())
            }
        }
    )*};
}
floats!(f16: f16::from_f64, f32: |value| value as f32, f64: |value| value);

impl JsonElement for String {
    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_string())
    }
}

fn values<T: JsonElement>(shape: &[usize], count: usize, json: &str, datatype: Datatype) -> Result<Vec<T>, String> {
    // No more memory than the text takes, before it is read.
    let mut values = Vec::with_capacity(count.min(json.len() / 2 + 1).min(json.len() / size_of::<T>() + 1));
    let mut nesting = None;
    let reader = Reader { shape, count, depth: 0, datatype, nesting: &mut nesting, values: &mut values };
    let mut json = serde_json::Deserializer::from_str(json);
    let read = reader.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|e| plain(&e.to_string()))?;
    match values.len() == count {
        true => Ok(values),
        false => Err(format!("{} values, wanted {count}", values.len())),
    }
}

/// The message without the place in the part of the body that was parsed.
fn plain(message: &str) -> String {
    message.rfind(" at line ").map_or(message, |at| &message[..at]).to_string()
}

/// How the data is nested: by what is in its outermost array.
#[derive(Clone, Copy, PartialEq)]
enum Nesting {
    Flat,
    Nested,
}

struct Reader<'a, T> {
    shape: &'a [usize],
    count: usize,
    depth: usize,
    datatype: Datatype,
    nesting: &'a mut Option<Nesting>,
    values: &'a mut Vec<T>,
}

impl<T: JsonElement> Reader<'_, T> {
    fn push<E: serde::de::Error>(self, value: Option<T>, shown: impl fmt::Display) -> Result<(), E> {
        let Some(value) = value else {
            return Err(E::custom(format!("the value {shown} is not a {}", self.datatype)));
        };
        let is_at_leaf = match self.nesting {
            // The whole data is one value.
            None if self.depth == 0 => self.shape.is_empty(),
            Some(Nesting::Nested) => self.depth == self.shape.len(),
            _ => self.depth == 1,
        };
        if !is_at_leaf {
            return Err(E::custom("the nesting of the data is not that of the shape"));
        }
        if self.depth == 1 {
            *self.nesting = Some(Nesting::Flat);
        }
        if self.values.len() == self.count {
            return Err(E::custom(format!("more than {} values, wanted {}", self.count, self.count)));
        }
        self.values.push(value);
        Ok(())
    }
}

impl<'de, T: JsonElement> DeserializeSeed<'de> for Reader<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: JsonElement> Visitor<'de> for Reader<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "values of type {}", self.datatype)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.push(T::of_bool(value), value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.push(T::of_unsigned(value), value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.push(T::of_signed(value), value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.push(T::of_float(value), format_args!("{value:?}"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let shown: String = text.chars().take(40).collect();
        self.push(T::of_text(text), format!("{shown:?}"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom("null is no value: JSON has no NaN, send binary data"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        if self.depth > 0 {
            match self.nesting {
                Some(Nesting::Flat) => return Err(A::Error::custom("the data is neither flat nor nested")),
                _ => *self.nesting = Some(Nesting::Nested),
            }
            if self.depth >= self.shape.len() {
                return Err(A::Error::custom("the data is nested deeper than the shape"));
            }
        }
        let mut length = 0;
        loop {
            let Reader { shape, count, depth, datatype, .. } = self;
            let element = Reader {
                shape,
                count,
                depth: depth + 1,
                datatype,
                nesting: &mut *self.nesting,
                values: &mut *self.values,
            };
            match array.next_element_seed(element)? {
                Some(()) => length += 1,
                None => break,
            }
        }
        let wanted = self.shape.get(self.depth).copied();
        let is_nested = *self.nesting == Some(Nesting::Nested);
        match wanted {
            Some(wanted) if is_nested && wanted != length => {
                Err(A::Error::custom(format!("an array of {length} values where the shape has {wanted}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(datatype: Datatype, shape: &[usize], json: &str) -> Result<TensorData, String> {
        read(datatype, shape, shape.iter().product(), json)
    }

    #[test]
    fn flat_and_nested_data_is_read() {
        for (shape, json) in [
            (&[2, 2][..], "[1, 2, 3.0, 4e0]"),
            (&[2, 2], "[[1,2],[3,4]]"),
            (&[4], "[1,2,3,4]"),
            (&[1, 4, 1], "[[[1],[2],[3],[4]]]"),
        ] {
            let want = TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0]);
            assert_eq!(read_one(Datatype::Fp32, shape, json), Ok(want), "{json}");
        }
        for json in ["7", "[7]"] {
            assert_eq!(read_one(Datatype::Int8, &[], json), Ok(TensorData::Int8(vec![7])));
        }
        for (shape, json) in [(&[0, 4][..], "[]"), (&[2, 0], "[[],[]]"), (&[2, 0], "[]")] {
            assert_eq!(read_one(Datatype::Int64, shape, json), Ok(TensorData::Int64(vec![])), "{json}");
        }
        let big = read_one(Datatype::Uint64, &[2], "[18446744073709551615, 9007199254740993]");
        assert_eq!(big, Ok(TensorData::Uint64(vec![u64::MAX, (1 << 53) + 1])));
        let texts = read_one(Datatype::Bytes, &[2], r#"["a\u00e9", ""]"#);
        assert_eq!(texts, Ok(TensorData::Bytes(vec!["aé".into(), String::new()])));
        assert_eq!(read_one(Datatype::Bool, &[3], "[true,0,1]"), Ok(TensorData::Bool(vec![true, false, true])));
    }

    #[test]
    fn wrong_data_is_named() {
        for (datatype, shape, json, want) in [
            (Datatype::Fp32, &[2][..], "[1]", "1 values, wanted 2"),
            (Datatype::Fp32, &[1], "[1,2]", "more than 1 values, wanted 1"),
            (Datatype::Fp32, &[1], "[null]", "null is no value: JSON has no NaN, send binary data"),
            (Datatype::Fp32, &[1], "[NaN]", "expected value"),
            (Datatype::Fp32, &[1], "[1e39]", "the value 1e39 is not a FP32"),
            (Datatype::Fp16, &[1], "[70000]", "the value 70000 is not a FP16"),
            (Datatype::Fp64, &[1], "[1e999]", "number out of range"),
            (Datatype::Fp32, &[1], "[true]", "the value true is not a FP32"),
            (Datatype::Fp32, &[1], "[\"1\"]", "the value \"1\" is not a FP32"),
            (Datatype::Int8, &[1], "[128]", "the value 128 is not a INT8"),
            (Datatype::Uint8, &[1], "[-1]", "the value -1 is not a UINT8"),
            (Datatype::Int32, &[1], "[1.5]", "the value 1.5 is not a INT32"),
            (Datatype::Uint64, &[1], "[18446744073709551616]", "the value 1.8446744073709552e19 is not a UINT64"),
            (Datatype::Bool, &[1], "[2]", "the value 2 is not a BOOL"),
            (Datatype::Bytes, &[1], "[1]", "the value 1 is not a BYTES"),
            (Datatype::Bf16, &[1], "[1]", "BF16 has no form in JSON: send binary data"),
            (Datatype::Fp32, &[2, 2], "[[1,2,3],[4]]", "an array of 3 values where the shape has 2"),
            (Datatype::Fp32, &[2, 2], "[[1,2]]", "an array of 1 values where the shape has 2"),
            (Datatype::Fp32, &[2, 2], "[[1,2],3,4]", "the nesting of the data is not that of the shape"),
            (Datatype::Fp32, &[2, 1], "[1,[2]]", "the data is neither flat nor nested"),
            (Datatype::Fp32, &[2], "[[1,2]]", "the data is nested deeper than the shape"),
            (Datatype::Fp32, &[1], "1", "the nesting of the data is not that of the shape"),
            (Datatype::Fp32, &[1], "{}", "invalid type: map, expected values of type FP32"),
            (Datatype::Fp32, &[1], "[1] x", "trailing characters"),
        ] {
            assert_eq!(read_one(datatype, shape, json).unwrap_err(), want, "{json}");
        }
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(read_one(Datatype::Fp32, &[1], &deep).is_err());
        assert!(read_one(Datatype::Fp32, &vec![1; 10_000], &deep).is_err());
    }
}
