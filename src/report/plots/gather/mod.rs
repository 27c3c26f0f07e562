//! From definitions to data: reads the files of each plot at each revision.
//!
//! An unreadable or invalid plot is an error in the report; the others are gathered nevertheless. With several
//! revisions, a file that one of them lacks is not an error, since files are added and removed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::define::{Definition, Field, Pair, PlotData};
use super::source::{PathContent, PlotSource};
use super::table::{ColumnKind, Table, is_table};
use super::template::Template;
use super::vega::{self, Names, TemplateRef, TemplateValues, VegaSpec};
use super::{Chart, Column, Content, Image, ImageKind, Plot, PlotReport, Series};
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

/// A confusion matrix with more classes is not readable.
const MOST_CLASSES: usize = 100;

/// The data of `definitions` at each of `sources`. Files are named relative to the folder `cwd`.
pub fn gather(definitions: &[Definition], sources: &[&dyn PlotSource], cwd: &RepoPath) -> PlotReport {
    let revisions = sources.iter().map(|source| source.label().to_string()).collect();
    let mut work =
        Gather { sources, cwd, report: PlotReport { revisions, ..PlotReport::default() }, missing: Vec::new() };
    for definition in definitions {
        match &definition.data {
            PlotData::Path { path, x, y } => work.path(definition, path, x.as_deref(), y, false),
            PlotData::Columns(pairs) => work.columns(definition, pairs),
        }
    }
    work.report
}

struct Gather<'a> {
    sources: &'a [&'a dyn PlotSource],
    cwd: &'a RepoPath,
    report: PlotReport,
    /// Reported missing folders, by source: files inside them are not reported again.
    missing: Vec<(usize, RepoPath)>,
}

/// The content of some files at one revision.
type Files = BTreeMap<RepoPath, Vec<u8>>;

/// The same files, parsed.
type Tables<'a> = BTreeMap<&'a RepoPath, Result<Table<'a>>>;

