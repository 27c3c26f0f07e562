//! One file of gitignore rules, and its verdict on a path.
//!
//! gix parses and matches; the callers that walk folders combine the files of nested folders, since they know which
//! folders have such a file without asking the disk again.

use gix::bstr::ByteSlice;
use gix::glob::pattern::{Case, Mode};
use gix::glob::{Pattern, wildmatch};

/// The size limit of a file of rules.
pub(in crate::git) const LARGEST: u64 = 4 << 20;
/// Each `**` of a rule doubles the time of a match.
const MOST_DEEP: usize = 8;

#[derive(Clone, Debug, Default)]
pub(in crate::git) struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Errors: the text is too large, or the line of a rule that takes too long to match.
    pub fn parse(text: &[u8]) -> Result<Patterns, String> {
        if text.len() as u64 > LARGEST {
            return Err(format!("it is larger than {} MiB, too large for a file of ignore rules", LARGEST >> 20));
        }
        // `$` has no special meaning (gix has a syntax for "precious" files that Git lacks).
        let rules = gix::ignore::parse(text, false).map(|(mut pattern, line, _kind)| {
            let deep = fold(&mut pattern);
            let fault = || format!("line {line}: a rule has at most {MOST_DEEP} `**`, and this one has {deep}");
            if deep > MOST_DEEP { Err(fault()) } else { Ok(pattern) }
        });
        rules.collect::<Result<_, _>>().map(Patterns)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The verdict of the last rule that matches: `Some(true)` ignored, `Some(false)` undone by a `!` rule, `None` if
    /// no rule matches. `path` is relative to the folder of the rules, has no leading `/`, and none of its parents is
    /// ignored.
    pub fn verdict(&self, path: &[u8], is_dir: bool, case: Case) -> Option<bool> {
        if self.0.is_empty() {
            return None;
        }
        let path = path.as_bstr();
        let name_at = path.rfind_byte(b'/').map(|at| at + 1);
        let mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
        let hit = self.0.iter().rev().find(|p| p.matches_repo_relative_path(path, name_at, Some(is_dir), case, mode));
        hit.map(|pattern| !pattern.mode.contains(Mode::NEGATIVE))
    }

    /// The same with only the rules that name a file in any folder: other rules cannot apply to a path outside the
    /// repository.
    pub fn verdict_of_name(&self, name: &[u8], is_dir: bool, case: Case) -> Option<bool> {
        let mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
        let names = |p: &&Pattern| p.mode.contains(Mode::NO_SUB_DIR) && !p.mode.contains(Mode::ABSOLUTE);
        let mut rules = self.0.iter().rev().filter(names);
        let hit = rules.find(|p| p.matches_repo_relative_path(name.as_bstr(), None, Some(is_dir), case, mode));
        hit.map(|pattern| !pattern.mode.contains(Mode::NEGATIVE))
    }
}

/// Merges consecutive `**`, which mean the same; returns the number left.
fn fold(pattern: &mut Pattern) -> usize {
    let is_deep = |part: &[u8]| part.len() > 1 && part.iter().all(|b| *b == b'*');
    let mut parts: Vec<&[u8]> = pattern.text.split(|b| *b == b'/').collect();
    parts.dedup_by(|part, before| is_deep(part) && is_deep(before));
    let deep = parts.iter().filter(|part| is_deep(part)).count();
    let folded = parts.join(&b'/');
    if folded.len() != pattern.text.len() {
        pattern.text = folded.into();
    }
    deep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_match_decides() {
        let rules =
            Patterns::parse(b"# comment\n*.log\r\n!keep.log\n/build/\nsub/x\n\\#odd\na/**/z\ntrail  \n").unwrap();
        for (path, is_dir, want) in [
            ("a.log", false, Some(true)),
            ("deep/down/a.log", false, Some(true)),
            ("deep/keep.log", false, Some(false)),
            ("build", true, Some(true)),
            ("build", false, None),
            ("deep/build", true, None),
            ("sub/x", false, Some(true)),
            ("deep/sub/x", false, None),
            ("#odd", false, Some(true)),
            ("a/b/c/z", false, Some(true)),
            ("a/z", false, Some(true)),
            ("trail", false, Some(true)),
        ] {
            assert_eq!(rules.verdict(path.as_bytes(), is_dir, Case::Sensitive), want, "{path}");
        }
    }

    #[test]
    fn no_rule_takes_long() {
        let deep = "d/".repeat(100) + "y";
        for rule in ["**/".repeat(40) + "x", "***/".repeat(5000) + "x", "a/**/".to_string() + &"**/".repeat(40) + "x"] {
            let rules = Patterns::parse(rule.as_bytes()).unwrap();
            assert_eq!(rules.verdict(deep.as_bytes(), false, Case::Sensitive), None);
            assert_eq!(rules.verdict(b"a/b/c/x", false, Case::Sensitive), Some(true), "{}", &rule[..8]);
            assert_eq!(rules.verdict(b"a/x", false, Case::Sensitive), Some(true));
        }
        for rule in ["**/d/".repeat(8) + "x", "**/*d*/".repeat(8) + "x", "*d*".repeat(30) + "x", "*/".repeat(60) + "x"]
        {
            let rules = Patterns::parse(rule.as_bytes()).unwrap();
            assert_eq!(rules.verdict(deep.as_bytes(), false, Case::Sensitive), None);
        }
        let refused = Patterns::parse(format!("ok\n{}x\n", "**/a/".repeat(9)).as_bytes()).unwrap_err();
        assert_eq!(refused, "line 2: a rule has at most 8 `**`, and this one has 9");
        let refused = Patterns::parse(&b"x\n".repeat(3 << 20)).unwrap_err();
        assert_eq!(refused, "it is larger than 4 MiB, too large for a file of ignore rules");
    }

    #[test]
    fn outside_of_the_repository_names_alone_count() {
        let rules = Patterns::parse(b"*.log\n!keep.log\n/x\na/y\n**/z\ncache/\n").unwrap();
        for (name, is_dir, want) in [
            ("a.log", false, Some(true)),
            ("keep.log", false, Some(false)),
            ("x", false, None),
            ("y", false, None),
            ("z", false, None),
            ("cache", true, Some(true)),
            ("cache", false, None),
        ] {
            assert_eq!(rules.verdict_of_name(name.as_bytes(), is_dir, Case::Sensitive), want, "{name}");
        }
    }
}
