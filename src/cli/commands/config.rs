use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::cli::surroundings;
use crate::config::{self, Config, Origin, Setting, Sources};
use crate::error::{Error, Kind, Result};
use crate::project::Project;
use crate::remote::redacted;

/// Read and write settings
#[derive(clap::Args, Debug)]
#[command(after_help = after_help())]
pub struct Args {
    /// The setting
    name: Option<String>,
    /// Its new value
    value: Option<String>,
    /// Take the setting out
    #[arg(long, requires = "name", conflicts_with_all = ["value", "list"])]
    unset: bool,
    /// The settings of this clone
    #[arg(long, group = "level")]
    local: bool,
    /// lockstep.toml; this is where settings are written by default
    #[arg(long, group = "level")]
    project: bool,
    /// Your own settings, for all projects
    #[arg(long, group = "level")]
    user: bool,
    /// List all settings
    #[arg(short, long, conflicts_with = "name")]
    list: bool,
    /// Say where each value comes from
    #[arg(long, conflicts_with = "value")]
    show_origin: bool,
    /// As JSON
    #[arg(long, conflicts_with = "value")]
    json: bool,
}

fn after_help() -> String {
    format!(
        "\
Settings:
{}
A list is written with commas, or as in TOML: 'a,b' or '[\"a\", \"b\"]'.
More of remotes: lockstep remote modify --help

From the weakest to the strongest: --user (~/.config/lockstep/config.toml), --project
(lockstep.toml at the root), --local (this clone), then the variables LOCKSTEP_JOBS,
LOCKSTEP_CACHE_DIR, LOCKSTEP_CACHE and LOCKSTEP_PASS_ENV.

Examples:
  lockstep config                          all settings
  lockstep config --show-origin            and where each comes from
  lockstep config jobs                     one
  lockstep config jobs 4                   set it in lockstep.toml
  lockstep config --local jobs 8           for this clone alone
  lockstep config cache.links copy         a list of one
  lockstep config cache.trust 'ci@*,me@*'  a list
  lockstep config --unset jobs",
        config::help()
    )
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    match (&args.name, &args.value) {
        (Some(name), Some(value)) => {
            let file = file(args, global)?;
            if config::is_secret(name) && !(args.local || args.user) {
                return Err(Error::usage(format!("{name} is a secret and does not belong into lockstep.toml"))
                    .hint(format!("lockstep config --local {name} VALUE")));
            }
            config::set(&file, name, value)?;
            out.say(format!("{name} = {} in {}", shown_value(name, value), file.display()));
        }
        (Some(name), None) if args.unset => {
            let file = file(args, global)?;
            if !config::unset(&file, name)? {
                return Err(Error::missing(format!("{} does not set {name}", file.display()))
                    .hint("see what does: lockstep config --show-origin"));
            }
            out.say(format!("took {name} out of {}", file.display()));
        }
        (Some(name), None) => {
            let config = read(args, global)?;
            let Some((value, origin)) = config.get(name)?.filter(|(_, origin)| shown(args, origin)) else {
                return Err(
                    Error::missing(format!("{name} is not set")).hint(format!("set it: lockstep config {name} VALUE"))
                );
            };
            if args.json {
                out.json(&entry(args, name, value, origin));
            } else {
                out.line(line(args, name, value, origin));
            }
        }
        (None, _) => {
            let config = read(args, global)?;
            let values = config.list().iter().filter(|(_, _, origin)| shown(args, origin));
            if args.json {
                let values = values.map(|(key, value, origin)| (key.clone(), entry(args, key, value, origin)));
                out.json(&values.collect::<Map<_, _>>().into());
            } else {
                values.for_each(|(key, value, origin)| out.line(format!("{key} = {}", line(args, key, value, origin))));
            }
        }
    }
    Ok(0)
}

/// One file alone has no defaults.
fn shown(args: &Args, origin: &Origin) -> bool {
    !(args.local || args.project || args.user) || matches!(origin, Origin::File(_))
}

/// A secret is never shown.
fn shown_value(key: &str, value: &str) -> String {
    match key {
        _ if config::is_secret(key) => "***".to_string(),
        _ if key.starts_with("remote.") && key.ends_with(".url") => redacted(value),
        _ => value.to_string(),
    }
}

fn line(args: &Args, key: &str, value: &Setting, origin: &Origin) -> String {
    let value = shown_value(key, &value.to_string());
    if args.show_origin { format!("{value}  ({origin})") } else { value.to_string() }
}

fn entry(args: &Args, key: &str, value: &Setting, origin: &Origin) -> Json {
    let value = match value {
        _ if config::is_secret(key) => json!("***"),
        Setting::Int(n) => json!(n),
        Setting::Bool(b) => json!(b),
        Setting::Str(s) => json!(shown_value(key, s)),
        Setting::List(items) => json!(items),
    };
    if args.show_origin { json!({"value": value, "origin": origin.to_string()}) } else { value }
}

/// All settings that count here, or those of the one file that is asked for.
fn read(args: &Args, global: &Global) -> Result<Config> {
    if args.local || args.project || args.user {
        return Config::load(&Sources { files: vec![file(args, global)?], given: Vec::new() });
    }
    let around = surroundings(global)?;
    let (files, given) = (around.user_config.iter().cloned().collect(), around.settings.clone());
    match Project::open(around) {
        Ok(project) => Ok(project.config),
        // Outside of any repository the user's own settings are all there is.
        Err(e) if e.kind == Kind::Missing => Config::load(&Sources { files, given }),
        Err(e) => Err(e),
    }
}

/// The file of the level that is asked for.
fn file(args: &Args, global: &Global) -> Result<PathBuf> {
    let around = surroundings(global)?;
    if args.user {
        return around.user_config.ok_or_else(|| {
            Error::missing("there is no place for your own settings").hint("set HOME or XDG_CONFIG_HOME")
        });
    }
    let repo = crate::git::Repo::discover(&around.cwd)?;
    if args.local {
        return Ok(repo.local_config());
    }
    // Its settings stand in its commits.
    if repo.is_bare() {
        return Err(Error::usage("a bare repository has no lockstep.toml that could be changed")
            .hint("for this repository alone: --local")
            .hint("for everybody: in a clone, with a commit"));
    }
    Ok(repo.project_config())
}
