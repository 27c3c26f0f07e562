//! One self-contained HTML page.

mod figure;
mod header;
mod legend;

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::same::is_same_plot;
use super::svg::escape;
use super::{Content, Overview, Plot, PlotReport, vega};

/// Marks a file as a page of this program, which the next one may replace. Within its first kilobyte.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"lockstep plots\">";

const STYLE: &str = include_str!("../page.css");
const SCRIPT: &str = include_str!("../page.js");

/// The page as HTML.
pub fn page(report: &PlotReport, overview: &Overview) -> String {
    let revisions = match report.revisions.as_slice() {
        [] | [_] => String::new(),
        several => format!(": {}", several.join(", ")),
    };
    let title = match overview.repository.as_str() {
        "" => format!("Plots{revisions}"),
        repository => format!("Plots{revisions} · {repository}"),
    };
    let own = report.plots.iter().any(|plot| matches!(&plot.content, Content::Chart(chart) if chart.own.is_some()));
    let runtime = if own { vega::runtime() } else { String::new() };
    let scripts: Vec<&str> = if own { vec![SCRIPT, &runtime, vega::SCRIPT] } else { vec![SCRIPT] };
    let hashes: Vec<String> = scripts.iter().map(|script| format!("'{}'", hash(script))).collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{GENERATOR}\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src '{}'; script-src {}; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        hash(STYLE),
        hashes.join(" "),
        escape(&title),
    );
    header::header(&mut page, report, overview);
    page.push_str("<main>\n");
    let is_same = |plot: &&Plot| is_same_plot(plot, report.revisions.len());
    let (same, different): (Vec<&Plot>, Vec<&Plot>) = report.plots.iter().partition(is_same);
    different.into_iter().for_each(|plot| figure::figure(&mut page, plot, report));
    same.into_iter().for_each(|plot| figure::folded(&mut page, plot, report));
    if report.plots.is_empty() {
        page.push_str("<p class=\"empty\">There is nothing to show.</p>\n");
    }
    page.push_str("</main>\n");
    footer(&mut page, report);
    for script in scripts {
        let _ = writeln!(page, "<script>{script}</script>");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// A style or script as a Content-Security-Policy names it.
pub(crate) fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Omitted plots: a later reader of the page does not see the printed errors.
fn footer(page: &mut String, report: &PlotReport) {
    let errors = report.errors.iter().map(|error| error.full_message());
    let said: Vec<String> = errors.chain(report.notes.iter().cloned()).collect();
    if said.is_empty() {
        return;
    }
    page.push_str("<footer>\nNot shown:\n<ul>\n");
    for line in said {
        let _ = writeln!(page, "<li>{}</li>", escape(&line));
    }
    page.push_str("</ul>\n</footer>\n");
}

#[cfg(test)]
mod tests;
