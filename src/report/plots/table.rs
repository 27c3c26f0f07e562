//! Columns of a file: CSV, TSV, JSON, YAML.
//!
//! CSV and TSV are read column by column, straight from their bytes: a million rows cost eight bytes each, instead of a
//! million rows of text. In JSON and YAML a table is a list of maps at any depth, and a column is looked up in each
//! list of the file: the first list that has it in its first row is used (as in DVC, whose live logs put a list under a
//! name), otherwise the first that has it in any row. A row without it is a gap. A cell that is empty, or says nan, NA,
//! none or null, is a gap.

use std::collections::{HashMap, HashSet};

use super::Column;
use crate::error::{Error, Result};
use crate::value::{self, NODES, Value};

/// Each column is looked up in every row.
const MOST_COLUMNS: usize = 10_000;

/// A parsed file with columns.
pub struct Table<'a> {
    /// For messages.
    name: &'a str,
    rows: Rows<'a>,
}

enum Rows<'a> {
    /// Separated by `by`; `header` is the names of the columns.
    Text { bytes: &'a [u8], by: u8, header: Vec<String>, has_header: bool },
    /// All lists of maps in the file, in its order.
    Lists(Vec<List>),
}

/// A list of maps.
struct List {
    rows: Vec<Value>,
    /// The keys of all rows, in the order in which they appear.
    names: Vec<String>,
    /// The number of names that are from the first row.
    first: usize,
}

impl List {
    fn new(rows: Vec<Value>) -> List {
        let mut list = List { names: Vec::new(), first: 0, rows };
        let mut known: HashSet<&str> = HashSet::new();
        for entries in list.rows.iter().filter_map(entries) {
            let new = entries.iter().map(|(key, _)| key.as_str()).filter(|key| known.insert(key));
            list.names.extend(new.map(str::to_string));
            if list.first == 0 {
                list.first = list.names.len();
            }
        }
        list
    }

    fn in_first_row(&self) -> &[String] {
        &self.names[..self.first]
    }
}

