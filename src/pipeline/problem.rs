//! Errors in pipeline files. All errors of a file are reported at once, each with its line and a suggestion, so that
//! the user does not fix a file one error at a time.

use std::collections::HashSet;

use crate::error::{Error, Kind};
use crate::url::redact_text;
use crate::value::{Fault, Mark, excerpt, line_at};

/// At most this many are shown; an error in a generated stage often occurs in all of them.
const SHOWN: usize = 20;

/// One error in a file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As the user would name it: `sub/pipeline.yaml`, `params.yaml`.
    pub file: String,
    /// `None` if the whole file is meant.
    pub mark: Option<Mark>,
    /// A sentence without its place.
    pub message: String,
    /// How to correct it.
    pub hint: Option<String>,
    /// The line with `mark`, as shown.
    pub excerpt: Vec<String>,
}

impl Problem {
    /// A problem without hint and excerpt.
    pub fn new(file: impl Into<String>, mark: Option<Mark>, message: impl Into<String>) -> Problem {
        Problem { file: file.into(), mark, message: message.into(), hint: None, excerpt: Vec::new() }
    }

    /// The error for a text that could not be parsed at all.
    pub fn of(file: impl Into<String>, fault: Fault, text: &str) -> Problem {
        Problem { hint: fault.hint, ..Problem::new(file, fault.mark, fault.message) }.within(text)
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Takes the excerpt from the text of the file.
    pub fn within(mut self, text: &str) -> Problem {
        if let (true, Some(mark)) = (self.excerpt.is_empty(), self.mark) {
            self.excerpt = line_at(text, mark).into_iter().flat_map(|line| excerpt(line, mark)).collect();
        }
        self
    }

    /// Place and sentence, then the lines of the excerpt; without the hint.
    fn show(&self) -> Vec<String> {
        let message = redact_text(&self.message);
        let Some(mark) = self.mark else { return vec![format!("{}: {message}", self.file)] };
        let mut lines = vec![format!("{}:{}:{}: {message}", self.file, mark.line, mark.column)];
        lines.extend(self.excerpt.iter().cloned());
        lines
    }
}

/// One error for all problems, in the order of the file, without duplicates.
pub fn render(problems: &[Problem]) -> Error {
    let mut seen = HashSet::new();
    let mut unique: Vec<&Problem> = problems.iter().filter(|p| seen.insert((&p.file, p.mark, &p.message))).collect();
    unique.sort_by_key(|p| (p.file.clone(), p.mark));
    let mut lines: Vec<String> = Vec::new();
    let single = unique.len() == 1;
    for problem in unique.iter().take(SHOWN) {
        lines.extend(problem.show());
        if let (Some(hint), false) = (&problem.hint, single) {
            lines.push(format!("  hint: {hint}"));
        }
    }
    if unique.len() > SHOWN {
        lines.push(format!("and {} more", unique.len() - SHOWN));
    }
    let message = if lines.is_empty() { String::new() } else { lines.remove(0) };
    let mut error = Error::new(Kind::Usage, message).with_lines(lines);
    if let (true, Some(hint)) = (single, unique.first().and_then(|p| p.hint.clone())) {
        error.hints.push(hint);
    }
    error
}

/// Limits of the search for similar words: the length of a word in bytes, and the number of candidates.
const LONGEST_WORD: usize = 80;
const MOST_WORDS: usize = 1000;

/// `did you mean …?` with the most similar of the known words, if one is similar.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    similar_word(word, known).map(|best| format!("did you mean `{best}`?"))
}

/// The most similar of the known words, if one is similar.
pub fn similar_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing two words takes time proportional to the product of their lengths.
    let is_short = |word: &str| word.len() <= LONGEST_WORD;
    if !is_short(word) {
        return None;
    }
    let known = known.into_iter().filter(|k| *k != word && is_short(k)).take(MOST_WORDS);
    let near = known.map(|k| (strsim::damerau_levenshtein(word, k), k));
    let (distance, best) = near.min_by_key(|(distance, _)| *distance)?;
    let allowed = (word.chars().count().max(best.chars().count()) / 3).max(1);
    (distance <= allowed).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line() {
        let text = "stages:\n  a:\n    outz: [x]\n";
        let mark = Mark { line: 3, column: 5, offset: 16 };
        let problem = Problem::new("sub/pipeline.yaml", Some(mark), "unknown key `outz` in stage `a`").within(text);
        let problem = problem.hint("did you mean `outs`?");
        let error = render(&[problem.clone(), problem]);
        assert_eq!(
            error.to_string(),
            "sub/pipeline.yaml:3:5: unknown key `outz` in stage `a`\n  |\n3 |     outz: [x]\n  |     ^\n  hint: did you mean `outs`?"
        );
    }

    #[test]
    fn near_words() {
        assert_eq!(did_you_mean("outz", ["deps", "outs"]).as_deref(), Some("did you mean `outs`?"));
        assert_eq!(did_you_mean("dep", ["deps", "outs"]).as_deref(), Some("did you mean `deps`?"));
        assert_eq!(did_you_mean("x-common", ["deps", "outs"]), None);
    }
}