impl Gather<'_> {
    /// A plot of a file, or of each file of a folder. Within a folder, a folder can only be a link, possibly a cycle:
    /// it is skipped.
    fn path(&mut self, definition: &Definition, path: &RepoPath, x: Option<&str>, y: &[String], within: bool) {
        let mut inside = BTreeSet::new();
        let mut found: Vec<Files> = Vec::new();
        let mut missing = Vec::new();
        for (n, source) in self.sources.iter().enumerate() {
            let mut files = Files::new();
            match source.read(path) {
                Ok(PathContent::File(bytes)) => {
                    files.insert(path.clone(), bytes);
                }
                Ok(PathContent::Folder(_)) if within => {}
                Ok(PathContent::Folder(all)) => inside.extend(all.into_iter().filter(|file| is_plot(file.as_str()))),
                Ok(PathContent::Missing) => missing.push(n),
                Err(error) => self.fail(error),
            }
            found.push(files);
        }
        self.report_missing(path, &missing);
        for file in inside {
            let one = Definition { id: file.relative_to(self.cwd), title: None, ..definition.clone() };
            self.path(&one, &file, x, y, true);
        }
        if found.iter().all(Files::is_empty) {
            return;
        }
        if let Some(kind) = ImageKind::of(path.as_str()) {
            let file = path.relative_to(self.cwd);
            let all = found.into_iter().enumerate().flat_map(|(n, files)| files.into_values().map(move |b| (n, b)));
            let images = all.map(|(revision, bytes)| Image { revision, file: file.clone(), kind, bytes }).collect();
            self.push(definition, Content::Images(images));
            return;
        }
        match self.default_pairs(definition, path, x, y, &found) {
            Ok(pairs) => self.chart(definition, &pairs, &found),
            Err(error) => self.fail(error),
        }
    }

    /// A plot over columns of several files.
    fn columns(&mut self, definition: &Definition, pairs: &[Pair]) {
        let paths: BTreeSet<&RepoPath> = definition.paths().into_iter().collect();
        let mut found: Vec<Files> = self.sources.iter().map(|_| Files::new()).collect();
        for path in paths {
            let mut missing = Vec::new();
            for (n, source) in self.sources.iter().enumerate() {
                match source.read(path) {
                    Ok(PathContent::File(bytes)) => {
                        found[n].insert(path.clone(), bytes);
                    }
                    Ok(PathContent::Missing) => missing.push(n),
                    Ok(PathContent::Folder(_)) => {
                        let message = format!("plot `{}`: {path} is a folder, not a file with columns", definition.id);
                        self.fail(Error::usage(message));
                    }
                    Err(error) => self.fail(error),
                }
            }
            self.report_missing(path, &missing);
        }
        self.chart(definition, pairs, &found);
    }

    /// An error if all revisions lack it, a note if one of several does.
    fn report_missing(&mut self, path: &RepoPath, missing: &[usize]) {
        let name = path.relative_to(self.cwd);
        if missing.len() == self.sources.len() {
            let error = match self.sources {
                [one] if one.label() == "workspace" => Error::missing(format!("{name} does not exist"))
                    .hint("make it: lockstep repro, or bring it back: lockstep checkout"),
                [one] => Error::missing(format!("{name} is not in {}", one.label())),
                _ => Error::missing(format!("{name} is in none of these revisions")),
            };
            self.fail(error);
            return;
        }
        for &n in missing {
            if self.missing.iter().any(|(source, known)| *source == n && path.is_in(known)) {
                continue;
            }
            self.missing.push((n, path.clone()));
            let label = match self.sources[n].label() {
                "workspace" => "the workspace",
                label => label,
            };
            self.report.notes.push(format!("{name} is not in {label}"));
        }
    }

    /// One error may affect several plots.
    fn fail(&mut self, error: Error) {
        if !self.report.errors.iter().any(|known| known.message == error.message) {
            self.report.errors.push(error);
        }
    }

    fn push(&mut self, definition: &Definition, content: Content) {
        let title = definition.title.clone().unwrap_or_else(|| definition.id.clone());
        self.report.plots.push(Plot { id: definition.id.clone(), title, content });
    }

    /// The columns of one file: the named ones, otherwise the last one, with `x` beside it.
    fn default_pairs(
        &self,
        definition: &Definition,
        path: &RepoPath,
        x: Option<&str>,
        y: &[String],
        found: &[Files],
    ) -> Result<Vec<Pair>> {
        let field = |column: String| Field { file: path.clone(), column };
        let mut x = x.map(str::to_string);
        let mut y = y.to_vec();
        let bytes = found.iter().rev().find_map(|files| files.get(path));
        if let Some(bytes) = bytes.filter(|_| y.is_empty()) {
            let name = path.relative_to(self.cwd);
            let table = Table::open(&name, bytes, definition.header)?;
            if definition.template.is_horizontal() {
                // The last column has the lengths of the bars, and the first one their names.
                x = Some(x.map_or_else(|| table.last(), Ok)?);
                y.push(table.first()?);
            } else {
                y.push(table.last()?);
            }
        }
        Ok(y.into_iter().map(|y| Pair { y: field(y), x: x.clone().map(field) }).collect())
    }

    fn chart(&mut self, definition: &Definition, pairs: &[Pair], found: &[Files]) {
        let mut series = Vec::new();
        let names = names(pairs, self.cwd);
        let own = self.own_template(definition);
        let wants =
            if own.is_some() { (ColumnKind::Either, ColumnKind::Either) } else { column_kinds(definition.template) };
        let fields = Names::of(
            &pairs.iter().map(|pair| pair.x.as_ref().map_or("step", |x| &x.column)).collect::<Vec<_>>(),
            &pairs.iter().map(|pair| pair.y.column.as_str()).collect::<Vec<_>>(),
        );
        let mut rows = Vec::new();
        let is_complete = |files: &Files| {
            let mut fields = pairs.iter().flat_map(|pair| pair.x.iter().chain([&pair.y]));
            fields.all(|field| files.contains_key(&field.file))
        };
        let is_same = found.len() > 1 && is_complete(&found[0]) && found.iter().all(|files| *files == found[0]);
        for (revision, files) in found.iter().enumerate() {
            // Each file is parsed once for all of its columns.
            let spelled: Vec<String> = files.keys().map(|path| path.relative_to(self.cwd)).collect();
            let mut tables = Tables::new();
            for (name, (path, bytes)) in spelled.iter().zip(files) {
                tables.insert(path, Table::open(name, bytes, definition.header));
            }
            for (part, pair) in pairs.iter().enumerate() {
                let here = |field: &Field| files.contains_key(&field.file);
                if !here(&pair.y) || !pair.x.as_ref().is_none_or(here) {
                    continue;
                }
                match columns(definition, wants, pair, &tables) {
                    Ok((x, y)) => {
                        let file = pair.y.file.relative_to(self.cwd);
                        let one = Series { revision, part, name: names[part].clone(), file, x, y };
                        let is_shown = revision == 0 || !is_same;
                        if let (Some(_), true, Some(Ok(table))) = (&own, is_shown, tables.get(&pair.y.file)) {
                            let rev = self.sources[revision].label();
                            rows.extend(vega::rows(&fields, &table.all(), &one, &pair.y.column, rev));
                        }
                        series.push(one);
                    }
                    Err(mut error) => {
                        if self.sources.len() > 1 {
                            error.message.push_str(&format!(" (in {})", self.sources[revision].label()));
                        }
                        self.fail(error);
                    }
                }
            }
        }
        if series.is_empty() {
            return;
        }
        let same = |of: &dyn Fn(&Pair) -> Option<String>| {
            let first = pairs.first().and_then(of)?;
            pairs.iter().all(|pair| of(pair).as_ref() == Some(&first)).then_some(first)
        };
        let x = same(&|pair| Some(pair.x.as_ref().map_or("step".to_string(), |x| x.column.clone())));
        let y = same(&|pair| Some(pair.y.column.clone()));
        let x_label = definition.x_label.clone().or(x).unwrap_or_default();
        let y_label = definition.y_label.clone().or(y).unwrap_or_default();
        let own = own.and_then(|(called, template)| {
            let mut lines: Vec<(&str, &str)> = Vec::new();
            let shown = self.sources.iter().take(if is_same { 1 } else { usize::MAX });
            for one in series.iter().filter(|one| one.revision == 0 || !is_same) {
                lines.push((&one.file, &pairs[one.part].y.column));
            }
            let filling = TemplateValues {
                title: definition.title.as_deref().unwrap_or(&definition.id),
                names: fields,
                x_label: &x_label,
                y_label: &y_label,
                revisions: shown.map(|source| source.label()).collect(),
                lines,
                rows,
            };
            self.fill(definition, called, &template, filling).map(|spec| VegaSpec { is_same, ..spec })
        });
        let template = definition.template;
        self.push(definition, Content::Chart(Chart { template, own, x_label, y_label, parts: pairs.len(), series }));
    }

    /// The project's own template of a plot, if it has one. If it cannot be read, that is an error, and the plot is
    /// drawn as lines.
    fn own_template<'d>(&mut self, definition: &'d Definition) -> Option<(&'d TemplateRef, Json)> {
        let called = definition.own.as_ref()?;
        match called.read(self.sources) {
            Ok(template) => Some((called, template)),
            Err(mut error) => {
                error.message = format!("plot `{}`: {}", definition.id, error.message);
                self.fail(error);
                None
            }
        }
    }

    fn fill(
        &mut self,
        definition: &Definition,
        called: &TemplateRef,
        template: &Json,
        filling: TemplateValues<'_>,
    ) -> Option<VegaSpec> {
        match vega::fill(template, filling) {
            Ok((spec, unknown)) => {
                for anchor in unknown {
                    self.report.notes.push(format!(
                        "{}: the template {} has {anchor}, which is not known",
                        definition.id, called.name
                    ));
                }
                Some(VegaSpec { name: called.name.clone(), spec, is_same: false })
            }
            Err(why) => {
                let message = format!("plot `{}`: the template {} {why}", definition.id, called.name);
                self.fail(Error::usage(message));
                None
            }
        }
    }
}