fn entries(row: &Value) -> Option<&Vec<(String, Value)>> {
    match row {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

/// The required kind of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Anything but numbers is an error.
    Numbers,
    /// Each value is a word, including numbers.
    Words,
    /// Numbers if all are, else words.
    Either,
}

/// Returns true for a file of columns, by its name.
pub fn is_table(name: &str) -> bool {
    kind(name).is_some()
}

/// Returns true for a file whose first line names the columns.
pub fn is_separated(name: &str) -> bool {
    matches!(kind(name), Some(TableFormat::Separated(_)))
}

enum TableFormat {
    Separated(u8),
    Nested,
}

fn kind(name: &str) -> Option<TableFormat> {
    let extension = name.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
    match extension.as_str() {
        "csv" => Some(TableFormat::Separated(b',')),
        "tsv" => Some(TableFormat::Separated(b'\t')),
        "json" | "yaml" | "yml" => Some(TableFormat::Nested),
        _ => None,
    }
}

impl<'a> Table<'a> {
    /// `name` is for messages, and its extension determines the format.
    pub fn open(name: &'a str, bytes: &'a [u8], has_header: bool) -> Result<Table<'a>> {
        let rows = match kind(name) {
            Some(TableFormat::Separated(by)) => {
                let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
                let mut reader = reader(bytes, by, false);
                let mut first = csv::ByteRecord::new();
                reader.read_byte_record(&mut first).map_err(|e| broken(name, bytes, &e))?;
                if first.len() > MOST_COLUMNS {
                    return Err(Error::usage(format!("{name} has more than {MOST_COLUMNS} columns"))
                        .hint("a table of a plot has a row for each step, and a column for each value"));
                }
                let header = if has_header {
                    first.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
                } else {
                    (0..first.len()).map(|n| n.to_string()).collect()
                };
                Rows::Text { bytes, by, header, has_header }
            }
            Some(TableFormat::Nested) => {
                let mut lists = Vec::new();
                collect(value::read(name, bytes).map_err(smaller)?, &mut lists);
                Rows::Lists(lists)
            }
            None => {
                let error = Error::usage(format!(
                    "{name} cannot be plotted: its name is neither that of data nor of a picture"
                ));
                return Err(
                    error.hint("data is .csv, .tsv, .json or .yaml; a picture is .png, .jpg, .gif, .webp or .svg")
                );
            }
        };
        Ok(Table { name, rows })
    }

    /// The default column: the last one.
    pub fn last(&self) -> Result<String> {
        match &self.rows {
            Rows::Text { header, .. } => header.last().cloned(),
            Rows::Lists(lists) => lists.first().and_then(|list| list.in_first_row().last()).cloned(),
        }
        .ok_or_else(|| self.no_rows())
    }

    /// The first column.
    pub fn first(&self) -> Result<String> {
        match &self.rows {
            Rows::Text { header, .. } => header.first().cloned(),
            Rows::Lists(lists) => lists.first().and_then(|list| list.names.first()).cloned(),
        }
        .ok_or_else(|| self.no_rows())
    }

    fn no_rows(&self) -> Error {
        let error = Error::usage(format!("{} has no rows with columns", self.name));
        match self.rows {
            Rows::Text { .. } => error.hint("its first line names the columns, the others are rows"),
            Rows::Lists(_) => error.hint("a table in JSON or YAML is a list of maps, one a row"),
        }
    }

    /// The names of all columns.
    fn columns(&self) -> Vec<String> {
        match &self.rows {
            Rows::Text { header, .. } => header.clone(),
            Rows::Lists(lists) => lists.iter().flat_map(|list| &list.names).cloned().collect(),
        }
    }

    /// All columns that can be read, numbers where they are.
    pub fn all(&self) -> Vec<(String, Column)> {
        let one = |name: String| self.column(&name, ColumnKind::Either).ok().map(|column| (name, column));
        self.columns().into_iter().filter_map(one).collect()
    }

    /// The error if the file lacks a column.
    pub fn check_column(&self, column: &str) -> Result<()> {
        if self.columns().iter().any(|known| known == column) { Ok(()) } else { Err(self.no_column(column)) }
    }

    /// Reads a column. Errors: it is missing, or has a value of another kind.
    pub fn column(&self, column: &str, want: ColumnKind) -> Result<Column> {
        match &self.rows {
            Rows::Text { bytes, by, header, has_header } => {
                let at = header.iter().position(|name| name == column).ok_or_else(|| self.no_column(column))?;
                self.separated(bytes, *by, *has_header, at, column, want)
            }
            Rows::Lists(lists) => {
                let has = |names: &[String]| names.iter().any(|name| name == column);
                let first = lists.iter().find(|list| has(list.in_first_row()));
                let found = first.or_else(|| lists.iter().find(|list| has(&list.names)));
                let rows = &found.ok_or_else(|| self.no_column(column))?.rows;
                let cell = |row: &Value| match row {
                    Value::Map(entries) => entries.iter().find(|(key, _)| key == column).map(|(_, v)| v.to_text()),
                    _ => None,
                };
                let mut cells = Cells::new(want);
                for (n, row) in rows.iter().enumerate() {
                    let text = cell(row).unwrap_or_default();
                    if !cells.push(text.as_bytes()) {
                        if want == ColumnKind::Numbers {
                            return Err(self.no_number(column, &text, &format!("row {}", n + 1)));
                        }
                        cells = Cells::new(ColumnKind::Words);
                        for row in rows {
                            cells.push(cell(row).unwrap_or_default().as_bytes());
                        }
                        break;
                    }
                }
                Ok(cells.finish())
            }
        }
    }

    fn separated(&self, bytes: &[u8], by: u8, header: bool, at: usize, name: &str, want: ColumnKind) -> Result<Column> {
        let mut reader = reader(bytes, by, header);
        let mut record = csv::ByteRecord::new();
        let mut cells = Cells::new(want);
        while reader.read_byte_record(&mut record).map_err(|e| broken(self.name, bytes, &e))? {
            let cell = record.get(at).unwrap_or_default();
            if !cells.push(cell) {
                if want == ColumnKind::Numbers {
                    let line = record.position().map_or(0, |at| line(bytes, at));
                    return Err(self.no_number(name, &String::from_utf8_lossy(cell), &format!("line {line}")));
                }
                return self.separated(bytes, by, header, at, name, ColumnKind::Words);
            }
        }
        Ok(cells.finish())
    }

    fn no_column(&self, column: &str) -> Error {
        let columns = self.columns();
        let error = Error::usage(format!("{} has no column `{}`", self.name, cut(column, 40)));
        match columns.is_empty() {
            true => error.hint("it has no rows with columns at all"),
            false => error.hint(format!("its columns are: {}", cut(&columns.join(", "), 300))),
        }
    }

    fn no_number(&self, column: &str, cell: &str, place: &str) -> Error {
        let cell = cut(cell, 40);
        Error::usage(format!("{}, column `{}`: {cell:?} in {place} is not a number", self.name, cut(column, 40))).hint(
            format!("name another column with `y` (-y); its columns are: {}", cut(&self.columns().join(", "), 300)),
        )
    }
}

