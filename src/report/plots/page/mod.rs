//! One self-contained HTML page.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::draw::{self, Panel};
use super::svg::{escape, json_inside_html};
use super::{Chart, Content, Image, Plot, PlotReport, VegaSpec, vega};

/// Marks a file as a page of this program, which the next one may replace. Within its first kilobyte.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"lockstep plots\">";

const STYLE: &str = include_str!("../page.css");
const SCRIPT: &str = include_str!("../page.js");

/// The page as HTML.
pub fn page(report: &PlotReport) -> String {
    let title = match report.revisions.as_slice() {
        [] | [_] => "Plots".to_string(),
        several => format!("Plots: {}", several.join(", ")),
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
    header(&mut page, report);
    page.push_str("<main>\n");
    for plot in &report.plots {
        match &plot.content {
            Content::Chart(Chart { own: Some(own), .. }) => figure_of_own(&mut page, plot, own),
            Content::Chart(chart) => figure_of_chart(&mut page, plot, chart, report),
            Content::Images(images) => figure_of_images(&mut page, plot, images, report),
        }
    }
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

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn header(page: &mut String, report: &PlotReport) {
    page.push_str("<header>\n<h1>Plots</h1>\n");
    if report.revisions.len() > 1 {
        let keys = report
            .revisions
            .iter()
            .enumerate()
            .map(|(n, label)| draw::LegendEntry { class: format!("c{}", n % draw::COLOURS), label: label.clone() });
        legend(page, &keys.collect::<Vec<_>>());
    } else if let Some(revision) = report.revisions.first() {
        let _ = writeln!(page, "<span class=\"id\">{}</span>", escape(revision));
    }
    page.push_str("</header>\n");
}

fn legend(page: &mut String, keys: &[draw::LegendEntry]) {
    if keys.is_empty() {
        return;
    }
    page.push_str("<ul class=\"legend\">\n");
    for key in keys {
        let _ = writeln!(
            page,
            "<li><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"line {}\" d=\"M2 5L24 5\"/></svg>{}</li>",
            key.class,
            escape(&key.label)
        );
    }
    page.push_str("</ul>\n");
}

fn caption(page: &mut String, plot: &Plot) {
    let _ = writeln!(page, "<figcaption>\n<h2>{}</h2>", escape(&plot.title));
    if plot.title != plot.id {
        let _ = writeln!(page, "<span class=\"id\">{}</span>", escape(&plot.id));
    }
}

fn figure_of_chart(page: &mut String, plot: &Plot, chart: &Chart, report: &PlotReport) {
    let panels = draw::draw(chart, report, &plot.title);
    let class = match (chart.template.is_confusion(), panels.len()) {
        (true, 1) => "square",
        (true, _) => "square wide",
        (false, _) => "chart",
    };
    let _ = writeln!(page, "<figure class=\"{class}\">");
    caption(page, plot);
    legend(page, &draw::legend(chart, report));
    page.push_str("</figcaption>\n<div class=\"panels\">\n");
    for Panel { caption, svg, note, hover } in panels {
        page.push_str("<div class=\"panel\">\n");
        if let Some(caption) = caption {
            let _ = writeln!(page, "<div class=\"caption\">{}</div>", escape(&caption));
        }
        page.push_str(&svg);
        if let Some(note) = note {
            let _ = writeln!(page, "<div class=\"note\">{}</div>", escape(&note));
        }
        if let Some(hover) = hover {
            let json = json_inside_html(&hover);
            let _ = writeln!(page, "<script type=\"application/json\" class=\"hover\">{json}</script>");
        }
        page.push_str("</div>\n");
    }
    page.push_str("</div>\n</figure>\n");
}

/// The specification of a project's template, for the script.
fn figure_of_own(page: &mut String, plot: &Plot, own: &VegaSpec) {
    page.push_str("<figure class=\"own\">\n");
    caption(page, plot);
    let json = json_inside_html(&own.spec);
    let _ = writeln!(
        page,
        "</figcaption>\n<div class=\"panels\">\n<div class=\"panel\">\n\
         <script type=\"application/json\" class=\"vega\">{json}</script>\n</div>\n</div>\n</figure>"
    );
}

/// Images in an `<img>` cannot run scripts, whatever an SVG contains.
fn figure_of_images(page: &mut String, plot: &Plot, images: &[Image], report: &PlotReport) {
    let _ = writeln!(page, "<figure class=\"images{}\">", if images.len() > 1 { " wide" } else { "" });
    caption(page, plot);
    page.push_str("</figcaption>\n<div class=\"panels\">\n");
    for image in images {
        let revision = &report.revisions[image.revision];
        page.push_str("<div class=\"panel\">\n");
        if report.revisions.len() > 1 {
            let _ = writeln!(page, "<div class=\"caption\">{}</div>", escape(revision));
        }
        let _ = writeln!(
            page,
            "<img alt=\"{}\" src=\"data:{};base64,{}\">\n</div>",
            escape(&format!("{}, {revision}", plot.title)),
            image.kind.media_type(),
            STANDARD.encode(&image.bytes)
        );
    }
    page.push_str("</div>\n</figure>\n");
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
