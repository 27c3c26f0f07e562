//! Writes values as YAML text in the style of a given file.
//!
//! The caller (see `splice.rs`) parses the output again and compares it.

use crate::value::{Value, yaml};

/// The style of a file.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The indentation of a map within a map.
    pub step: usize,
    /// The indentation of the `-` of a list, relative to the list's key.
    pub list: usize,
    /// The line end of the file.
    pub newline: &'static str,
}

/// `key: value`, without the indentation of its first line and without a line end; line ends are `\n`.
pub fn entry(key: &str, value: &Value, indent: usize, style: Style) -> String {
    let (head, tail) = after_colon(value, indent, style);
    format!("{}:{head}{tail}", scalar(key, false))
}

/// The text behind the `:` of a key with the indentation `indent`: the rest of its line, and the lines below.
pub fn after_colon(value: &Value, indent: usize, style: Style) -> (String, String) {
    let lines = |lines: Vec<String>, at: usize| {
        let pad = " ".repeat(at);
        (String::new(), lines.iter().map(|l| format!("\n{pad}{l}")).collect())
    };
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            let at = indent + style.step;
            lines(entries.iter().map(|(k, v)| entry(k, v, at, style)).collect(), at)
        }
        Value::List(items) if !items.is_empty() => {
            let at = indent + style.list;
            lines(items.iter().map(|v| item(v, at, style)).collect(), at)
        }
        Value::Str(text) => match literal(text, indent + style.step) {
            Some((sign, tail)) => (format!(" {sign}"), tail),
            None => (format!(" {}", scalar(text, false)), String::new()),
        },
        Value::Null => (String::new(), String::new()),
        other => (format!(" {}", flow(other)), String::new()),
    }
}

/// `- value` with the indentation `indent`.
pub fn item(value: &Value, indent: usize, style: Style) -> String {
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            let at = indent + 2;
            let lines: Vec<String> = entries.iter().map(|(k, v)| entry(k, v, at, style)).collect();
            format!("- {}", lines.join(&format!("\n{}", " ".repeat(at))))
        }
        Value::Str(text) => match literal(text, indent + 2) {
            Some((sign, tail)) => format!("- {sign}{tail}"),
            None => format!("- {}", scalar(text, false)),
        },
        other => format!("- {}", flow(other)),
    }
}

/// On one line, in braces and brackets.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Str(text) => scalar(text, true),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(k, v)| format!("{}: {}", scalar(k, true), flow(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_text(),
    }
}

/// Several lines as a literal block, if a block can hold them: its indicator, and its lines.
fn literal(text: &str, indent: usize) -> Option<(&'static str, String)> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let fits = body.contains('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || c == '\t' || is_printable(c));
    let pad = " ".repeat(indent);
    let line = |l: &str| if l.is_empty() { "\n".to_string() } else { format!("\n{pad}{l}") };
    fits.then(|| (if body.len() < text.len() { "|" } else { "|-" }, body.split('\n').map(line).collect()))
}

/// Plain if every YAML reader reads the same string, else in quotes.
fn scalar(text: &str, in_flow: bool) -> String {
    if is_plain(text, in_flow) {
        return text.to_string();
    }
    if !text.contains('\'') && text.chars().all(is_printable) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Readers of YAML 1.1 (PyYAML) read these as booleans.
const OLD_BOOLEANS: &[&str] = &["yes", "no", "on", "off"];

fn is_plain(text: &str, in_flow: bool) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '$' | '~' | '('));
    // Numbers, dates and times in any version of YAML begin with a digit, a sign or a dot and contain no letters that
    // form a word; our own parser decides about our types.
    let like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | '_' | ':' | '-' | '+' | 'x' | 'o'));
    if !begins_well
        || like_a_number
        || text.ends_with([' ', ':'])
        || !text.chars().all(is_printable)
        || OLD_BOOLEANS.contains(&text.to_ascii_lowercase().as_str())
        || (in_flow && text.contains([',', '[', ']', '{', '}']))
    {
        return false;
    }
    let parsed = yaml::parse(&format!("k: {text}\n")).ok().flatten().map(|node| node.into_value());
    parsed == Some(Value::Map(vec![("k".into(), Value::Str(text.into()))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_comes_back() {
        let style = Style { step: 2, list: 0, newline: "\n" };
        for text in [
            "python train.py --lr ${lr} > out.txt && echo \"x: y\"",
            "python -c 'print(1)'",
            "a: b",
            "a #b",
            "x:",
            "yes",
            "012",
            "2024-01-01",
            "12:30",
            "0x1f",
            "1.5",
            "v1.5",
            "0.5.csv",
            "~",
            "null",
            "- x",
            "*x",
            "%a",
            "",
            " lead",
            "trail ",
            "a\nb",
            "a\n\n  b\n",
            " a\nb",
            "a\n\n",
            "tab\there",
            "bell\u{7}",
            "ü, [x]",
            "{a}",
            "it's \"both\"\\",
            "\u{feff}x",
            "🙂\r\n",
        ] {
            let value = Value::Map(vec![
                ("k".into(), Value::Str(text.into())),
                ("l".into(), Value::List(vec![Value::Str(text.into()), Value::Bool(true)])),
                ("m".into(), Value::Map(vec![(text.into(), Value::Str(text.into()))])),
            ]);
            for written in [entry("top", &value, 0, style), format!("top: {}", flow(&value))] {
                let read = yaml::parse(&written).unwrap_or_else(|e| panic!("{written}: {}", e.message)).unwrap();
                assert_eq!(read.get("top").unwrap().value.to_value(), value, "{written}");
            }
        }
    }

    #[test]
    fn it_reads_well() {
        let strings = |items: &[&str]| Value::List(items.iter().map(|s| Value::Str(s.to_string())).collect());
        let no_cache = Value::Map(vec![("m.bin".into(), Value::Map(vec![("cache".into(), Value::Bool(false))]))]);
        let value = Value::Map(vec![
            ("cmd".into(), Value::Str("set -e\necho".into())),
            ("deps".into(), strings(&["a.py", "1.5"])),
            ("outs".into(), Value::List(vec![no_cache])),
        ]);
        let style = Style { step: 2, list: 0, newline: "\n" };
        let want = "a:\n    cmd: |-\n      set -e\n      echo\n    deps:\n    - a.py\n    - '1.5'\n    outs:\n    - m.bin:\n        cache: false";
        assert_eq!(entry("a", &value, 2, style), want);
        let style = Style { step: 4, list: 2, newline: "\n" };
        let want = "a:\n    cmd: |-\n        set -e\n        echo\n    deps:\n      - a.py\n      - '1.5'\n    outs:\n      - m.bin:\n            cache: false";
        assert_eq!(entry("a", &value, 0, style), want);
    }
}
