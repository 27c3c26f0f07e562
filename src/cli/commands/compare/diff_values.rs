//! `params diff` and `metrics diff`.

use std::collections::BTreeSet;

use super::show_values::{ValueFiles, asked};
use crate::cli::advice;
use crate::cli::args::Format;
use crate::cli::output::{Output, Style};
use crate::cli::table::{Cell, Table, rounded};
use crate::compare::values::{ValueRow, ValuesByFile, compare, directions};
use crate::error::{Kind, Result};
use crate::path::RepoPath;
use crate::project::values::{self, ParsedFiles};
use crate::project::{Project, Rev, Snapshot};
use crate::value::{Number, Value};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The old revision
    #[arg(value_name = "A", default_value = "HEAD")]
    old: String,
    /// The new revision [default: the workspace]
    #[arg(value_name = "B")]
    new: Option<String>,
    /// Compare only these files, stages or groups
    #[arg(long, value_name = "TARGET", num_args = 1..)]
    targets: Vec<String>,
    /// Show equal values, too
    #[arg(long)]
    all: bool,
    /// Round to N decimal places
    #[arg(long, value_name = "N", default_value_t = 5)]
    precision: usize,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, project: &Project, out: &Output, files: &ValueFiles, what: &str) -> Result<u8> {
    let snapshots = project.snapshots();
    let old = snapshots.at(&Rev::Named(args.old.clone()))?;
    let new = snapshots.at(&Rev::of(args.new.as_deref()))?;
    if args.targets.is_empty() {
        advice::refuse_dvc_on_both_sides(&old.definitions, &new.definitions)?;
    }
    advice::warn_broken_pipelines_of(&old, out);
    advice::warn_broken_pipelines_of(&new, out);
    let mut parsed = ParsedFiles::default();
    let mut code = None;
    let mut failed = None;
    let mut known = 0;
    let mut unread = BTreeSet::new();
    let mut side = |snapshot: &Snapshot<'_>, other: &Snapshot<'_>| -> Result<ValuesByFile> {
        // If one side's pipeline file cannot be read, its values are unknown, so none is shown as added or removed.
        let without: Vec<RepoPath> = other.definitions.broken.iter().map(|(path, _)| path.clone()).collect();
        let asked = match asked(&args.targets, snapshot, files, what, &without) {
            // The target may exist in one revision only.
            Err(e) if e.kind == Kind::Missing => {
                failed = Some(e);
                return Ok(ValuesByFile::new());
            }
            asked => asked?,
        };
        known += 1;
        let mut side = ValuesByFile::new();
        for file in values::read(snapshot, &asked, &mut parsed) {
            // A file that does not exist on one side is a difference.
            if file.is_absent(snapshot) {
                continue;
            }
            match file.values {
                Ok(values) => drop(side.insert(file.place.to_string(), values)),
                Err(e) => {
                    unread.insert(file.place.to_string());
                    if snapshot.commit.is_some() && e.kind == Kind::Usage {
                        // A commit cannot be fixed, so this is a warning.
                        out.warn_error(format!("left out, of {}:", snapshot.name), &e);
                        continue;
                    }
                    code = Some(code.unwrap_or(u8::MAX).min(e.kind.exit_code()));
                    out.error(&e);
                }
            }
        }
        Ok(side)
    };
    let (mut before, mut after) = (side(&old, &new)?, side(&new, &old)?);
    // The values of a file that cannot be read are unknown, so none is shown as added or removed.
    before.retain(|file, _| !unread.contains(file));
    after.retain(|file, _| !unread.contains(file));
    if let Some(error) = failed.filter(|_| known == 0) {
        return Err(error);
    }
    let (directions, odd) = directions(&new.definitions.pipelines);
    if what == "metrics" {
        odd.iter().for_each(|text| out.warn(text));
    }
    let mut rows = compare(&before, &after, &directions);
    if !args.all {
        rows.retain(|row| !row.is_same());
    }
    rows.iter_mut().for_each(|row| row.file = name(project, &row.file));
    let is_partial = [&old, &new].iter().any(|snapshot| !snapshot.definitions.broken.is_empty());
    if args.format.json {
        out.values(&to_json(&rows, what == "metrics"));
    } else {
        table(&rows, args, &old.name, &new.name, what == "metrics").print(args.format.md, out);
        if rows.is_empty() && code.is_none() && unread.is_empty() && !is_partial {
            out.status(format!("no {what} differ between {} and {}", old.name, new.name));
        }
    }
    let code = code.unwrap_or(0);
    // A commit cannot be fixed, so its broken files are no failure.
    let mendable = new.commit.is_none() && args.targets.is_empty();
    Ok(if mendable { advice::exit_code_of_all(code, &new.definitions) } else { code })
}

fn name(project: &Project, file: &str) -> String {
    RepoPath::root().join(file).map_or(file.to_string(), |path| path.relative_to(&project.cwd))
}

fn to_json(rows: &[ValueRow], metrics: bool) -> Value {
    let mut files: Vec<(String, Vec<(String, Value)>)> = Vec::new();
    for row in rows {
        let value = |v: &Option<Value>| v.clone().unwrap_or(Value::Null);
        let mut entry = vec![("old".to_string(), value(&row.old)), ("new".to_string(), value(&row.new))];
        if let Some(change) = row.change.filter(|_| metrics) {
            entry.push(("diff".into(), change.into()));
        }
        if let Some(better) = row.better.filter(|_| metrics) {
            entry.push(("better".into(), Value::Bool(better)));
        }
        // Rows of a file stay together.
        if files.last().is_none_or(|(file, _)| *file != row.file) {
            files.push((row.file.clone(), Vec::new()));
        }
        files
            .iter_mut()
            .last()
            .into_iter()
            .for_each(|(_, keys)| keys.push((row.key.clone(), Value::Map(entry.clone()))));
    }
    Value::Map(files.into_iter().map(|(file, keys)| (file, Value::Map(keys))).collect())
}

fn table(rows: &[ValueRow], args: &Args, old: &str, new: &str, metrics: bool) -> Table {
    let head = ["file", if metrics { "metric" } else { "param" }, old, new];
    let mut table = Table::new(head.into_iter().chain(metrics.then_some("change")));
    // Params are inputs, so they are not rounded.
    let digits = metrics.then_some(args.precision);
    for row in rows {
        let values = |digits: Option<usize>| {
            [&row.old, &row.new].map(|v| v.as_ref().map_or("-".to_string(), |v| rounded(v, digits)))
        };
        let [mut old, mut new] = values(digits);
        // Two different values never round to the same text.
        if old == new && !row.is_same() {
            [old, new] = values(None);
        }
        let cells = [row.file.clone(), row.key.clone(), old, new];
        let change = metrics.then(|| {
            let style = row.better.map(|better| if better { Style::Green } else { Style::Red });
            Cell::painted(change(row, args.precision), style)
        });
        table.row(cells.into_iter().map(Cell::from).chain(change));
    }
    table
}

fn change(row: &ValueRow, precision: usize) -> String {
    let Some(change) = row.change else {
        return match (&row.old, &row.new) {
            (None, _) => "new".into(),
            (_, None) => "gone".into(),
            _ => "-".into(),
        };
    };
    let number = rounded(&change.into(), Some(precision));
    let sign = if change > Number::Int(0) { "+" } else { "" };
    let word = row.better.map_or("", |better| if better { " better" } else { " worse" });
    format!("{sign}{number}{word}")
}
