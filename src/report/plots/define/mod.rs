//! Definitions of plots: the `plots:` of stages and of pipeline files, as DVC reads them. Pure.
//!
//! A plot of a stage is a file, or a folder of files, that the stage makes. A plot at the top of a pipeline file is
//! either such a path, too, or, if its `y` is a map of files, a name for columns of several files:
//!
//! ```yaml
//! plots:
//! - loss:                          # a name
//!     x: step                      # a column of each file below; or {FILE: COLUMN}
//!     y:
//!       a.csv: [train, test]       # two lines
//!       b.csv: loss                # and a third
//! - roc.json:                      # a file
//!     x: fpr
//!     y: [tpr, chance]
//! - images/                        # a folder
//! ```
//! `x` may name one column for all of `y`, or as many as `y` has, one for each. If a file has a plot of its own at
//! the top, that of its stage is not shown.

use std::collections::BTreeSet;

use super::template::Template;
use super::vega::TemplateRef;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::{PipelineFile, Pipelines, Plot};
use crate::value::Value;

/// One plot that was requested.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name on the command line: a path relative to the current folder, or the name at the top of its file
    /// (preceded by the file, `sub/pipeline.yaml:loss`, if that is in another folder).
    pub id: String,
    /// The files and columns that it shows.
    pub data: PlotData,
    /// The built-in template; the fallback where `own` cannot be read.
    pub template: Template,
    /// A template of the project, which overrides the built-in one.
    pub own: Option<TemplateRef>,
    /// `None` if it is not set: `id` is shown.
    pub title: Option<String>,
    /// `None` if it is not set: the column's name is shown, if all series have the same.
    pub x_label: Option<String>,
    /// The same for the y axis.
    pub y_label: Option<String>,
    /// Whether the first line of a CSV or TSV file names the columns. Otherwise they are called 0, 1, ….
    pub header: bool,
    /// Names of the stage that makes it: its address, and that of its group.
    pub stages: Vec<String>,
}

/// The data of a plot.
#[derive(Clone, Debug, PartialEq)]
pub enum PlotData {
    /// A file or a folder of files, pictures or columns. Without `x`, rows are numbered. Without `y`, the last column.
    Path { path: RepoPath, x: Option<String>, y: Vec<String> },
    /// Columns of several files.
    Columns(Vec<Pair>),
}

/// The columns of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub y: Field,
    pub x: Option<Field>,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub file: RepoPath,
    pub column: String,
}

/// All plots, with the errors of invalid ones.
#[derive(Debug, Default)]
pub struct DefinedPlots {
    /// The valid definitions, those at the top of files first.
    pub plots: Vec<Definition>,
    /// The errors of invalid definitions, which are left out.
    pub errors: Vec<Error>,
}

/// The plots of all pipeline files, named relative to the folder `cwd`: those at the top first, then those of stages.
pub fn define(pipelines: &Pipelines, cwd: &RepoPath) -> DefinedPlots {
    let mut defined = DefinedPlots::default();
    let mut taken = BTreeSet::new();
    let outs = pipelines.stages.iter().flat_map(|stage| &stage.outs);
    let has_style = |plot: &Plot| !plot.0.is_empty();
    let styled: BTreeSet<&RepoPath> =
        outs.filter(|out| out.plot.as_ref().is_some_and(has_style)).map(|out| &out.path).collect();
    for file in &pipelines.files {
        for (name, value) in &file.plots {
            match at_the_top(file, name, value, cwd) {
                Ok(plot) => {
                    if let PlotData::Path { path, .. } = &plot.data {
                        // A bare path declares a plot; its stage may define the style.
                        let is_bare = !matches!(value, Value::Map(entries) if !entries.is_empty());
                        if is_bare && styled.contains(path) {
                            continue;
                        }
                        taken.insert(path.clone());
                    }
                    defined.plots.push(plot);
                }
                Err(error) => defined.errors.push(error),
            }
        }
    }
    for id in pipelines.ids() {
        let stage = pipelines.stage(id);
        for out in &stage.outs {
            let Some(properties) = &out.plot else { continue };
            if taken.contains(&out.path) {
                continue;
            }
            let mut plot = of_file(&out.path, cwd);
            style(&mut plot, &properties.0, &stage.wdir);
            let column = |key: &str| property(&properties.0, key);
            plot.data = PlotData::Path { path: out.path.clone(), x: column("x"), y: column("y").into_iter().collect() };
            let address = pipelines.address(id, cwd);
            let group = address.split_once('@').map(|(group, _)| group.to_string());
            plot.stages = group.into_iter().chain([address]).collect();
            defined.plots.push(plot);
        }
    }
    defined
}

