//! The commands: one folder a group of the help, one file a command.

pub mod compare;
pub mod data;
pub mod deploy;
pub mod model;
pub mod pipeline;
pub mod project;
pub mod serve;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::open;
use crate::error::{Error, Result};
use crate::project::Project;

/// Git-native pipelines for people who build models
#[derive(Parser, Debug)]
#[command(name = "lockstep", version, propagate_version = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

// Visible commands stand in a group of `cli/help.rs`.
#[derive(Subcommand, Debug)]
pub enum Command {
    Init(pipeline::init::Args),
    Status(pipeline::status::Args),
    Repro(pipeline::repro::Args),
    Stage(pipeline::stage::Args),
    Dag(pipeline::dag::Args),
    Logs(pipeline::logs::Args),
    Env(pipeline::env::Args),

    Diff(compare::diff::Args),
    Metrics(compare::metrics::Args),
    Params(compare::params::Args),
    Plots(compare::plots::Args),

    Add(data::add::Args),
    Commit(data::commit::Args),
    Checkout(data::checkout::Args),
    Push(data::push::Args),
    Pull(data::pull::Args),
    Get(data::get::Args),
    Import(data::import::Args),
    Update(data::import::UpdateArgs),
    #[command(alias = "ls")]
    List(data::list::Args),
    Remote(data::remote::Args),

    Model(model::Args),
    Deploy(deploy::Args),
    Serve(serve::Args),

    Ci(project::ci::Args),
    Hooks(project::hooks::Args),
    Merge(project::merge::Args),
    #[command(alias = "cache")]
    Store(project::store::Args),
    Config(project::config::Args),
    Schema(project::schema::Args),
    Completion(project::completion::Args),
    Version(project::version::Args),

    // Commands that few people type.
    #[command(hide = true)]
    Fetch(data::fetch::Args),
    #[command(hide = true)]
    Root(project::root::Args),

    // DVC's spellings of commands that stand under another one here.
    #[command(hide = true)]
    Remove(pipeline::stage::remove::Args),
    #[command(hide = true)]
    Freeze(pipeline::stage::freeze::Args),
    #[command(hide = true)]
    Unfreeze(pipeline::stage::freeze::UnfreezeArgs),
    #[command(hide = true)]
    Check(model::check::Args),
    #[command(hide = true)]
    Gc(project::store::gc::Args),
    #[command(hide = true)]
    Du(project::store::du::Args),
    #[command(hide = true)]
    Verify(project::store::verify::Args),
    #[command(hide = true)]
    Install(project::hooks::InstallArgs),

    // Called by Git, and by lockstep itself.
    #[command(hide = true)]
    Hook(project::run_hook::Args),
    #[command(hide = true)]
    MergeDriver(project::merge_driver::Args),
    #[command(name = crate::run::watchdog::COMMAND, hide = true)]
    Watchdog {
        lock: std::path::PathBuf,
    },
}

/// Runs a command and returns its exit code.
pub fn run(cli: Cli, out: &Output) -> Result<u8> {
    let global = &cli.global;
    let open = || open(global, out);
    match cli.command {
        Command::Init(args) => pipeline::init::run(&args, global, out),
        Command::Status(args) => report_damage(&open()?, out, |project| pipeline::status::run(&args, project, out)),
        Command::Repro(args) => report_damage(&open()?, out, |project| pipeline::repro::run(&args, project, out)),
        Command::Stage(args) => pipeline::stage::run(&args, &open()?, out),
        Command::Dag(args) => pipeline::dag::run(&args, &open()?, out),
        Command::Logs(args) => pipeline::logs::run(&args, &open()?, out),
        Command::Env(args) => pipeline::env::run(&args, &open()?, out),

        Command::Diff(args) => compare::diff::run(&args, &open()?, out),
        Command::Metrics(args) => compare::metrics::run(&args, &open()?, out),
        Command::Params(args) => compare::params::run(&args, &open()?, out),
        Command::Plots(args) => compare::plots::run(&args, &open()?, out),

        Command::Add(args) => data::add::run(&args, &open()?, out),
        Command::Commit(args) => data::commit::run(&args, &open()?, out),
        Command::Checkout(args) => report_damage(&open()?, out, |project| data::checkout::run(&args, project, out)),
        Command::Push(args) => report_damage(&open()?, out, |project| data::push::run(&args, project, out)),
        Command::Fetch(args) => report_damage(&open()?, out, |project| data::fetch::run(&args, project, out)),
        Command::Pull(args) => report_damage(&open()?, out, |project| data::pull::run(&args, project, out)),
        Command::Get(args) => data::get::run(&args, global, out),
        Command::Import(args) => data::import::run(&args, &open()?, out),
        Command::Update(args) => data::import::run_update(&args, &open()?, out),
        Command::List(args) => data::list::run(&args, global, out),
        Command::Remote(args) => data::remote::run(&args, &open()?, out),

        Command::Model(args) => model::run(&args, global, out),
        Command::Deploy(args) => report_damage(&open()?, out, |project| deploy::run(&args, project, out)),
        Command::Serve(args) => serve::run(&args, global, out),
        Command::Check(args) => model::check::run(&args, &open()?, out),

        Command::Ci(args) => project::ci::run(&args, global, out),
        Command::Hooks(args) => project::hooks::run(&args, &open()?, out),
        Command::Merge(args) => project::merge::run(&args, &open()?, out),
        Command::Store(args) => project::store::run(&args, &open()?, out),
        Command::Config(args) => project::config::run(&args, global, out),
        Command::Schema(args) => project::schema::run(&args, out),
        Command::Completion(args) => project::completion::run(&args, &Cli::command(), out),
        Command::Version(args) => project::version::run(&args, out),
        Command::Root(args) => project::root::run(&args, &open()?, out),

        Command::Remove(args) => pipeline::stage::remove::run(&args, &open()?, out),
        Command::Freeze(args) => pipeline::stage::freeze::run(&args, &open()?, out),
        Command::Unfreeze(args) => pipeline::stage::freeze::unfreeze(&args, &open()?, out),
        Command::Gc(args) => project::store::gc::run(&args, &open()?, out),
        Command::Du(args) => project::store::du::run(&args, &open()?, out),
        Command::Verify(args) => project::store::verify::run(&args, &open()?, out),
        Command::Install(args) => project::hooks::install(&args, &open()?, out),

        Command::Hook(args) => project::run_hook::run(&args, &open()?, out),
        Command::MergeDriver(args) => project::merge_driver::run(&args, global, out),
        Command::Watchdog { lock } => {
            crate::run::watchdog::serve(&lock).map(|()| 0).map_err(|e| Error::io("watch with", &lock, e))
        }
    }
}

/// Runs a command, then warns of damaged objects in the store that it came across.
fn report_damage(project: &Project, out: &Output, run: impl FnOnce(&Project) -> Result<u8>) -> Result<u8> {
    let result = run(project);
    let is_reported = |damage: &Error| result.as_ref().is_err_and(|e| e.to_string().contains(&damage.message));
    for damage in project.store().damage().iter().filter(|damage| !is_reported(damage)) {
        out.warn_error("found on the way:", damage);
    }
    result
}
