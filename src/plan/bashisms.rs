//! Detects commands that are written for bash but would be run by `sh`.

use crate::error::Error;
use crate::pipeline::stage::Stage;
use crate::shell::{BashOnly, find_bash_only};

/// The error for a stage whose commands have syntax that `sh` interprets differently.
pub fn check_commands(stage: &Stage, address: &dyn Fn() -> String, shell: &str) -> Option<Error> {
    if !matches!(shell.rsplit('/').next(), Some("sh" | "dash" | "ash")) {
        return None;
    }
    let (item, BashOnly { syntax, line }) =
        stage.cmd.iter().find_map(|item| find_bash_only(item).map(|found| (item, found)))?;
    let text = item.lines().nth(line - 1).unwrap_or_default().trim();
    let why = match syntax {
        "&>" => "sh puts the command before it in the background, and its failure goes unnoticed",
        ">&" => "sh takes a number after it, not a file",
        "[[" => "sh looks for a program of that name, and takes its failure for `false`",
        _ => "sh cannot read it",
    };
    let error = Error::usage(format!("stage {} has `{syntax}`, which is bash alone, and is run by {shell}", address()))
        .because(format!("{why}: {text}"))
        .hint("run all commands by bash: lockstep config shell bash");
    Some(match syntax {
        "&>" | ">&" => error.hint("or write it for sh: `> f 2>&1` (and `>> f 2>&1`)"),
        "|&" => error.hint("or write it for sh: `2>&1 |`"),
        "[[" => error.hint("or write it for sh: `[ \"$a\" = b ]`"),
        "<<<" => error.hint("or write it for sh: `printf '%s\\n' TEXT |`"),
        _ => error.hint("or write it for sh: put what the command reads or writes into a file"),
    })
}