/// A file or a folder without further properties.
pub fn of_file(path: &RepoPath, cwd: &RepoPath) -> Definition {
    Definition {
        id: path.relative_to(cwd),
        data: PlotData::Path { path: path.clone(), x: None, y: Vec::new() },
        template: Template::default(),
        own: None,
        title: None,
        x_label: None,
        y_label: None,
        header: true,
        stages: Vec::new(),
    }
}

fn at_the_top(file: &PipelineFile, name: &str, value: &Value, cwd: &RepoPath) -> Result<Definition> {
    let folder = file.path.parent().unwrap_or_default();
    let place = |path: &str| {
        folder
            .join(path)
            .ok_or_else(|| Error::usage(format!("{}: plot `{name}`: {path} lies outside of the repository", file.path)))
    };
    let wrong = |what: &str| Error::usage(format!("{}: plot `{name}`: {what}", file.path));
    let properties: &[(String, Value)] = match value {
        Value::Map(entries) => entries,
        _ => &[],
    };
    let find = |key: &str| properties.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    let mut plot = match find("y") {
        Some(Value::Map(files)) => {
            let ys = fields(files, &place).ok_or_else(|| wrong("`y` names a column, or a list of them, a file"))??;
            let pairs = match find("x") {
                None => ys.into_iter().map(|y| Pair { y, x: None }).collect(),
                Some(Value::Map(files)) => {
                    let xs = fields(files, &place)
                        .ok_or_else(|| wrong("`x` names a column, or a list of them, a file"))??;
                    pair(ys, xs).ok_or_else(|| wrong("`x` names one column, or one for each of `y`"))?
                }
                Some(column) => {
                    let x = |y: &Field| Some(Field { file: y.file.clone(), column: column.to_text() });
                    ys.into_iter().map(|y| Pair { x: x(&y), y }).collect()
                }
            };
            if pairs.is_empty() {
                return Err(wrong("`y` names no file"));
            }
            let own = file.path.parent().as_ref() == Some(cwd);
            let id = if own { name.to_string() } else { format!("{}:{name}", file.path.relative_to(cwd)) };
            Definition { id, data: PlotData::Columns(pairs), ..of_file(&RepoPath::root(), cwd) }
        }
        y => {
            let path = place(name)?;
            let x = match find("x") {
                Some(Value::Map(_)) => return Err(wrong("where `x` is a map of files, `y` has to be one, too")),
                x => x.map(Value::to_text),
            };
            let y = match y {
                Some(Value::List(columns)) => columns.iter().map(Value::to_text).collect(),
                y => y.map(Value::to_text).into_iter().collect(),
            };
            Definition { data: PlotData::Path { path: path.clone(), x, y }, ..of_file(&path, cwd) }
        }
    };
    style(&mut plot, properties, &folder);
    Ok(plot)
}

/// `{file: column, file: [column, column]}`; `None` for anything else.
fn fields(files: &[(String, Value)], place: &dyn Fn(&str) -> Result<RepoPath>) -> Option<Result<Vec<Field>>> {
    let mut found = Vec::new();
    for (file, columns) in files {
        let path = match place(file) {
            Ok(path) => path,
            Err(error) => return Some(Err(error)),
        };
        let columns = match columns {
            Value::List(columns) => columns.as_slice(),
            one => std::slice::from_ref(one),
        };
        for column in columns {
            if matches!(column, Value::Map(_) | Value::List(_) | Value::Null) {
                return None;
            }
            found.push(Field { file: path.clone(), column: column.to_text() });
        }
    }
    Some(Ok(found))
}

/// One x for all of y, or one for each.
fn pair(ys: Vec<Field>, xs: Vec<Field>) -> Option<Vec<Pair>> {
    match xs.as_slice() {
        [x] => Some(ys.into_iter().map(|y| Pair { y, x: Some(x.clone()) }).collect()),
        _ if xs.len() == ys.len() => Some(ys.into_iter().zip(xs).map(|(y, x)| Pair { y, x: Some(x) }).collect()),
        _ => None,
    }
}

fn property(properties: &[(String, Value)], key: &str) -> Option<String> {
    properties.iter().find(|(k, _)| k == key).map(|(_, v)| v.to_text())
}

/// Everything except the columns; `folder` is that of the pipeline file.
fn style(plot: &mut Definition, properties: &[(String, Value)], folder: &RepoPath) {
    plot.title = property(properties, "title");
    plot.x_label = property(properties, "x_label");
    plot.y_label = property(properties, "y_label");
    plot.header = property(properties, "header").as_deref() != Some("false");
    if let Some(name) = property(properties, "template") {
        plot.draw_with(&name, folder);
    }
}

impl Definition {
    /// A name that is not built in is a template of the project.
    pub fn draw_with(&mut self, name: &str, folder: &RepoPath) {
        let known = Template::named(name);
        self.template = known.unwrap_or_default();
        self.own = known.is_none().then(|| TemplateRef { name: name.to_string(), folder: folder.clone() });
    }
}

#[cfg(test)]
mod tests;
