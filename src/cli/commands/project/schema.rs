use clap::ValueEnum;

use crate::cli::output::Output;
use crate::error::Result;
use crate::{config, pipeline};

/// Print the JSON Schema of pipeline.yaml or lockstep.toml
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Editors complete keys and mark mistakes with it. For those with yaml-language-server, the first
line of a pipeline.yaml names the schema:
  # yaml-language-server: $schema=.pipeline.schema.json

For lockstep.toml and Taplo it is:
  #:schema .config.schema.json

Examples:
  lockstep schema > .pipeline.schema.json
  lockstep schema config > .config.schema.json")]
pub struct Args {
    /// pipeline (pipeline.yaml) or config (lockstep.toml)
    #[arg(value_name = "FORMAT", default_value = "pipeline", hide_possible_values = true)]
    format: FileFormat,
}

/// The file formats that have a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileFormat {
    Pipeline,
    Config,
}

/// Prints the schema, in the same bytes each time.
pub fn run(args: &Args, out: &Output) -> Result<u8> {
    out.json(&match args.format {
        FileFormat::Pipeline => pipeline::schema::schema(),
        FileFormat::Config => config::schema::schema(),
    });
    Ok(0)
}
