//! The rules of `.lockstepignore` files, in gitignore syntax: they exclude files from deps, outs and data.
//!
//! As in Git, the rules of a file apply to its folder and everything below, a deeper file has precedence over a higher
//! one, and within a file the last matching rule decides. The built-in rules precede those of the file at the root,
//! whether it exists or not, so that `!` can undo them.
//!
//! [`discover`](super::discover()) finds nested files in the folders that it walks: a `.lockstepignore` in a folder
//! that Git ignores (so, inside an out) is ordinary content.

pub mod excludes;
pub(super) mod patterns;

use std::collections::BTreeMap;
use std::path::Path;

use gix::glob::pattern::Case;

use crate::document::Bounds;
use crate::error::{Error, Result};
use patterns::Patterns;

pub(super) const FILE: &str = ".lockstepignore";

/// Files that machines create and users never want as content.
const BUILT_IN: &[u8] = b"__pycache__/\n*.py[cod]\n.ipynb_checkpoints/\n.DS_Store\n";

/// The ignore rules of a project.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The built-in rules and those of the file at the root.
    top: Patterns,
    /// By folder, relative to the root.
    nested: BTreeMap<Vec<u8>, Patterns>,
    id: u64,
}

impl Rules {
    /// The rules of the file in `top`, the root of the repository, and the built-in ones.
    pub fn load(top: &Path, bounds: &Bounds) -> Result<Rules> {
        let text = bounds.read(&top.join(FILE))?.unwrap_or_default();
        Rules::from_text(&text)
    }

    pub(super) fn from_text(text: &[u8]) -> Result<Rules> {
        // Parsed alone first, so that errors have the line numbers of the file.
        parse(FILE, text)?;
        let all = [BUILT_IN, text].concat();
        Ok(Rules { top: parse(FILE, &all)?, nested: BTreeMap::new(), id: mix(SEED, &all) })
    }

    /// Adds the file of `folder` (not the root), if it exists. Folders must always be added in the same order.
    pub(super) fn add(&mut self, top: &Path, bounds: &Bounds, folder: &str) -> Result<()> {
        if let Some(text) = bounds.read(&top.join(folder).join(FILE))? {
            self.add_text(folder, &text)?;
        }
        Ok(())
    }

    pub(super) fn add_text(&mut self, folder: &str, text: &[u8]) -> Result<()> {
        let patterns = parse(&format!("{folder}/{FILE}"), text)?;
        if !patterns.is_empty() {
            self.nested.insert(folder.into(), patterns);
            self.id = mix(mix(mix(self.id, folder.as_bytes()), b"\0"), text);
        }
        Ok(())
    }

    /// Does a rule ignore `path` itself, relative to the root of the repository? A walk does not descend into an
    /// ignored folder, so parents are not checked again here. Rules are case-sensitive on every machine, so that all
    /// machines see the same content. An absolute path is outside the repository: there only rules of the root apply
    /// that name a file without a folder, including the built-in ones.
    pub fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        if path.starts_with(b"/") {
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            return self.top.verdict_of_name(name, is_dir, Case::Sensitive).unwrap_or(false);
        }
        if !self.nested.is_empty() {
            let mut end = path.len();
            while let Some(slash) = path[..end].iter().rposition(|b| *b == b'/') {
                let below = &path[slash + 1..];
                let rules = self.nested.get(&path[..slash]);
                if let Some(verdict) = rules.and_then(|r| r.verdict(below, is_dir, Case::Sensitive)) {
                    return verdict;
                }
                end = slash;
            }
        }
        self.top.verdict(path, is_dir, Case::Sensitive).unwrap_or(false)
    }

    /// A number that changes with the text of any of the rules; the same on every machine.
    pub fn id(&self) -> u64 {
        self.id
    }
}

fn parse(file: &str, text: &[u8]) -> Result<Patterns> {
    Patterns::parse(text).map_err(|why| Error::usage(format!("{file}: {why}")))
}

/// FNV-1a: small, and stable across compiler versions, unlike the hasher of the standard library.
pub(super) const SEED: u64 = 0xcbf2_9ce4_8422_2325;

pub(super) fn mix(id: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(id, |id, byte| (id ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_and_how_to_undo_them() {
        let plain = Rules::from_text(b"").unwrap();
        for (path, is_dir, want) in [
            ("src/__pycache__", true, true),
            ("__pycache__", false, false),
            ("a/b.pyc", false, true),
            ("a/b.py", false, false),
            ("nb/.ipynb_checkpoints", true, true),
            (".DS_Store", false, true),
        ] {
            assert_eq!(plain.ignored(path.as_bytes(), is_dir), want, "{path}");
        }
        for (path, is_dir, want) in
            [("/ext/__pycache__", true, true), ("/ext/deep/x.pyc", false, true), ("/ext/x.py", false, false)]
        {
            assert_eq!(plain.ignored(path.as_bytes(), is_dir), want, "{path}");
        }
        let undone = Rules::from_text(b"!*.pyc\n*.tmp\n").unwrap();
        assert!(!undone.ignored(b"a/b.pyc", false) && undone.ignored(b"a/b.pyo", false));
        assert!(undone.ignored(b"a/b.tmp", false));
    }

    #[test]
    fn deeper_files_beat_higher_ones() {
        let mut rules = Rules::from_text(b"*.tmp\n/only_top\n").unwrap();
        rules.add_text("a/b", b"!keep.tmp\n/x\n*.md\n").unwrap();
        for (path, want) in [
            ("a/b/keep.tmp", false),
            ("a/keep.tmp", true),
            ("a/b/c/keep.tmp", false),
            ("a/b/c/other.tmp", true),
            ("a/b/x", true),
            ("a/b/c/x", false),
            ("a/bc/y.md", false),
            ("only_top", true),
            ("a/only_top", false),
        ] {
            assert_eq!(rules.ignored(path.as_bytes(), false), want, "{path}");
        }
    }

    #[test]
    fn the_id_follows_the_text() {
        let mut a = Rules::from_text(b"*.tmp\n").unwrap();
        let b = Rules::from_text(b"*.tmp2\n").unwrap();
        assert_ne!(a.id(), b.id());
        assert_eq!(a.id(), Rules::from_text(b"*.tmp\n").unwrap().id());
        let before = a.id();
        a.add_text("sub", b"# nothing\n").unwrap();
        assert_eq!(a.id(), before);
        a.add_text("sub", b"x\n").unwrap();
        assert_ne!(a.id(), before);
        fn shared<T: Sync + Send>() {}
        shared::<Rules>();
    }
}