/// The two columns of one series.
fn columns(
    definition: &Definition,
    wants: (ColumnKind, ColumnKind),
    pair: &Pair,
    tables: &Tables<'_>,
) -> Result<(Column, Column)> {
    let template = definition.template;
    let read = |field: &Field, want: ColumnKind| -> Result<Column> {
        match tables.get(&field.file) {
            Some(Ok(table)) => table.column(&field.column, want),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::missing(format!("{} does not exist", field.file))),
        }
    };
    let (x_want, y_want) = wants;
    let y = read(&pair.y, y_want)?;
    let x = match &pair.x {
        Some(field) => read(field, x_want)?,
        None if template.is_confusion() || template.is_horizontal() => {
            let name = template.name();
            let error = Error::usage(format!("plot `{}`: the template {name} needs an `x`", definition.id));
            return Err(error.hint("name a column with `x` (-x), and another with `y` (-y)"));
        }
        None if x_want == ColumnKind::Words => {
            Column::Words { rows: (0..y.len() as u32).collect(), words: (0..y.len()).map(|n| n.to_string()).collect() }
        }
        None => Column::Numbers((0..y.len()).map(|n| n as f64).collect()),
    };
    if x.len() != y.len() {
        let message = format!("plot `{}`: x has {} rows and y has {}", definition.id, x.len(), y.len());
        return Err(Error::usage(message).hint("they have to belong together, row by row"));
    }
    if template.is_confusion() {
        for (axis, column) in [("x", &x), ("y", &y)] {
            let Column::Words { words, .. } = column else { continue };
            if words.len() > MOST_CLASSES {
                let id = &definition.id;
                let message = format!("plot `{id}`: {axis} has {} different values", words.len());
                let message = format!("{message}; a confusion matrix has room for {MOST_CLASSES}");
                return Err(Error::new(Kind::Usage, message).hint("choose another template: lockstep plots templates"));
            }
        }
    }
    Ok((x, y))
}

