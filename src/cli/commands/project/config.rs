use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use crate::cli::ask;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::surroundings;
use crate::config::{self, Config, Grade, Origin, Setting, Sources};
use crate::error::{Error, Kind, Result};
use crate::project::Project;
use crate::remote::settings::setup;
use crate::url::{Url, redact_text};

/// Read and write settings
#[derive(clap::Args, Debug)]
#[command(after_help = after_help())]
pub struct Args {
    /// The setting
    name: Option<String>,
    /// The new value
    value: Option<String>,
    /// Read the new value, a secret, from standard input
    #[arg(long, requires = "name", conflicts_with_all = ["value", "list", "unset"])]
    stdin: bool,
    /// Remove the setting
    #[arg(long, requires = "name", conflicts_with_all = ["value", "list"])]
    unset: bool,
    /// Use the settings of this clone
    #[arg(long, group = "level")]
    local: bool,
    /// Use lockstep.toml, which is the default for writing
    #[arg(long, group = "level")]
    project: bool,
    /// Use your own settings, for all projects
    #[arg(long, group = "level")]
    user: bool,
    /// List all settings
    #[arg(short, long, conflicts_with = "name")]
    list: bool,
    /// Show where each value comes from
    #[arg(long, conflicts_with = "value")]
    show_origin: bool,
    /// Print JSON
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
LOCKSTEP_CACHE_DIR, LOCKSTEP_CACHE, LOCKSTEP_CACHE_SIGN and LOCKSTEP_PASS_ENV. lockstep.toml
comes with the repository: it can narrow cache.mode, cache.sign, cache.trust and
cache.verify_keys and not widen them, cannot set cache.dir outside of the repository, and no
shell but sh or bash.

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
            if config::is_secret(name) {
                set_secret(args, global, name, Some(value), file.clone(), out)?;
            } else {
                let written = if is_url(name) { url(args, global, value)? } else { value.clone() };
                if !(args.local || args.user) {
                    refuse_committed_password(name, value)?;
                    refuse_committed_folder(name, value)?;
                }
                config::set(&file, name, &written)?;
                out.status(format!("{name} = {} in {}", shown_value(name, &written), file.display()));
                return Ok(0);
            }
            out.status(format!("{name} = {} in {}", shown_value(name, value), file.display()));
        }
        (Some(name), None) if args.stdin => {
            let file = file(args, global)?;
            set_secret(args, global, name, None, file.clone(), out)?;
            out.status(format!("{name} = *** in {}", file.display()));
        }
        (Some(name), None) if args.unset => {
            let file = file(args, global)?;
            if !config::unset(&file, name)? {
                return Err(Error::missing(format!("{} does not set {name}", file.display()))
                    .hint("see what does: lockstep config --show-origin"));
            }
            out.status(format!("removed {name} from {}", file.display()));
        }
        (Some(name), None) => {
            let config = read(args, global)?;
            let Some((value, origin)) = config.get(name)?.filter(|(_, origin)| shown(args, origin)) else {
                return Err(not_set(args, global, name)?);
            };
            if args.json {
                out.json(&entry(args, name, value, origin));
            } else {
                out.line(line(args, name, value, origin));
                print_notes(args, &config, name, out);
            }
        }
        (None, _) => {
            let config = read(args, global)?;
            let values = config.list().iter().filter(|(_, _, origin)| shown(args, origin));
            if args.json {
                let values = values.map(|(key, value, origin)| (key.clone(), entry(args, key, value, origin)));
                out.json(&values.collect::<Map<_, _>>().into());
            } else {
                for (key, value, origin) in values {
                    out.line(format!("{key} = {}", line(args, key, value, origin)));
                    print_notes(args, &config, key, out);
                }
                // These are not set; the notes say what is ignored.
                for key in config.noted().filter(|key| config.get(key).is_ok_and(|found| found.is_none())) {
                    out.line(format!("{key} is not set"));
                    print_notes(args, &config, key, out);
                }
            }
        }
    }
    Ok(0)
}

fn is_url(name: &str) -> bool {
    name.starts_with("remote.") && name.ends_with(".url")
}

/// The URL of a remote as `remote add` reads it. The settings of the user belong to no project, so a relative folder
/// stays as it is.
fn url(args: &Args, global: &Global, value: &str) -> Result<String> {
    if args.user {
        return setup::written_url(None, value);
    }
    match Project::open(surroundings(global)?) {
        Ok(project) => setup::written_url(Some(&project), value),
        // This command may be what repairs settings that cannot be read.
        Err(_) => setup::written_url(None, value),
    }
}

/// Writes a secret of a remote, bound to the remote's host if that is known here.
fn set_secret(
    args: &Args,
    global: &Global,
    name: &str,
    value: Option<&str>,
    file: PathBuf,
    out: &Output,
) -> Result<()> {
    let remote = name.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.'));
    let Some((remote, option)) = remote.filter(|_| config::is_secret(name)) else {
        return Err(Error::usage(format!("`{name}` is not a secret: pass its value as an argument"))
            .hint(format!("lockstep config {name} VALUE")));
    };
    let command = format!("lockstep remote modify --local {remote} {option}");
    if !(args.local || args.user) {
        return Err(Error::usage(format!("{name} is a secret and does not belong in lockstep.toml")).hint(command));
    }
    let value = ask::secret_argument(value, args.stdin, option, &command, out)?;
    match Project::open(surroundings(global)?) {
        Ok(project) => setup::set_secret(&project, remote, option, &value, file),
        Err(e) if e.kind == Kind::Missing => config::set(&file, name, &value),
        Err(e) => Err(e),
    }
}

