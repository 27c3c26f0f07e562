//! Legends. However many series a chart has, its legend stays smaller than the chart.

use std::fmt::Write;

use super::super::draw::{LegendEntry, cut};
use super::super::svg::escape;

/// Further entries are folded.
const SHOWN: usize = 8;
/// Longer names are cut.
const LONGEST: usize = 48;
/// The size limit of a name that is shown when the mouse is on it.
const LONGEST_FULL: usize = 400;

/// A legend; nothing without entries.
pub fn legend(page: &mut String, entries: &[LegendEntry]) {
    if entries.is_empty() {
        return;
    }
    // One or two entries are not longer than the line that counts them.
    let shown = if entries.len() <= SHOWN + 2 { entries.len() } else { SHOWN };
    list(page, &entries[..shown]);
    let folded = &entries[shown..];
    if !folded.is_empty() {
        let _ = writeln!(page, "<details class=\"more\"><summary>and {} more</summary>", folded.len());
        list(page, folded);
        page.push_str("</details>\n");
    }
}

fn list(page: &mut String, entries: &[LegendEntry]) {
    page.push_str("<ul class=\"legend\">\n");
    for entry in entries {
        let _ = writeln!(page, "<li>{}{}</li>", key(&entry.class), short(&entry.label, LONGEST));
    }
    page.push_str("</ul>\n");
}

/// A piece of a line, in a colour and dash.
pub fn key(class: &str) -> String {
    format!("<svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"line {class}\" d=\"M2 5L24 5\"/></svg>")
}

/// A text of at most `letters` letters; the whole of a longer one is its title.
pub fn short(text: &str, letters: usize) -> String {
    let cut_text = cut(text, letters);
    if cut_text == text {
        return format!("<span>{}</span>", escape(text));
    }
    format!("<span title=\"{}\">{}</span>", escape(&cut(text, LONGEST_FULL)), escape(&cut_text))
}
