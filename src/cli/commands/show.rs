//! What `params show` and `metrics show` have in common.

use serde_json::{Map, Value as Json};

use crate::cli::format::json_value;
use crate::cli::output::{Output, Style};
use crate::error::{Kind, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::{Place, StageId};
use crate::project::{Definitions, Project};
use crate::run::select::{Reach, Scope};
use crate::run::values::{self, Asked, FileValues, Wanted};
use crate::value::Value;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files, stages or groups [default: all]
    targets: Vec<String>,
    /// As JSON
    #[arg(long, conflicts_with = "md")]
    json: bool,
    /// As a Markdown table
    #[arg(long)]
    md: bool,
}

/// The files of some stages; with the flag those at the top of pipeline files, too.
type Files = dyn Fn(&Definitions, &[StageId], bool) -> Asked;

pub fn run(args: &Args, project: &Project, out: &Output, files: &Files, what: &str) -> Result<u8> {
    let definitions = project.definitions_without_graph()?;
    super::tell_broken(&definitions, project, out);
    let all: Vec<StageId> = definitions.pipelines.ids().collect();
    let mut asked = files(&definitions, &all, true);
    if !args.targets.is_empty() {
        asked = narrow(args, project, &definitions, files, &asked, what)?;
    }
    let read = values::read(project, &asked);
    let name = |place: &Place| match place {
        Place::Repo(path) => path.relative_to(&project.cwd),
        other => other.to_string(),
    };
    if args.json {
        let entry = |file: &FileValues| {
            let values = file.values.as_ref().map_or(Json::Null, json_value);
            (name(&file.place), values)
        };
        out.json(&read.iter().map(entry).collect::<Map<_, _>>().into());
    } else {
        let rows: Vec<[String; 3]> = read
            .iter()
            .filter_map(|file| Some((name(&file.place), file.values.as_ref().ok()?)))
            .flat_map(|(name, values)| {
                values::leaves(values).into_iter().map(move |(key, value)| [name.clone(), key, shown(value)])
            })
            .collect();
        print(&rows, args.md, out);
    }
    let mut code = None;
    for error in read.iter().filter_map(|file| file.values.as_ref().err()) {
        let mut error = error.clone();
        if error.kind == Kind::Missing && what == "metrics" {
            error.hints.push("make it: lockstep repro, or bring it back: lockstep checkout".into());
        }
        out.error(&error);
        code = Some(code.unwrap_or(u8::MAX).min(error.kind.exit_code()));
    }
    if read.is_empty() {
        out.say(format!("no {what} here"));
    }
    Ok(code.unwrap_or(0))
}

/// What the targets mean: a file that is asked for anyway, a folder with such files, a stage, or any other file.
fn narrow(
    args: &Args,
    project: &Project,
    definitions: &Definitions,
    files: &Files,
    all: &Asked,
    what: &str,
) -> Result<Asked> {
    let scope = Scope::of(project, definitions);
    let reach = Reach { single: true, ..Reach::default() };
    let mut asked = Asked::new();
    for target in &args.targets {
        let path = project.cwd.join(target);
        let is_meant = |place: &Place| matches!((place, &path), (Place::Repo(p), Some(path)) if p.is_in(path));
        let before = asked.len();
        for (place, wanted) in all.values().filter(|(place, _)| is_meant(place)) {
            values::ask(&mut asked, place, wanted.clone());
        }
        let is_file = |path: &&RepoPath| path.on_disk(project.top()).is_file();
        let is_pipeline = |path: &&RepoPath| definitions.pipelines.files.iter().any(|f| f.path == **path);
        if asked.len() > before {
            continue;
        }
        if let Some(path) = path.as_ref().filter(is_file).filter(|path| !is_pipeline(path)) {
            values::ask(&mut asked, &Place::Repo(path.clone()), Wanted::Whole);
            continue;
        }
        let selected = scope.select(std::slice::from_ref(target), &reach, false).map_err(|mut e| {
            if e.kind == Kind::Missing {
                e.message = format!("`{target}` is neither a file with {what} nor a stage");
            }
            e
        })?;
        for (place, wanted) in files(definitions, &selected.named, false).values() {
            values::ask(&mut asked, place, wanted.clone());
        }
    }
    Ok(asked)
}

/// On one line, and never nothing.
fn shown(value: &Value) -> String {
    match value {
        Value::Str(s) if s.is_empty() || s.chars().any(char::is_control) => format!("{s:?}"),
        Value::Null => "null".into(),
        other => other.to_text(),
    }
}

fn print(rows: &[[String; 3]], md: bool, out: &Output) {
    if rows.is_empty() {
        return;
    }
    let head = ["file", "key", "value"];
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0)
    };
    let (a, b, c) = (width(0), width(1), width(2));
    if md {
        let line = |row: [&str; 3]| {
            let [x, y, z] = row.map(|cell| cell.replace('|', "\\|"));
            out.line(format!("| {x:a$} | {y:b$} | {z:c$} |"));
        };
        line(head);
        out.line(format!("| {} | {} | {} |", "-".repeat(a), "-".repeat(b), "-".repeat(c)));
        rows.iter().for_each(|[x, y, z]| line([x, y, z]));
        return;
    }
    let line = |[x, y, z]: [&str; 3]| format!("{x:a$}  {y:b$}  {z}");
    out.line(out.paint_out(Style::Dim, &line(head)));
    rows.iter().for_each(|[x, y, z]| out.line(line([x, y, z])));
}
