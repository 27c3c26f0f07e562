//! The options that every command has.

use clap::{Args, ValueEnum};

use crate::cli::text;

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
