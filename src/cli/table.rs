//! Tables, for terminals and for Markdown.

use crate::cli::output::{Output, Style};
use crate::escape;
use crate::value::Value;

pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

pub struct Cell {
    text: String,
    style: Option<Style>,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, style: None }
    }
}

impl Cell {
    pub fn painted(text: String, style: Option<Style>) -> Cell {
        Cell { text, style }
    }
}

impl Table {
    pub fn new<H: Into<String>>(head: impl IntoIterator<Item = H>) -> Table {
        Table { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn columns(&self) -> usize {
        self.head.len()
    }

    /// Adds a row, with as many cells as the head.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints the table, unless it has no rows.
    pub fn print(&self, md: bool, out: &Output) {
        if self.rows.is_empty() {
            return;
        }
        // The width after escaping.
        let shown = |cell: &str| if md { escape::markdown_cell(cell) } else { escape::text(cell) };
        let heads: Vec<String> = self.head.iter().map(|head| shown(head)).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|c| shown(&c.text).chars().count());
            cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let padded =
            |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())));
        let head: Vec<String> = heads.iter().zip(&widths).map(|(h, w)| padded(h, *w)).collect();
        let mut text = String::new();
        if md {
            text += &format!("| {} |\n", head.join(" | "));
            text += &format!("| {} |\n", widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join(" | "));
        } else {
            text += &out.paint_out(Style::Dim, head.join("  ").trim_end());
            text.push('\n');
        }
        for row in &self.rows {
            let cell = |(at, (cell, width)): (usize, (&Cell, &usize))| {
                let is_last = !md && at + 1 == row.len();
                let text = shown(&cell.text);
                let padded = if is_last { text } else { padded(&text, *width) };
                match cell.style {
                    Some(style) if !md => out.paint_out(style, &padded),
                    _ => padded,
                }
            };
            let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(cell).collect();
            let line = if md { format!("| {} |", cells.join(" | ")) } else { cells.join("  ").trim_end().to_string() };
            text += &line;
            text.push('\n');
        }
        out.document(&text);
    }
}

/// A value on one line, never empty.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Str(s) if s.is_empty() || s.chars().any(char::is_control) => format!("{s:?}"),
        Value::Null => "null".into(),
        other => other.to_text(),
    }
}

/// The same, with at most `digits` decimal places.
pub fn rounded(value: &Value, digits: Option<usize>) -> String {
    match (value, digits) {
        (Value::Float(f), Some(digits)) => round(*f, digits),
        _ => shown(value),
    }
}

/// Rounds to decimal places. A number that would become 0 keeps its first digits.
pub fn round(f: f64, digits: usize) -> String {
    let digits = digits.min(17);
    // Rounds the decimal text: a product of floats would add digits.
    let rounded = format!("{f:.digits$}").parse::<f64>().unwrap_or(f);
    if rounded == 0.0 && f != 0.0 {
        return format!("{f:.2e}");
    }
    Value::Float(rounded).to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_never_lost() {
        for (f, digits, want) in [
            (0.123456789, 5, "0.12346"),
            (2.0, 5, "2.0"),
            (1e-9, 5, "1.00e-9"),
            (-0.000001234, 5, "-1.23e-6"),
            (123456.7, 0, "123457.0"),
            (1e20, 5, "1e+20"),
            (-7e25, 5, "-7e+25"),
            (1e300, 5, "1e+300"),
            (9007199254740993.0, 3, "9007199254740992.0"),
            (0.30000000000000004, 5, "0.3"),
            (f64::MAX, 15, "1.7976931348623157e+308"),
            (5e-324, 5, "4.94e-324"),
            (f64::NAN, 5, "nan"),
            (f64::INFINITY, 5, "inf"),
            (0.0, 5, "0.0"),
        ] {
            assert_eq!(round(f, digits), want, "{f}");
        }
    }
}