/// For a message: shortened, and without control characters of a terminal.
fn cut(text: &str, width: usize) -> String {
    let end = if text.chars().nth(width).is_some() { "…" } else { "" };
    text.chars().take(width).map(|c| if c.is_control() { ' ' } else { c }).chain(end.chars()).collect()
}

fn reader(bytes: &[u8], by: u8, header: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(by).has_headers(header).trim(csv::Trim::All).from_reader(bytes)
}

/// A record's position is the end of the previous one: blank lines between them are skipped here.
fn line(bytes: &[u8], at: &csv::Position) -> u64 {
    let rest = bytes.get(at.byte() as usize..).unwrap_or_default();
    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).filter(|b| **b == b'\n').count();
    at.line() + blank as u64
}

fn broken(name: &str, bytes: &[u8], error: &csv::Error) -> Error {
    let line = error.position().map_or(String::new(), |at| format!(":{}", line(bytes, at)));
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the lines before have {expected_len}")
        }
        _ => error.to_string(),
    };
    Error::usage(format!("{name}{line}: {what}"))
}

/// Every list of maps, at whatever depth, outer ones first.
fn collect(value: Value, lists: &mut Vec<List>) {
    match value {
        Value::List(items) if items.iter().any(|item| matches!(item, Value::Map(_))) => lists.push(List::new(items)),
        Value::List(items) => items.into_iter().for_each(|item| collect(item, lists)),
        Value::Map(entries) => entries.into_iter().for_each(|(_, value)| collect(value, lists)),
        _ => {}
    }
}

/// A column under construction.
enum Cells {
    Numbers(Vec<f64>),
    Words { rows: Vec<u32>, words: Vec<String>, known: HashMap<Vec<u8>, u32> },
}

impl Cells {
    fn new(want: ColumnKind) -> Cells {
        match want {
            ColumnKind::Words => Cells::Words { rows: Vec::new(), words: Vec::new(), known: HashMap::new() },
            _ => Cells::Numbers(Vec::new()),
        }
    }

    /// Returns false for text in a column of numbers.
    fn push(&mut self, cell: &[u8]) -> bool {
        match self {
            Cells::Numbers(numbers) => match number(cell) {
                Some(number) => numbers.push(number),
                None => return false,
            },
            Cells::Words { rows, words, known } => {
                let at = match known.get(cell) {
                    Some(at) => *at,
                    None => {
                        let at = words.len() as u32;
                        words.push(String::from_utf8_lossy(cell).into_owned());
                        known.insert(cell.to_vec(), at);
                        at
                    }
                };
                rows.push(at);
            }
        }
        true
    }

    fn finish(self) -> Column {
        match self {
            Cells::Numbers(numbers) => Column::Numbers(numbers),
            Cells::Words { rows, words, .. } => Column::Words { rows, words },
        }
    }
}

fn number(cell: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(cell).ok()?;
    if matches!(text, "" | "NA" | "None" | "none" | "null") {
        return Some(f64::NAN);
    }
    // Digits beyond the range of a float are not an infinity.
    let is_kept = |f: &f64| !f.is_infinite() || !text.contains(|c: char| c.is_ascii_digit());
    // `.nan` and `.inf` are how YAML writes them.
    text.parse()
        .ok()
        .filter(is_kept)
        .or_else(|| text.strip_prefix('.').filter(|rest| rest.starts_with(['n', 'i']))?.parse().ok())
}

