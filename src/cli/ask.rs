//! Questions at the terminal. Without a terminal the answer is no.

use std::io::{BufRead, IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::output::Output;
use crate::error::{Error, Kind, Result};

/// Asks yes or no. `agreed` is the command that does not ask; `otherwise` is the message after a no.
pub fn confirm(question: &str, agreed: &str, otherwise: &str, out: &Output) -> Result<()> {
    let answer = answer(&format!("{question} [y/N] "), out);
    if answer.is_some_and(|answer| matches!(answer.as_str(), "y" | "Y" | "yes")) {
        return Ok(());
    }
    Err(declined(question, agreed, otherwise))
}

/// Asks the user to type a word: for actions that cannot be undone and affect other users.
pub fn typed(what: &str, agreed: &str, otherwise: &str, out: &Output) -> Result<()> {
    if answer(&format!("to continue, type {what}: "), out).is_some_and(|answer| answer == what) {
        return Ok(());
    }
    Err(Error::usage(otherwise).because(format!("{what} was not typed")).hint(format!("without a question: {agreed}")))
}

/// Is there a terminal to ask at?
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The value of a secret setting: read from standard input if it is `-`, asked for if it is not given. `command` is the
/// command without the value.
pub fn secret_argument(value: Option<&str>, stdin: bool, name: &str, command: &str, out: &Output) -> Result<String> {
    match value {
        Some(value) if value != "-" => {
            warn_of_argument(out, command);
            Ok(value.to_string())
        }
        value => secret(name, stdin || value.is_some(), command, out),
    }
}

/// Warns that other users can read a secret that was typed as an argument. `command` asks for it instead.
pub fn warn_of_argument(out: &Output, command: &str) {
    out.warn("a secret on the command line can be read in the shell's history and in the list of processes");
    out.hint(format!("to be asked for it: {command}"));
}

/// Reads a secret from standard input (`from_stdin`) or from the terminal, without echo. `command` is the command that
/// asks for it.
fn secret(name: &str, from_stdin: bool, command: &str, out: &Output) -> Result<String> {
    let mut text = String::new();
    if from_stdin {
        std::io::stdin().lock().read_to_string(&mut text).map_err(|e| Error::io("read", "standard input", e))?;
        text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_string();
    } else if std::io::stdin().is_terminal() {
        text = typed_unseen(&format!("{name}: "), out)?;
    }
    if text.is_empty() || text.contains(char::is_control) {
        let why = if text.is_empty() { "is empty" } else { "has more than one line" };
        return Err(Error::usage(format!("the {name} {why}; nothing was written"))
            .hint(format!("in a terminal, which asks for it: {command}"))
            .hint(format!("from another program: … | {command} --stdin")));
    }
    Ok(text)
}

/// One line of the terminal, without echo.
fn typed_unseen(prompt: &str, out: &Output) -> Result<String> {
    let input = std::io::stdin();
    let failed = |e: rustix::io::Errno| Error::io("read from", "the terminal", e);
    let usual = tcgetattr(&input).map_err(failed)?;
    let mut unseen = usual.clone();
    // Ctrl-C arrives as a byte instead of a signal, so that echo is always restored.
    unseen.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&input, OptionalActions::Flush, &unseen).map_err(failed)?;
    out.prompt(prompt);
    let line = unseen_line(&mut input.lock());
    out.notice("");
    tcsetattr(&input, OptionalActions::Now, &usual).map_err(failed)?;
    line
}

/// Reads bytes up to the end of the line.
fn unseen_line(input: &mut dyn Read) -> Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACES: [u8; 2] = [8, 127];
    const ERASE_LINE: u8 = 21;
    let mut line = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte).map_err(|e| Error::io("read from", "the terminal", e))? == 1 {
        match byte[0] {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(Error::new(Kind::Signal(2), "interrupted")),
            ERASE_LINE => line.clear(),
            // Backspace removes a character, which may be several bytes.
            byte if BACKSPACES.contains(&byte) => while line.pop().is_some_and(|last| last & 0xC0 == 0x80) {},
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| Error::usage("the input is not UTF-8"))
}

fn declined(question: &str, agreed: &str, otherwise: &str) -> Error {
    Error::new(Kind::Check, otherwise)
        .because(format!("not confirmed: {question}"))
        .hint(format!("to confirm: {agreed}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_letter_by_letter() {
        for (typed, want) in [
            ("s3cr3t\rmore", Some("s3cr3t")),
            ("ab\u{7f}c\u{8}d\n", Some("ad")),
            ("aé\u{7f}b\n", Some("ab")),
            ("\u{7f}a\n", Some("a")),
            ("wrong\u{15}right\u{4}", Some("right")),
            ("s3c\u{3}", None),
        ] {
            assert_eq!(unseen_line(&mut typed.as_bytes()).ok().as_deref(), want, "{typed:?}");
        }
    }
}
