//! The error for a command that does not exist. A verb of DVC or GTO has one line with what to type instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use crate::cli::commands::Cli;
use crate::error::Error;

/// Verbs, with the command before them if it is not the first, and what to type instead. Two spellings are separated by
/// `|`. None is a command of lockstep.
const VERBS: &[(&str, &str)] = &[
    // DVC
    (
        "exp|experiments",
        "an experiment is a branch: git switch -c NAME, edit params.yaml, lockstep repro, git commit; compare with lockstep params diff main and lockstep metrics diff main",
    ),
    ("queue", "there is no queue of experiments; lockstep repro -j N runs N stages at once"),
    ("run", "lockstep stage add -n NAME -d DEP -o OUT COMMAND, then lockstep repro"),
    ("reproduce|build|make", "lockstep repro"),
    (
        "studio",
        "there is no server: lockstep model list shows models, lockstep ci report makes a report for a pull request",
    ),
    ("machine", "lockstep starts no machines; in CI, run lockstep repro --pull, and lockstep ci report"),
    (
        "unprotect",
        "outputs are writable unless cache.links says otherwise; for copies: lockstep config --local cache.links copy && lockstep checkout --relink",
    ),
    (
        "move|mv|rename",
        "mv OLD NEW, write the new path in pipeline.yaml, then lockstep commit (or lockstep add NEW for data)",
    ),
    ("doctor", "lockstep version, lockstep config --list --show-origin and, for a remote, lockstep remote check"),
    ("import-url", "curl -LO URL && lockstep add FILE; or in a stage: lockstep stage add -n NAME -o FILE curl -LO URL"),
    ("get-url", "curl -LO URL; lockstep get is for files of a Git repository"),
    ("import-db", "a stage whose command queries the database: lockstep stage add -n NAME -o OUT COMMAND"),
    (
        "ls-url|list-url",
        "the tool of the storage (aws s3 ls, gsutil ls, ls); lockstep list is for files of a Git repository",
    ),
    ("destroy", "git rm pipeline.yaml pipeline.lock; lockstep store dir prints the folder of the store"),
    ("data", "lockstep status"),
    ("data status", "lockstep status"),
    ("dataset", "lockstep import URL PATH for another Git repository, lockstep add PATH for files here"),
    ("artifacts", "lockstep get PATH --rev NAME#LABEL, or lockstep model list"),
    ("check-ignore", "git check-ignore -v PATH; a .lockstepignore has the same rules"),
    ("daemon", "nothing of lockstep runs in the background"),
    ("git-hook", "lockstep hooks install"),
    ("pipeline", "lockstep dag, or lockstep stage list"),
    ("lock", "lockstep stage freeze STAGE"),
    ("unlock", "lockstep stage unfreeze STAGE"),
    ("untrack|rm", "lockstep stage remove TARGET takes a stage or data out of pipeline.yaml"),
    ("store migrate|cache migrate", "lockstep reads no cache of DVC: dvc checkout, then lockstep add PATH"),
    ("plots modify", "write x, y, title and template of the plot under `plots:` in pipeline.yaml"),
    ("metrics add|metrics modify", "list the file under `metrics:` of its stage in pipeline.yaml"),
    ("params add", "list the key under `params:` of the stage in pipeline.yaml"),
    // GTO
    ("register", "lockstep model register"),
    ("assign", "lockstep model promote NAME@VERSION LABEL"),
    ("unassign", "lockstep model demote NAME LABEL"),
    ("deregister|deprecate", "lockstep model deprecate NAME@VERSION"),
    ("check-ref", "lockstep model resolve"),
    // Git and others
    ("clone", "git clone URL, then lockstep pull"),
    ("log|history", "lockstep logs STAGE for the output of a stage, lockstep model history for versions"),
    ("graph", "lockstep dag"),
    ("upload", "lockstep push"),
    ("download", "lockstep pull"),
];

