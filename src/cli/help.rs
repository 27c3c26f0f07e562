//! `lockstep --help`: the commands in groups, one line each. clap writes the help of a command, which ends with the names
//! of the options that all commands have; `lockstep help options` explains them.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::StyledStr;

/// The groups and their commands, in the order of the help. A new command is added here by its name.
const GROUPS: &[(&str, &[&str])] = &[
    ("Pipeline", &["init", "status", "repro", "stage", "dag", "logs", "env"]),
    ("Compare", &["diff", "metrics", "params", "plots"]),
    ("Data", &["add", "commit", "checkout", "push", "pull", "get", "import", "update", "list", "remote"]),
    ("Models", &["model", "deploy", "serve"]),
    ("Project", &["ci", "hooks", "merge", "store", "config", "schema", "completion", "version", "help"]),
];

/// The description of `help`, which clap adds with a longer one.
const HELP: &str = "Show the help of a command";

/// The options that all commands have, besides `--help`.
const SHARED: &[&str] = &["-C DIR", "-q, --quiet", "-v, --verbose", "--color WHEN", "--no-progress", "--wait [SECS]"];

/// Replaces the help of the program by the grouped one, and shortens that of each command. The result is for printing
/// help and errors; completions come from the program itself.
pub fn with_help(program: Command) -> Command {
    let help = grouped(&program);
    let header = *program.get_styles().get_header();
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{all-args}}{{after-help}}\n\n\
         {header}Options of every command{header:#} (see `lockstep help options`):\n  {}\n",
        SHARED.join("  ")
    );
    let shared: Vec<_> = program.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id()).collect();
    let shared: Vec<String> = shared.into_iter().map(ToString::to_string).collect();
    let program = shared.into_iter().fold(program, |program, id| program.mut_arg(id, |option| option.hide(true)));
    with_template(program, &template).override_help(help)
}

fn with_template(command: Command, template: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_string()).collect();
    let command = command.help_template(template.to_string());
    names.iter().fold(command, |command, name| command.mut_subcommand(name, |inner| with_template(inner, template)))
}

fn grouped(program: &Command) -> StyledStr {
    let (header, literal) = (*program.get_styles().get_header(), *program.get_styles().get_literal());
    let mut text = program.get_about().map(StyledStr::to_string).unwrap_or_default();
    let _ = writeln!(text, "\n{header}Usage:{header:#} {literal}lockstep{literal:#} [OPTIONS] COMMAND");
    for (group, names) in GROUPS {
        text.push('\n');
        for (at, name) in names.iter().enumerate() {
            let group =
                if at == 0 { format!("{header}{group}{header:#}{:1$}", "", 8 - group.len()) } else { " ".repeat(8) };
            let about = program.find_subcommand(name).and_then(Command::get_about).map(StyledStr::to_string);
            let about = about.unwrap_or(HELP.to_string());
            let _ = writeln!(text, "{group}  {literal}{name:10}{literal:#}  {about}");
        }
    }
    let (first, rest) = SHARED.split_at(5);
    let _ = writeln!(text, "\n{header}Options{header:#}   {}", first.join("  "));
    let _ = writeln!(text, "          {}  -h, --help  -V, --version", rest.join("  "));
    let _ = writeln!(
        text,
        "          {literal}lockstep help COMMAND{literal:#} shows its options, {literal}lockstep help topics{literal:#} more"
    );
    text.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::commands::Cli;

    #[test]
    fn each_visible_command_is_in_one_group() {
        let program = Cli::command();
        let visible = program.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name());
        let mut visible: Vec<&str> = visible.chain(["help"]).collect();
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        visible.sort_unstable();
        listed.sort_unstable();
        assert_eq!(visible, listed);
    }

    #[test]
    fn the_help_fits_a_screen() {
        let program = Cli::command();
        let help = grouped(&program).to_string();
        assert!(help.lines().count() <= 45, "{} lines", help.lines().count());
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for option in program.get_arguments().filter(|arg| arg.is_global_set()) {
            let short = option.get_short().map(|short| format!("-{short}"));
            let long = option.get_long().map(|long| format!("--{long}"));
            let name = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
            let is_listed = SHARED.iter().any(|shared| shared.starts_with(&name));
            assert!(is_listed, "{name}");
            assert!(
                include_str!("../../docs/options.md").contains(&format!("`{}", name.replace(", ", "`, `"))),
                "{name}"
            );
        }
    }
}
