//! The table of params and metrics on a page. Pure.

use super::draw::cut;
use super::scale::number;
use crate::compare::side_by_side::{ValueLine, side_by_side};
use crate::compare::values::{Directions, ValuesByFile};
use crate::path::RepoPath;
use crate::secret::is_secret;
use crate::value::Value;

/// More rows are counted instead.
const MOST_ROWS: usize = 40;
/// Longer values are cut.
const LONGEST: usize = 40;
/// The size limit of a value that is shown when the mouse is on it.
const LONGEST_FULL: usize = 400;

/// The kinds of values, in display order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
    Metric,
    Param,
}

/// Params and metrics of the revisions of a page.
#[derive(Debug, Default)]
pub struct ValueTable {
    /// Those that differ first.
    pub rows: Vec<ValueTableRow>,
    /// The number of further rows.
    pub omitted: usize,
    /// Files that a revision has and that cannot be read: `metrics.json (in v1)`.
    pub unread: Vec<String>,
}

/// One param or metric.
#[derive(Debug)]
pub struct ValueTableRow {
    pub kind: ValueKind,
    /// Its key, with its file if there are several.
    pub name: String,
    /// Whether the revisions differ.
    pub is_changed: bool,
    /// One a revision.
    pub cells: Vec<ValueCell>,
}

/// The value of one revision.
#[derive(Debug)]
pub struct ValueCell {
    pub text: String,
    /// The whole value if `text` is a part of it.
    pub full: Option<String>,
    /// Whether it is better than that of the first revision, if that is known.
    pub better: Option<bool>,
}

impl ValueKind {
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::Metric => "metric",
            ValueKind::Param => "param",
        }
    }
}

impl ValueTable {
    /// The table of metrics and params, one side a revision. Files are named relative to the folder `cwd`.
    pub fn new(
        metrics: &[ValuesByFile],
        params: &[ValuesByFile],
        directions: &Directions,
        cwd: &RepoPath,
    ) -> ValueTable {
        let mut rows = rows(ValueKind::Metric, &side_by_side(metrics, directions), cwd);
        rows.extend(self::rows(ValueKind::Param, &side_by_side(params, &Directions::default()), cwd));
        rows.sort_by_key(|row| (!row.is_changed, row.kind));
        let omitted = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        ValueTable { rows, omitted, unread: Vec::new() }
    }
}

fn rows(kind: ValueKind, lines: &[ValueLine], cwd: &RepoPath) -> Vec<ValueTableRow> {
    let has_several_files = lines.iter().any(|line| line.file != lines[0].file);
    let row = |line: &ValueLine| {
        let file = RepoPath::root().join(&line.file).map_or(line.file.clone(), |path| path.relative_to(cwd));
        let name = match (line.key.as_str(), has_several_files) {
            ("", _) => file,
            (key, false) => key.to_string(),
            (key, true) => format!("{file}:{key}"),
        };
        ValueTableRow { kind, name, is_changed: line.values.len() > 1 && !line.is_same(), cells: cells(kind, line) }
    };
    lines.iter().map(row).collect()
}

fn cells(kind: ValueKind, line: &ValueLine) -> Vec<ValueCell> {
    let texts = |is_rounded: bool| -> Vec<String> {
        line.values.iter().map(|value| value.as_ref().map_or("-".into(), |value| text(value, is_rounded))).collect()
    };
    // Params are inputs, so they are not rounded.
    let rounded = texts(kind == ValueKind::Metric);
    let is_same = |a: usize, b: usize| match (&line.values[a], &line.values[b]) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    // Two different values never round to the same text.
    let is_ambiguous = (1..rounded.len()).any(|b| (0..b).any(|a| rounded[a] == rounded[b] && !is_same(a, b)));
    let texts = if is_ambiguous { texts(false) } else { rounded };
    // A page may be published.
    let is_hidden = line.key.split('.').any(is_secret);
    let cell = |(text, (value, better)): (String, (&Option<Value>, &Option<bool>))| {
        if is_hidden && value.is_some() {
            return ValueCell { text: "***".into(), full: None, better: None };
        }
        let short = cut(&text, LONGEST);
        let full = (short != text).then(|| cut(&text, LONGEST_FULL));
        ValueCell { text: short, full, better: *better }
    };
    texts.into_iter().zip(line.values.iter().zip(&line.better)).map(cell).collect()
}

