//! Values of YAML, JSON, TOML and Python files.
//!
//! [`Value`] is the content of a params file and of the lock; [`node::Node`] is a value with marks (line, column), for
//! files whose errors need a location: `pipeline.yaml`.
//!
//! Params files are read by parsers that see how a scalar was written, because `1_000` is a number and `'1_000'` a
//! text; an error is a [`Fault`], which becomes an error with its file, location and line.

mod budget;
pub mod change;
mod deserialize;
mod json;
pub mod node;
mod number;
mod python;
mod scalar;
mod serial;
mod text;
mod toml;
pub mod yaml;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lfs;
use crate::url::redact_text;

pub use budget::NODES;
pub use json::read_record;
pub use number::Number;

/// One value. Maps keep the order of the file; equality ignores it, and treats NaN as equal to itself, because a
/// recorded value that differs from itself would always count as changed. Integers and floats are different here (see
/// [`Value::same`]).
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~`, `None`.
    Null,
    /// A boolean; in YAML only `true` and `false`, not `yes` or `on`.
    Bool(bool),
    /// An integer of any base; a larger one is a [`Fault`].
    Int(i128),
    /// A float, also NaN and the infinities.
    Float(f64),
    /// A string. Dates are strings, too.
    Str(String),
    /// A list; in Python also a tuple or a set.
    List(Vec<Value>),
    /// Keys are distinct; those that are not strings are spelled as strings.
    Map(Vec<(String, Value)>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.is(other, false)
    }
}

/// A location in a file: line and column start at 1, in characters; `offset` in bytes from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In bytes, from 0.
    pub offset: u32,
}

/// An error in a file, without the file's name.
#[derive(Clone, Debug)]
pub struct Fault {
    /// A sentence without the location.
    pub message: String,
    /// `None` if the location is not known.
    pub mark: Option<Mark>,
    /// What to do about it.
    pub hint: Option<String>,
    /// For a number that is out of range: its dotted key, as far as known.
    key: Option<String>,
}

impl Fault {
    /// An error without a hint.
    fn new(message: impl Into<String>, mark: Option<Mark>) -> Fault {
        Fault { message: message.into(), mark, hint: None, key: None }
    }

    /// The error for a number that [`Value`] cannot represent: rounding would change it.
    pub fn number(text: &str, mark: Mark) -> Fault {
        let shown: String = text.chars().take(50).collect();
        let end = if shown.len() < text.len() { "…" } else { "" };
        Fault { key: Some(String::new()), ..Fault::new(format!("the number {shown}{end} is too large"), Some(mark)) }
            .hint(
                "numbers are kept exactly up to 39 digits, and up to 1.8e308 with a point; quote it to keep it as text",
            )
    }

    /// Prepends `part`, the key or index in the surrounding map or list.
    pub fn within(mut self, part: &str) -> Fault {
        if let Some(key) = &mut self.key {
            *key = if key.is_empty() { part.to_string() } else { format!("{part}.{key}") };
        }
        self
    }

    /// Sets the hint, which replaces an earlier one.
    fn hint(self, hint: impl Into<String>) -> Fault {
        Fault { hint: Some(hint.into()), ..self }
    }

    /// The error of a file.
    pub fn error(mut self, file: &str, text: &str) -> Error {
        if let Some(key) = self.key.as_ref().filter(|key| !key.is_empty()) {
            self.message.push_str(&format!(" (key `{key}`)"));
        }
        let error = match self.mark {
            None => Error::usage(format!("{file}: {}", redact_text(&self.message))),
            Some(mark) => Error::usage(format!("{file}:{}:{}: {}", mark.line, mark.column, redact_text(&self.message)))
                .with_lines(line_at(text, mark).into_iter().flat_map(|line| excerpt(line, mark))),
        };
        self.hint.into_iter().fold(error, Error::hint)
    }
}

/// The line of `text` at `mark`.
pub fn line_at(text: &str, mark: Mark) -> Option<&str> {
    let at = (mark.offset as usize).min(text.len());
    let start = text.as_bytes()[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let rest = text.get(start..)?;
    let line = rest.split(['\n', '\r']).next().unwrap_or("");
    (!line.trim().is_empty()).then_some(line)
}

/// A line with its number and a caret below the marked column, without the secrets of URLs; long lines are cut around it.
pub fn excerpt(line: &str, mark: Mark) -> [String; 3] {
    excerpt_of(line, mark.line as usize, mark.column as usize, 1)
}

/// The same with `width` carets, limited to the text that is shown. All excerpts of files are made here.
pub fn excerpt_of(line: &str, number: usize, column: usize, width: usize) -> [String; 3] {
    const BEFORE: usize = 70;
    const SHOWN: usize = 110;
    // Cut before it is searched: a line may have megabytes. A URL is not cut where a part of its secret would remain.
    let (line, column) = near(line, column.max(1) - 1);
    let (line, column) = redact_around(line, column);
    let from = column.saturating_sub(BEFORE);
    let shown: String =
        line.chars().skip(from).take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let width = width.clamp(1, SHOWN.saturating_sub(column - from).max(1));
    let number = number.to_string();
    let gutter = " ".repeat(number.len());
    let (space, carets) = (" ".repeat(column - from), "^".repeat(width));
    [format!("{gutter} |"), format!("{number} | {}", shown.trim_end()), format!("{gutter} | {space}{carets}")]
}

/// The part of a line around a column that is searched for URLs, between blanks if possible, and the column in it.
fn near(line: &str, column: usize) -> (&str, usize) {
    const MARGIN: usize = 4096;
    let at = |n: usize| line.char_indices().nth(n).map_or(line.len(), |(at, _)| at);
    let (from, to) = (at(column.saturating_sub(MARGIN)), at(column.saturating_add(MARGIN)));
    let start = if from == 0 { 0 } else { line[from..].find(char::is_whitespace).map_or(to, |n| from + n) };
    let start = start.min(at(column));
    (&line[start..to], line[start..at(column)].chars().count())
}

/// The line without secrets, and the new column of the marked character.
fn redact_around(line: &str, column: usize) -> (String, usize) {
    let shown = redact_text(line);
    if shown == line {
        return (shown, column);
    }
    let at = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    let before = redact_text(&line[..at]);
    // A location within a URL moves to its first changed character.
    let same = || line.chars().zip(shown.chars()).take_while(|(a, b)| a == b).count();
    let column = if shown.starts_with(&before) { before.chars().count() } else { same().min(column) };
    (shown, column)
}

/// Reads a params or vars file; the extension of `name` determines the format: `.json`, `.toml`, `.py`, otherwise YAML.
/// An empty YAML file is an empty map, and so is every value that is false in Python.
pub fn read(name: &str, bytes: &[u8]) -> Result<Value> {
    if lfs::is_pointer(bytes) {
        return Err(lfs::refuse(name).hint(lfs::HINT));
    }
    let text = decode(bytes).map_err(|f| f.error(name, ""))?;
    parse(name, text).map_err(|f| f.error(name, text))
}

/// Like [`read`], with the unconverted error.
pub fn parse(name: &str, text: &str) -> std::result::Result<Value, Fault> {
    if lfs::is_pointer(text.as_bytes()) {
        let fault = Fault::new("it is a pointer of Git LFS: the file itself is not here", None);
        return Err(fault.hint(lfs::HINT));
    }
    parse_as(name, text).map_err(|fault| conflict(text).unwrap_or(fault))
}

/// Git's conflict marker at the beginning of a line, if a merge left one.
pub fn conflict_marker(text: &str) -> Option<Mark> {
    let mut offset = 0;
    for (n, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            return Some(Mark { line: n as u32 + 1, column: 1, offset: offset as u32 });
        }
        offset += line.len();
    }
    None
}

/// The error for a text with conflict markers.
fn conflict(text: &str) -> Option<Fault> {
    let mark = conflict_marker(text)?;
    Some(Fault::new("the file holds the markers of a merge conflict", Some(mark)).hint(
        "keep what is right and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`; \
         `git checkout --ours FILE` or `--theirs FILE` takes one side whole",
    ))
}

