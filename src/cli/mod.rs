//! The command line: the only room that prints, and that reads the environment, the clock and the current folder.
//!
//! Each command is one file in `commands/`: its arguments, whose doc comments are the help text, and a `run` that calls
//! one function of the rooms below and prints its result.

mod advice;
mod args;
mod ask;
mod commands;
mod environment;
mod example;
mod format;
mod global;
mod help;
mod inherited;
mod next_step;
mod output;
mod progress;
mod signals;
mod surroundings;
mod table;
mod text;
mod topics;
mod trust;
mod unknown_command;
mod user;

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::cli::commands::Cli;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::surroundings;
use crate::error::{Error, Result};
use crate::escape;
use crate::file_lock;
use crate::project::Project;

/// Parses the command line, runs the command, and turns its result into an exit code.
pub fn main() -> ExitCode {
    if commands::project::version::is_asked(std::env::args_os()) {
        let _ = writeln!(std::io::stdout(), "{}", commands::project::version::text());
        return ExitCode::SUCCESS;
    }
    if let Some(page) = topics::asked_page(std::env::args_os()) {
        let _ = std::io::stdout().write_all(page.as_bytes());
        return ExitCode::SUCCESS;
    }
    environment::keep_secrets();
    std::panic::set_hook(Box::new(output::print_panic));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return print_usage(e),
    };
    raise_open_files();
    if let Some(wait) = cli.global.wait {
        file_lock::set_limit(wait.unwrap_or(std::time::Duration::MAX));
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

/// Runs the command. If it fails because a remote is not trusted and the user agrees to trust it, runs it again: a
/// command opens its remotes before it changes anything.
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

/// Prints the help, or clap's error. An error quotes arguments, so clap parses them a second time, escaped.
fn print_usage(e: clap::Error) -> ExitCode {
    if let Some(error) = unknown_command::unknown_command(&e, std::env::args_os()) {
        Output::new(&Global::default()).error(&error);
        return ExitCode::from(error.kind.exit_code());
    }
    let code = ExitCode::from(if e.use_stderr() { 2 } else { 0 });
    let escaped = std::env::args_os().map(|arg| escape::line(&arg.to_string_lossy(), true));
    match help::with_help(Cli::command()).try_get_matches_from(escaped) {
        Err(mut e) => {
            if e.kind() == ErrorKind::MissingSubcommand {
                // The list would have hidden commands, too.
                e.remove(ContextKind::ValidSubcommand);
            }
            drop(e.print());
        }
        // This error quotes no argument.
        Ok(_) if e.kind() == ErrorKind::InvalidUtf8 => drop(e.print()),
        // The error was a character that is escaped now.
        Ok(_) => output::print_usage_error(&e.render().to_string()),
    }
    code
}

/// Raises the limit of open files: storing and fetching open hundreds at once, and some systems allow 256 by default.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(8192);
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