fn text(value: &Value, is_rounded: bool) -> String {
    match value {
        Value::Float(f) if is_rounded => number(*f),
        Value::Null => "null".into(),
        Value::Str(text) if text.is_empty() => "\"\"".into(),
        value => value.to_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn side(files: &[(&str, &str)]) -> ValuesByFile {
        files.iter().map(|(name, text)| (name.to_string(), read("x.yaml", text.as_bytes()).unwrap())).collect()
    }

    fn shown(metrics: &[ValuesByFile], params: &[ValuesByFile]) -> Vec<String> {
        let table = ValueTable::new(metrics, params, &Directions::default(), &RepoPath::root());
        let row = |row: &ValueTableRow| {
            let cells: Vec<&str> = row.cells.iter().map(|cell| cell.text.as_str()).collect();
            format!("{} {} {}{}", row.kind.name(), row.name, cells.join(" "), if row.is_changed { " !" } else { "" })
        };
        let more = (table.omitted > 0).then(|| format!("and {} more", table.omitted));
        table.rows.iter().map(row).chain(more).collect()
    }

    #[test]
    fn values_that_differ_come_first() {
        let metrics =
            [side(&[("m.json", "{same: 1, acc: 0.5, new: 1}")]), side(&[("m.json", "{same: 1.0, acc: 0.75}")])];
        let params = [
            side(&[("p.yaml", "{a: 1, b: ''}"), ("q.yaml", "x")]),
            side(&[("p.yaml", "{a: 2, b: ''}"), ("q.yaml", "x")]),
        ];
        assert_eq!(
            shown(&metrics, &params),
            [
                "metric acc 0.5 0.75 !",
                "metric new 1 - !",
                "param p.yaml:a 1 2 !",
                "metric same 1 1",
                "param p.yaml:b \"\" \"\"",
                "param q.yaml x x"
            ]
        );
        assert_eq!(shown(&metrics[1..], &[]), ["metric same 1", "metric acc 0.75"]);
        assert!(shown(&[], &[]).is_empty());
    }

    #[test]
    fn different_values_look_different_and_secrets_are_hidden() {
        let one = |text: &str| side(&[("x.yaml", text)]);
        assert_eq!(shown(&[one("a: 0.1234567")], &[one("a: 0.1234567")]), ["metric a 0.123457", "param a 0.1234567"]);
        let close = [one("a: 0.12345671"), one("a: 0.12345672")];
        assert_eq!(shown(&close, &[]), ["metric a 0.12345671 0.12345672 !"]);
        let secret = [one("{db_password: x, api_key: 1, max_tokens: 5}"), one("{db_password: y, max_tokens: 5}")];
        assert_eq!(
            shown(&[], &secret),
            ["param db_password *** *** !", "param api_key *** - !", "param max_tokens 5 5"]
        );
    }

    #[test]
    fn a_table_is_bounded() {
        let text: String = (0..52).map(|n| format!("k{n}: {}\n", "x".repeat(n * 40))).collect();
        let table = ValueTable::new(&[], &[side(&[("p.yaml", &text)])], &Directions::default(), &RepoPath::root());
        assert_eq!((table.rows.len(), table.omitted), (MOST_ROWS, 12));
        let cell = &table.rows[39].cells[0];
        assert_eq!((cell.text.chars().count(), cell.full.as_ref().unwrap().chars().count()), (LONGEST, LONGEST_FULL));
    }
}
