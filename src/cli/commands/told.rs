//! What is said of many revisions is said once, with their names.

use crate::cli::output::Output;

/// So many names are written out.
const NAMED: usize = 4;

/// Messages in the order in which they came up, each with the revisions that it is about.
#[derive(Default)]
pub(super) struct Told(Vec<(String, Vec<String>)>);

impl Told {
    /// A revision may have several names.
    pub fn add(&mut self, message: &str, names: &[String]) {
        let name = names.join(", ");
        match self.0.iter_mut().find(|(known, _)| known == message) {
            Some((_, revisions)) => revisions.push(name),
            None => self.0.push((message.to_string(), vec![name])),
        }
    }

    /// One warning a message.
    pub fn warn(&self, sentence: &dyn Fn(&str, &str) -> String, out: &Output) {
        for (message, revisions) in &self.0 {
            out.warn(sentence(message, &listed(revisions)));
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
