//! The commands: one folder a group of the help, one file a command.

pub mod compare;
pub mod data;
pub mod model;
pub mod pipeline;
pub mod project;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::open;
use crate::error::{Error, Result};
use crate::project::Project;

/// Git-native pipelines for people who build models.
///
/// Stages are declared in pipeline.yaml; `lockstep repro` runs what is stale, restores what was computed before, and
/// pins the exact bytes of every output in pipeline.lock, which you commit.
#[derive(Parser, Debug)]
#[command(name = "lockstep", version, propagate_version = false)]
#[command(after_help = "\
Examples:
  lockstep init --example digits   lay out a small project to play with
  lockstep repro                   run what is stale in the current folder's pipeline
  lockstep status                  what is stale, and why
  lockstep dag                     draw the stages")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Repro(pipeline::repro::Args),
    Status(pipeline::status::Args),
    Stage(pipeline::stage::Args),
    Dag(pipeline::dag::Args),
    Add(data::add::Args),
    Remove(pipeline::stage::remove::Args),
    Commit(data::commit::Args),
    Checkout(data::checkout::Args),
    Push(data::push::Args),
    Fetch(data::fetch::Args),
    Pull(data::pull::Args),
    Remote(data::remote::Args),
    Freeze(pipeline::stage::freeze::Args),
    Unfreeze(pipeline::stage::freeze::UnfreezeArgs),
    Diff(compare::diff::Args),
    List(data::list::Args),
    Get(data::get::Args),
    Import(data::import::Args),
    Update(data::import::UpdateArgs),
    Params(compare::params::Args),
    Metrics(compare::metrics::Args),
    Plots(compare::plots::Args),
    Model(model::Args),
    Check(model::check::Args),
    Logs(pipeline::logs::Args),
    Gc(project::store::gc::Args),
    Verify(project::store::verify::Args),
    Du(project::store::du::Args),
    Cache(project::store::Args),
    Config(project::config::Args),
    Init(pipeline::init::Args),
    Ci(project::ci::Args),
    Install(project::install::Args),
    Merge(project::merge::Args),
    #[command(hide = true)]
    Hook(project::hook::Args),
    #[command(hide = true)]
    MergeDriver(project::merge_driver::Args),
    Root(project::root::Args),
    Completion(project::completion::Args),
    Version(project::version::Args),
    #[command(name = crate::run::watchdog::COMMAND, hide = true)]
    Watchdog {
        lock: std::path::PathBuf,
    },
}

/// Runs a command; its exit code comes back.
pub fn run(cli: Cli, out: &Output) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Repro(args) => {
            report_damage(&open(global, out)?, out, |project| pipeline::repro::run(&args, project, out))
        }
        Command::Status(args) => {
            report_damage(&open(global, out)?, out, |project| pipeline::status::run(&args, project, out))
        }
        Command::Stage(args) => pipeline::stage::run(&args, &open(global, out)?, out),
        Command::Dag(args) => pipeline::dag::run(&args, &open(global, out)?, out),
        Command::Add(args) => data::add::run(&args, &open(global, out)?, out),
        Command::Remove(args) => pipeline::stage::remove::run(&args, &open(global, out)?, out),
        Command::Commit(args) => data::commit::run(&args, &open(global, out)?, out),
        Command::Checkout(args) => {
            report_damage(&open(global, out)?, out, |project| data::checkout::run(&args, project, out))
        }
        Command::Push(args) => report_damage(&open(global, out)?, out, |project| data::push::run(&args, project, out)),
        Command::Fetch(args) => {
            report_damage(&open(global, out)?, out, |project| data::fetch::run(&args, project, out))
        }
        Command::Pull(args) => report_damage(&open(global, out)?, out, |project| data::pull::run(&args, project, out)),
        Command::Remote(args) => data::remote::run(&args, &open(global, out)?, out),
        Command::Freeze(args) => pipeline::stage::freeze::run(&args, &open(global, out)?, out),
        Command::Unfreeze(args) => pipeline::stage::freeze::unfreeze(&args, &open(global, out)?, out),
        Command::Gc(args) => project::store::gc::run(&args, &open(global, out)?, out),
        Command::Verify(args) => project::store::verify::run(&args, &open(global, out)?, out),
        Command::Du(args) => project::store::du::run(&args, &open(global, out)?, out),
        Command::Cache(args) => project::store::run(&args, &open(global, out)?, out),
        Command::Diff(args) => compare::diff::run(&args, &open(global, out)?, out),
        Command::List(args) => data::list::run(&args, global, out),
        Command::Get(args) => data::get::run(&args, global, out),
        Command::Import(args) => data::import::run(&args, &open(global, out)?, out),
        Command::Update(args) => data::import::run_update(&args, &open(global, out)?, out),
        Command::Params(args) => compare::params::run(&args, &open(global, out)?, out),
        Command::Metrics(args) => compare::metrics::run(&args, &open(global, out)?, out),
        Command::Plots(args) => compare::plots::run(&args, &open(global, out)?, out),
        Command::Model(args) => model::run(&args, global, out),
        Command::Check(args) => model::check::run(&args, &open(global, out)?, out),
        Command::Logs(args) => pipeline::logs::run(&args, &open(global, out)?, out),
        Command::Config(args) => project::config::run(&args, global, out),
        Command::Init(args) => pipeline::init::run(&args, global, out),
        Command::Ci(args) => project::ci::run(&args, global, out),
        Command::Hook(args) => project::hook::run(&args, &open(global, out)?, out),
        Command::Install(args) => project::install::run(&args, &open(global, out)?, out),
        Command::Merge(args) => project::merge::run(&args, &open(global, out)?, out),
        Command::MergeDriver(args) => project::merge_driver::run(&args, global, out),
        Command::Root(args) => project::root::run(&args, &open(global, out)?, out),
        Command::Completion(args) => project::completion::run(&args, &Cli::command(), out),
        Command::Version(args) => project::version::run(&args, out),
        Command::Watchdog { lock } => {
            crate::run::watchdog::serve(&lock).map(|()| 0).map_err(|e| Error::io("watch with", &lock, e))
        }
    }
}

/// Runs a command, and reports the damage in the store that its questions met.
fn report_damage(project: &Project, out: &Output, run: impl FnOnce(&Project) -> Result<u8>) -> Result<u8> {
    let result = run(project);
    let is_told = |damage: &Error| result.as_ref().is_err_and(|e| e.to_string().contains(&damage.message));
    for damage in project.store().damage().iter().filter(|damage| !is_told(damage)) {
        out.warn_error("found on the way:", damage);
    }
    result
}
