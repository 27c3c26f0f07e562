//! One plot of a page: a card, or a closed line for a plot that is the same in all revisions.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::draw::{self, Panel};
use super::super::same::{is_same_plot, same_images};
use super::super::svg::{escape, json_inside_html};
use super::super::{Chart, Content, Image, Plot, PlotReport, VegaSpec};
use super::legend::{legend, short};

/// The line of a folded plot does not list more revisions than this.
const MOST_NAMES: usize = 6;
const LONGEST_LINE: usize = 120;

/// A plot as a card.
pub fn figure(page: &mut String, plot: &Plot, report: &PlotReport) {
    match &plot.content {
        Content::Chart(Chart { own: Some(own), .. }) => figure_of_own(page, plot, own),
        Content::Chart(chart) => figure_of_chart(page, plot, chart, report),
        Content::Images(images) => figure_of_images(page, plot, images, report),
    }
}

/// A plot that is the same in all revisions, as one line that opens.
pub fn folded(page: &mut String, plot: &Plot, report: &PlotReport) {
    let all: Vec<usize> = (0..report.revisions.len()).collect();
    let revisions = match all.len() {
        n if n > MOST_NAMES => format!("same in all {n} revisions"),
        _ => draw::same_in(report, &all),
    };
    let line = short(&format!("{}: {revisions}", plot.title), LONGEST_LINE);
    let _ = writeln!(page, "<details class=\"same\">\n<summary>{line}</summary>");
    figure(page, plot, report);
    page.push_str("</details>\n");
}

fn caption(page: &mut String, plot: &Plot) {
    let _ = writeln!(page, "<figcaption>\n<h2>{}</h2>", escape(&plot.title));
    if plot.title != plot.id {
        let _ = writeln!(page, "<span class=\"id\">{}</span>", escape(&plot.id));
    }
}

fn figure_of_chart(page: &mut String, plot: &Plot, chart: &Chart, report: &PlotReport) {
    let panels = draw::draw(chart, report, &plot.title);
    let class = match (panels.iter().any(|panel| panel.is_square), panels.len()) {
        (true, 1) => "square",
        (true, _) => "square wide",
        (false, _) => "chart",
    };
    let _ = writeln!(page, "<figure class=\"{class}\">");
    caption(page, plot);
    legend(page, &draw::legend(chart, report));
    page.push_str("</figcaption>\n<div class=\"panels\">\n");
    for Panel { caption, svg, note, hover, .. } in panels {
        page.push_str("<div class=\"panel\">\n");
        if let Some(caption) = caption {
            let _ = writeln!(page, "<div class=\"caption\">{}</div>", short(&caption, LONGEST_LINE));
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
    let shown = same_images(images);
    let _ = writeln!(page, "<figure class=\"images{}\">", if shown.len() > 1 { " wide" } else { "" });
    caption(page, plot);
    page.push_str("</figcaption>\n<div class=\"panels\">\n");
    let has_captions = report.revisions.len() > 1 && !is_same_plot(plot, report.revisions.len());
    for same in shown {
        let revisions = draw::same_in(report, &same.revisions);
        page.push_str("<div class=\"panel\">\n");
        if has_captions {
            let _ = writeln!(page, "<div class=\"caption\">{}</div>", short(&revisions, LONGEST_LINE));
        }
        let _ = writeln!(
            page,
            "<img alt=\"{}\" src=\"data:{};base64,{}\">\n</div>",
            escape(&format!("{}, {revisions}", plot.title)),
            same.first.kind.media_type(),
            STANDARD.encode(&same.first.bytes)
        );
    }
    page.push_str("</div>\n</figure>\n");
}
