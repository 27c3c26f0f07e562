//! Where words go: data to stdout, talk to stderr, colours only where they are wanted.

use std::io::{IsTerminal, Write};

use crate::cli::args::{Color, Global};
use crate::error::Error;

pub struct Output {
    pub quiet: bool,
    pub verbose: u8,
    /// Somebody looks at stderr and types into stdin.
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
    /// One of the colours that tell stages apart.
    Stage(u8),
}

const STAGE_COLOURS: [&str; 8] = ["36", "33", "35", "34", "32", "96", "95", "94"];

impl Style {
    /// The same stage has the same colour in every run.
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

    /// Text for stderr, in a style.
    pub fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }

    /// Is talk painted?
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Text for stdout, in a style.
    pub fn paint_out(&self, style: Style, text: &str) -> String {
        paint(self.colour_out, style, text)
    }

    /// A line of data. A reader that went away ends the program quietly, as it does `cat`.
    pub fn line(&self, text: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
            self.lost(&e);
        }
    }

    /// Data as it is, without a line end added.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
            self.lost(&e);
        }
    }

    /// Standard output takes no more. Who stopped reading wants no more; a full disk is a failure.
    fn lost(&self, e: &std::io::Error) -> ! {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        self.error(&Error::io("write to", "standard output", std::io::Error::from(e.kind())));
        std::process::exit(i32::from(crate::error::Kind::Io.exit_code()));
    }

    pub fn json(&self, value: &serde_json::Value) {
        self.line(serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A line of talk, unless `--quiet`.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// A line of talk that is not left out.
    pub fn tell(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
    }

    /// Talk that is passed on as it is.
    pub fn tell_bytes(&self, bytes: &[u8]) {
        let _ = std::io::stderr().lock().write_all(bytes);
    }

    pub fn warn(&self, text: impl AsRef<str>) {
        self.tell(format!("{} {}", self.paint(Style::Yellow, "warning:"), text.as_ref()));
    }

    pub fn hint(&self, text: impl AsRef<str>) {
        self.say(format!("{} {}", self.paint(Style::Cyan, "hint:"), text.as_ref()));
    }

    pub fn error(&self, error: &Error) {
        let mut text = format!("{} {}", self.paint(Style::Red, "error:"), error.message);
        for cause in &error.causes {
            text.push_str(&format!("\n  {} {cause}", self.paint(Style::Dim, "because:")));
        }
        for hint in &error.hints {
            text.push_str(&format!("\n  {} {hint}", self.paint(Style::Cyan, "hint:")));
        }
        self.tell(text);
    }
}

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
    format!("\x1b[{code}m{text}\x1b[0m")
}
