//! The bytes of a node. As a rule they are in the file unchanged. Python 2 escapes them in protocol 0, and Python 3
//! encodes them as Latin-1 text in protocols 0 to 2.

use super::{Form, Id, Node, Pickle};
use crate::error::Result;
use crate::model::source::Source;

/// The maximum number of decoded bytes per pickle.
pub const DECODED: u64 = 64 << 20;

/// Finds bytes in one pickle; `left` bounds how many are decoded.
pub struct Contents<'a> {
    pub pickle: &'a Pickle,
    pub source: &'a Source,
    pub left: u64,
}

impl Contents<'_> {
    /// The bytes of a node, or why they are not read.
    pub fn bytes(&mut self, id: Id) -> Result<Result<Source, &'static str>> {
        let decoded = |bytes| Ok(Ok(Source::of_bytes(bytes, self.source.name())));
        match self.pickle.node(id) {
            Node::OutOfBand => Ok(Err("they are kept outside of the file, in buffers of protocol 5")),
            Node::Bytes { at, length, form: Form::Raw } => Ok(Ok(self.source.part(*at, *length)?)),
            Node::Text(text) => decoded(text.as_bytes().to_vec()),
            Node::Bytes { at, length, form: Form::Escaped } => match self.take(*at, *length)? {
                Some(written) => Ok(self.decoded(unescape(&written))),
                None => Ok(Err(TOO_MANY)),
            },
            Node::CallResult(_) => self.of_call(id),
            _ => Ok(Err("they are kept as Python objects")),
        }
    }

    /// `_codecs.encode(text, 'latin1')`, `bytearray(bytes)`, `bytearray(text, 'latin-1')`, `bytes()`.
    fn of_call(&mut self, id: Id) -> Result<Result<Source, &'static str>> {
        let unknown = Ok(Err("they are made by a function that is not known"));
        let Some(((module, function), args)) = self.pickle.call(id) else { return unknown };
        match (module, function, args) {
            ("_codecs", "encode", [text, encoding]) if self.is_latin1(*encoding) => self.latin1(*text),
            ("builtins" | "__builtin__", "bytearray", [text, encoding]) if self.is_latin1(*encoding) => {
                self.latin1(*text)
            }
            ("builtins" | "__builtin__", "bytearray" | "bytes", []) => Ok(self.decoded(Some(Vec::new()))),
            ("builtins" | "__builtin__", "bytearray", [bytes]) => match self.pickle.node(*bytes) {
                Node::CallResult(_) => unknown,
                _ => self.bytes(*bytes),
            },
            _ => unknown,
        }
    }

    fn is_latin1(&self, id: Id) -> bool {
        matches!(self.pickle.text(id), Some("latin1" | "latin-1" | "latin_1" | "iso-8859-1"))
    }

    fn latin1(&mut self, text: Id) -> Result<Result<Source, &'static str>> {
        let text = match self.pickle.node(text) {
            Node::Text(text) => Some(text.clone()),
            Node::Bytes { at, length, form: form @ (Form::Utf8 | Form::RawUnicode) } => {
                let Some(written) = self.take(*at, *length)? else { return Ok(Err(TOO_MANY)) };
                if *form == Form::Utf8 { String::from_utf8(written).ok() } else { latin1_text(&written) }
            }
            _ => None,
        };
        let bytes = text.and_then(|text| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect());
        Ok(self.decoded(bytes))
    }

    fn decoded(&self, bytes: Option<Vec<u8>>) -> Result<Source, &'static str> {
        bytes
            .map(|bytes| Source::of_bytes(bytes, self.source.name()))
            .ok_or("they are written in a way that is not known")
    }

    fn take(&mut self, at: u64, length: u64) -> Result<Option<Vec<u8>>> {
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                self.source.read(at, length).map(Some)
            }
            None => Ok(None),
        }
    }
}

const TOO_MANY: &str = "they are escaped, and too many to be decoded in memory";

/// The inside of a string literal of Python 2.
pub fn unescape(written: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => hex(&[rest.next()?, rest.next()?])? as u8,
            plain @ (b'\\' | b'\'' | b'"') => plain,
            _ => return None,
        });
    }
    Some(bytes)
}

/// A text as `raw-unicode-escape` writes it.
pub fn latin1_text(written: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(written.len());
    let mut at = 0;
    while at < written.len() {
        let digits = match &written[at..] {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => 0,
        };
        if digits == 0 {
            text.push(char::from(written[at]));
            at += 1;
            continue;
        }
        text.push(char::from_u32(hex(written.get(at + 2..at + 2 + digits)?)?)?);
        at += 2 + digits;
    }
    Some(text)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |n: u32, digit| Some(n << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape(br"a\x00\xff\n\t\r\\\'b").unwrap(), b"a\x00\xff\n\t\r\\'b");
        assert_eq!((unescape(br"\x0"), unescape(br"\q"), unescape(b"\\")), (None, None, None));
        assert_eq!(latin1_text(b"a\\u20ac\xe9\\U0001f600\\n").unwrap(), "a€é😀\\n");
        assert_eq!((latin1_text(br"\u12"), latin1_text(br"\ud800")), (None, None));
    }
}
