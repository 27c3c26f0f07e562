//! One file of gitignore rules, and what it says of a path.
//!
//! gix parses and matches; stacking the files of nested folders is done by those who walk them, since they know which
//! folders have such a file without asking the disk again.

use gix::bstr::ByteSlice;
use gix::glob::pattern::{Case, Mode};
use gix::glob::{Pattern, wildmatch};

#[derive(Clone, Debug, Default)]
pub(super) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub fn parse(text: &[u8]) -> Patterns {
        // `$` has no meaning of its own (gix knows a syntax for "precious" files that Git does not have).
        Patterns(gix::ignore::parse(text, false).map(|(pattern, _line, _kind)| pattern).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the last rule that matches says: `Some(true)` ignored, `Some(false)` taken back by a `!` rule, `None` if
    /// no rule matches. `path` counts from the folder of the rules, has no leading `/`, and none of its parents is
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_match_decides() {
        let rules = Patterns::parse(b"# comment\n*.log\r\n!keep.log\n/build/\nsub/x\n\\#odd\na/**/z\ntrail  \n");
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
}