/// The error for an unknown command; `None` if the error is another one. `args` begins with the program.
pub fn unknown_command(e: &clap::Error, args: impl Iterator<Item = OsString>) -> Option<Error> {
    if e.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(name)) = e.get(ContextKind::InvalidSubcommand) else { return None };
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let at = args.iter().skip(1).position(|arg| arg == name);
    // A word before it may also be the value of an option.
    let has_commands = |word: &str| Cli::command().find_subcommand(word).is_some_and(Command::has_subcommands);
    let before = at.map(|at| args[at].as_str()).filter(|before| has_commands(before));
    let typed = before.map_or(name.clone(), |before| format!("{before} {name}"));
    let error = Error::usage(format!("lockstep has no command `{typed}`"));
    let spellings = [typed.as_str(), name.as_str()];
    if let Some(instead) = spellings.into_iter().find_map(instead) {
        return Some(error.hint(instead));
    }
    let similar: Vec<String> = match e.get(ContextKind::SuggestedSubcommand) {
        // The best one is the last.
        Some(ContextValue::Strings(names)) => names.iter().rev().cloned().collect(),
        Some(ContextValue::String(name)) => vec![name.clone()],
        _ => Vec::new(),
    };
    // Programs of lockstep itself are no commands for people.
    let similar: Vec<String> =
        similar.iter().filter(|name| !name.starts_with("__")).take(3).map(|name| format!("`{name}`")).collect();
    Some(match similar.is_empty() {
        true => error.hint(match before {
            Some(before) => format!("see all commands: lockstep {before} --help"),
            None => "see all commands: lockstep help".to_string(),
        }),
        false => error.hint(format!("did you mean {}?", similar.join(", or "))),
    })
}

/// What to type instead of a verb.
fn instead(verb: &str) -> Option<&'static str> {
    VERBS.iter().find(|(spellings, _)| spellings.split('|').any(|known| known == verb)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn error(line: &str) -> String {
        let args = || line.split(' ').map(OsString::from);
        let e = Cli::try_parse_from(args()).unwrap_err();
        unknown_command(&e, args()).map_or("another error".to_string(), |e| e.to_string())
    }

    #[test]
    fn no_verb_of_the_table_is_a_command() {
        let program = Cli::command();
        for (spellings, _) in VERBS {
            for verb in spellings.split('|') {
                let mut command = Some(&program);
                for word in verb.split(' ') {
                    command = command.and_then(|command| command.find_subcommand(word));
                }
                assert!(command.is_none(), "{verb} is a command");
            }
        }
    }

    #[test]
    fn a_command_of_lockstep_that_is_named_exists() {
        let program = Cli::command();
        for (verb, text) in VERBS {
            for part in text.split("lockstep ").skip(1) {
                let words: Vec<&str> = part.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
                // A sentence about lockstep, and not a command.
                if ["starts", "reads", "copies", "runs"].contains(&words[0]) {
                    continue;
                }
                let found = program.find_subcommand(words[0]);
                let found = found.unwrap_or_else(|| panic!("{verb}: {}", words[0]));
                assert!(!found.has_subcommands() || found.find_subcommand(words[1]).is_some(), "{verb}: {part}");
            }
        }
    }

    #[test]
    fn an_unknown_command_says_what_to_type() {
        for (line, want) in [
            ("lockstep exp run", "an experiment is a branch"),
            ("lockstep -q experiments", "an experiment is a branch"),
            ("lockstep help exp", "an experiment is a branch"),
            ("lockstep run --name x cmd", "lockstep stage add -n NAME"),
            ("lockstep plots modify x", "under `plots:`"),
            ("lockstep cache migrate", "dvc checkout"),
            ("lockstep remote modfy", "did you mean `modify`?"),
            ("lockstep stauts", "did you mean `status`"),
            ("lockstep xyzzy", "see all commands: lockstep help"),
            ("lockstep stage xyzzy", "see all commands: lockstep stage --help"),
            ("lockstep repro --xyzzy", "another error"),
            ("lockstep -q", "another error"),
        ] {
            assert!(error(line).contains(want), "{line}: {}", error(line));
        }
    }
}