fn parse_as(name: &str, text: &str) -> std::result::Result<Value, Fault> {
    let extension = name.rsplit('/').next().unwrap_or("").rsplit_once('.').map_or("", |(_, e)| e).to_ascii_lowercase();
    match extension.as_str() {
        "json" => json::parse(text),
        "toml" => toml::parse(text),
        "py" => python::parse(text),
        _ => yaml::parse(text).map(|node| node.map_or(Value::Null, |n| n.into_value())).map(empty_is_map),
    }
}

fn empty_is_map(value: Value) -> Value {
    let is_false = match &value {
        Value::Null | Value::Bool(false) | Value::Int(0) => true,
        Value::Float(f) => *f == 0.0,
        Value::Str(s) => s.is_empty(),
        Value::List(l) => l.is_empty(),
        _ => false,
    };
    if is_false { Value::Map(Vec::new()) } else { value }
}

/// The text of a file: UTF-8, without its byte order mark. Marks are relative to the returned text.
pub fn decode(bytes: &[u8]) -> std::result::Result<&str, Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Fault::new(format!("line {line} is not UTF-8 text"), None)
    })
}

impl Value {
    /// The text of a string; `None` for other kinds.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The kind of value, for messages: `a list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value at a param key: names and indexes with dots between them, `model.layers.0`. As in DVC an index is a
    /// plain decimal number, and a key that contains a dot cannot be reached.
    pub fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(self, |at, part| match at {
            Value::Map(entries) => entries.iter().find(|(k, _)| k == part).map(|(_, v)| v),
            Value::List(items) => {
                let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()));
                if plain { part.parse::<usize>().ok().and_then(|n| items.get(n)) } else { None }
            }
            _ => None,
        })
    }

    /// Returns true for the same value: 1 equals 1.0 (without rounding of large numbers), a boolean never equals a
    /// number, NaN equals NaN, and the order of maps is ignored.
    pub fn same(&self, other: &Value) -> bool {
        self.is(other, true)
    }

    fn is(&self, other: &Value, across_types: bool) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Int(i), Value::Float(f)) | (Value::Float(f), Value::Int(i)) => {
                across_types && whole(*f) == Some(*i)
            }
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b, across_types))
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return false;
                }
                let b: HashMap<&str, &Value> = b.iter().map(|(k, v)| (k.as_str(), v)).collect();
                a.iter().all(|(k, v)| b.get(k.as_str()).is_some_and(|w| v.is(w, across_types)))
            }
            _ => false,
        }
    }
}