/// Adds a hint to the error of a file with too many values.
fn smaller(error: Error) -> Error {
    if error.full_message().contains(&format!("more than {NODES} nodes")) {
        return error.hint("write it as CSV, which has no such limit, or log fewer steps");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, text: &str, column: &str, want: ColumnKind) -> String {
        let table = Table::open(name, text.as_bytes(), true);
        match table.and_then(|table| table.column(column, want)) {
            Ok(Column::Numbers(numbers)) => format!("{numbers:?}"),
            Ok(Column::Words { rows, words }) => format!("{rows:?} {words:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn columns() {
        use ColumnKind::*;
        for (name, text, col, want, result) in [
            ("a.csv", "step, loss\n1, 0.5\n2,\n3,nan\n4,-inf\n", "loss", Numbers, "[0.5, NaN, NaN, -inf]"),
            ("a.csv", "\u{feff}a,b\n1,2\n", "a", Numbers, "[1.0]"),
            ("a.csv", "a,b\r\n1,\"x, y\"\r\n2,z\r\n3,\"x, y\"", "b", Either, "[0, 1, 0] [\"x, y\", \"z\"]"),
            ("a.csv", "a,b\n1,2\nx,3\n", "a", Either, "[0, 1] [\"1\", \"x\"]"),
            ("a.csv", "a,b\n01,2\n1,3\n", "a", Words, "[0, 1] [\"01\", \"1\"]"),
            ("a.TSV", "a\tb\n1\t2e3\n", "b", Numbers, "[2000.0]"),
            ("a.csv", "a\n", "a", Numbers, "[]"),
            ("a.json", r#"[{"x": 1, "y": 2}, {"y": null}, {"y": 3}]"#, "y", Numbers, "[2.0, NaN, 3.0]"),
            ("a.json", r#"{"a": 1, "train": [{"l": 1}], "test": [{"m": 2}]}"#, "m", Numbers, "[2.0]"),
            ("a.json", r#"[{"x": 1, "y": 2}, {"x": 2, "z": 5}, {"z": 6}]"#, "z", Numbers, "[NaN, 5.0, 6.0]"),
            ("a.json", r#"{"a": [{"x": 1}, {"m": 2}], "b": [{"m": 3}]}"#, "m", Numbers, "[3.0]"),
            ("a.csv", "a\n1e400\n", "a", Either, "[0] [\"1e400\"]"),
            ("a.yaml", "- {x: 1}\n- 5\n- {y: 2}\n", "y", Numbers, "[NaN, NaN, 2.0]"),
            ("a.json", r#"{"deep": {"er": [[{"l": true}, {"l": "x"}]]}}"#, "l", Either, "[0, 1] [\"true\", \"x\"]"),
            ("a.yaml", "- {x: a, y: .nan}\n- {x: b, y: .inf}\n- {x: b, y: 1_0}\n", "y", Numbers, "[NaN, inf, 10.0]"),
        ] {
            assert_eq!(column(name, text, col, want), result, "{name} {text}");
        }
    }

    #[test]
    fn mistakes_name_file_column_and_place() {
        for (name, text, col, want) in [
            (
                "a.csv",
                "a,b\n1,2\n\n3,x\n",
                "b",
                "a.csv, column `b`: \"x\" in line 4 is not a number\n  hint: name another",
            ),
            ("a.json", r#"[{"a": 1}, {"a": [2]}]"#, "a", "a.json, column `a`: \"[2]\" in row 2 is not a number"),
            ("a.csv", "a,b\n1,2\n", "c", "a.csv has no column `c`\n  hint: its columns are: a, b"),
            ("a.csv", "a,b\n1,2\n3\n", "a", "a.csv:3: 1 cells where the lines before have 2"),
            ("a.csv", "", "a", "a.csv has no column `a`\n  hint: it has no rows"),
            ("a.csv", "\u{1b}[2J\n1\n", "a", "a.csv has no column `a`\n  hint: its columns are:  [2J"),
            ("a.json", "{\"a\": ", "a", "a.json:1:6: no valid JSON"),
            ("a.json", "[1, 2]", "a", "a.json has no column `a`\n  hint: it has no rows"),
            ("a.txt", "", "a", "a.txt cannot be plotted"),
        ] {
            let said = column(name, text, col, ColumnKind::Numbers);
            assert!(said.starts_with(want), "{name} {text:?}: {said}");
        }
    }

    #[test]
    fn without_a_header_columns_are_numbered() {
        let table = Table::open("a.csv", b"1,2\n3,4\n", false).unwrap();
        assert_eq!(table.column("0", ColumnKind::Numbers).unwrap(), Column::Numbers(vec![1.0, 3.0]));
        assert_eq!(table.last().unwrap(), "1");
    }

    #[test]
    fn the_last_column_is_the_default() {
        for (name, text, want) in
            [("a.csv", "a, b \n1,2", "b"), ("a.json", r#"{"s": [{"x": 1, "y": 2}]}"#, "y"), ("a.csv", "", "")]
        {
            assert_eq!(Table::open(name, text.as_bytes(), true).unwrap().last().unwrap_or_default(), want, "{text}");
        }
    }
}
