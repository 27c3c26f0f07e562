//! Warnings about several revisions, each printed once with the names of the revisions.

use crate::cli::output::Output;
use crate::error::Error;

/// The number of names that are printed.
const NAMED: usize = 4;

/// Warnings in the order of their first revision, each with the file, the error and the names of the revisions.
#[derive(Default)]
pub(super) struct GroupedWarnings(Vec<(String, Error, Vec<String>)>);

impl GroupedWarnings {
    /// `path` is the file that is left out, or empty if the message names it. A revision may have several names.
    pub fn add(&mut self, path: &str, error: &Error, names: &[String]) {
        let name = names.join(", ");
        match self.0.iter_mut().find(|(known, e, _)| known == path && e.to_string() == error.to_string()) {
            Some((.., revisions)) => revisions.push(name),
            None => self.0.push((path.to_string(), error.clone(), vec![name])),
        }
    }

    /// Prints one warning for each message.
    pub fn warn(&self, out: &Output) {
        for (path, error, revisions) in &self.0 {
            let revisions = listed(revisions);
            match path.as_str() {
                "" => out.warn_error(format!("left out, of {revisions}:"), error),
                path => out.warn_of(format!("{path} of {revisions} is left out:"), error),
            }
        }
    }
}

fn listed(revisions: &[String]) -> String {
    let shown = revisions[..revisions.len().min(NAMED)].join(", ");
    match revisions.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few() {
        let names = |n: usize| (0..n).map(|n| format!("r{n}")).collect::<Vec<_>>();
        for (n, want) in [(1, "r0"), (4, "r0, r1, r2, r3"), (6, "r0, r1, r2, r3 and 2 more")] {
            assert_eq!(listed(&names(n)), want);
        }
    }
}
