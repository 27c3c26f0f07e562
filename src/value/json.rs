//! Reading JSON. As in Python the last of several equal keys wins.

use super::{Fault, Mark, Value};

pub fn parse(text: &str) -> Result<Value, Fault> {
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let said = e.to_string();
        let message = said.split(" at line ").next().unwrap_or(&said).to_string();
        Fault::new(format!("no valid JSON: {message}"), Some(mark(text, e.line(), e.column())))
    })?;
    Ok(last_wins(value))
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
}
