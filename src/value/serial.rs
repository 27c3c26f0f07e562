//! Serialization of values with serde: untagged in text formats (JSON, YAML), and with a tag for each kind in formats
//! that are not self-describing (the compiled form).
//!
//! JSON cannot represent NaN and infinities. They are written as the strings `"NaN"`, `"Infinity"` and `"-Infinity"`,
//! like in Protocol Buffers: every parser accepts them, and they are not confused with a missing value, which is null.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::Value;

/// The variants of [`Value`] again, for the derived, tagged form.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Value")]
enum Tagged {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            return Tagged::serialize(self, s);
        }
        match self {
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(i) => match (i64::try_from(*i), u64::try_from(*i)) {
                (Ok(n), _) => s.serialize_i64(n),
                (_, Ok(n)) => s.serialize_u64(n),
                _ => s.serialize_i128(*i),
            },
            Value::Float(f) if f.is_nan() => s.serialize_str("NaN"),
            Value::Float(f) if f.is_infinite() => s.serialize_str(if *f > 0.0 { "Infinity" } else { "-Infinity" }),
            Value::Float(f) => s.serialize_f64(*f),
            Value::Str(t) => s.serialize_str(t),
            Value::List(items) => s.collect_seq(items),
            Value::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => match (n.as_i128(), n.as_f64()) {
                (Some(n), _) => Value::Int(n),
                (None, f) => Value::Float(f.unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Str(text),
            serde_json::Value::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => Value::Map(map.into_iter().map(|(k, v)| (k, v.into())).collect()),
        }
    }
}

impl Value {
    /// Sets a value at the names of `path` (or the indexes of lists), making maps where necessary.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if let Value::List(items) = self {
            if let Some(item) = first.parse().ok().and_then(|n: usize| items.get_mut(n)) {
                item.set(rest, value);
            }
            return;
        }
        if !matches!(self, Value::Map(_)) {
            *self = Value::Map(Vec::new());
        }
        let Value::Map(entries) = self else { return };
        let at = entries.iter().position(|(name, _)| name == first).unwrap_or_else(|| {
            entries.push((first.to_string(), Value::Null));
            entries.len() - 1
        });
        entries[at].1.set(rest, value);
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Value, D::Error> {
        if d.is_human_readable() { d.deserialize_any(Natural) } else { Tagged::deserialize(d) }
    }
}

struct Natural;

impl<'de> Visitor<'de> for Natural {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        Value::deserialize(d)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Int(n.into()))
    }

    fn visit_i128<E>(self, n: i128) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_u128<E: serde::de::Error>(self, n: u128) -> Result<Value, E> {
        i128::try_from(n).map(Value::Int).map_err(|_| E::custom(format!("the number {n} is too large")))
    }

    fn visit_f64<E>(self, f: f64) -> Result<Value, E> {
        Ok(Value::Float(f))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::Str(s.into()))
    }

    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(Value::Str(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Value, Value>()? {
            entries.push((key.to_text(), value));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip() {
        let all = Value::Map(vec![
            ("n".into(), Value::Null),
            ("b".into(), Value::Bool(true)),
            ("i".into(), Value::Int(-5)),
            ("u".into(), Value::Int(u64::MAX.into())),
            ("f".into(), Value::Float(1.0)),
            ("s".into(), Value::Str("1".into())),
            ("l".into(), Value::List(vec![Value::Int(1), Value::Map(vec![])])),
        ]);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"{"n":null,"b":true,"i":-5,"u":18446744073709551615,"f":1.0,"s":"1","l":[1,{}]}"#);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), all);
        let bytes = postcard::to_stdvec(&all).unwrap();
        assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), all);
        let odd = Value::List([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Float).to_vec());
        assert_eq!(serde_json::to_string(&odd).unwrap(), r#"["NaN","Infinity","-Infinity"]"#);
        assert_eq!(postcard::from_bytes::<Value>(&postcard::to_stdvec(&odd).unwrap()).unwrap(), odd);
    }
}
