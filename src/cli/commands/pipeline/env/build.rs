use std::fs;
use std::sync::Arc;

use serde_json::json;

use super::{declared, unknown};
use crate::cli::advice;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::signals;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::run::environment::{Environment, mask};
use crate::run::environments::{BuildSurroundings, EnvironmentMaker};
use crate::run::local::CommandLog;
use crate::run::watchdog::Watchdog;
use crate::secret::is_withheld;

/// Make environments before a stage needs them
///
/// Without names, all that pipeline files declare. One that is made is left as it is.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep env build              all that are declared
  lockstep env build py           one of them
  lockstep env build py --force   make it again")]
pub struct Args {
    /// Names of environments [default: all]
    names: Vec<String>,
    /// Make environments that are made, too
    #[arg(short, long)]
    force: bool,
    /// Do not let uv and pip use the network
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    advice::warn_broken_pipelines(&definitions, project, out);
    let mut wanted = declared(project, &definitions, out);
    if let Some(name) = args.names.iter().find(|name| !wanted.iter().any(|one| one.spec.name == **name)) {
        return Err(unknown(name, &wanted));
    }
    wanted.retain(|one| args.names.is_empty() || args.names.contains(&one.spec.name));
    signals::watch();
    let variables = &project.around.env;
    let state = project.state_dir();
    fs::create_dir_all(&state).map_err(|e| Error::io("create", &state, e))?;
    let withheld = variables.keys().filter(|name| is_withheld(name));
    let watchdog = Watchdog::start(&project.around.program, &state.join("watchdog-env"), withheld)?;
    let progress = Progress::new(out, true);
    let maker = EnvironmentMaker {
        project,
        definitions: &definitions,
        sink: &progress,
        watchdog: Some(Arc::new(watchdog)),
        signal: &signals::SIGNAL,
        alone: true,
        offline: args.offline,
    };
    let environments = project.repo.environments_dir();
    fs::create_dir_all(&environments).map_err(|e| Error::io("create", &environments, e))?;
    let environment = Environment::without_stage(variables).without(project.repo.foreign_variables());
    let mask = mask(variables, &[]);
    let (mut made, mut failed) = (Vec::new(), None);
    for one in &wanted {
        let result = one.resolved.clone().and_then(|resolved| {
            let path = environments.join(format!("{}.log", resolved.lock.hash.hex()));
            let log = CommandLog::open(path)?;
            let (address, withheld) = (one.spec.name.as_str(), environment.withheld.as_slice());
            let surroundings = BuildSurroundings { address, withheld, mask: &mask, log: &log };
            let is_new = maker.make(&resolved, &surroundings, args.force)?;
            Ok((resolved.lock.hash, is_new))
        });
        match result {
            Ok((hash, is_new)) => made.push(json!({"name": one.spec.name, "hash": hash.hex(), "made": is_new})),
            Err(error) => {
                progress.finish();
                out.error(&error);
                failed = failed.or(Some(error.kind.exit_code()));
            }
        }
    }
    progress.finish();
    if args.json {
        out.json(&json!(made));
    } else {
        let new = made.iter().filter(|one| one["made"] == true).count();
        out.status(format!("{new} made, {} up to date", made.len() - new));
    }
    Ok(failed.unwrap_or(0))
}
