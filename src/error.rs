//! Errors that the user can act on: what failed, where, why, and what to type next.
//!
//! The kind determines the exit code (see [`Kind::exit_code`]); the message names the path or the stage; causes give
//! the reason; hints say what to type. A typed variant exists only where code branches on it.

use std::fmt;
use std::path::Path;

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a failure. Several failures of one command give the lowest exit code above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A check (`status --quiet`, `repro --locked`, `verify`) found differences.
    Check,
    /// Wrong usage, or a mistake in a pipeline, params or settings file.
    Usage,
    /// An object, revision, target or path is missing.
    Missing,
    /// A remote failed.
    Remote,
    /// Another process holds a lock that is needed.
    Busy,
    /// A stage failed.
    Stage,
    /// The file system refused: disk full, permission, read-only.
    Io,
    /// Ended by a signal, with its number.
    Signal(i32),
    /// An internal error: a violated assumption of this program.
    Bug,
}

impl Kind {
    /// The exit code of the process; 128 + n for signal n.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Check => 1,
            Kind::Usage => 2,
            Kind::Missing => 3,
            Kind::Remote => 4,
            Kind::Busy => 5,
            Kind::Stage => 6,
            Kind::Io => 7,
            Kind::Signal(n) => 128u8.wrapping_add(n as u8),
            Kind::Bug => 101,
        }
    }
}

/// A failure, with all that the user needs to act on it.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind, which determines the exit code.
    pub kind: Kind,
    /// One sentence that names the path or the stage. It is one line: a line end in it came with a name or a value, and
    /// is shown as `\n`.
    pub message: String,
    /// Further lines: the excerpt of a file, more mistakes of the same kind.
    pub lines: Vec<String>,
    /// The reasons, from the nearest cause to the furthest.
    pub causes: Vec<String>,
    /// What to type or do next.
    pub hints: Vec<String>,
    /// The remote that the user has to trust before this is possible: a terminal may ask.
    pub untrusted: Option<Box<String>>,
}

impl Error {
    /// An error with only a kind and a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        let (lines, causes, hints) = (Vec::new(), Vec::new(), Vec::new());
        Error { kind, message: message.into(), lines, causes, hints, untrusted: None }
    }

    /// An error of kind [`Kind::Usage`].
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(Kind::Usage, message)
    }

    /// An error of kind [`Kind::Missing`].
    pub fn missing(message: impl Into<String>) -> Error {
        Error::new(Kind::Missing, message)
    }

    /// A failed system call: `io("write", path, e)` reads `cannot write data/x: No space left on device`.
    pub fn io(doing: &str, path: impl AsRef<Path>, cause: impl Into<std::io::Error>) -> Error {
        let cause = cause.into();
        let mut e = Error::new(Kind::Io, format!("cannot {doing} {}: {}", path.as_ref().display(), plain(&cause)));
        if cause.raw_os_error() == Some(28) || cause.raw_os_error() == Some(122) {
            e.hints.push("free some space on that disk and run the same command again; nothing was lost".into());
        }
        e
    }

    /// Further lines below the message.
    pub fn with_lines(mut self, lines: impl IntoIterator<Item = String>) -> Error {
        self.lines.extend(lines);
        self
    }

    /// The message with its further lines, for JSON and for files.
    pub fn full_message(&self) -> String {
        std::iter::once(&self.message).chain(&self.lines).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Adds a cause.
    pub fn because(mut self, cause: impl fmt::Display) -> Error {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds another error as the cause: its message, its causes and its hints.
    pub fn because_of(mut self, other: Error) -> Error {
        self.causes.push(other.message);
        self.causes.extend(other.causes);
        self.hints.extend(other.hints);
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }
}

/// The system's message, without Rust's `(os error 28)`.
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full_message())?;
        for cause in &self.causes {
            write!(f, "\n  because: {cause}")?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
