//! Questions at the terminal. Without one, nobody agreed.

use std::io::{BufRead, IsTerminal, Write};

use crate::error::{Error, Kind, Result};

/// Yes or no. `agreed` is the command that does not ask, `otherwise` says what a no means.
pub fn confirm(question: &str, agreed: &str, otherwise: &str) -> Result<()> {
    let answer = answer(&format!("{question} [y/N] "));
    if answer.is_some_and(|answer| matches!(answer.as_str(), "y" | "Y" | "yes")) {
        return Ok(());
    }
    Err(declined(question, agreed, otherwise))
}

fn declined(question: &str, agreed: &str, otherwise: &str) -> Error {
    Error::new(Kind::Check, otherwise)
        .because(format!("nobody said yes to: {question}"))
        .hint(format!("to say yes: {agreed}"))
}

fn answer(prompt: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let mut terminal = std::io::stderr().lock();
    let _ = write!(terminal, "{prompt}");
    let _ = terminal.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_string())
}
