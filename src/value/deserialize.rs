//! Deserializes records of lockstep (serde structs) from a [`Value`]: [`super::json`] preserves numbers that serde_json
//! rounds.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Value;

impl IntoDeserializer<'_, Error> for Value {
    type Deserializer = Value;

    fn into_deserializer(self) -> Value {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Int(n) => match (i64::try_from(n), u64::try_from(n)) {
                (Ok(n), _) => visitor.visit_i64(n),
                (_, Ok(n)) => visitor.visit_u64(n),
                _ => visitor.visit_i128(n),
            },
            Value::Float(f) => visitor.visit_f64(f),
            Value::Str(text) => visitor.visit_string(text),
            Value::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Map(entries) => {
                let mut entries = MapDeserializer::new(entries.into_iter());
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Variants without fields are represented by their names.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Value::Str(text) => text.into_deserializer().deserialize_enum(name, variants, visitor),
            other => other.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::json::read_record;
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        count: u64,
        seconds: f64,
        #[serde(default)]
        word: Option<Word>,
        values: BTreeMap<String, Value>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        UpToDate,
    }

    #[test]
    fn records_keep_their_numbers() {
        let text = r#"{"count": 18446744073709551615, "seconds": 2, "word": "up_to_date", "new": [],
                       "values": {"a": 18446744073709551617, "b": -1e22, "c": null}} and what follows"#;
        let values = [("a", Value::Int((1 << 64) + 1)), ("b", Value::Float(-1e22)), ("c", Value::Null)];
        let values = values.map(|(key, value)| (key.to_string(), value)).into();
        let want = Record { count: u64::MAX, seconds: 2.0, word: Some(Word::UpToDate), values };
        assert_eq!(read_record::<Record>(text), Ok(want));
        assert!(read_record::<Record>(r#"{"count": -1, "seconds": 2, "values": {}}"#).is_err());
        assert!(read_record::<Record>(r#"{"count": 1, "values": {}}"#).unwrap_err().contains("seconds"));
    }
}
