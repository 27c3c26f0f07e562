//! Which caches may be read and written: the local run cache and the remote, each by itself. Pure.
//!
//! `local:rw,remote:r`, as other build tools spell it: an untrusted CI job reads the remote and writes nowhere. A cache
//! that is left out may not be used.

use std::fmt;

use crate::error::{Error, Result};

/// What may be done with one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Whether results are taken from it.
    pub read: bool,
    /// Whether results are added to it.
    pub write: bool,
}

/// The modes of both caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The run cache of this clone.
    pub local: Mode,
    /// The run cache of the remote.
    pub remote: Mode,
}

impl Default for Modes {
    fn default() -> Modes {
        Modes { local: Mode { read: true, write: true }, remote: Mode::default() }
    }
}

impl Modes {
    /// Parses `local:rw,remote:r`. Errors: a word is unknown.
    pub fn parse(text: &str) -> Result<Modes> {
        let wrong = |what: &str| {
            Error::usage(format!("`{text}` is not a valid cache mode: {what}"))
                .hint("as in local:rw,remote:r — r reads, w writes, a cache that is left out is not used")
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

    /// Whether it allows nothing that `most` does not allow.
    pub fn is_within(&self, most: &Modes) -> bool {
        let fits = |one: Mode, most: Mode| (most.read || !one.read) && (most.write || !one.write);
        fits(self.local, most.local) && fits(self.remote, most.remote)
    }
}

/// In the format of [`Modes::parse`].
impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [("local", self.local), ("remote", self.remote)];
        let rights = |mode: Mode| format!("{}{}", if mode.read { "r" } else { "" }, if mode.write { "w" } else { "" });
        let all = places.into_iter().map(|(place, mode)| (place, rights(mode)));
        let all: Vec<String> =
            all.filter(|(_, rights)| !rights.is_empty()).map(|(place, rights)| format!("{place}:{rights}")).collect();
        f.write_str(if all.is_empty() { "local:" } else { "" })?;
        f.write_str(&all.join(","))
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
            let modes = Modes::parse(text).unwrap();
            assert_eq!(modes, Modes { local, remote }, "{text}");
            assert_eq!(Modes::parse(&modes.to_string()).unwrap(), modes, "{modes}");
        }
        for text in ["", "rw", "local:x", "there:r", "local=r"] {
            assert!(Modes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_within_one_that_allows_as_much() {
        for (one, most, want) in [
            ("local:rw", "local:rw", true),
            ("local:r", "local:rw", true),
            ("local:", "local:r", true),
            ("local:w", "local:r", false),
            ("local:rw,remote:r", "local:rw", false),
            ("remote:r", "local:rw,remote:r", true),
            ("remote:rw", "local:rw,remote:r", false),
        ] {
            let parse = |text| Modes::parse(text).unwrap();
            assert_eq!(parse(one).is_within(&parse(most)), want, "{one} {most}");
        }
        assert_eq!(Modes::parse("remote:").unwrap().to_string(), "local:");
    }
}
