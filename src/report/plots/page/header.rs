//! The top of a page: the repository, the revisions with their commits, and their params and metrics.

use std::fmt::Write;

use super::super::PlotReport;
use super::super::draw::COLOURS;
use super::super::overview::{CommitSummary, Overview};
use super::super::svg::escape;
use super::super::value_table::{ValueCell, ValueTable, ValueTableRow};
use super::legend::{key, short};

/// Longer names, subjects and keys are cut.
const LONGEST_NAME: usize = 40;
const LONGEST_SUBJECT: usize = 80;
const LONGEST_KEY: usize = 60;

/// The header of a page.
pub fn header(page: &mut String, report: &PlotReport, overview: &Overview) {
    page.push_str("<header>\n<h1>Plots");
    if !overview.repository.is_empty() {
        let _ = write!(page, " of {}", short(&overview.repository, LONGEST_NAME));
    }
    page.push_str("</h1>\n<div class=\"scroll\">\n<table class=\"revisions\">\n");
    for (n, name) in report.revisions.iter().enumerate() {
        revision(page, n, name, overview.commits.get(n).and_then(Option::as_ref), report.revisions.len() > 1);
    }
    page.push_str("</table>\n</div>\n");
    values(page, report, &overview.values);
    page.push_str("</header>\n");
}

/// A row for a revision. With several, it has the colour of its lines.
fn revision(page: &mut String, n: usize, name: &str, commit: Option<&CommitSummary>, has_colour: bool) {
    let key = if has_colour { key(&format!("c{}", n % COLOURS)) } else { String::new() };
    let _ = write!(page, "<tr><th scope=\"row\">{key}{}</th>", short(name, LONGEST_NAME));
    let _ = match commit {
        Some(CommitSummary { id, date, subject }) => writeln!(
            page,
            "<td><code>{}</code></td><td class=\"date\">{}</td><td>{}</td></tr>",
            escape(id),
            escape(date),
            short(subject, LONGEST_SUBJECT)
        ),
        None => writeln!(page, "<td colspan=\"3\" class=\"note\">files on disk</td></tr>"),
    };
}

/// The table of params and metrics, with one column for each revision.
fn values(page: &mut String, report: &PlotReport, table: &ValueTable) {
    if !table.rows.is_empty() {
        page.push_str("<div class=\"scroll\">\n<table class=\"values\">\n<thead><tr><th></th><th></th>");
        for name in &report.revisions {
            let _ = write!(page, "<th scope=\"col\">{}</th>", short(name, LONGEST_NAME));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        table.rows.iter().for_each(|row| value_row(page, row));
        page.push_str("</tbody>\n</table>\n");
        if table.omitted > 0 {
            let _ = writeln!(page, "<div class=\"note\">and {} more</div>", table.omitted);
        }
        page.push_str("</div>\n");
    }
    if !table.unread.is_empty() {
        let _ = writeln!(page, "<div class=\"note\">Not read: {}</div>", escape(&table.unread.join(", ")));
    }
}

fn value_row(page: &mut String, row: &ValueTableRow) {
    let class = if row.is_changed { "changed" } else { "same" };
    let (kind, name) = (row.kind.name(), short(&row.name, LONGEST_KEY));
    let _ = write!(page, "<tr class=\"{class}\"><td class=\"kind\">{kind}</td><th scope=\"row\">{name}</th>");
    for ValueCell { text, full, better } in &row.cells {
        let (class, word) = match better {
            Some(true) => (" class=\"better\"", " better"),
            Some(false) => (" class=\"worse\"", " worse"),
            None => ("", ""),
        };
        let title = full.as_ref().map_or(String::new(), |full| format!(" title=\"{}\"", escape(full)));
        let _ = write!(page, "<td{class}{title}>{}{word}</td>", escape(text));
    }
    page.push_str("</tr>\n");
}
