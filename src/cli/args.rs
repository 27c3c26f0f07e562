//! The command line as a whole: global options, and the list of commands.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::{commands, text};

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

#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// Run as if started in DIR
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<std::path::PathBuf>,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    pub color: Color,
    /// Show no progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// How long to wait for another lockstep that holds a lock [default: for ever]
    #[arg(long, value_name = "SECS", num_args = 0..=1, value_parser = text::wait, global = true)]
    pub wait: Option<Option<std::time::Duration>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Repro(commands::repro::Args),
    Status(commands::status::Args),
    Stage(commands::stage::Args),
    Dag(commands::dag::Args),
    Add(commands::add::Args),
    Remove(commands::remove::Args),
    Commit(commands::commit::Args),
    Checkout(commands::checkout::Args),
    Push(commands::push::Args),
    Fetch(commands::fetch::Args),
    Pull(commands::pull::Args),
    Remote(commands::remote::Args),
    Freeze(commands::freeze::Args),
    Unfreeze(commands::freeze::UnfreezeArgs),
    Diff(commands::diff::Args),
    List(commands::list::Args),
    Get(commands::get::Args),
    Import(commands::import::Args),
    Update(commands::import::UpdateArgs),
    Params(commands::params::Args),
    Metrics(commands::metrics::Args),
    Plots(commands::plots::Args),
    Model(commands::model::Args),
    Check(commands::check::Args),
    Logs(commands::logs::Args),
    Gc(commands::gc::Args),
    Verify(commands::verify::Args),
    Du(commands::du::Args),
    Cache(commands::cache::Args),
    Config(commands::config::Args),
    Init(commands::init::Args),
    Ci(commands::ci::Args),
    Install(commands::install::Args),
    Merge(commands::merge::Args),
    #[command(hide = true)]
    Hook(commands::hook::Args),
    #[command(hide = true)]
    MergeDriver(commands::merge_driver::Args),
    Root(commands::root::Args),
    Completion(commands::completion::Args),
    Version(commands::version::Args),
    #[command(name = crate::run::watchdog::COMMAND, hide = true)]
    Watchdog {
        lock: std::path::PathBuf,
    },
}
