//! Writes all output: data to stdout, messages to stderr, with colours if the user wants them.
//!
//! All text is escaped here, in [`rendered`], and nowhere else: callers pass names, paths, values and messages of other
//! programs as they are. A text is one line; a line end in it is shown as `\n`. Several lines need several calls, or a
//! [`Output::document`] whose parts hold no line ends. Colours are marks in the text until it is written; text from
//! elsewhere cannot hold such a mark. Only the output of stages and generated scripts are written raw.

use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use crate::cli::global::{Color, Global};
use crate::error::Error;
use crate::escape;

pub struct Output {
    pub quiet: bool,
    pub verbose: u8,
    /// stderr and stdin are a terminal.
    pub interactive: bool,
    pub progress: bool,
    colour: bool,
    colour_out: bool,
}

#[derive(Clone, Copy)]
pub enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
    /// One of the colours of stages.
    Stage(u8),
}

const STAGE_COLOURS: [&str; 8] = ["36", "33", "35", "34", "32", "96", "95", "94"];

impl Style {
    /// A stage has the same colour in every run.
    pub fn of_stage(name: &str) -> Style {
        let hash = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Style::Stage((hash % STAGE_COLOURS.len() as u32) as u8)
    }
}

impl Output {
    pub fn new(global: &Global) -> Output {
        let terminal = std::io::stderr().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let wanted = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !set("NO_COLOR") && !dumb,
        };
        Output {
            quiet: global.quiet,
            verbose: global.verbose,
            interactive: terminal && std::io::stdin().is_terminal(),
            progress: terminal && !global.no_progress && !global.quiet && !set("CI") && !dumb,
            colour: wanted(terminal),
            colour_out: wanted(std::io::stdout().is_terminal()),
        }
    }

    /// Text in a style, for stderr.
    pub fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }

    /// Are messages coloured?
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Text in a style, for stdout.
    pub fn paint_out(&self, style: Style, text: &str) -> String {
        paint(self.colour_out, style, text)
    }

    /// Prints a line of data. If the reader has closed the pipe, the program ends silently, as `cat` does.
    pub fn line(&self, text: impl AsRef<str>) {
        self.raw(format!("{}\n", rendered(text.as_ref())).as_bytes());
    }

    /// Prints lines that lockstep composed: a table, a graph, Markdown. Keeps tabs at the beginning of a line.
    pub fn document(&self, text: &str) {
        let mut lines = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            let rest = line.trim_start_matches('\t');
            lines.push_str(&line[..line.len() - rest.len()]);
            lines.push_str(&rendered(rest));
            lines.push('\n');
        }
        self.raw(lines.as_bytes());
    }

    /// Prints bytes unescaped: the output of a stage, a script for a shell.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
            self.lost(&e);
        }
    }

    /// Handles an error on stdout: success if the reader has closed the pipe, a failure otherwise (a full disk).
    fn lost(&self, e: &std::io::Error) -> ! {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        self.error(&Error::io("write to", "standard output", std::io::Error::from(e.kind())));
        std::process::exit(i32::from(crate::error::Kind::Io.exit_code()));
    }

    /// Prints JSON with values of the user, whose numbers may exceed those of serde_json.
    pub fn values(&self, value: &impl serde::Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.raw((escape::json(&text) + "\n").as_bytes());
    }

    pub fn json(&self, value: &serde_json::Value) {
        self.values(value);
    }

    /// Prints a message to stderr, unless `--quiet`.
    pub fn status(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.notice(text);
        }
    }

    /// Prints a message to stderr, also with `--quiet`.
    pub fn notice(&self, text: impl AsRef<str>) {
        self.raw_stderr(format!("{}\n", rendered(text.as_ref())).as_bytes());
    }

    /// Prints the output of a stage, or control sequences of lockstep's own.
    pub fn raw_stderr(&self, bytes: &[u8]) {
        let _ = std::io::stderr().lock().write_all(bytes);
    }

    /// Prints a command for the log of a CI system. The caller has encoded its values.
    pub fn ci_command(&self, command: &str) {
        self.raw_stderr(format!("{}\n", escape::text(command)).as_bytes());
    }

    pub fn warn(&self, text: impl AsRef<str>) {
        self.notice(format!("{} {}", self.paint(Style::Yellow, "warning:"), text.as_ref()));
    }

    pub fn hint(&self, text: impl AsRef<str>) {
        self.status(format!("{} {}", self.paint(Style::Cyan, "hint:"), text.as_ref()));
    }

    /// Prints a warning, and below it the error that it is about.
    pub fn warn_of(&self, text: impl AsRef<str>, error: &Error) {
        self.warn(text);
        self.notice(&error.message);
        self.print_details(error);
    }

    /// Prints an error as a warning, with a few words before its message.
    pub fn warn_error(&self, words: impl AsRef<str>, error: &Error) {
        self.warn(format!("{} {}", words.as_ref(), error.message));
        self.print_details(error);
    }

    pub fn error(&self, error: &Error) {
        self.notice(format!("{} {}", self.paint(Style::Red, "error:"), error.message));
        self.print_details(error);
    }

    fn print_details(&self, error: &Error) {
        for line in &error.lines {
            self.notice(line);
        }
        for cause in &error.causes {
            self.notice(format!("  {} {cause}", self.paint(Style::Dim, "because:")));
        }
        for hint in &error.hints {
            self.notice(format!("  {} {hint}", self.paint(Style::Cyan, "hint:")));
        }
    }

    /// Prints a question, without a line end.
    pub fn prompt(&self, text: &str) {
        self.raw_stderr(rendered(text).as_bytes());
    }
}

