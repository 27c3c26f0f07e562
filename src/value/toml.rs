//! Reads TOML. Dates stay text: they are used in commands and compared, never computed with.

use ::toml::de::{DeTable, DeValue};

use super::{Fault, Mark, Value, budget};

/// The parser stores every token and event of a file, each many times larger than its text.
const LARGEST: usize = 8 << 20;

/// Parses a TOML text into a map.
pub fn parse(text: &str) -> Result<Value, Fault> {
    if text.len() > LARGEST {
        return Err(Fault::new(format!("the file is larger than {} MiB", LARGEST >> 20), None));
    }
    budget::check_marks(text, b",=.[{")?;
    let table = DeTable::parse(text)
        .map_err(|e| Fault::new(format!("no valid TOML: {}", e.message()), e.span().map(|s| mark(text, s.start))))?;
    map(text, table.get_ref())
}

fn mark(text: &str, offset: usize) -> Mark {
    let before = text.get(..offset).unwrap_or("");
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    Mark {
        line: before.matches('\n').count() as u32 + 1,
        column: before[start..].chars().count() as u32 + 1,
        offset: offset as u32,
    }
}

/// The parser sorts a table by its keys; this restores the order of the file.
fn map(text: &str, table: &DeTable<'_>) -> Result<Value, Fault> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter();
    let entries = entries.map(|(k, v)| {
        let key = k.get_ref().to_string();
        let value = value(text, v.get_ref(), v.span()).map_err(|fault| fault.within(&key))?;
        Ok((key, value))
    });
    Ok(Value::Map(entries.collect::<Result<_, Fault>>()?))
}

fn value(text: &str, v: &DeValue<'_>, span: std::ops::Range<usize>) -> Result<Value, Fault> {
    Ok(match v {
        DeValue::String(s) => Value::Str(s.to_string()),
        DeValue::Integer(n) => {
            let digits = n.as_str();
            let number = i128::from_str_radix(digits, n.radix());
            Value::Int(number.map_err(|_| Fault::number(digits, mark(text, span.start)))?)
        }
        DeValue::Float(f) => Value::Float(match f.as_str() {
            "nan" | "+nan" | "-nan" => f64::NAN,
            infinity @ ("inf" | "+inf" | "-inf") => {
                if infinity == "-inf" {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            other => other
                .parse()
                .ok()
                .filter(|f: &f64| f.is_finite())
                .ok_or_else(|| Fault::number(other, mark(text, span.start)))?,
        }),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::Str(text.get(span).map_or_else(|| d.to_string(), str::to_string)),
        DeValue::Array(items) => {
            let items = items.iter().enumerate().map(|(n, item)| {
                value(text, item.get_ref(), item.span()).map_err(|fault| fault.within(&n.to_string()))
            });
            Value::List(items.collect::<Result<_, Fault>>()?)
        }
        DeValue::Table(table) => map(text, table)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let v = parse(
            "z = 1_000\na = 1e3\nd = 1979-05-27 07:32:00\nh = 0xFF\ni = -inf\n[t.u]\ns = 'x'\nl = [1, 2.5, {k = true}]\n",
        )
        .unwrap();
        let json = serde_json::to_string(&v).unwrap();
        assert_eq!(
            json,
            r#"{"z":1000,"a":1000.0,"d":"1979-05-27 07:32:00","h":255,"i":"-Infinity","t":{"u":{"s":"x","l":[1,2.5,{"k":true}]}}}"#
        );
        let (deep, dots) = ("[".repeat(100_000), "a.".repeat(100_000));
        for hostile in [format!("a = {deep}"), format!("{dots}a = 1"), format!("[{dots}a]"), format!("[[{dots}a]]")] {
            assert!(parse(&hostile).is_err());
        }
    }
}
