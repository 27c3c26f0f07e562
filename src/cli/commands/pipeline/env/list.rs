use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{DeclaredEnvironment, declared};
use crate::cli::advice;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::text;
use crate::environment::record::Record;
use crate::environment::{State, check};
use crate::error::Result;
use crate::project::{Definitions, Project};
use crate::run::environments::all;
use crate::store::ObjectId;

/// List environments: those that pipeline files declare, and others that were made
///
/// STATE is built, missing, incomplete, damaged, or error. Nothing is run or made.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep env list
  lockstep env list --json        with whole hashes, and packages of those that are made")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the list.
struct Line {
    name: String,
    kind: String,
    python: Option<String>,
    hash: Option<ObjectId>,
    state: String,
    why: Option<String>,
    record: Option<Record>,
    stages: Vec<String>,
    is_declared: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    advice::warn_broken_pipelines(&definitions, project, out);
    let declared = declared(project, &definitions, out);
    let environments = project.repo.environments_dir();
    let mut lines: Vec<Line> = declared.iter().map(|one| line_of(one, project, &definitions)).collect();
    let known: BTreeSet<ObjectId> = lines.iter().filter_map(|line| line.hash).collect();
    for hash in all(&environments).into_iter().filter(|hash| !known.contains(hash)) {
        let (state, why, record) = state_of(check(&environments, &hash));
        let record = record.or_else(|| Record::load(&environments, &hash));
        lines.push(Line {
            name: record.as_ref().map_or_else(|| "–".into(), |record| record.name.clone()),
            kind: record.as_ref().map_or_else(|| "–".into(), |record| record.kind.clone()),
            python: record.as_ref().and_then(|record| record.python.clone()),
            hash: Some(hash),
            state,
            why,
            record,
            stages: Vec::new(),
            is_declared: false,
        });
    }
    match args.json {
        true => out.json(&json!(lines.iter().map(as_json).collect::<Vec<_>>())),
        false => print(&lines, out),
    }
    let failed = declared.iter().filter_map(|one| one.resolved.as_ref().err()).map(|error| {
        out.error(error);
        error.kind.exit_code()
    });
    Ok(advice::exit_code_of_all(failed.min().unwrap_or(0), &definitions))
}

fn line_of(one: &DeclaredEnvironment<'_>, project: &Project, definitions: &Definitions) -> Line {
    let address = |id: &_| definitions.pipelines.address(*id, &project.cwd);
    let folder = one.file.parent().unwrap_or_default();
    let name = match folder == project.cwd {
        true => one.spec.name.clone(),
        false => format!("{}:{}", one.file.relative_to(&project.cwd), one.spec.name),
    };
    let mut line = Line {
        name,
        kind: one.spec.source.kind().into(),
        python: None,
        hash: None,
        state: "error".into(),
        why: None,
        record: None,
        stages: one.stages.iter().map(address).collect(),
        is_declared: true,
    };
    match &one.resolved {
        Ok(resolved) => {
            let hash = resolved.lock.hash;
            (line.python, line.hash) = (resolved.lock.python.clone(), Some(hash));
            (line.state, line.why, line.record) = state_of(check(&project.repo.environments_dir(), &hash));
        }
        Err(error) => line.why = Some(error.message.clone()),
    }
    line
}

fn state_of(state: State) -> (String, Option<String>, Option<Record>) {
    let word = state.word().to_string();
    match state {
        State::Built(record) => (word, None, Some(*record)),
        State::Damaged(why) => (word, Some(why), None),
        State::Missing | State::Incomplete => (word, None, None),
    }
}

fn print(lines: &[Line], out: &Output) {
    if lines.is_empty() {
        out.status("no pipeline file declares an environment");
        return;
    }
    let dash = || "–".to_string();
    let mut table = Table::new(["NAME", "KIND", "PYTHON", "HASH", "STATE", "SIZE", "STAGES"]);
    for line in lines {
        let state = match &line.why {
            Some(why) if line.state == "damaged" => format!("damaged: {why}"),
            _ => line.state.clone(),
        };
        let stages = match (line.is_declared, line.stages.len()) {
            (false, _) => "not declared".to_string(),
            (true, 0) => dash(),
            (true, n) if n > 3 => format!("{}, {} and {} more", line.stages[0], line.stages[1], n - 2),
            _ => line.stages.join(", "),
        };
        table.row([
            line.name.clone(),
            line.kind.clone(),
            line.python.clone().unwrap_or_else(dash),
            line.hash.map_or_else(dash, |hash| hash.hex()[..12].to_string()),
            state,
            line.record.as_ref().map_or_else(dash, |record| text::bytes(record.bytes)),
            stages,
        ]);
    }
    table.print(false, out);
    let unused = lines.iter().filter(|line| !line.is_declared).count();
    if unused > 0 {
        out.hint(format!(
            "remove {} that no pipeline file names: lockstep env rm --unused",
            text::count(unused, "environment")
        ));
    }
}

fn as_json(line: &Line) -> Json {
    let mut o = json!({
        "name": line.name,
        "kind": line.kind,
        "python": line.python,
        "hash": line.hash.map(|hash| hash.hex()),
        "state": line.state,
        "stages": line.stages,
        "declared": line.is_declared,
    });
    if let Some(why) = &line.why {
        o["why"] = json!(why);
    }
    if let Some(record) = &line.record {
        o["bytes"] = json!(record.bytes);
        o["platform"] = json!(record.platform);
        o["interpreter"] = json!(record.interpreter);
        let packages = record.packages.iter().map(|(name, version)| json!({"name": name, "version": version}));
        o["packages"] = json!(packages.collect::<Vec<_>>());
    }
    o
}
