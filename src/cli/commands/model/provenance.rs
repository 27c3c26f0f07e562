use std::path::PathBuf;

use super::context::ModelContext;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::provenance::statement;
use crate::model::registry::signed;
use crate::model::trace::Trace;
use crate::project::{Project, check_target};
use crate::replace::replace_file;

/// Print the provenance of a version, as an in-toto statement
///
/// The statement is in-toto v1 with the predicate of SLSA provenance v1, as JSON: the digest of the file, the inputs with
/// their digests, parameters, commands, and who built it when. Every clone prints the same bytes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model provenance digits@v1.2.0
  lockstep model provenance 'digits#prod' -o digits.intoto.json")]
pub struct Args {
    /// NAME@VERSION, NAME#LABEL, or NAME for the latest
    version: String,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON, which is the default
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let _ = args.json;
    let context = ModelContext::open(project, out)?;
    let asked = context.asked(&args.version)?;
    if project.repo.require_signed {
        let (model, event, _) = context.registry.find(&asked)?;
        signed::require(&project.repo, model, Some(&asked.which), model.index_of(event))?;
    }
    let trace = Trace::load(project, &context.registry, &asked)?;
    let statement = statement(&trace)?;
    match &args.output {
        None => out.values(&statement),
        Some(file) => {
            let text = serde_json::to_string_pretty(&statement).unwrap_or_default() + "\n";
            let file = project.around.cwd.join(file);
            check_target(&file)?;
            replace_file(&file, text.as_bytes())?;
            out.status(format!("wrote {}", file.display()));
        }
    }
    Ok(0)
}