/// The error for a setting without a value, at the level that the user named.
fn not_set(args: &Args, global: &Global, name: &str) -> Result<Error> {
    let level = match (args.local, args.project, args.user) {
        (true, ..) => "--local ",
        (_, true, _) => "--project ",
        (.., true) => "--user ",
        _ => "",
    };
    let message = match level {
        "" => format!("{name} is not set"),
        _ => format!("{} does not set {name}", file(args, global)?.display()),
    };
    let secret =
        name.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')).filter(|_| config::is_secret(name));
    let hint = match secret {
        Some((remote, option)) => format!("set it: lockstep remote modify --local {remote} {option}"),
        None => format!("set it: lockstep config {level}{name} VALUE"),
    };
    Ok(Error::missing(message).hint(hint))
}

/// Refuses a URL with a password, token or signature, since `lockstep.toml` is committed.
fn refuse_committed_password(name: &str, value: &str) -> Result<()> {
    if !name.starts_with("remote.") || !Url::from(value).has_secret() {
        return Ok(());
    }
    Err(Error::usage(format!("{name} would hold a secret, and lockstep.toml is committed"))
        .hint(format!("for this clone alone: lockstep config --local {name} URL")))
}

/// Refuses the folder of a deployment target in `lockstep.toml`, where it would not count.
fn refuse_committed_folder(name: &str, value: &str) -> Result<()> {
    if !config::is_deploy_folder(name) {
        return Ok(());
    }
    Err(Error::usage(format!("{name} does not count in lockstep.toml: each user says where a clone deploys to"))
        .hint(format!("for this clone: lockstep config --local {name} {}", crate::shell::word(value))))
}

/// Is a value shown? With a level, only those of its file, which has no defaults.
fn shown(args: &Args, origin: &Origin) -> bool {
    !(args.local || args.project || args.user) || matches!(origin, Origin::File(_))
}

/// A value for display, never a secret.
fn shown_value(key: &str, value: &str) -> String {
    match key {
        _ if !config::is_shown(key) => "***".to_string(),
        _ if is_url(key) => Url::from(value).to_string(),
        _ => redact_text(value),
    }
}

fn line(args: &Args, key: &str, value: &Setting, origin: &Origin) -> String {
    let value = shown_value(key, &value.to_string());
    if args.show_origin { format!("{value}  ({origin})") } else { value.to_string() }
}

/// Prints values of lockstep.toml that are ignored or narrowed.
fn print_notes(args: &Args, config: &Config, key: &str, out: &Output) {
    for note in config.notes(key).iter().filter(|_| args.show_origin) {
        let ignored = if note.ignored { "ignored, " } else { "" };
        out.line(format!(
            "    {ignored}{}: {}  ({})",
            note.reason,
            shown_value(key, &note.value.to_string()),
            note.origin
        ));
    }
}

fn entry(args: &Args, key: &str, value: &Setting, origin: &Origin) -> Json {
    let value = match value {
        _ if !config::is_shown(key) => json!("***"),
        Setting::Int(n) => json!(n),
        Setting::Bool(b) => json!(b),
        Setting::Str(s) => json!(shown_value(key, s)),
        Setting::List(items) => items.iter().map(|item| redact_text(item)).collect(),
    };
    if args.show_origin { json!({"value": value, "origin": origin.to_string()}) } else { value }
}

/// All settings in effect here, or those of one file with a level.
fn read(args: &Args, global: &Global) -> Result<Config> {
    if args.local || args.project || args.user {
        return Config::load(&Sources::file(file(args, global)?));
    }
    let around = surroundings(global)?;
    let files = around.user_config.iter().map(|file| (file.clone(), Grade::User)).collect();
    let sources = Sources { files, given: around.settings.clone(), checkout: None };
    match Project::open(around) {
        Ok(project) => Ok(project.config),
        // Outside of a repository, only the user's own settings are in effect.
        Err(e) if e.kind == Kind::Missing => Config::load(&sources),
        Err(e) => Err(e),
    }
}

/// The file of the level.
fn file(args: &Args, global: &Global) -> Result<PathBuf> {
    let around = surroundings(global)?;
    if args.user {
        return around.user_config.ok_or_else(|| {
            Error::missing("there is no folder for your own settings").hint("set HOME or XDG_CONFIG_HOME")
        });
    }
    let repo = crate::git::Repo::find_current(&around.cwd, &around.git)?;
    if args.local {
        return Ok(repo.local_config());
    }
    // A bare repository has lockstep.toml only in commits: there is no file to change.
    if repo.is_bare() {
        return Err(Error::usage("a bare repository has no lockstep.toml to change")
            .hint("for this repository alone: --local")
            .hint("for all clones: in a clone, with a commit"));
    }
    Ok(repo.project_config())
}
