//! `lockstep env`: the environments that stages run in.

mod build;
mod list;
mod rm;

use std::sync::Arc;

use clap::Subcommand;

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::environment::resolve::ResolvedEnvironment;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::problem::did_you_mean;
use crate::pipeline::stage::{EnvironmentSpec, FileId, StageId};
use crate::plan::facts::resolve_environment;
use crate::project::{Definitions, Project};

/// List, make and remove the environments that stages run in
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    List(list::Args),
    Build(build::Args),
    Rm(rm::Args),
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::List(args) => list::run(args, project, out),
        Sub::Build(args) => build::run(args, project, out),
        Sub::Rm(args) => rm::run(args, project, out),
    }
}

/// An environment that a pipeline file declares.
struct DeclaredEnvironment<'d> {
    file: &'d RepoPath,
    spec: &'d EnvironmentSpec,
    /// The stages that name it.
    stages: Vec<StageId>,
    /// Errors: a document is missing or invalid.
    resolved: Result<Arc<ResolvedEnvironment>>,
}

/// All declared environments, in the order of the files.
fn declared<'d>(project: &Project, definitions: &'d Definitions, out: &Output) -> Vec<DeclaredEnvironment<'d>> {
    let progress = Progress::new(out, false);
    let pipelines = &definitions.pipelines;
    let mut found = Vec::new();
    for (f, file) in pipelines.files.iter().enumerate() {
        for (index, spec) in file.environments.iter().enumerate() {
            let is_it = |id: &StageId| {
                let wanted = pipelines.stage(*id).environment.as_ref();
                wanted.is_some_and(|wanted| (wanted.file, wanted.index) == (FileId(f as u32), index as u32))
            };
            let resolved = resolve_environment(project, definitions, spec, &progress).map(Arc::new);
            found.push(DeclaredEnvironment {
                file: &file.path,
                spec,
                stages: pipelines.ids().filter(is_it).collect(),
                resolved,
            });
        }
    }
    progress.finish();
    found
}

/// The error for a name that no pipeline file declares.
fn unknown(name: &str, declared: &[DeclaredEnvironment<'_>]) -> Error {
    let error = Error::missing(format!("no pipeline file declares an environment `{name}`"));
    match did_you_mean(name, declared.iter().map(|one| one.spec.name.as_str())) {
        Some(hint) => error.hint(hint),
        None => error.hint("see which there are: lockstep env list"),
    }
}
