//! Selects the plots of a command, and applies the overrides of the command line. Pure.

use std::collections::BTreeSet;

use super::define::{Definition, Field, Pair, PlotData, of_file};
use crate::error::{Error, Result};
use crate::path::RepoPath;

/// Overrides of the command line, for each plot that is shown.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The column of the x values.
    pub x: Option<String>,
    /// The columns of the y values; empty to leave them as defined.
    pub y: Vec<String>,
    /// The title of the x axis.
    pub x_label: Option<String>,
    /// The title of the y axis.
    pub y_label: Option<String>,
    /// The title of the plot.
    pub title: Option<String>,
    /// A template by its name, and the folder that its path is relative to.
    pub template: Option<(String, RepoPath)>,
    /// The first line of a CSV or TSV file is a row, not the names of the columns.
    pub no_header: bool,
}

impl Overrides {
    /// Applies the overrides to a plot.
    pub fn apply(&self, plot: &mut Definition) {
        match &mut plot.data {
            PlotData::Path { x, y, .. } => {
                if let Some(column) = &self.x {
                    *x = Some(column.clone());
                }
                if !self.y.is_empty() {
                    y.clone_from(&self.y);
                }
            }
            PlotData::Columns(pairs) => {
                if !self.y.is_empty() {
                    // of each file once, with the x that its first column has
                    let mut seen = BTreeSet::new();
                    pairs.retain(|pair| seen.insert(pair.y.file.clone()));
                    let of_file = |pair: &Pair| {
                        let field = |column: &String| Field { file: pair.y.file.clone(), column: column.clone() };
                        self.y.iter().map(|y| Pair { y: field(y), x: pair.x.clone() }).collect::<Vec<_>>()
                    };
                    *pairs = pairs.iter().flat_map(of_file).collect();
                }
                if let Some(column) = &self.x {
                    for pair in pairs {
                        pair.x = Some(Field { file: pair.y.file.clone(), column: column.clone() });
                    }
                }
            }
        }
        let or = |new: &Option<String>, old: &mut Option<String>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        or(&self.title, &mut plot.title);
        or(&self.x_label, &mut plot.x_label);
        or(&self.y_label, &mut plot.y_label);
        if let Some((name, folder)) = &self.template {
            plot.draw_with(name, folder);
        }
        plot.header &= !self.no_header;
    }
}

impl Definition {
    /// Every file or folder that it reads.
    pub fn paths(&self) -> Vec<&RepoPath> {
        match &self.data {
            PlotData::Path { path, .. } => vec![path],
            PlotData::Columns(pairs) => pairs.iter().flat_map(|p| p.x.iter().chain([&p.y])).map(|f| &f.file).collect(),
        }
    }

    /// Returns true if a word of the command line, with the path `path`, selects it.
    fn is_selected(&self, word: &str, path: Option<&RepoPath>) -> bool {
        let is_inside = |path: &RepoPath| match &self.data {
            PlotData::Path { path: own, .. } => own.is_in(path),
            PlotData::Columns(_) => false,
        };
        self.id == word || self.stages.iter().any(|stage| stage == word) || path.is_some_and(is_inside)
    }
}

/// The definitions that `targets` name: plots, stages, folders of plots, or any file for which `exists` returns true.
pub fn select(
    all: &[Definition],
    targets: &[String],
    cwd: &RepoPath,
    exists: &dyn Fn(&RepoPath) -> bool,
) -> Result<Vec<Definition>> {
    let mut chosen: Vec<Definition> = Vec::new();
    for target in targets {
        let path = cwd.join(target);
        let meant: Vec<&Definition> = all.iter().filter(|plot| plot.is_selected(target, path.as_ref())).collect();
        if !meant.is_empty() {
            let new: Vec<Definition> = meant.into_iter().filter(|plot| !chosen.contains(plot)).cloned().collect();
            chosen.extend(new);
            continue;
        }
        match path.filter(|path| exists(path)) {
            Some(path) => chosen.push(of_file(&path, cwd)),
            None => return Err(unknown(all, target)),
        }
    }
    Ok(chosen)
}

fn unknown(all: &[Definition], target: &str) -> Error {
    let error = Error::missing(format!("`{target}` is neither a plot nor a file with data or a picture"));
    let names = all.iter().flat_map(|plot| plot.stages.iter().chain([&plot.id]));
    let near = names
        .map(|name| (strsim::jaro_winkler(target, name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => error.hint(format!("did you mean `{name}`?")),
        None => error.hint("see all plots: lockstep plots show --text"),
    }
}

/// Merges the lists of several revisions. The last one with a plot defines its style.
pub fn merge(lists: Vec<Vec<Definition>>) -> Vec<Definition> {
    let mut merged: Vec<Definition> = Vec::new();
    for list in lists.into_iter().rev() {
        // One revision may have several plots of one file.
        let known: BTreeSet<String> = merged.iter().map(|plot| plot.id.clone()).collect();
        merged.extend(list.into_iter().filter(|plot| !known.contains(&plot.id)));
    }
    merged
}