/// An integral float as an integer.
pub fn whole(f: f64) -> Option<i128> {
    (f.fract() == 0.0 && f.abs() < 1.7e38).then_some(f as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sameness() {
        let y = |s: &str| yaml::parse(s).unwrap().unwrap().into_value();
        for (a, b, want) in [
            ("1", "1.0", true),
            ("true", "1", false),
            (".nan", ".nan", true),
            ("9007199254740993", "9007199254740992.0", false),
            ("{a: 1, b: [2]}", "{b: [2.0], a: 1.0}", true),
            ("{a: 1}", "{a: 1, b: 2}", false),
            ("[1, 2]", "[2, 1]", false),
            ("null", "''", false),
            ("'1'", "1", false),
            ("0.0", "-0.0", true),
        ] {
            assert_eq!(y(a).same(&y(b)), want, "{a} {b}");
        }
        for (a, b, want) in [("1", "1.0", false), (".nan", ".nan", true), ("{a: 1, b: 2}", "{b: 2, a: 1}", true)] {
            assert_eq!(y(a) == y(b), want, "{a} {b}");
        }
    }

    #[test]
    fn keys() {
        let v = yaml::parse("{a: {b: [10, {c: 20}]}, 5: x}").unwrap().unwrap().into_value();
        for (key, want) in [("a.b.0", Some("10")), ("a.b.1.c", Some("20")), ("5", Some("x")), ("a.b.-1", None)] {
            assert_eq!(v.get(key).map(Value::to_text).as_deref(), want, "{key}");
        }
        assert!(v.get("a.b.00").is_none() && v.get("a.x").is_none() && v.get("").is_none());
    }

    #[test]
    fn faults_name_file_and_place() {
        for (name, text, want) in [
            ("p.yaml", "a: 1\nx: [1\n", "p.yaml:"),
            ("p.toml", "x = = 1\n", "p.toml:1:5: "),
            ("p.json", "{\"a\": 1,\n \"b\" 2}", "p.json:2:6: "),
            ("p.py", "\nx = = 1\n", "p.py:2:5: "),
            ("p.yaml", "a: 1\na: 2\n", "p.yaml:2:1: "),
        ] {
            let message = read(name, text.as_bytes()).unwrap_err().full_message();
            assert!(message.starts_with(want) && message.lines().all(|l| !l.is_empty()), "{message}");
        }
        let (sides, hint) = ("<<<<<<< HEAD\n{A}\n=======\n{B}\n>>>>>>> other\n", "keep what is right");
        for (name, a, b) in [("p.yaml", "a: 1", "a: 2"), ("p.json", "{\"a\": 1}", "{}"), ("p.toml", "a = 1", "a = 2")] {
            let error = read(name, format!("\n{}", sides.replace("{A}", a).replace("{B}", b)).as_bytes()).unwrap_err();
            let want = format!("{name}:2:1: the file holds the markers of a merge conflict\n");
            assert!(error.full_message().starts_with(&want) && error.hints[0].starts_with(hint), "{error}");
        }
        assert!(read("p.yaml", b"a: \xff").is_err());
        assert_eq!(read("p.yaml", b"\xef\xbb\xbfa: 1\r\n").unwrap().get("a"), Some(&Value::Int(1)));
        assert_eq!(read("p.yaml", b"# nothing").unwrap(), Value::Map(vec![]));
    }
}
