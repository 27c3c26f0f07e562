//! The rules for folders of a tree: checked before one is stored, and before one from a remote, another repository or a
//! lock is written to disk.
//!
//! - No name belongs to Git or lockstep, in any spelling ([`owner_of`]): `git` in that folder would obey its settings.
//! - A link refers to a path inside its own tree. Its text is relative, has `..` only at its start, and never leads
//!   above the top: `..` after a name would depend on the target of a link of that name.
//! - A link shares its name with no other entry on a file system that ignores case or normalises: a write to one of the
//!   two names would go through the link. Files and folders may share one (`Train/` and `train/` of a dataset): each is
//!   created with an exclusive call, so that such a file system refuses the second one, and every other one has both.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::path::names::{Owner, folded, owner_of};
use crate::store::fs::paths::to_path;
use crate::store::trees::{EntryKind, Tree};

/// The largest depth of a stored folder: recursive code uses stack for each level. Real folders are not as deep.
pub const DEEPEST: usize = 250;

/// Checks the names of one folder of a tree; the flag marks symlinks. The reason names the entry.
pub fn check_names<'n>(entries: impl Iterator<Item = (&'n [u8], bool)> + Clone) -> Result<(), String> {
    for (name, _) in entries.clone() {
        if let Some(owner @ (Owner::Git | Owner::Lockstep)) = owner_of(name) {
            return Err(format!("`{}` belongs to {}", shown(name), owner.name()));
        }
    }
    if !entries.clone().any(|(_, is_link)| is_link) {
        return Ok(());
    }
    let mut seen: HashMap<Vec<u8>, (&[u8], bool)> = HashMap::new();
    for (name, is_link) in entries {
        if let Some((other, other_is_link)) = seen.insert(folded(name), (name, is_link))
            && (is_link || other_is_link)
        {
            let (link, other) = if is_link { (name, other) } else { (other, name) };
            let (link, other) = (shown(link), shown(other));
            return Err(format!("the symlink `{link}` and `{other}` are one name where case is ignored"));
        }
    }
    Ok(())
}

/// Checks the text of a link that is `depth` folders below the top of its tree.
pub fn check_link(depth: usize, text: &[u8]) -> Result<(), String> {
    let why = link_fault(depth, text);
    why.map_or(Ok(()), |why| Err(format!("the symlink to `{}` {why}", shown(text))))
}

fn link_fault(depth: usize, text: &[u8]) -> Option<&'static str> {
    if text.is_empty() || text.contains(&0) {
        return Some("names nothing");
    }
    if text.starts_with(b"/") {
        return Some("is absolute: it leads out of its folder");
    }
    let (mut up, mut is_below) = (0, false);
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if is_below => return Some("has `..` after a name, and may lead out of its folder"),
            b".." => up += 1,
            name => {
                if matches!(owner_of(name), Some(Owner::Git | Owner::Lockstep)) {
                    return Some("names what belongs to Git or lockstep");
                }
                is_below = true;
            }
        }
    }
    (up > depth).then_some("leads out of its folder")
}

impl Tree {
    /// Checks the names of this folder, which is at `path` below the top of the checkout.
    pub fn check(&self, path: &[u8]) -> Result<()> {
        let entries = self.entries.iter().map(|entry| (entry.name.as_slice(), entry.kind == EntryKind::Symlink));
        check_names(entries).map_err(|why| refused(path, &why))
    }
}

/// The error for an entry that must not be stored or written to disk.
pub fn refused(path: &[u8], why: &str) -> Error {
    let at = if path.is_empty() { String::new() } else { format!("{}: ", shown(path)) };
    Error::usage(format!("{at}{why}"))
}

/// The number of folders above a path, from the top of its tree.
pub fn depth_of(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}

/// The number of levels of a folder below the top of its tree; its path is empty for the top itself.
pub(in crate::store) fn levels_below(path: &[u8]) -> usize {
    if path.is_empty() { 0 } else { depth_of(path) + 1 }
}

fn shown(name: &[u8]) -> String {
    to_path(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_refused() {
        for (names, want) in [
            (&["a", "S", "s"][..], ""),
            (&["a", "b->"], ""),
            (&["S", "s->"], "the symlink `s` and `S`"),
            (&["S->", "s"], "the symlink `S` and `s`"),
            (&["S->", "s->"], "one name"),
            (&["\u{e4}", "a\u{308}->"], "one name"),
            (&["x", ".GIT"], "`.GIT` belongs to Git"),
            (&["git~1"], "belongs to Git"),
            (&[".lockstep"], "belongs to lockstep"),
            (&[".dvc", ".gitignore", ".github"], ""),
        ] {
            let entries = names.iter().map(|n| (n.trim_end_matches("->").as_bytes(), n.ends_with("->")));
            match check_names(entries) {
                Ok(()) => assert_eq!(want, "", "{names:?}"),
                Err(why) => assert!(!want.is_empty() && why.contains(want), "{names:?}: {why}"),
            }
        }
    }

    #[test]
    fn links_stay_in_their_tree() {
        for (depth, text, want) in [
            (0, "a", true),
            (0, "a/b/c", true),
            (0, "./a", true),
            (0, "gone", true),
            (1, "../a", true),
            (2, "../../a/b", true),
            (1, "..", true),
            (0, "..", false),
            (0, "../a", false),
            (1, "../../a", false),
            (1, "./.././../a", false),
            (0, "/etc/passwd", false),
            (0, "a/..", false),
            (3, "up/../../x", false),
            (0, "", false),
            (1, "../.git/hooks", false),
            (0, ".GIT/config", false),
            (0, "a/.lockstep", false),
        ] {
            assert_eq!(check_link(depth, text.as_bytes()).is_ok(), want, "{depth} {text}");
        }
    }
}
