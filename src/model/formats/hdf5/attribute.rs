//! Attributes of groups and datasets: small named values. Texts may be in the global heap.

use std::collections::HashMap;

use super::datatype::{self, Datatype, Form};
use super::file::Hdf5File;
use super::object::{ATTRIBUTE, ATTRIBUTE_INFO, Message};
use crate::error::Result;
use crate::model::source::{Reader, Source};
use crate::model::tensor::Dtype;

/// The maximum size of an attribute: the configuration of a large model has about a megabyte.
const SIZE: u64 = 16 << 20;
/// The maximum number of texts in a list of them.
const TEXTS: u64 = 1_000_000;

/// A small named value.
pub struct Attribute {
    pub name: String,
    /// The type and the shape, for people.
    pub kind: String,
    pub value: AttributeValue,
}

/// The value of an attribute.
pub enum AttributeValue {
    Texts(Vec<String>),
    /// The elements as they are stored, and their type.
    Elements(Dtype, Vec<u8>),
    /// In a form that is not read.
    Unread,
}

impl Attribute {
    /// Its texts; none of another type.
    fn texts(&self) -> Vec<&str> {
        match &self.value {
            AttributeValue::Texts(texts) => texts.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Its only text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            AttributeValue::Texts(texts) if texts.len() == 1 => Some(&texts[0]),
            _ => None,
        }
    }
}

/// The attributes of an object.
pub struct Attributes {
    pub list: Vec<Attribute>,
    /// Some are in an index that is not read.
    pub is_dense: bool,
}

impl Attributes {
    pub fn find(&self, name: &str) -> Option<&Attribute> {
        self.list.iter().find(|a| a.name == name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name)?.text()
    }

    /// A list of texts. Keras splits a long one into `name0`, `name1` and so on.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        if let Some(one) = self.find(name) {
            return Some(one.texts());
        }
        let by_name: HashMap<&str, &Attribute> = self.list.iter().map(|a| (a.name.as_str(), a)).collect();
        let parts: Vec<&Attribute> = (0..).map_while(|n| by_name.get(format!("{name}{n}").as_str()).copied()).collect();
        (!parts.is_empty()).then(|| parts.into_iter().flat_map(Attribute::texts).collect())
    }
}

/// Reads the attributes of an object, in the order of its header.
pub fn attributes(file: &Hdf5File, messages: &[Message]) -> Result<Attributes> {
    let mut found = Attributes { list: Vec::new(), is_dense: false };
    for message in messages {
        match message.kind {
            ATTRIBUTE if message.is_shared => found.is_dense = true,
            ATTRIBUTE => found.list.push(attribute(file, &message.content)?),
            ATTRIBUTE_INFO => {
                let mut reader = message.content.reader();
                reader.skip(1)?;
                let flags = reader.byte()?;
                reader.skip(if flags & 1 != 0 { 2 } else { 0 })?;
                found.is_dense |= !file.is_undefined(file.address(&mut reader)?);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn attribute(file: &Hdf5File, content: &Source) -> Result<Attribute> {
    let mut reader = content.reader();
    let (version, flags) = (reader.byte()?, reader.byte()?);
    let sizes = [reader.number(2)?, reader.number(2)?, reader.number(2)?];
    reader.skip(if version == 3 { 1 } else { 0 })?;
    let mut part = |size: u64| -> Result<Source> {
        let part = reader.part(size)?;
        let padding = if version == 1 { size.next_multiple_of(8) - size } else { 0 };
        reader.skip(padding)?;
        Ok(part)
    };
    let (name, kind, space) = (part(sizes[0])?, part(sizes[1])?, part(sizes[2])?);
    let name = String::from_utf8_lossy(&name.all(SIZE, "a name")?).trim_end_matches('\0').to_string();
    if version != 1 && flags & 3 != 0 {
        return Ok(Attribute { name, kind: "shared".into(), value: AttributeValue::Unread });
    }
    let datatype = datatype::datatype(file, &mut kind.reader(), 8)?;
    let Some(mut shape) = datatype::dataspace(file, &space)? else {
        return Ok(Attribute { name, kind: "empty".into(), value: AttributeValue::Texts(Vec::new()) });
    };
    shape.extend(&datatype.dims);
    let kind = format!("{} {}", datatype.dtype, crate::model::tensor::Shape(&shape));
    let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let too_large = || file.source.refuse("an attribute in it is larger than its place");
    let elements = elements.ok_or_else(too_large)?;
    if datatype.dtype.bytes(elements).is_none_or(|bytes| bytes > reader.left()) {
        return Err(too_large());
    }
    Ok(Attribute { name, kind, value: value(file, &datatype, elements, &mut reader)? })
}

fn value(file: &Hdf5File, datatype: &Datatype, elements: u64, reader: &mut Reader) -> Result<AttributeValue> {
    let bytes = datatype.dtype.bytes(elements).unwrap_or(0);
    match datatype.form {
        Form::Heap => Ok(AttributeValue::Unread),
        Form::Texts if elements > TEXTS => Ok(AttributeValue::Unread),
        Form::Texts => {
            let texts = (0..elements).map(|_| heap_text(file, reader)).collect::<Result<_>>()?;
            Ok(AttributeValue::Texts(texts))
        }
        Form::Inline => {
            file.pay(bytes)?;
            let bytes = reader.take(bytes)?;
            let width = datatype.dtype.width().unwrap_or(1) as usize;
            if datatype.dtype.name().starts_with("bytes[") {
                let text = |b: &[u8]| String::from_utf8_lossy(b).trim_end_matches('\0').to_string();
                return Ok(AttributeValue::Texts(bytes.chunks(width).map(text).collect()));
            }
            let mut bytes = bytes;
            if datatype.big_endian {
                crate::model::decode::swap(&datatype.dtype, &mut bytes);
            }
            Ok(AttributeValue::Elements(datatype.dtype.clone(), bytes))
        }
    }
}

/// A text in the global heap: its length, the collection, and the number in it.
fn heap_text(file: &Hdf5File, reader: &mut Reader) -> Result<String> {
    let (length, address, number) = (reader.number(4)?, file.address(reader)?, reader.number(4)?);
    if length == 0 {
        return Ok(String::new());
    }
    let text = file.heap_object(address, number)?.part(0, length)?;
    file.pay(length)?;
    let bytes = text.all(SIZE, "a text of an attribute")?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_string())
}
