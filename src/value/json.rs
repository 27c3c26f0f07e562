//! Reading JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` are numbers, and the last of several equal keys
//! wins.

use super::{Fault, Mark, Value, budget};

pub fn parse(text: &str) -> Result<Value, Fault> {
    budget::check_json(text)?;
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if text.contains("NaN") || text.contains("Infinity") => with_words(text)?,
        Err(e) => return Err(fault(text, &e)),
    };
    Ok(last_wins(value))
}

fn fault(text: &str, e: &serde_json::Error) -> Fault {
    let said = e.to_string();
    let message = said.split(" at line ").next().unwrap_or(&said).to_string();
    Fault::new(format!("no valid JSON: {message}"), Some(mark(text, e.line(), e.column())))
}

/// The numbers that Python spells as words.
const WORDS: [(&str, f64); 3] = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// A string of the text, or a word that is read as one.
#[derive(Clone, Copy)]
enum Spot {
    Text,
    /// A number, and where its word begins.
    Word(f64, usize),
}

/// Reads a text with such words. Each is overwritten with a string of its own length, so that the places of mistakes
/// stay; then the strings of the result, which come in the order of the text, are told from the words.
fn with_words(text: &str) -> Result<Value, Fault> {
    let (written, spots) = as_strings(text);
    let mut value: Value = serde_json::from_str(&written).map_err(|e| fault(text, &e))?;
    put_back(&mut value, &mut spots.into_iter(), text)?;
    Ok(value)
}

fn as_strings(text: &str) -> (String, Vec<Spot>) {
    let bytes = text.as_bytes();
    let is_part =
        |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.'));
    let (mut written, mut spots) = (String::with_capacity(text.len()), Vec::new());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let word = WORDS.iter().find(|(word, _)| {
            bytes[at..].starts_with(word.as_bytes()) && !is_part(at + word.len()) && (at == 0 || !is_part(at - 1))
        });
        match (bytes[at], word) {
            (b'"', _) => {
                spots.push(Spot::Text);
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            (_, Some((word, number))) => {
                spots.push(Spot::Word(*number, at));
                written.push_str(&text[copied..at]);
                written.push_str(&format!("\"{}\"", "x".repeat(word.len() - 2)));
                at += word.len();
                copied = at;
            }
            _ => at += 1,
        }
    }
    written.push_str(&text[copied..]);
    (written, spots)
}

fn put_back(value: &mut Value, spots: &mut std::vec::IntoIter<Spot>, text: &str) -> Result<(), Fault> {
    match value {
        Value::Str(_) => {
            if let Some(Spot::Word(number, _)) = spots.next() {
                *value = Value::Float(number);
            }
        }
        Value::List(items) => {
            for item in items {
                put_back(item, spots, text)?;
            }
        }
        Value::Map(entries) => {
            for (_, value) in entries {
                if let Some(Spot::Word(_, at)) = spots.next() {
                    let line = text[..at].matches('\n').count() + 1;
                    let column = at - text[..at].rfind('\n').map_or(0, |n| n + 1) + 1;
                    return Err(Fault::new("no valid JSON: key must be a string", Some(mark(text, line, column))));
                }
                put_back(value, spots, text)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// serde_json counts columns in bytes.
fn mark(text: &str, line: usize, column: usize) -> Mark {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let offset = (start + column.saturating_sub(1)).min(text.len());
    let before = &text.as_bytes()[start.min(offset)..offset];
    let chars = before.iter().filter(|b| **b & 0xC0 != 0x80).count();
    Mark { line: line.max(1) as u32, column: chars as u32 + 1, offset: offset as u32 }
}

fn last_wins(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(last_wins).collect()),
        Value::Map(entries) => {
            let mut at = std::collections::HashMap::with_capacity(entries.len());
            let mut out: Vec<(String, Value)> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let value = last_wins(value);
                match at.get(&key) {
                    Some(&n) => out[n] = (key, value),
                    None => {
                        at.insert(key.clone(), out.len());
                        out.push((key, value));
                    }
                }
            }
            Value::Map(out)
        }
        other => other,
    }
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
        for (text, line, column, said) in [
            ("{\"a\": NaN,\n \"é\": NaN b}", 2, 11, "expected `,` or `}`"),
            ("{\"a\": NaN,\n \"é\": 1, NaN: 1}", 2, 10, "key must be a string"),
            ("[NaN, nan]", 1, 8, "expected ident"),
            ("[xNaN]", 1, 2, "expected value"),
            ("[-NaN]", 1, 3, "invalid number"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.mark.map(|m| (m.line, m.column)), Some((line, column)), "{text}");
            assert_eq!(fault.message, format!("no valid JSON: {said}"), "{text}");
        }
    }
}
