//! Reads JSON as written by Python: `NaN`, `Infinity` and `-Infinity` are numbers, the last of several equal keys wins,
//! and integers of any size are exact. serde_json turns integers beyond 64 bits into floats.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::{Fault, Mark, Value, budget};

/// The same limit as in serde_json.
const DEPTH: usize = 128;

/// The numbers that Python spells as words.
const WORDS: [(&str, Value); 6] = [
    ("null", Value::Null),
    ("true", Value::Bool(true)),
    ("false", Value::Bool(false)),
    ("NaN", Value::Float(f64::NAN)),
    ("Infinity", Value::Float(f64::INFINITY)),
    ("-Infinity", Value::Float(f64::NEG_INFINITY)),
];

/// Parses a JSON text. Errors: it is invalid, too large, or nested too deep.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let mut reader = JsonReader { text, at: 0 };
    let value = reader.document()?;
    reader.skip_blanks();
    if reader.at < text.len() {
        return Err(reader.fault("trailing characters"));
    }
    Ok(value)
}

/// Reads a record that lockstep wrote, with exact numbers; trailing text is ignored. Returns an error text if it is not
/// such a record.
pub fn read_record<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = JsonReader { text, at: 0 }.document().map_err(|fault| fault.message)?;
    T::deserialize(value).map_err(|e| e.to_string())
}

struct JsonReader<'t> {
    text: &'t str,
    at: usize,
}

impl JsonReader<'_> {
    fn document(&mut self) -> Result<Value, Fault> {
        budget::check_json(self.text)?;
        self.value(0)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next character that is not blank.
    fn next_mark(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.peek()
    }

    fn fault(&self, message: &str) -> Fault {
        let end = self.text.len().saturating_sub(usize::from(self.at >= self.text.len()));
        Fault::new(format!("no valid JSON: {message}"), Some(mark(self.text, self.at.min(end))))
    }

    /// The error `message`, or the one for a text that ends too early.
    fn wrong(&self, message: &str, within: &str) -> Fault {
        match self.peek() {
            None => self.fault(&format!("EOF while parsing {within}")),
            Some(_) => self.fault(message),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let first = self.next_mark();
        match first {
            Some(b'"') => self.string().map(Value::Str),
            Some(b'[' | b'{') if depth >= DEPTH => Err(self.fault("recursion limit exceeded")),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.map(depth),
            _ => match self.word() {
                Some(value) => Ok(value),
                None if matches!(first, Some(b'-' | b'0'..=b'9')) => self.number(),
                None => Err(self.wrong("expected value", "a value")),
            },
        }
    }

    fn word(&mut self) -> Option<Value> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.');
        let (word, value) = WORDS
            .iter()
            .find(|(word, _)| rest.starts_with(word.as_bytes()) && !rest.get(word.len()).is_some_and(is_part))?;
        self.at += word.len();
        Some(value.clone())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next_mark() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            let item = self.value(depth + 1).map_err(|fault| fault.within(&items.len().to_string()))?;
            items.push(item);
            match self.next_mark() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                _ => return Err(self.wrong("expected `,` or `]`", "a list")),
            }
            if self.next_mark() == Some(b']') {
                return Err(self.fault("trailing comma"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut places = HashMap::new();
        if self.next_mark() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            match self.next_mark() {
                Some(b'"') => {}
                Some(b'}') => return Err(self.fault("trailing comma")),
                _ => return Err(self.wrong("key must be a string", "an object")),
            }
            let key = self.string()?;
            if self.next_mark() != Some(b':') {
                return Err(self.wrong("expected `:`", "an object"));
            }
            self.at += 1;
            let value = self.value(depth + 1).map_err(|fault| fault.within(&key))?;
            match places.get(&key) {
                Some(&n) => entries[n] = (key, value),
                None => {
                    places.insert(key.clone(), entries.len());
                    entries.push((key, value));
                }
            }
            match self.next_mark() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(entries));
                }
                _ => return Err(self.wrong("expected `,` or `}`", "an object")),
            }
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().position(|b| b < 0x20 || matches!(b, b'"' | b'\\')).unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    out.push(escaped);
                }
                _ => return Err(self.wrong("a control character in a string", "a string")),
            }
        }
    }

    /// The character of an escape, after its backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let found = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("invalid escape", "a string")),
        };
        self.at += 1;
        Ok(found)
    }

    /// `u0041`, or both halves of a pair of surrogates.
    fn unicode(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let first = self.unit()?;
        let code = match first {
            0xD800..=0xDBFF if self.text[self.at..].starts_with("\\u") => {
                self.at += 1;
                match self.unit()? {
                    second @ 0xDC00..=0xDFFF => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => first,
                }
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| {
            self.at = start;
            self.fault("half of a pair of surrogates")
        })
    }

    fn unit(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at + 1..self.at + 5).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.fault("invalid escape"))?;
        self.at += 5;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let whole = self.digits()?;
        if whole > 1 && self.text.as_bytes()[self.at - whole] == b'0' {
            self.at -= whole - 1;
            return Err(self.fault("invalid number"));
        }
        let mut is_whole = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            is_whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            is_whole = false;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        let value = if is_whole {
            text.parse().ok().map(Value::Int)
        } else {
            text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::Float)
        };
        value.ok_or_else(|| Fault::number(text, mark(self.text, start)))
    }

    /// The number of digits, at least one.
    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong("invalid number", "a value")) } else { Ok(self.at - start) }
    }
}

