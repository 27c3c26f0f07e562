//! Names that belong to Git, lockstep or DVC, in every spelling that some file system treats as equal.
//!
//! macOS ignores case and some invisible code points; Windows ignores case and trailing spaces and dots, reads `:` as
//! the start of a stream and `\` as a separator, and has short names for long ones (`GIT~1`). A name is refused on
//! every system, because a repository made on one is cloned on another. The rules are those of Git's `is_hfs_dotgit`
//! and `is_ntfs_dotgit`.

use unicode_normalization::UnicodeNormalization;

/// The program to which a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `.git`, in any spelling.
    Git,
    /// `.lockstep`, in any spelling.
    Lockstep,
    /// `.dvc`, in any spelling.
    Dvc,
}

impl Owner {
    /// The name of the program, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Git => "Git",
            Owner::Lockstep => "lockstep",
            Owner::Dvc => "DVC",
        }
    }
}

/// The owner of a name, if it does not belong to the user: one component of a path.
pub fn owner_of(name: &[u8]) -> Option<Owner> {
    // Nearly every name ends here.
    let first = *name.first()?;
    if !(matches!(first, b'.' | b'g' | b'G' | b'l' | b'L' | b'd' | b'D') || first >= 0x80 || name.contains(&b'\\')) {
        return None;
    }
    name.split(|byte| *byte == b'\\').find_map(owner_of_piece)
}

fn owner_of_piece(name: &[u8]) -> Option<Owner> {
    let name = folded(name);
    let stem = trim_end(name.split(|byte| *byte == b':').next().unwrap_or_default());
    match stem {
        b".git" => Some(Owner::Git),
        b".lockstep" => Some(Owner::Lockstep),
        b".dvc" => Some(Owner::Dvc),
        _ if is_short_name(stem, b"git~") => Some(Owner::Git),
        _ if is_short_name(stem, b"lockst~") => Some(Owner::Lockstep),
        _ if is_short_name(stem, b"dvc~") => Some(Owner::Dvc),
        _ => None,
    }
}

/// Without trailing spaces and dots, which Windows ignores.
fn trim_end(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| !matches!(byte, b' ' | b'.')).map_or(0, |at| at + 1);
    &name[..end]
}

/// `git~1`: the Windows short name of a long name.
fn is_short_name(stem: &[u8], start: &[u8]) -> bool {
    stem.strip_prefix(start).is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

/// Code points that HFS+ ignores.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Some file system treats two names with the same folded form as one: case, normalisation and invisible code points
/// are ignored.
pub fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => {
            let visible = text.chars().filter(|c| !is_ignorable(*c));
            visible.nfkd().flat_map(char::to_lowercase).nfkd().collect::<String>().into_bytes()
        }
        _ => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_its_owner() {
        for (name, want) in [
            (".git", Some(Owner::Git)),
            (".GIT", Some(Owner::Git)),
            (".Git ", Some(Owner::Git)),
            (".git. . ", Some(Owner::Git)),
            (".git::$INDEX_ALLOCATION", Some(Owner::Git)),
            (".git:x", Some(Owner::Git)),
            (".git .:x", Some(Owner::Git)),
            ("git~1", Some(Owner::Git)),
            ("GIT~1", Some(Owner::Git)),
            ("git~1 .", Some(Owner::Git)),
            ("GiT~2:x", Some(Owner::Git)),
            (".g\u{200c}it", Some(Owner::Git)),
            ("\u{feff}.git", Some(Owner::Git)),
            (".git\u{200f}", Some(Owner::Git)),
            (".git\\hooks", Some(Owner::Git)),
            ("a\\.git\\config", Some(Owner::Git)),
            ("a\\git~1", Some(Owner::Git)),
            (".lockstep", Some(Owner::Lockstep)),
            (".LockStep.", Some(Owner::Lockstep)),
            ("LOCKST~1", Some(Owner::Lockstep)),
            (".lock\u{200d}step", Some(Owner::Lockstep)),
            (".loc\u{212a}step", Some(Owner::Lockstep)),
            (".lock\u{17f}tep", Some(Owner::Lockstep)),
            (".dvc", Some(Owner::Dvc)),
            (".DVC ", Some(Owner::Dvc)),
            (".gitignore", None),
            (".gitmodules", None),
            (".github", None),
            ("git", None),
            ("git~", None),
            ("git~x", None),
            ("agit~1", None),
            ("x.git", None),
            ("..git", None),
            (".git.x", None),
            (". git", None),
            (".lockstepignore", None),
            ("lockstep.toml", None),
            ("data.dvc", None),
            ("a:b", None),
            ("", None),
        ] {
            assert_eq!(owner_of(name.as_bytes()), want, "{name:?}");
        }
        assert_eq!(owner_of(b".git\xff"), None);
    }

    #[test]
    fn equal_to_some_file_system() {
        for (a, b, want) in [
            ("S", "s", true),
            ("\u{e4}", "a\u{308}", true),
            ("\u{c4}x", "a\u{308}X", true),
            ("s\u{200c}", "S", true),
            ("\u{17f}", "s", true),
            ("a", "b", false),
            ("\u{e4}", "a", false),
        ] {
            assert_eq!(folded(a.as_bytes()) == folded(b.as_bytes()), want, "{a:?} {b:?}");
        }
        assert_ne!(folded(b"\xff"), folded(b"\xfe"));
    }
}
