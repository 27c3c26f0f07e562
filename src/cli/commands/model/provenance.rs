use std::path::PathBuf;

use super::desk::Desk;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::provenance::statement;
use crate::model::registry::signed;
use crate::model::trace::Trace;
use crate::project::{Project, check_target};
use crate::replace::replace_file;

/// Write where a version comes from, as an in-toto statement
///
/// The statement is in-toto's v1 with the predicate of SLSA provenance v1, as JSON: the digest of the file, the inputs
/// with their digests, params, commands, who built it and when. Every clone writes the same bytes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model provenance digits@v1.2.0
  lockstep model provenance 'digits#prod' -o digits.intoto.json")]
pub struct Args {
    /// NAME@VERSION, NAME#LABEL, or NAME for the latest
    version: String,
    /// Into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As JSON, which it is in any case
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let _ = args.json;
    let desk = Desk::open(project, out)?;
    let asked = desk.asked(&args.version)?;
    if project.repo.require_signed {
        let (model, event, _) = desk.registry.find(&asked)?;
        signed::require(&project.repo, model, Some(&asked.which), model.index_of(event))?;
    }
    let trace = Trace::load(project, &desk.registry, &asked)?;
    let statement = statement(&trace)?;
    match &args.output {
        None => out.values(&statement),
        Some(file) => {
            let text = serde_json::to_string_pretty(&statement).unwrap_or_default() + "\n";
            let file = project.around.cwd.join(file);
            check_target(&file)?;
            replace_file(&file, text.as_bytes())?;
            out.say(format!("wrote {}", file.display()));
        }
    }
    Ok(0)
}
