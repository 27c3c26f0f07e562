//! Questions at the terminal. Without one, nobody agreed.

use std::io::{BufRead, IsTerminal};

use crate::cli::output::Output;
use crate::error::{Error, Kind, Result};

/// Yes or no. `agreed` is the command that does not ask, `otherwise` says what a no means.
pub fn confirm(question: &str, agreed: &str, otherwise: &str, out: &Output) -> Result<()> {
    let answer = answer(&format!("{question} [y/N] "), out);
    if answer.is_some_and(|answer| matches!(answer.as_str(), "y" | "Y" | "yes")) {
        return Ok(());
    }
    Err(declined(question, agreed, otherwise))
}

/// Something that is typed, letter by letter: for what cannot be undone, and hurts others.
pub fn typed(what: &str, agreed: &str, otherwise: &str, out: &Output) -> Result<()> {
    if answer(&format!("to go on, type {what}: "), out).is_some_and(|answer| answer == what) {
        return Ok(());
    }
    Err(Error::usage(otherwise)
        .because(format!("nobody typed {what}"))
        .hint(format!("to say yes without being asked: {agreed}")))
}

fn declined(question: &str, agreed: &str, otherwise: &str) -> Error {
    Error::new(Kind::Check, otherwise)
        .because(format!("nobody said yes to: {question}"))
        .hint(format!("to say yes: {agreed}"))
}

fn answer(prompt: &str, out: &Output) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    out.prompt(prompt);
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_string())
}
