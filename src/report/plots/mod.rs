//! Plots: from the definitions in `pipeline.yaml` to one page of HTML.
//!
//! ```text
//! define      pipeline files        → Definition      the requested plots                       (pure)
//! gather      Definition × Source   → Report          columns of files, at each revision
//! draw        Chart                 → SVG text        scales, ticks, thinning to the pixels      (pure)
//! overview    Snapshots             → Overview        the repository, commits, params and metrics
//! page        Report × Overview     → one HTML file   all of it inside: no network, no font, no library
//! listing     Report                → JSON, Markdown, and a line of blocks for a terminal
//! ```
//!
//! The charts are drawn here, and not by a library in the page, for three reasons. A page must still open in ten years
//! and without a network. It must be readable with scripts disabled (mail, a code review); the script only adds
//! tooltips. And a page must not contain a million rows: a line is thinned to what its pixels can show before it is
//! written. Templates in Vega-Lite, which DVC supports as well, are arbitrary: Vega-Lite draws them in the page
//! (`vega/`).
//!
//! Everything in a page may come from a hostile repository: titles, cells, names of files. All text goes through
//! `svg::escape`, data for the script through `svg::json_inside_html`, and the content security policy of the page
//! forbids every address and every script but its own, whose hash it names.
//!
//! The same data gives the same bytes: no times, no random jitter, sorted where the source has no order.

mod column_check;
mod define;
mod draw;
mod gather;
mod image;
mod listing;
mod overview;
pub(crate) mod page;
mod revision;
mod same;
mod scale;
mod select;
mod smooth;
mod source;
mod spark;
pub(crate) mod svg;
mod table;
mod template;
mod thin;
mod value_table;
mod vega;

use crate::error::Error;

pub use column_check::missing_columns;
pub use define::{DefinedPlots, define};
pub use gather::gather;
pub use image::ImageKind;
pub use listing::{json, markdown, rows};
pub use overview::Overview;
pub use page::{GENERATOR, page};
pub use select::{Overrides, merge, select};
pub use source::{PathContent, PlotSource};
pub use template::Template;
pub use vega::VegaSpec;

/// All requested plots, with their data.
#[derive(Debug, Default)]
pub struct PlotReport {
    /// The compared revisions, in display order: `HEAD~1`, `workspace`.
    pub revisions: Vec<String>,
    /// In the order of the definitions.
    pub plots: Vec<Plot>,
    /// Errors, in the order of the plots. The other plots are shown nevertheless.
    pub errors: Vec<Error>,
    /// Notes that are not errors: a file that one of several revisions lacks, an unknown template.
    pub notes: Vec<String>,
}

/// A plot with its data.
#[derive(Debug)]
pub struct Plot {
    /// Its name on the command line.
    pub id: String,
    /// The title that is shown; never empty.
    pub title: String,
    /// A chart, or pictures.
    pub content: Content,
}

/// The content of a plot.
#[derive(Debug)]
pub enum Content {
    /// Series of values with axes.
    Chart(Chart),
    /// The same picture at each revision that has it.
    Images(Vec<Image>),
}

/// A chart with its series.
#[derive(Debug)]
pub struct Chart {
    /// The built-in way to draw it.
    pub template: Template,
    /// The result of the project's own template. It is drawn in the page, instead of here.
    pub own: Option<VegaSpec>,
    /// The title of the x axis.
    pub x_label: String,
    /// The title of the y axis.
    pub y_label: String,
    /// The number of columns of the definition. A revision may lack series for some of them.
    pub parts: usize,
    /// Never empty; by revision, then in the order of the definition.
    pub series: Vec<Series>,
}

/// One line, one set of points or bars, or one confusion matrix.
#[derive(Debug)]
pub struct Series {
    /// Index into [`PlotReport::revisions`].
    pub revision: usize,
    /// The index of the definition's column: it has the same position, and so the same dash, at each revision.
    pub part: usize,
    /// Its distinction from the others of a revision: `loss`, or `models/a/loss.csv: loss`.
    pub name: String,
    /// The file of the y values, relative to the current folder.
    pub file: String,
    /// The x values, or the numbers of the rows.
    pub x: Column,
    /// As long as `x`.
    pub y: Column,
}

/// Values of one column. A gap in numbers is NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// One number for each row.
    Numbers(Vec<f64>),
    /// Each row's index into the words, which are in the order of their first row.
    Words {
        /// One index into `words` for each row.
        rows: Vec<u32>,
        /// Distinct words.
        words: Vec<String>,
    },
}

/// A picture of one revision.
#[derive(Debug)]
pub struct Image {
    /// Index into [`PlotReport::revisions`].
    pub revision: usize,
    /// Relative to the current folder.
    pub file: String,
    /// The format, by the name of the file.
    pub kind: ImageKind,
    /// The file as it is; not checked to be a picture.
    pub bytes: Vec<u8>,
}

impl Column {
    pub fn len(&self) -> usize {
        match self {
            Column::Numbers(numbers) => numbers.len(),
            Column::Words { rows, .. } => rows.len(),
        }
    }
}
