//! The counter: the only room that prints, and that asks for the environment, the clock and the current folder.
//!
//! Each command is one file in `commands/`: its arguments, whose doc comments are the help text, and a `run` that calls
//! one function of the rooms below and prints the value that comes back.

pub mod args;
mod ask;
pub mod commands;
pub mod environment;
pub mod example;
pub mod format;
pub mod output;
pub mod progress;
pub mod signals;
pub mod table;
pub mod text;
mod trust;
mod user;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;

use crate::cli::args::{Cli, Global};
use crate::cli::output::Output;
use crate::config::{Config, GivenSetting};
use crate::error::{Error, Result};
use crate::escape;
use crate::file_lock;
use crate::project::{Project, Surroundings};
use crate::shell::word;

/// Parses the command line, runs the command, and turns what came of it into an exit code.
pub fn main() -> ExitCode {
    if commands::version::is_asked(std::env::args_os()) {
        let _ = writeln!(std::io::stdout(), "{}", commands::version::text());
        return ExitCode::SUCCESS;
    }
    environment::keep_secrets();
    std::panic::set_hook(Box::new(output::tell_panic));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return print_usage(e),
    };
    raise_open_files();
    if let Some(wait) = cli.global.wait.flatten() {
        file_lock::set_limit(wait);
    }
    let out = Output::new(&cli.global);
    let global = cli.global.clone();
    match run(cli, &global, &out) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            out.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Runs the command, and again after each remote that the user trusts when asked: a remote is opened before anything is
/// done with it.
fn run(cli: Cli, global: &Global, out: &Output) -> Result<u8> {
    let mut result = commands::run(cli, out);
    let mut asked = std::collections::BTreeSet::new();
    while let Err(Error { untrusted: Some(name), .. }) = &result {
        if !asked.insert(name.to_string()) || !trust::ask(&Project::open(surroundings(global)?)?, name, out) {
            break;
        }
        match Cli::try_parse() {
            Ok(cli) => result = commands::run(cli, out),
            Err(_) => break,
        }
    }
    result
}

/// Prints clap's help, or its error. An error quotes arguments, so clap parses them a second time, escaped.
fn print_usage(e: clap::Error) -> ExitCode {
    let code = ExitCode::from(if e.use_stderr() { 2 } else { 0 });
    let escaped = std::env::args_os().map(|arg| escape::line(&arg.to_string_lossy(), true));
    match Cli::try_parse_from(escaped) {
        Err(e) => drop(e.print()),
        // This error quotes nothing.
        Ok(_) if e.kind() == clap::error::ErrorKind::InvalidUtf8 => drop(e.print()),
        // The mistake was a character that is escaped now.
        Ok(_) => output::tell_usage(&e.render().to_string()),
    }
    code
}

/// Storing and fetching keep hundreds of files open at once; some systems allow 256 unless they are asked.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(8192);
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// The repository of the folder where the command was typed, or of `-C`.
pub fn open(global: &Global, out: &Output) -> Result<Project> {
    let project = Project::open(surroundings(global)?)?;
    commands::tell_ignored(&project, &["cache.dir"], out);
    warn_of_exposed(&project.config, out);
    Ok(project)
}

/// Secrets that others on this machine can read are known to them by now.
pub fn warn_of_exposed(config: &Config, out: &Output) {
    for file in config.exposed() {
        let name = file.display().to_string();
        out.warn(format!("{name} holds a secret and others than its owner may read it"));
        out.hint(format!("chmod 600 {}", word(&name)));
    }
}

pub fn surroundings(global: &Global) -> Result<Surroundings> {
    let here =
        std::env::current_dir().map_err(|e| Error::missing("the current folder does not exist any more").because(e))?;
    let cwd = match &global.directory {
        Some(dir) => here.join(dir),
        None => here.clone(),
    };
    let env = environment::variables();
    let git = crate::git::Variables::read(&env, &here, global.directory.is_some());
    let home = env.get("HOME").filter(|h| !h.is_empty()).map(std::path::PathBuf::from);
    let config_home = env.get("XDG_CONFIG_HOME").filter(|h| !h.is_empty()).map(std::path::PathBuf::from);
    let config_home = config_home.or_else(|| home.as_ref().map(|h| h.join(".config")));
    Ok(Surroundings {
        cwd,
        git,
        now: SystemTime::now,
        program: std::env::current_exe().map_err(|e| Error::io("find", "the program itself", e))?,
        user_config: config_home.map(|c| c.join("lockstep").join("config.toml")),
        home,
        user: user::name,
        settings: settings(&env),
        env,
        stop: crate::event::Stop::by(&signals::SIGNAL),
    })
}

/// Settings that environment variables hold; an empty one is as good as none.
fn settings(env: &BTreeMap<String, String>) -> Vec<GivenSetting> {
    let names = [
        ("LOCKSTEP_JOBS", "jobs"),
        ("LOCKSTEP_CACHE_DIR", "cache.dir"),
        ("LOCKSTEP_CACHE", "cache.mode"),
        ("LOCKSTEP_CACHE_SIGN", "cache.sign"),
        ("LOCKSTEP_PASS_ENV", "pass_env"),
    ];
    names
        .into_iter()
        .filter_map(|(name, key)| Some((name, key, env.get(name).filter(|value| !value.is_empty())?)))
        .map(|(name, key, value)| GivenSetting { key: key.into(), value: value.clone(), name: name.into() })
        .collect()
}