/// Prints an error in the arguments, several lines at once.
pub fn print_usage_error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", rendered(text.trim_end()));
}

/// Prints a panic: its place, and its message, which may hold a name or a value.
pub fn print_panic(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
    let mut text = rendered(&format!("lockstep panicked{place}: {message}")) + "\n";
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
        text.push_str(&format!("{}\n", std::backtrace::Backtrace::force_capture()));
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The beginning of a mark. Its number is random for each process, so no file or answer can hold it.
static MARK: LazyLock<String> = LazyLock::new(|| format!("\u{fdd0}{:016x}", RandomState::new().hash_one("style")));
/// The end of a mark.
const MARK_END: char = '\u{fdd1}';

/// A text as it is written: escaped, with marks replaced by control sequences.
pub fn rendered(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut begins = true;
    for (n, part) in text.split(MARK.as_str()).enumerate() {
        let mut part = part;
        if n > 0
            && let Some((code, rest)) = part.split_once(MARK_END)
        {
            shown.push_str(&format!("\x1b[{code}m"));
            part = rest;
        }
        shown.push_str(&escape::line(part, begins));
        begins &= part.trim().is_empty();
    }
    shown
}

/// A text in a style; see [`rendered`].
pub fn paint(colour: bool, style: Style, text: &str) -> String {
    if !colour || text.is_empty() {
        return text.to_string();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "1;31",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Cyan => "36",
        Style::Stage(n) => STAGE_COLOURS[usize::from(n) % STAGE_COLOURS.len()],
    };
    let mark = MARK.as_str();
    format!("{mark}{code}{MARK_END}{text}{mark}0{MARK_END}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_kept_and_everything_else_is_escaped() {
        let red = paint(true, Style::Red, "error:");
        let nested = paint(true, Style::Dim, &format!("({} \u{1b}[31m)", paint(true, Style::Bold, "b")));
        for (given, want) in [
            (format!("{red} a\u{1b}[2J\nb"), "\x1b[1;31merror:\x1b[0m a\\u{1b}[2J\\nb"),
            (nested, "\x1b[2m(\x1b[1mb\x1b[0m \\u{1b}[31m)\x1b[0m"),
            ("\u{fdd0}0123456789abcdef31\u{fdd1}x".into(), "\u{fdd0}0123456789abcdef31\u{fdd1}x"),
            (paint(false, Style::Red, "::error::x"), "\\u{3a}:error::x"),
            (paint(true, Style::Red, "::error::x"), "\x1b[1;31m\\u{3a}:error::x\x1b[0m"),
        ] {
            assert_eq!(rendered(&given), want);
        }
    }
}
