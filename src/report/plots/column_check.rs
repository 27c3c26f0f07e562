//! Finds columns that a plot names and that the file lacks which a stage just made.
//!
//! Cheap: of CSV and TSV only the first line is read, and large JSON and YAML files are skipped. What cannot be read is
//! not reported here; `plots show` does.

use std::collections::BTreeMap;
use std::io::Read;

use super::define::{Definition, PlotData, define};
use super::table::{Table, is_separated, is_table};
use crate::document;
use crate::error::Error;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::StageId;
use crate::project::{Definitions, Project};

/// A header longer than this is not checked.
const LONGEST_HEADER: u64 = 64 << 10;
/// JSON and YAML files above this size are not parsed.
const LARGEST_NESTED: u64 = 256 << 10;

/// An error for each column that a plot of these stages names and that the file in the workspace lacks.
pub fn missing_columns(definitions: &Definitions, stages: &[StageId], project: &Project) -> Vec<Error> {
    let pipelines = &definitions.pipelines;
    let has_plots = pipelines.files.iter().any(|file| !file.plots.is_empty())
        || stages.iter().any(|id| pipelines.stage(*id).outs.iter().any(|out| out.plot.is_some()));
    if stages.is_empty() || !has_plots {
        return Vec::new();
    }
    let is_made = |file: &RepoPath| {
        std::iter::successors(Some(file.clone()), RepoPath::parent)
            .any(|path| matches!(definitions.graph.owner(&path), Some(Owner::Out(id, _)) if stages.contains(&id)))
    };
    let mut errors = Vec::new();
    let mut heads: BTreeMap<RepoPath, Option<Vec<u8>>> = BTreeMap::new();
    for plot in define(pipelines, &project.cwd).plots {
        for (file, column) in named_columns(&plot) {
            if !is_table(file.as_str()) || !is_made(file) {
                continue;
            }
            let bytes = heads.entry(file.clone()).or_insert_with(|| read_head(file, project));
            let name = file.relative_to(&project.cwd);
            let table = bytes.as_ref().and_then(|bytes| Table::open(&name, bytes, plot.header).ok());
            if let Some(mut error) = table.and_then(|table| table.check_column(column).err()) {
                error.message = format!("plot `{}`: {}", plot.id, error.message);
                errors.push(error);
            }
        }
    }
    errors
}

/// The columns that a definition names, each with its file.
fn named_columns(plot: &Definition) -> Vec<(&RepoPath, &str)> {
    match &plot.data {
        PlotData::Path { path, x, y } => x.iter().chain(y).map(|column| (path, column.as_str())).collect(),
        PlotData::Columns(pairs) => {
            let fields = pairs.iter().flat_map(|pair| pair.x.iter().chain([&pair.y]));
            let mut columns: Vec<_> = fields.map(|field| (&field.file, field.column.as_str())).collect();
            columns.sort();
            columns.dedup();
            columns
        }
    }
}

/// The first line of a CSV or TSV file, or a small file of another format.
fn read_head(file: &RepoPath, project: &Project) -> Option<Vec<u8>> {
    let real = project.bounds().find(&file.on_disk(project.top())).ok()??;
    let is_header = is_separated(file.as_str());
    let most = if is_header { LONGEST_HEADER } else { LARGEST_NESTED };
    let opened = document::open(&real).ok()?;
    let size = opened.metadata().ok()?.len();
    if !is_header && size > most {
        return None;
    }
    let mut bytes = Vec::new();
    opened.take(most).read_to_end(&mut bytes).ok()?;
    if size > most {
        // The last line may be cut.
        let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
        bytes.truncate(end + 1);
    }
    Some(bytes)
}
