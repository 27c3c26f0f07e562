mod add;
pub mod freeze;
pub mod remove;

use clap::Subcommand;

use crate::cli::advice;
use crate::cli::output::Output;
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;
use crate::pipeline::listing::describe;
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::StageId;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::{Definitions, Project, Rev};

/// List, add, remove and freeze stages
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// List stages
    List(List),
    Add(Box<add::Args>),
    Remove(remove::Args),
    Freeze(freeze::Args),
    Unfreeze(freeze::UnfreezeArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep stage list              stages of the current folder's pipeline.yaml
  lockstep stage list --all        of every pipeline of the repository
  lockstep stage list --rev v1.0   of a commit, without checking it out
  lockstep stage list --all --json with all fields resolved, for programs")]
struct List {
    /// Stages, groups, or pipeline files
    targets: Vec<String>,
    /// List the stages of every pipeline of the repository
    #[arg(short, long)]
    all: bool,
    /// List the stages of a revision: a branch, tag, `HEAD~3`, model version
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Print names only
    #[arg(long)]
    name_only: bool,
    /// Print JSON, with all fields resolved
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::List(args) => list(args, project, out),
        Sub::Add(args) => add::run(args, project, out),
        Sub::Remove(args) => remove::run(args, project, out),
        Sub::Freeze(args) => freeze::run(args, project, out),
        Sub::Unfreeze(args) => freeze::unfreeze(args, project, out),
    }
}

fn list(args: &List, project: &Project, out: &Output) -> Result<u8> {
    let snapshot = project.at(&Rev::of(args.rev.as_deref()))?;
    let definitions = &*snapshot.definitions;
    if args.all
        && let Some(error) = merged(definitions)
    {
        return Err(error);
    }
    let ids = ids(args, project, definitions)?;
    if args.json {
        let mut cache = ParamsCache::default();
        let listed = ids
            .iter()
            .map(|id| {
                let params = read_params(snapshot.files(), definitions.pipelines.stage(*id), &mut cache)?;
                Ok(describe(&definitions.pipelines, *id, &project.cwd, &params))
            })
            .collect::<Result<Vec<_>>>()?;
        out.values(&listed);
        return Ok(0);
    }
    let addresses: Vec<String> = ids.iter().map(|id| definitions.pipelines.address(*id, &project.cwd)).collect();
    let width = addresses.iter().map(|a| a.chars().count()).max().unwrap_or(0).min(40);
    for (id, address) in ids.iter().zip(&addresses) {
        let stage = definitions.pipelines.stage(*id);
        if args.name_only {
            out.line(address);
            continue;
        }
        let about = stage.desc.clone().unwrap_or_else(|| {
            let outs: Vec<&str> = stage.outs.iter().map(|o| o.spelled.as_str()).collect();
            if outs.is_empty() { String::new() } else { format!("outputs {}", outs.join(", ")) }
        });
        out.line(format!("{address:width$}  {}", about.lines().next().unwrap_or_default()).trim_end());
    }
    Ok(0)
}

/// The errors of all files in one message.
fn merged(definitions: &Definitions) -> Option<Error> {
    let mut errors = definitions.broken.iter().map(|(_, e)| e);
    let mut all = errors.next()?.clone();
    for error in errors {
        all.lines.push(error.message.clone());
        all.lines.extend(error.lines.iter().cloned());
        all.hints.extend(error.hints.iter().cloned());
    }
    all.kind = Kind::Usage;
    Some(all)
}

fn ids(args: &List, project: &Project, definitions: &Definitions) -> Result<Vec<StageId>> {
    if args.all {
        return Ok(definitions.pipelines.ids().collect());
    }
    if args.targets.is_empty() {
        let here: Option<RepoPath> = project.cwd.join("pipeline.yaml");
        if let Some((_, error)) = definitions.broken.iter().find(|(path, _)| Some(path) == here.as_ref()) {
            return Err(error.clone());
        }
        let file = definitions.pipelines.files.iter().find(|f| Some(&f.path) == here.as_ref());
        return match file {
            Some(file) => Ok(file.stages.clone()),
            None => Err(advice::hint_dvc(
                Error::missing("there is no pipeline.yaml here").hint("see all stages: lockstep stage list --all"),
                definitions,
            )),
        };
    }
    let scope = Scope::of(project, definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    Ok(scope.select(&args.targets, &reach, false)?.named)
}
