//! Who may read and write results: the local run cache and the remote, each for itself. Pure.
//!
//! `local:rw,remote:r`, as build tools spell it: an untrusted CI job reads the remote and writes nowhere. What is left
//! out may do nothing.

use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    pub read: bool,
    pub write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    pub local: Mode,
    pub remote: Mode,
}

impl Default for Modes {
    fn default() -> Modes {
        Modes { local: Mode { read: true, write: true }, remote: Mode::default() }
    }
}

impl Modes {
    pub fn parse(text: &str) -> Result<Modes> {
        let wrong = |what: &str| {
            Error::usage(format!("`{text}` says not who may read and write: {what}"))
                .hint("as in local:rw,remote:r — r reads, w writes, what is left out may do nothing")
        };
        let mut modes = Modes { local: Mode::default(), remote: Mode::default() };
        for part in text.split(',').map(str::trim) {
            let (place, rights) = part.split_once(':').ok_or_else(|| wrong(&format!("`{part}` has no colon")))?;
            let mut mode = Mode::default();
            for right in rights.chars() {
                match right {
                    'r' => mode.read = true,
                    'w' => mode.write = true,
                    other => return Err(wrong(&format!("`{other}` is neither r nor w"))),
                }
            }
            match place {
                "local" => modes.local = mode,
                "remote" => modes.remote = mode,
                other => return Err(wrong(&format!("`{other}` is neither local nor remote"))),
            }
        }
        Ok(modes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_spelled_out() {
        let mode = |read, write| Mode { read, write };
        for (text, local, remote) in [
            ("local:rw,remote:r", mode(true, true), mode(true, false)),
            ("local:rw", mode(true, true), mode(false, false)),
            ("remote:rw", mode(false, false), mode(true, true)),
            ("local:, remote:w", mode(false, false), mode(false, true)),
        ] {
            assert_eq!(Modes::parse(text).unwrap(), Modes { local, remote }, "{text}");
        }
        for text in ["", "rw", "local:x", "there:r", "local=r"] {
            assert!(Modes::parse(text).is_err(), "{text}");
        }
    }
}