fn mark(text: &str, offset: usize) -> Mark {
    let before = &text.as_bytes()[..offset];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
    let column = before[start..].iter().filter(|b| **b & 0xC0 != 0x80).count() as u32 + 1;
    Mark { line, column, offset: offset as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_keys() {
        let v = parse(r#"{"a": 1.0, "b": 18446744073709551615, "c": 1e3, "a": 2, "d": -9223372036854775808}"#).unwrap();
        assert_eq!(v.get("a"), Some(&Value::Int(2)));
        assert_eq!(v.get("b"), Some(&Value::Int(u64::MAX.into())));
        assert_eq!(v.get("c"), Some(&Value::Float(1000.0)));
        assert_eq!(v.get("d"), Some(&Value::Int(i64::MIN.into())));
        assert!(parse(&"[".repeat(100_000)).is_err());
        let fault = parse("{\"é\": }").unwrap_err();
        assert_eq!(fault.mark.map(|m| (m.line, m.column)), Some((1, 7)));
    }

    #[test]
    fn numbers_that_python_spells_as_words() {
        let text =
            r#"{"NaN": "NaN", "a": NaN, "b": [-Infinity, {"c": Infinity, "d": "x\"NaN", "a": "\u004e"}], "a": NaN}"#;
        let v = parse(text).unwrap();
        let float = |key: &str| match v.get(key) {
            Some(Value::Float(f)) => *f,
            other => panic!("{key}: {other:?}"),
        };
        assert!(float("a").is_nan());
        assert_eq!([float("b.0"), float("b.1.c")], [f64::NEG_INFINITY, f64::INFINITY]);
        assert_eq!(["NaN", "b.1.d", "b.1.a"].map(|k| v.get(k).unwrap().to_text()), ["NaN", "x\"NaN", "N"]);
        assert!(matches!(parse("NaN"), Ok(Value::Float(f)) if f.is_nan()));
    }

    #[test]
    fn strings() {
        let v = parse(r#"["\u00e9\ud83d\ude00\/\b\f\n\r\t\\\"", "é"]"#).unwrap();
        assert_eq!(v.get("0").unwrap().as_str(), Some("é😀/\u{8}\u{c}\n\r\t\\\""));
        assert_eq!(parse(r#"[ ]"#).unwrap(), Value::List(vec![]));
    }

    #[test]
    fn mistakes() {
        for (text, line, column, said) in [
            ("{\"a\": NaN,\n \"é\": NaN b}", 2, 11, "expected `,` or `}`"),
            ("{\"a\": NaN,\n \"é\": 1, NaN: 1}", 2, 10, "key must be a string"),
            ("[NaN, nan]", 1, 7, "expected value"),
            ("[xNaN]", 1, 2, "expected value"),
            ("[-NaN]", 1, 3, "invalid number"),
            ("[1,]", 1, 4, "trailing comma"),
            ("{\"a\": 1,}", 1, 9, "trailing comma"),
            ("{\"a\" 1}", 1, 6, "expected `:`"),
            ("[1 2]", 1, 4, "expected `,` or `]`"),
            ("1 2", 1, 3, "trailing characters"),
            ("", 1, 1, "EOF while parsing a value"),
            ("[\"a", 1, 3, "EOF while parsing a string"),
            ("[\"\\x\"]", 1, 4, "invalid escape"),
            ("[\"\\ud800\"]", 1, 4, "half of a pair of surrogates"),
            ("[\"\\ud800\\u0041\"]", 1, 4, "half of a pair of surrogates"),
            ("[\"\n\"]", 1, 3, "a control character in a string"),
            ("[01]", 1, 3, "invalid number"),
            ("[1.]", 1, 4, "invalid number"),
            ("[1e]", 1, 4, "invalid number"),
            ("[.5]", 1, 2, "expected value"),
            ("[+5]", 1, 2, "expected value"),
            ("nullx", 1, 1, "expected value"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.message, format!("no valid JSON: {said}"), "{text}");
            assert_eq!(fault.mark.map(|m| (m.line, m.column)), Some((line, column)), "{text}");
        }
    }
}