fn is_plot(name: &str) -> bool {
    ImageKind::of(name).is_some() || is_table(name)
}

/// What kind of values a template draws, for x and y.
fn column_kinds(template: Template) -> (ColumnKind, ColumnKind) {
    match template {
        Template::Linear | Template::Simple | Template::Smooth => (ColumnKind::Either, ColumnKind::Numbers),
        Template::Scatter | Template::ScatterJitter => (ColumnKind::Either, ColumnKind::Either),
        Template::Bar => (ColumnKind::Words, ColumnKind::Numbers),
        Template::BarHorizontal | Template::BarHorizontalSorted => (ColumnKind::Numbers, ColumnKind::Words),
        Template::Confusion | Template::ConfusionNormalized => (ColumnKind::Words, ColumnKind::Words),
    }
}

/// The distinction between the pairs: their column, their file, or both.
fn names(pairs: &[Pair], cwd: &RepoPath) -> Vec<String> {
    let one_file = pairs.iter().all(|pair| pair.y.file == pairs[0].y.file);
    let one_column = pairs.iter().all(|pair| pair.y.column == pairs[0].y.column);
    let name = |pair: &Pair| match (one_file, one_column) {
        (true, _) => pair.y.column.clone(),
        (false, true) => pair.y.file.relative_to(cwd),
        (false, false) => format!("{}: {}", pair.y.file.relative_to(cwd), pair.y.column),
    };
    pairs.iter().map(name).collect()
}

#[cfg(test)]
mod tests;
