//! Arguments that several commands share.

use crate::plan::select::SelectionMode;

/// The stages, outputs and data that a command is about.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Targets {
    /// Stages, groups, outputs, data, or PATH/pipeline.yaml[:STAGE]
    #[arg(value_name = "TARGETS")]
    pub names: Vec<String>,
    /// Treat targets as folders: select everything in and below them
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Treat targets as patterns over stage names
    #[arg(long)]
    pub glob: bool,
}

impl Targets {
    /// The targets alone, without what they depend on.
    pub fn reach(&self) -> SelectionMode {
        SelectionMode { single: true, recursive: self.recursive, glob: self.glob, ..SelectionMode::default() }
    }

    /// Is the command about everything?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The form of a comparison or listing; a table for people by default.
#[derive(clap::Args, Debug)]
pub struct Format {
    /// Print JSON, with numbers in full
    #[arg(long, conflicts_with = "md")]
    pub json: bool,
    /// Print a Markdown table
    #[arg(long)]
    pub md: bool,
}
