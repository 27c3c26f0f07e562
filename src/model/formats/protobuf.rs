//! The wire format of protocol buffers, as far as ONNX needs it: the fields of a message with their numbers. Nested
//! messages are parts of the source, opened on demand. Format: the "Encoding" page of Protocol Buffers.

use crate::error::Result;
use crate::model::source::{Reader, Source};

/// The maximum length of a stored text.
const TEXT: u64 = 1 << 20;

/// The value of a field.
pub enum Value {
    Number(u64),
    /// Bytes, a text, a nested message, or packed numbers.
    Bytes(Source),
    /// A number of four or eight bytes: its little-endian bits, and how many bytes it has.
    Fixed(u64, u64),
}

/// An iterator over the fields of a message.
pub struct Fields {
    reader: Reader,
}

/// The fields of a message.
pub fn fields(source: &Source) -> Fields {
    Fields { reader: source.reader() }
}

impl Fields {
    /// The next field, its number before it.
    pub fn field(&mut self) -> Result<Option<(u64, Value)>> {
        if self.reader.left() == 0 {
            return Ok(None);
        }
        let tag = varint(&mut self.reader)?;
        // Other readers keep 32 bits of it: to them, a larger one would be another field.
        if tag > u64::from(u32::MAX) {
            return Err(self.reader.source().refuse("it has a field with a number that is too large"));
        }
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut self.reader)?),
            1 => Value::Fixed(self.reader.number(8)?, 8),
            2 => {
                let length = varint(&mut self.reader)?;
                Value::Bytes(self.reader.part(length)?)
            }
            5 => Value::Fixed(self.reader.number(4)?, 4),
            kind => return Err(self.reader.source().refuse(format!("it has a field of the unknown kind {kind}"))),
        };
        match tag >> 3 {
            0 => Err(self.reader.source().refuse("it has a field with the number 0")),
            number => Ok(Some((number, value))),
        }
    }
}

impl Value {
    pub fn text(&self) -> Result<String> {
        match self {
            Value::Bytes(source) => Ok(String::from_utf8_lossy(&source.all(TEXT, "a text in it")?).into_owned()),
            _ => Ok(String::new()),
        }
    }

    /// Numbers of a repeated field: packed, or one.
    pub fn numbers(&self, most: usize) -> Result<Vec<u64>> {
        match self {
            Value::Number(number) => Ok(vec![*number]),
            Value::Fixed(..) => Ok(Vec::new()),
            Value::Bytes(source) => {
                let mut reader = source.reader();
                let mut numbers = Vec::new();
                while reader.left() > 0 {
                    if numbers.len() == most {
                        return Err(source.refuse(format!("a list in it has more than {most} numbers")));
                    }
                    numbers.push(varint(&mut reader)?);
                }
                Ok(numbers)
            }
        }
    }
}

/// Seven bits a byte, the lowest first.
pub fn varint(reader: &mut Reader) -> Result<u64> {
    let mut number = 0u64;
    for i in 0..10 {
        let byte = reader.byte()?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * i).unwrap_or(0);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(reader.source().refuse("it has a number that does not end"))
}
